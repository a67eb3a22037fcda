"""Free TCP ports for processes that must be told their port before they start."""

from __future__ import annotations

import random
import socket

# Below Linux's range for outgoing connections (32768 and up): there, a client that dials a stopped member again
# and again may be given the member's own port, connect to itself and keep the port from the restarted member.
_FIRST, _LAST = 15_000, 32_000


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports nobody listens on now. Drawn at random, so that parallel test runs rarely meet."""
    held: list[socket.socket] = []
    draw = random.SystemRandom()
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind((host, draw.randint(_FIRST, _LAST)))
            except OSError:
                candidate.close()
            else:
                held.append(candidate)
        return [int(taken.getsockname()[1]) for taken in held]
    finally:
        for taken in held:
            taken.close()
