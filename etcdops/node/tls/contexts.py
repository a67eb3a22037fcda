"""SSL contexts made from files, and made anew when the files are others.

etcd reads certificate and key at every handshake and the authority's file once. Here every file is followed: its
stamp is looked at for each new connection, so that a rotation of the authority needs no restart either. Files that
cannot be used, a certificate whose key is still the old one for example, leave what was in force before.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from etcdops.node.tls.handshake import ClientHandshake, ServerHandshake, note_server_name
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.versions import limit
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

_Stamp = tuple[int, ...]


class UnusableFiles(Exception):
    """A certificate, key or authority cannot be used; the text is in the words of etcd, or of Go's crypto/tls."""


class Following:
    """A context that follows its files. `load` first."""

    def __init__(self, build: Callable[[], ssl.SSLContext], files: Sequence[str], warning: str) -> None:
        """Args: build raises UnusableFiles; warning is logged when files that have changed cannot be used."""
        self._build = build
        self._files = [path for path in files if path]
        self._warning = warning
        self._stamps: list[_Stamp] = []
        self._context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Raises: UnusableFiles."""
        self._stamps = [_stamp(path) for path in self._files]
        self._context = self._build()

    def current(self) -> ssl.SSLContext:
        """The context for a new connection."""
        assert self._context is not None, "load() comes first"
        stamps = [_stamp(path) for path in self._files]
        if stamps != self._stamps:
            # Taken before the files are read: what is replaced meanwhile is seen the next time.
            self._stamps = stamps
            try:
                self._context = self._build()
            except UnusableFiles as error:
                _logger.warning(self._warning, extra=fields(files=self._files, error=error, in_force="as before"))
            else:
                _logger.info("reloaded certificate files", extra=fields(files=self._files))
        return self._context


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError as error:
        return (error.errno or -1,)
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def server_context(info: TlsInfo, protocols: Sequence[str]) -> ssl.SSLContext:
    """What a port shows, and whom it lets in. Raises: UnusableFiles.

    Source: etcd client/pkg/transport/listener.go, TLSInfo.ServerConfig.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = ServerHandshake
    context.sni_callback = note_server_name
    context.set_alpn_protocols(list(protocols))
    # A session that is taken up again is not verified again: a certificate could outlive its end by the ticket's life.
    context.num_tickets = 0
    _limit(context, info)
    _load_pair(context, info.cert_file, info.key_file)
    if info.wants_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, info, ssl.Purpose.CLIENT_AUTH)
    return context


def client_context(info: TlsInfo) -> ssl.SSLContext:
    """What dials show, and whom they trust. Raises: UnusableFiles.

    Source: etcd client/pkg/transport/listener.go, TLSInfo.ClientConfig.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = _client_handshake(info)
    context.hostname_checks_common_name = False
    if not info.empty:
        _limit(context, info)
        _load_pair(context, info.dial_cert_file, info.dial_key_file)
    if info.self_signed:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_authorities(context, info, ssl.Purpose.SERVER_AUTH)
    return context


def _client_handshake(info: TlsInfo) -> type[ClientHandshake]:
    """Those we dial must have an allowed name, as those who dial us. Source: etcd TLSInfo.baseConfig."""

    class Handshake(ClientHandshake):
        allowed_cns = info.allowed_cns
        allowed_hostnames = info.allowed_hostnames

    return Handshake


def _limit(context: ssl.SSLContext, info: TlsInfo) -> None:
    try:
        limit(
            context,
            min_version=info.min_version,
            max_version=info.max_version,
            cipher_suites=info.cipher_suites,
        )
    except ssl.SSLError as error:
        raise UnusableFiles(f"this machine's OpenSSL has none of the cipher suites: {error.reason}") from error


def _load_authorities(context: ssl.SSLContext, info: TlsInfo, purpose: ssl.Purpose) -> None:
    # As Go: whatever is in the file is trusted, also an authority that another one has signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not info.trusted_ca_file:
        context.load_default_certs(purpose)
        return
    text = _read(info.trusted_ca_file)
    try:
        context.load_verify_locations(cadata=text.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        # etcd takes a file without certificates for an empty list, and lets nobody in.
        raise UnusableFiles(f"no certificates of an authority can be read from {info.trusted_ca_file}") from error


def _load_pair(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    certificate, key = _read(cert_file), _read(key_file)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise UnusableFiles(_pair_words(error, certificate, key, cert_file, key_file)) from error
    except (OSError, ValueError) as error:
        raise UnusableFiles(str(error)) from error


def _no_password() -> str:
    # Without it OpenSSL would ask on the terminal, and the member would wait for an answer.
    raise ValueError("tls: failed to parse private key: it is encrypted; give a key without a password")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnusableFiles(f"open {path}: {(error.strerror or str(error)).lower()}") from error


def _pair_words(error: ssl.SSLError, certificate: bytes, key: bytes, cert_file: str, key_file: str) -> str:
    """Source: Go crypto/tls, X509KeyPair."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls: private key does not match public key ({cert_file}, {key_file})"
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        return f"tls: failed to find any PEM data in certificate input ({cert_file})"
    if b"PRIVATE KEY-----" not in key:
        return f"tls: failed to find any PEM data in key input ({key_file})"
    return f"tls: failed to parse certificate or key: {error.reason or error} ({cert_file}, {key_file})"
