"""What the flags of one kind of port say about TLS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsInfo:
    """TLS of the client port, or of the peer port and the dials to other members. Empty text: not set.

    Source: etcd client/pkg/transport/listener.go, TLSInfo.
    """

    cert_file: str = ""
    """What the port shows, and dials too while `client_cert_file` is empty."""

    key_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    trusted_ca_file: str = ""
    """Who may have signed the other side's certificate. Naming one makes a port ask everybody for a certificate."""

    client_cert_auth: bool = False
    """Ask everybody for a certificate, also when no authority is named: the system's are trusted then."""

    crl_file: str = ""
    """Certificates that are refused, by their serial numbers; PEM or DER."""

    allowed_cns: tuple[str, ...] = ()
    allowed_hostnames: tuple[str, ...] = ()
    skip_client_san_verify: bool = False
    cipher_suites: tuple[str, ...] = ()
    """Go's names. Only for TLS 1.2, as in Go."""

    min_version: str = ""
    max_version: str = ""
    self_signed: bool = False
    """The certificate was made at a first start, by nobody: dials trust whoever answers."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to serve TLS with."""
        return not self.cert_file and not self.key_file

    @property
    def dial_cert_file(self) -> str:
        return self.client_cert_file or self.cert_file

    @property
    def dial_key_file(self) -> str:
        return self.client_key_file if self.client_cert_file else self.key_file

    @property
    def wants_certificates(self) -> bool:
        """Whether the port asks who connects."""
        return bool(self.trusted_ca_file) or self.client_cert_auth

    def __str__(self) -> str:
        """Source: etcd TLSInfo.String."""
        return (
            f"cert = {self.cert_file}, key = {self.key_file}, client-cert={self.client_cert_file}, "
            f"client-key={self.client_key_file}, trusted-ca = {self.trusted_ca_file}, "
            f"client-cert-auth = {str(self.client_cert_auth).lower()}, crl-file = {self.crl_file}"
        )
