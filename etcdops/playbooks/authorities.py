"""The two authorities of a cluster on the operator's machine, and what they sign for its hosts.

client/      signs servers and clients
peer/        signs members
operator.crt operator.key      what the console itself shows to members
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from etcdops.certs.authority import Authority, Issued
from etcdops.certs.facts import CertificateFacts, Use, describe, is_signed_by, read_certificates
from etcdops.clock import Clock
from etcdops.errors import UsageError
from etcdops.files import make_folder, replace_file
from etcdops.inventory import connection
from etcdops.playbooks.rollout.desired import DesiredBundle, DesiredLeaf, Signer
from etcdops.rendering.files import RenderedFile

OPERATOR = "etcdops"
"""Common name of the console's certificate. With authentication on, it is no user's: a password is asked for."""


class ClusterAuthorities:
    """Both, by the folder they are in. Nothing is made before `create`."""

    def __init__(self, folder: Path, cluster: str, clock: Clock) -> None:
        self.folder = folder
        self._cluster = cluster
        self._clock = clock
        self._opened: dict[Signer, Authority] = {}

    def exists(self, signer: Signer) -> bool:
        return (self.folder / signer / "ca.crt").exists()

    def create(self, signers: Sequence[Signer]) -> list[Signer]:
        """Make those that are not there. Returns: which were made. Raises: UsageError."""
        missing = [signer for signer in signers if not self.exists(signer)]
        for signer in missing:
            make_folder(self.folder / signer)
            name = f"{self._cluster} {signer}s"
            self._opened[signer] = Authority.create(self.folder / signer, name, self._clock)
        return missing

    def of(self, signer: Signer) -> Authority:
        """Raises: UsageError - there is none, or it cannot be used."""
        if signer not in self._opened:
            self._opened[signer] = Authority.open(self.folder / signer, self._clock)
        return self._opened[signer]

    def bundle(self, wanted: DesiredBundle) -> RenderedFile:
        """Whom a member is to trust now."""
        return RenderedFile(wanted.path, self.of(wanted.signer).trusted_pem, wanted.ownership)

    def issue(self, wanted: DesiredLeaf) -> Issued:
        return self.of(wanted.signer).issue(wanted.use, wanted.name, hosts=wanted.hosts)

    def problems(self, wanted: DesiredLeaf, certificate: bytes | None, key: bytes | None) -> list[str]:
        """What is wrong with a pair as it was found on a host; empty when it will do."""
        if certificate is None or key is None:
            return ["it is not there"]
        try:
            found = read_certificates(certificate, source=wanted.certificate)[0]
        except (UsageError, IndexError):
            return ["it cannot be read"]
        if not _is_pair(found, key):
            return ["its key is another one's"]
        problems = describe(found).problems(wanted.use, hosts=wanted.hosts, now=self._now())
        # Also by the one before it, while that is trusted: what the new one signs, members may not believe yet.
        if not any(is_signed_by(found, one) for one in self.of(wanted.signer).trusted):
            problems.append("another authority signed it")
        return problems

    def operator_files(self) -> tuple[Path, Path, Path]:
        """(whom to trust, our certificate, our key); the pair is made when there is none that will do."""
        authority = self.of(Signer.CLIENT)
        certificate, key = (self.folder / name for name in connection.OPERATOR)
        if self._operator_problems(authority, certificate, key):
            issued = authority.issue(Use.CLIENT, OPERATOR)
            replace_file(key, issued.key.reveal().encode())
            replace_file(certificate, issued.certificate, mode=0o644)
        return self.folder / connection.TRUSTED, certificate, key

    def _operator_problems(self, authority: Authority, certificate: Path, key: Path) -> list[str]:
        if not certificate.exists() or not key.exists():
            return ["it is not there"]
        try:
            found = read_certificates(certificate.read_bytes(), source=str(certificate))[0]
        except (UsageError, IndexError):
            return ["it cannot be read"]
        facts: CertificateFacts = describe(found)
        # Also by the one before it, while that is trusted: members may not know the new one yet.
        trusted = any(is_signed_by(found, one) for one in authority.trusted)
        if not trusted or not _is_pair(found, key.read_bytes()):
            return ["it is not of this authority"]
        return facts.problems(Use.CLIENT, hosts=(), now=self._now())

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock.wall(), datetime.UTC)


def _is_pair(certificate: x509.Certificate, key: bytes) -> bool:
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        return False
    return loaded.public_key() == certificate.public_key()
