"""A certificate authority of our own, in a folder on the operator's machine.

    ca.crt  ca.key     signs now
    trusted.crt        for --trusted-ca-file of members and clients: ca.crt, and during a rotation its predecessor too
    retired/           authorities that sign no more, under the time they were retired at

A rotation has three rounds over the members, so that at every moment each one trusts whatever another may show:
`begin_rotation` and hand out `trusted.crt`; issue all certificates anew and hand them out; `finish_rotation` and hand
out `trusted.crt` again. No key is ever deleted here: an authority that is lost cannot be made again.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from etcdops.certs.facts import Use, describe, is_signed_by, read_certificates
from etcdops.clock import Clock
from etcdops.errors import UsageError
from etcdops.files import replace_file, sync_folder
from etcdops.secret import Secret

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
_CLOCKS_APART = datetime.timedelta(hours=1)
"""Certificates are valid from a little before now: a host whose clock is behind must not refuse a fresh one."""
_CERTIFICATE, _KEY, _TRUSTED, _RETIRED, _NEXT = "ca.crt", "ca.key", "trusted.crt", "retired", "next"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, as PEM. The key is in no file yet."""

    certificate: bytes
    key: Secret


class Authority:
    """An authority that exists. Make one with `create` or `open`."""

    def __init__(
        self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self.folder = folder
        self.certificate = certificate
        self._key = key
        self._clock = clock

    @classmethod
    def create(cls, folder: Path, name: str, clock: Clock, *, days: int = AUTHORITY_DAYS) -> Authority:
        """A new authority called `name` in `folder`.

        Raises: UsageError - there is one already, or the folder cannot be written to.
        """
        with _locked(folder):
            if (folder / _CERTIFICATE).exists():
                raise UsageError(
                    f"{folder} holds a certificate authority already",
                    hint="use it, or name another folder: without it every certificate it signed is worthless",
                )
            # a key alone is what a crash in here leaves, or all that somebody kept: no reason to overwrite it
            key = _read_key(folder / _KEY) if (folder / _KEY).exists() else ec.generate_private_key(ec.SECP256R1())
            certificate = _self_signed(name, key, clock, days)
            _write_pair(folder, certificate, key)
            replace_file(folder / _TRUSTED, _pem(certificate), mode=0o644)
        return cls(folder, certificate, key, clock)

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> Authority:
        """Raises: UsageError - there is none, its files do not belong together, or others may read its key."""
        with _locked(folder):
            _complete_switch(folder)
            certificate, key = _read_pair(folder)
            if not (folder / _TRUSTED).exists():
                replace_file(folder / _TRUSTED, _pem(certificate), mode=0o644)
        return cls(folder, certificate, key, clock)

    @property
    def trusted(self) -> list[x509.Certificate]:
        """What a member must trust now: the authority, and during a rotation also the one before it."""
        path = self.folder / _TRUSTED
        return read_certificates(_read(path), source=str(path))

    @property
    def trusted_pem(self) -> bytes:
        return b"".join(_pem(certificate) for certificate in self.trusted)

    @property
    def rotating(self) -> bool:
        """Whether a rotation was begun and not finished."""
        return len(self.trusted) > 1

    def issue(self, use: Use, name: str, *, hosts: Sequence[str] = (), days: int = LEAF_DAYS) -> Issued:
        """A certificate with common name `name`, valid for `hosts` (DNS names and IP addresses), and a new key.

        For PEER and SERVER, name everything it is dialled by; clients know it by nothing else.
        Raises: UsageError - a server or peer without hosts; the authority ends before `days` are over.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certify(use, name, key.public_key(), hosts=hosts, days=days)
        return Issued(certificate, Secret(_key_pem(key).decode()))

    def certify(
        self,
        use: Use,
        name: str,
        public_key: CertificatePublicKeyTypes,
        *,
        hosts: Sequence[str] = (),
        days: int = LEAF_DAYS,
    ) -> bytes:
        """A certificate, as PEM, for a key that stays where it is. Everything else as `issue`."""
        if use is not Use.CLIENT and not hosts:
            raise UsageError(
                f"the {use.value} certificate {name} is for no host", hint="name the hosts it is dialled by"
            )
        now = self._now()
        until = now + datetime.timedelta(days=days)
        if until > self.certificate.not_valid_after_utc:
            raise UsageError(
                f"the certificate {name} would outlive its authority, which ends on"
                f" {self.certificate.not_valid_after_utc:%Y-%m-%d}",
                hint="etcdops cert rotate-ca makes a new authority without downtime; or ask for fewer days",
            )
        builder = (
            _builder(_name(name), self.certificate.subject, public_key, now, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(use.purposes), critical=False)
            .add_extension(_issuer_key(self.certificate), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)]), critical=False
            )
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def predecessor(self, fingerprint: str) -> Authority | None:
        """A retired authority by the SHA-256 of its certificate, to prove that nobody trusts it; None: not kept."""
        for folder in sorted((self.folder / _RETIRED).glob("*")):
            if not (folder / _CERTIFICATE).exists():
                continue
            certificate, key = _read_pair(folder)
            if describe(certificate).fingerprint == fingerprint:
                return Authority(folder, certificate, key, self._clock)
        return None

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether this authority, in its present key, signed it."""
        return is_signed_by(certificate, self.certificate)

    def begin_rotation(self, *, days: int = AUTHORITY_DAYS) -> None:
        """Sign with a new key from now on, and trust both. Done already: nothing happens.

        The old key goes to `retired/` at once: nothing needs it any more, its certificates stay trusted.
        """
        with _locked(self.folder):
            _complete_switch(self.folder)
            if self.rotating:
                return
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _self_signed(describe(self.certificate).subject, key, self._clock, days)
            _prepare_switch(self.folder, certificate, key, self._now())
            _complete_switch(self.folder)
            self.certificate, self._key = _read_pair(self.folder)

    def finish_rotation(self) -> None:
        """Trust the new authority only. Call it when no certificate of the old one is in use any more."""
        with _locked(self.folder):
            replace_file(self.folder / _TRUSTED, _pem(self.certificate), mode=0o644)

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock.wall(), datetime.UTC)


def _prepare_switch(
    folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> None:
    """Lay the next authority ready in `next/`, complete: whoever finds it there carries the switch out."""
    part = folder / f".{_NEXT}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    _write_pair(part, certificate, key)
    replace_file(part / _TRUSTED, _pem(certificate) + _read(folder / _CERTIFICATE), mode=0o644)
    replace_file(part / _RETIRED, f"{now:%Y%m%dT%H%M%SZ}".encode())
    part.rename(folder / _NEXT)
    sync_folder(folder)


def _complete_switch(folder: Path) -> None:
    """Carry out a prepared switch, from wherever a crash left it. Every step is safe to repeat."""
    ready = folder / _NEXT
    if not ready.is_dir():
        return
    replace_file(folder / _TRUSTED, _read(ready / _TRUSTED), mode=0o644)
    retired = folder / _RETIRED / _read(ready / _RETIRED).decode()
    retired.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (_KEY, _CERTIFICATE):
        if not (retired / name).exists():
            replace_file(retired / name, _read(folder / name))
    for name, mode in ((_KEY, 0o600), (_CERTIFICATE, 0o644)):
        replace_file(folder / name, _read(ready / name), mode=mode)
    ready.rename(retired / _NEXT)
    sync_folder(retired)
    sync_folder(folder)
    shutil.rmtree(retired / _NEXT)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time works on an authority."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be used", cause=error.strerror or str(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_pair(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path = folder / _CERTIFICATE
    certificate = read_certificates(_read(path), source=str(path))[0]
    key = _read_key(folder / _KEY)
    if key.public_key() != certificate.public_key():
        raise UsageError(
            f"{folder / _KEY} is not the key of {path}", hint="put the pair back as it was made, from a backup"
        )
    return certificate, key


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    raw = _read(path)
    if path.stat().st_mode & 0o077:
        raise UsageError(f"others may read {path}", hint=f"chmod 600 {path}; whoever read it can join the cluster")
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds no private key that can be read", cause=str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} is not a key for elliptic curves", hint="use an authority that etcdops made")
    return key


def _write_pair(folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    replace_file(folder / _KEY, _key_pem(key))
    replace_file(folder / _CERTIFICATE, _pem(certificate), mode=0o644)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", cause=error.strerror or str(error), hint="etcdops cert list names what is there"
        ) from error


def _self_signed(name: str, key: ec.EllipticCurvePrivateKey, clock: Clock, days: int) -> x509.Certificate:
    now = datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC)
    builder = (
        _builder(_name(name), _name(name), key.public_key(), now, now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    return builder.sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _issuer_key(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    except ValueError as error:
        raise UsageError(f"{common_name!r} cannot be the name in a certificate", cause=str(error)) from error


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise UsageError(f"{host!r} is no host name", cause=str(error), hint="write it in ASCII (punycode)") from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
