"""Listening sockets, with Go's ideas of what a host is."""

from __future__ import annotations

import socket

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
