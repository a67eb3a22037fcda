"""`ProxyCommand` of ~/.ssh/config: a program whose standard input and output are the way to a host's sshd."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Mapping

from etcdops.errors import UsageError

_SHELL = "/bin/sh"
_END_WITHIN_S = 2.0
_LINES_KEPT = 5
_LINE_MAX = 400
_TOKEN = re.compile(r"%(.?)")
_PLAIN = re.compile(r"[\w:.@+][\w:.@+%-]*")
"""What neither a shell nor an option parser takes for more than it is. ssh(1) refuses other host names too."""
_SECRET = re.compile(r"((?:auth|pass\w*|token|secret)[=\s]+|//[^/\s:@]+:)[^\s@]+", re.IGNORECASE)


def proxy_line(written: str, host: str, values: Mapping[str, str]) -> str:
    """The line for the shell, its `%` tokens filled in.

    Args: written - as in the file; host - its name, for messages; values - token letter -> what it stands for.
    Raises: UsageError - a token that is none, or a value that a shell would take for more than a name.
    """

    def filled(found: re.Match[str]) -> str:
        letter = found[1]
        if letter == "%":
            return "%"
        if letter not in values:
            known = ", ".join(f"%{known}" for known in (*values, "%"))
            raise UsageError(
                f"{host}: its ProxyCommand has {found[0]}, which stands for nothing",
                cause=masked(written),
                hint=f"there are {known}; correct it in ~/.ssh/config",
            )
        if not _PLAIN.fullmatch(values[letter]):
            raise UsageError(
                f"{host}: {values[letter]!r} cannot stand for {found[0]} in a ProxyCommand",
                cause="a shell would take it for more than a name",
                hint="correct address and user in the inventory, HostName and User in ~/.ssh/config",
            )
        return values[letter]

    return _TOKEN.sub(filled, written)


def masked(line: str) -> str:
    """For messages: without what looks like a password."""
    return _SECRET.sub(r"\1***", line)


class ProxyCommand:
    """The program at work, as a socket. What it says on stderr is read all the time, and the end of it kept."""

    def __init__(self, line: str) -> None:
        """Raises: OSError - no process could be started."""
        self.line = line
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._ending = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [_SHELL, "-c", f"exec {line}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C stops a run after its step, and does not cut its connections
                )
            except OSError:
                self._socket.close()
                raise
        self._listener = threading.Thread(target=self._listen, daemon=True, name="stderr of a ProxyCommand")
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            while line := lines.readline(_LINE_MAX):
                self._said.append(line.decode(errors="replace").rstrip())

    def why_ended(self) -> str:
        """Said once its output has ended, which mostly is its own end."""
        with self._ending:
            try:
                status = self._process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                ended = "closed its output"
            else:
                ended = f"ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        self._listener.join(_END_WITHIN_S)
        return "\n".join((f"`{masked(self.line)}` {ended}", *filter(None, map(masked, list(self._said)))))

    def send(self, data: bytes) -> int:
        return self._socket.send(data)

    def recv(self, size: int) -> bytes:
        return self._socket.recv(size)

    def settimeout(self, timeout: float | None) -> None:
        self._socket.settimeout(timeout)

    def close(self) -> None:
        """End it, and what it started. Safe to repeat."""
        self._socket.close()
        with self._ending:  # once it was waited for, its number may be another's
            for number in (signal.SIGTERM, signal.SIGKILL) if self._process.returncode is None else ():
                os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_WITHIN_S)
                    break
        self._listener.join(_END_WITHIN_S)
