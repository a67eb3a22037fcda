"""Telling the log, and systemd, that the member serves: what `Type=notify` waits for.

Source: sd_notify(3); etcd server/etcdmain/main.go, notifySystemd.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

_VARIABLE = "NOTIFY_SOCKET"


def announce_ready(client_urls: Sequence[str]) -> None:
    """etcd serves from here on; the node has served all along what needs no cluster. Supervisors wait for it.

    Source: etcd server/embed/serve.go, serve.
    """
    log.info("ready to serve client requests")
    plain = [url for url in client_urls if url.startswith("http:")]
    if secure := [url for url in client_urls if url not in plain]:
        log.info("serving client traffic securely", extra=fields(address=", ".join(secure)))
    if plain:
        log.info(
            "serving client traffic insecurely; this is strongly discouraged!",
            extra=fields(address=", ".join(plain)),
        )
    notify_ready()


def notify_ready() -> None:
    """Say READY=1 to whoever started us, if it listens. A failure is logged: the member serves all the same."""
    log.info("notifying init daemon")
    address = os.environ.get(_VARIABLE, "")
    try:
        if address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                # a name that begins with "@" is in Linux's abstract namespace
                way.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.error("failed to notify systemd for readiness", extra=fields(error=str(error)))
        return
    log.info("successfully notified init daemon")
