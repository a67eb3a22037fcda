"""Certificates for `--auto-tls` and `--peer-auto-tls`: made at the first start, kept in the data directory."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from etcdops.errors import StartRefused
from etcdops.files import replace_file
from etcdops.node.tls.info import TlsInfo
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)


def self_signed(folder: Path, hosts: Sequence[str], *, years: int) -> TlsInfo:
    """A certificate for `hosts` in `folder`, made unless it is there.

    It is its own authority, and dials with it trust whoever answers: this hides what is said, from who only listens.
    Raises: StartRefused - the folder cannot be written to, or `years` is 0.
    Source: etcd client/pkg/transport/listener.go, SelfCert.
    """
    if years == 0:
        raise StartRefused(
            "selfSignedCertValidity is invalid,it should be greater than 0",
            hint="leave --self-signed-cert-validity out, or give years",
        )
    certificate, key = folder.absolute() / "cert.pem", folder.absolute() / "key.pem"
    if not (certificate.exists() and key.exists()):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(certificate, key, hosts, years)
        except OSError as error:
            raise StartRefused(
                f"cannot create cert directory or files in {folder}",
                cause=error.strerror or str(error),
                hint="let the member's user write there",
            ) from error
    return TlsInfo(
        cert_file=os.fspath(certificate),
        key_file=os.fspath(key),
        client_cert_file=os.fspath(certificate),
        client_key_file=os.fspath(key),
        self_signed=True,
    )


def _make(certificate: Path, key: Path, hosts: Sequence[str], years: int) -> None:
    # costs 50 ms of start that only this needs
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP521R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "etcd")])
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=365 * years)
    _logger.warning(
        "automatically generate certificates", extra=fields(certificate_validity_bound_not_after=until.isoformat())
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(private, hashes.SHA256())
    )
    replace_file(certificate, signed.public_bytes(serialization.Encoding.PEM), mode=0o644)
    _logger.info("created cert file", extra=fields(path=str(certificate)))
    replace_file(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
    )
    _logger.info("created key file", extra=fields(path=str(key)))
