"""Ports of this machine: which are free, and whether somebody listens."""

from __future__ import annotations

import random
import socket
from urllib.parse import urlsplit

# Below Linux's range for outgoing connections (32768 and up): there, a peer that dials a stopped member again and
# again may be given the member's own port, connect to itself, and keep the port from the restarted member.
_FIRST, _LAST = 24_000, 32_000
_TRIES_MAX = 10_000
_CONNECT_TIMEOUT_S = 0.5


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports nobody listens on now, drawn at random so that two runs at a time rarely meet.

    Raises: OSError - none found.
    """
    held: list[socket.socket] = []
    draw = random.SystemRandom()
    try:
        for _ in range(_TRIES_MAX):
            if len(held) == count:
                return [int(taken.getsockname()[1]) for taken in held]
            candidate = socket.socket()
            try:
                candidate.bind((host, draw.randint(_FIRST, _LAST)))
            except OSError:
                candidate.close()
            else:
                held.append(candidate)
        raise OSError(f"no {count} free ports on {host} between {_FIRST} and {_LAST}")
    finally:
        for taken in held:
            taken.close()


def is_listening(url: str) -> bool:
    """Whether somebody accepts connections at the host and port of a URL."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
