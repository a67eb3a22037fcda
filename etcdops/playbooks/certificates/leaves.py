"""One certificate on a host: read, judged, issued anew without a moment in which its pair does not fit.

A member reads its certificate and its key at every handshake, as two files. So a renewal leaves the key where it is and
replaces one file, as a whole; no key travels. A new key is asked for, or made where there is none: then both are laid
ready and renamed by one command, and what shakes hands in the millisecond between fails once and tries again.
Source: etcd client/pkg/transport/listener.go, baseConfig: GetCertificate, GetClientCertificate.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from etcdops.certs.facts import Use, describe, read_certificates
from etcdops.errors import UsageError
from etcdops.files import replace_file
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.rolling.member_ports import OPERATOR
from etcdops.playbooks.rollout.desired import DesiredLeaf, Signer
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session

_NEW = ".new"
_SWITCH = """
mv -f -- "$2$3" "$2" && mv -f -- "$1$3" "$1" && sync
"""


@dataclass(frozen=True, slots=True)
class FoundLeaf:
    """What is on the host."""

    certificate: bytes | None
    key: bytes | None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate; empty: there is none that can be read."""
        certificate = self.parsed
        return describe(certificate).fingerprint if certificate is not None else ""

    @property
    def parsed(self) -> x509.Certificate | None:
        if self.certificate is None:
            return None
        try:
            return read_certificates(self.certificate, source="a certificate on a host")[0]
        except (UsageError, IndexError):
            return None

    @property
    def public_key(self) -> CertificatePublicKeyTypes | None:
        """Of the key's file: what a new certificate has to fit."""
        if self.key is None:
            return None
        try:
            key = serialization.load_pem_private_key(self.key, password=None).public_key()
        except (ValueError, TypeError):
            return None
        return key  # type: ignore[return-value]  # a DH key, which no member starts with, is no certificate's


async def read_leaf(session: Session, leaf: DesiredLeaf) -> FoundLeaf:
    """Both files as they are."""
    certificate, key = await asyncio.gather(
        session.read_file(leaf.certificate, user=ROOT), session.read_file(leaf.key, user=ROOT)
    )
    return FoundLeaf(certificate, key)


async def renew_leaf(
    session: Session, leaf: DesiredLeaf, authorities: ClusterAuthorities, *, new_key: bool, days: int
) -> None:
    """Replace a certificate on its host. Raises: UsageError - the authority cannot sign for so long."""
    found = await read_leaf(session, leaf)
    authority = authorities.of(leaf.signer)
    public_key = found.public_key
    if public_key is not None and not new_key:
        signed = authority.certify(leaf.use, leaf.name, public_key, hosts=leaf.hosts, days=days)
        await session.write_file(leaf.certificate, signed, leaf.ownership, user=ROOT)
        return
    issued = authority.issue(leaf.use, leaf.name, hosts=leaf.hosts, days=days)
    key = issued.key.reveal().encode()
    await session.write_file(f"{leaf.key}{_NEW}", key, leaf.ownership, user=ROOT)
    await session.write_file(f"{leaf.certificate}{_NEW}", issued.certificate, leaf.ownership, user=ROOT)
    await session.run(script(_SWITCH, leaf.certificate, leaf.key, _NEW, user=ROOT))


def read_operator(run: RunHosts) -> FoundLeaf:
    """What the console itself shows, on this machine."""
    found: list[bytes | None] = []
    for suffix in (".crt", ".key"):
        path = run.pki / f"{OPERATOR}{suffix}"
        found.append(path.read_bytes() if path.exists() else None)
    return FoundLeaf(*found)


def renew_operator(run: RunHosts, authorities: ClusterAuthorities, *, new_key: bool) -> None:
    """Replace it; `operator_files` makes a whole pair where its authority does not fit or its key is gone."""
    certificate, key = (run.pki / f"{OPERATOR}{suffix}" for suffix in (".crt", ".key"))
    found = read_operator(run)
    public_key = found.public_key
    if new_key or public_key is None or found.parsed is None:
        certificate.unlink(missing_ok=True)
        key.unlink(missing_ok=True)
        authorities.operator_files()
        return
    name = describe(found.parsed).subject
    replace_file(certificate, authorities.of(Signer.CLIENT).certify(Use.CLIENT, name, public_key), mode=0o644)
