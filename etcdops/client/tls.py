"""TLS as etcdctl's flags describe it, for gRPC and for Python's own sockets."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from etcdops.client.settings import ConnectionSettings
from etcdops.errors import UsageError

_AUTHORITY_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM texts, read once; None = not given."""

    cacert: bytes | None
    cert: bytes | None
    key: bytes | None


def read_files(settings: ConnectionSettings) -> TlsFiles:
    """Read and check the files the settings name. Raises: UsageError naming the file and what is wrong with it."""
    files = TlsFiles(
        _read(settings.cacert, "cacert", b"BEGIN CERTIFICATE"),
        _read(settings.cert, "cert", b"BEGIN CERTIFICATE"),
        _read(settings.key, "key", b"PRIVATE KEY"),
    )
    # gRPC takes a key that does not fit and fails much later without a reason; OpenSSL tells at once.
    context(settings, verify=True)
    return files


def _read(path: str, flag: str, mark: bytes) -> bytes | None:
    if not path:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read --{flag} {path}", cause=error.strerror or str(error), hint="check the path"
        ) from error
    if mark not in content:
        raise UsageError(f"--{flag} {path} is no PEM file", cause=f"it holds no {mark.decode()!r}")
    return content


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """gRPC's credentials. Without a CA file the authorities of this machine are trusted, not gRPC's built-in list."""
    roots = files.cacert if files.cacert is not None else machine_authorities()
    return grpc.ssl_channel_credentials(roots, files.key, files.cert)


def machine_authorities() -> bytes | None:
    """The certificate authorities this machine trusts, as PEM; None when it has none, which leaves gRPC's own list.

    Source of the places: Go's crypto/x509 root_linux.go, which is where etcdctl finds them.
    """
    for path in (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_AUTHORITY_BUNDLES):
        try:
            if path:
                return Path(path).read_bytes()
        except OSError:
            continue
    return None


def context(settings: ConnectionSettings, *, verify: bool) -> ssl.SSLContext:
    """A context for Python's sockets that behaves like the gRPC channel. Raises: UsageError for unusable files."""
    made = ssl.create_default_context(cafile=settings.cacert or None)
    made.set_alpn_protocols(["h2"])
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if settings.cert:
        try:
            made.load_cert_chain(settings.cert, settings.key)
        except ssl.SSLError as error:
            cause = error.reason or str(error)
            raise UsageError(
                f"--cert {settings.cert} and --key {settings.key} do not fit",
                cause=cause,
                hint="give the key that was made with this certificate",
            ) from error
    return made
