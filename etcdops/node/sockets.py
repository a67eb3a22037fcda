"""Listening sockets, with Go's ideas of what a host is."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from etcdops.errors import StartRefused

_BACKLOG = 4096


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens: `localhost` is IPv4's, an empty host and 0.0.0.0 are everything there is.

    Raises: OSError - the address is in use, or not this machine's.
    """
    everywhere = host in ("", "0.0.0.0", "::")  # noqa: S104  # the operator asked for it
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if everywhere and socket.has_dualstack_ipv6():
        family, address = socket.AF_INET6, "::"
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if everywhere else 1)
        listening.bind((address, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def prove_bindable(addresses: Iterable[tuple[str, int]]) -> None:
    """Whether all of these (host, port) could be listened on together, now; none of them is when this returns.

    Raises: StartRefused with etcd's words - one is in use, or not this machine's.
    """
    held: list[socket.socket] = []
    try:
        for host, port in addresses:
            try:
                held.append(listening_socket(host, port))
            except OSError as error:
                raise bind_refused(host, port, error) from error
    finally:
        for listening in held:
            listening.close()


def bind_refused(host: str, port: int, error: OSError) -> StartRefused:
    """What to say when `listening_socket` raised. Source: Go's net.OpError, as etcd prints it."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reason = (error.strerror or str(error)).lower()
    hint = "stop the process that listens there (`ss -ltnp` shows it), or choose another port"
    if error.errno == errno.EACCES:
        hint = "choose a port above 1023, or allow this user to use that one"
    elif error.errno != errno.EADDRINUSE:
        hint = "listen on an address of this machine"
    return StartRefused(f"listen tcp {shown}: bind: {reason}", hint=hint)
