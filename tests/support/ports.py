"""Free TCP ports for processes that must be told their port before they start."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections import deque
from pathlib import Path

# Below Linux's range for outgoing connections (32768 and up): there, a client that dials a stopped member again
# and again may be given the member's own port, connect to itself and keep the port from the restarted member.
# And below the ports that `etcdops.playbooks.ports` gives to the clusters it makes.
FIRST, LAST = 15_000, 23_999
_KEPT_MAX = 400
"""Ports one process keeps for itself: more than any test uses at once, few enough for many runs at a time."""


class _Register:
    """Ports that test processes of this machine keep, also while the member they gave one to is down.

    One file with a locked byte for each port: a lock goes with the process that holds it, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self._kept: deque[int] = deque()
        self._descriptor = _open(path)

    def keep(self, port: int) -> bool:
        """Keep a port from others; False when another process keeps it. The port kept longest is let go for it."""
        if port in self._kept:
            return False  # ours, and perhaps of a member that is down right now
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self._kept.append(port)
        if len(self._kept) > _KEPT_MAX:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._kept.popleft())
        return True


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.fchmod(descriptor, 0o666)  # other users run tests here too, whatever our umask says
        return descriptor


FOLDER_NAME = "etcdops-test-ports"
"""In the folder for temporary files; it stays."""

_registers: dict[int, _Register] = {}
"""By process: a lock is not inherited by a fork."""


def _register() -> _Register:
    # One for each process: closing a second descriptor of the file would end all its locks.
    if os.getpid() not in _registers:
        _registers[os.getpid()] = _Register(Path(tempfile.gettempdir(), FOLDER_NAME))
    return _registers[os.getpid()]


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports nobody listens on and no other test run keeps; drawn at random.

    They stay ours while a member that uses one is down: a test may start it again at the same address.
    """
    register = _register()
    held: list[socket.socket] = []
    draw = random.SystemRandom()
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind((host, draw.randint(FIRST, LAST)))
            except OSError:
                candidate.close()
                continue
            if register.keep(int(candidate.getsockname()[1])):
                held.append(candidate)
            else:
                candidate.close()
        return [int(taken.getsockname()[1]) for taken in held]
    finally:
        for taken in held:
            taken.close()
