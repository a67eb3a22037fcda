"""A member's TLS as its flags want it: read, checked and told to the log before a port is opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from etcdops.errors import StartRefused
from etcdops.node.config.settings import Config
from etcdops.node.config.urls import host_and_port
from etcdops.node.tls.client import ClientTls
from etcdops.node.tls.contexts import UnusableFiles
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.self_signed import self_signed
from etcdops.node.tls.server import ServerTls
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

CLIENT_PROTOCOLS = ("http/1.1", "h2")
"""Offered by ALPN, first choice first. Who speaks both, as curl does, wants /health or /metrics, which HTTP/1.1 serves;
clients of gRPC speak h2 alone.
"""

PEER_PROTOCOLS = ("http/1.1",)


@dataclass(frozen=True, slots=True)
class MemberTls:
    """What each port and the dials use; None where the flags name no certificate."""

    client: ServerTls | None = None
    metrics: ServerTls | None = None
    peer: ServerTls | None = None
    dial: ClientTls | None = None


def open_tls(config: Config) -> MemberTls:
    """Raises: StartRefused - files that cannot be used.

    Source: etcd server/embed/etcd.go, configurePeerListeners and configureClientListeners.
    """
    peer, client = _peer_info(config), _client_info(config)
    opened = MemberTls(
        client=_serves(client, ServerTls(client, endpoint="client", protocols=CLIENT_PROTOCOLS)),
        # etcd checks from where a certificate comes on its metrics port, and not on its client port.
        metrics=_serves(client, ServerTls(client, endpoint="client", protocols=CLIENT_PROTOCOLS, check_addresses=True)),
        peer=_serves(peer, ServerTls(peer, endpoint="peer", protocols=PEER_PROTOCOLS, check_addresses=True)),
        dial=ClientTls(peer) if not peer.empty or peer.trusted_ca_file else None,
    )
    for kind, part in (("peer", opened.peer), ("peer", opened.dial), ("client", opened.client)):
        _load(kind, part)
    if opened.metrics is not None and any(url.startswith("https:") for url in config.listen_metrics_urls):
        _load("client", opened.metrics)
    return opened


def _serves(info: TlsInfo, tls: ServerTls) -> ServerTls | None:
    return None if info.empty else tls


def _load(kind: str, part: ServerTls | ClientTls | None) -> None:
    if part is None:
        return
    try:
        part.load()
    except UnusableFiles as error:
        prefix = "--peer-" if kind == "peer" else "--"
        raise StartRefused(
            str(error), hint=f"correct {prefix}cert-file, {prefix}key-file or {prefix}trusted-ca-file"
        ) from error


def _peer_info(config: Config) -> TlsInfo:
    """Source: etcd server/embed/etcd.go, configurePeerListeners."""
    info = config.peer_tls
    if config.peer_auto_tls:
        info = _made(config, "peer", info, config.listen_peer_urls)
    _announce("peer", info)
    _warn_of_plain(info, config.listen_peer_urls, key="peer-url", scheme="HTTP", option="--peer-client-cert-auth")
    return info


def _client_info(config: Config) -> TlsInfo:
    """Source: etcd server/embed/etcd.go, configureClientListeners."""
    info = config.client_tls
    if config.auto_tls:
        info = _made(config, "client", info, config.listen_client_urls)
    _announce("client", info)
    _warn_of_plain(
        info, config.listen_client_urls, key="client-url", scheme="http or unix", option="--client-cert-auth"
    )
    return info


def _announce(kind: str, info: TlsInfo) -> None:
    if not info.empty:
        told = fields({"tls-info": str(info), "cipher-suites": info.cipher_suites})
        _logger.info("starting with %s TLS", kind, extra=told)


def _warn_of_plain(info: TlsInfo, urls: Sequence[str], *, key: str, scheme: str, option: str) -> None:
    """Of the URLs on which nothing of it is used."""
    for url in urls:
        if not url.startswith("http:"):
            continue
        told = fields({key: url})
        if not info.empty:
            _logger.warning(
                "scheme is %s while key and cert files are present; ignoring key and cert files", scheme, extra=told
            )
        if info.client_cert_auth:
            _logger.warning(
                "scheme is %s while %s is enabled; ignoring client cert auth for this URL", scheme, option, extra=told
            )


def _made(config: Config, kind: str, info: TlsInfo, urls: Sequence[str]) -> TlsInfo:
    """Source: etcd server/embed/config.go, ClientSelfCert and PeerSelfCert."""
    if not info.empty:
        _logger.warning("ignoring %s auto TLS since certs given", kind)
        return info
    folder = Path(config.data_dir) / "fixtures" / kind
    made = self_signed(folder, [host_and_port(url)[0] for url in urls], years=config.self_signed_cert_validity)
    return replace(made, cipher_suites=info.cipher_suites, min_version=info.min_version, max_version=info.max_version)
