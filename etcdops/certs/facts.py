"""What a certificate says, as plain values, and what is wrong with it for the use it is put to."""

from __future__ import annotations

import datetime
import enum
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from etcdops.errors import UsageError

EXPIRES_SOON = datetime.timedelta(days=30)


class Use(enum.Enum):
    """What a certificate is for."""

    SERVER = "server"
    """A member's client port. etcd's own gateway dials that port with it, so it must do for a client as well."""
    PEER = "peer"
    """A member towards other members: it is dialled and dials."""
    CLIENT = "client"

    @property
    def purposes(self) -> tuple[x509.ObjectIdentifier, ...]:
        """The extended key usages it needs."""
        if self is Use.CLIENT:
            return (ExtendedKeyUsageOID.CLIENT_AUTH,)
        return (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


_PURPOSE_NAMES = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate."""

    subject: str
    issuer: str
    """Common names; the whole distinguished name where there is none."""
    serial: int
    not_before: datetime.datetime
    not_after: datetime.datetime
    names: tuple[str, ...]
    """DNS names it is valid for, wildcards included."""
    addresses: tuple[str, ...]
    """IP addresses it is valid for."""
    purposes: tuple[str, ...] | None
    """Of "server", "client" and others by number; None: it does not limit them."""
    is_authority: bool
    fingerprint: str
    """SHA-256 of the DER form, hex."""

    def covers(self, host: str) -> bool:
        """Whether a client that dials `host` accepts it by name, as Go's crypto/x509 does: never by common name."""
        try:
            wanted = ipaddress.ip_address(host)
        except ValueError:
            return any(_name_matches(name, host) for name in self.names)
        return any(ipaddress.ip_address(address) == wanted for address in self.addresses)

    def problems(
        self, use: Use, *, hosts: Iterable[str], now: datetime.datetime, soon: datetime.timedelta = EXPIRES_SOON
    ) -> list[str]:
        """What makes it unfit, a sentence each, the gravest first; empty when it will do.

        `hosts`: what it is dialled by, for SERVER and PEER. About to expire, within `soon`, is a problem as well.
        """
        found = [*self.time_problems(now, soon=soon)]
        if self.is_authority:
            found.append("it is an authority's own certificate, not one of a server or client")
        if self.purposes is not None:
            missing = [
                _PURPOSE_NAMES[purpose] for purpose in use.purposes if _PURPOSE_NAMES[purpose] not in self.purposes
            ]
            found += [f"it is not for {purpose} use, which a {use.value} certificate needs" for purpose in missing]
        if use is not Use.CLIENT:
            found += [f"it is not valid for {host}" for host in hosts if not self.covers(host)]
        return found

    def time_problems(self, now: datetime.datetime, *, soon: datetime.timedelta = EXPIRES_SOON) -> Iterable[str]:
        """Whether it is valid now, and for long enough."""
        if now < self.not_before:
            yield f"it is valid only from {self.not_before:%Y-%m-%d %H:%M:%S} UTC on"
        elif now >= self.not_after:
            yield f"it expired on {self.not_after:%Y-%m-%d %H:%M:%S} UTC"
        elif now >= self.not_after - soon:
            yield f"it expires in {(self.not_after - now).days} days, on {self.not_after:%Y-%m-%d}"


def read_certificates(pem: bytes, *, source: str) -> list[x509.Certificate]:
    """All certificates of a PEM file, in order.

    Raises: UsageError - it holds none, or one that cannot be read; it is called `source` there.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UsageError(
            f"{source} holds no certificate that can be read",
            cause=str(error),
            hint="it must be PEM: a text with BEGIN CERTIFICATE",
        ) from error


def describe(certificate: x509.Certificate) -> CertificateFacts:
    """The facts of one certificate."""
    names, addresses = _alternative_names(certificate)
    return CertificateFacts(
        subject=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=names,
        addresses=addresses,
        purposes=_purposes(certificate),
        is_authority=_is_authority(certificate),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether `authority` signed it: names and signature, not dates."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    addresses = tuple(str(address) for address in extension.get_values_for_type(x509.IPAddress))
    return tuple(extension.get_values_for_type(x509.DNSName)), addresses


def _purposes(certificate: x509.Certificate) -> tuple[str, ...] | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in extension:
        return None
    return tuple(_PURPOSE_NAMES.get(purpose, purpose.dotted_string) for purpose in extension)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _name_matches(pattern: str, host: str) -> bool:
    """RFC 6125: a `*` stands for the whole first label and nothing else."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if not pattern.startswith("*."):
        return pattern == host
    first, dot, rest = host.partition(".")
    return bool(first and dot) and rest == pattern[2:]
