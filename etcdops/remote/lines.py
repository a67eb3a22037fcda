"""SSH connections that are there when something goes through them: made when first needed, again when they broke.

Everything here blocks and belongs to threads.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

from etcdops.errors import EtcdopsError
from etcdops.remote.host_keys import HostKeyPolicy
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.ssh_login import log_in
from etcdops.remote.target import Target
from etcdops.remote.tunnel import SSHTunnel

_AGAIN_AFTER_S = 5.0
"""After a failure nobody waits for a host that is down, and sshd is not asked at every attempt of every client."""
_AT_ONCE = 8


class Line:
    """The connection to one host. `policy` says whose key to trust, each time it is made."""

    def __init__(self, target: Target, policy: Callable[[], HostKeyPolicy], config: SSHConfig) -> None:
        self.target = target
        self._policy = policy
        self._config = config
        self._making = threading.Lock()
        self._transports: tuple[paramiko.Transport, ...] = ()
        self._failed_at = 0.0
        self._error: EtcdopsError | None = None
        self._closed = False

    def transport(self) -> paramiko.Transport:
        """Raises: as `ssh_login.log_in`; for some seconds after a failure the same again, at once."""
        with self._making:
            if self._transports and self._transports[0].is_active():
                return self._transports[0]
            if self._closed or (self._error is not None and time.monotonic() < self._failed_at + _AGAIN_AFTER_S):
                raise self._error or EtcdopsError(f"{self.target.name}: the connection is closed")
            self._let_go()
            try:
                self._transports = log_in(self.target, self._policy(), self._config)
            except EtcdopsError as error:
                self._error, self._failed_at = error, time.monotonic()
                raise
            self._error = None
            return self._transports[0]

    def close(self) -> None:
        with self._making:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        for transport in self._transports:
            transport.close()
        self._transports = ()


class Routes:
    """Socket files that lead through hosts, in a folder nobody else can enter. Close it when they are done with.

    A loopback port would let everybody on this machine through, to members that trust whoever reaches them.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="etcdops-"))
        self._lines: dict[str, Line] = {}
        self._tunnels: list[SSHTunnel] = []

    def add(self, line: Line, address: tuple[str, int]) -> str:
        """A socket file that leads to `address` as the host of `line` sees it. Connects to nothing yet."""
        self._lines[line.target.name] = line
        path = self._folder / str(len(self._tunnels))
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(path))
            listener.listen()
        except OSError:
            listener.close()
            raise
        self._tunnels.append(SSHTunnel(line.transport, address, listener))
        return str(path)

    def connect(self) -> dict[str, EtcdopsError]:
        """Connect to all hosts now, several at once. Returns: why some could not be, by their names."""

        def one(line: Line) -> EtcdopsError | None:
            try:
                line.transport()
            except EtcdopsError as error:
                return error
            return None

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="line") as threads:
            found = zip(self._lines, threads.map(one, self._lines.values()), strict=True)
            return {name: error for name, error in found if error is not None}

    def close(self) -> None:
        for tunnel in self._tunnels:
            tunnel.shut()
        for line in self._lines.values():
            line.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)
