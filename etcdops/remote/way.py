"""What the bytes of a connection go through, and whether anybody is still there at its other end.

A host that loses its power says nothing, and what is between us and it, a jump host or a proxy, may go on to take what
we send. So the other end itself is asked for a sign of life, as OpenSSH's `ServerAliveInterval` does, and a way on
which nothing is heard or taken any more is broken, for everybody who uses it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import paramiko
from paramiko.common import cMSG_GLOBAL_REQUEST
from paramiko.message import Message

_ASK = "keepalive@openssh.com"


class KeepAlive(NamedTuple):
    """How soon a connection is known to be dead: after both together, at the latest."""

    every_s: float = 15.0
    """Without sending anything for so long, the other end is asked for an answer."""
    dead_after_s: float = 45.0
    """Without an answer for so long after the first question, or with nothing taken for so long, it is gone."""


USUAL = KeepAlive()


class Carrier(Protocol):
    """A socket, a channel through a jump host, a `ProxyCommand`. Waiting ends by TimeoutError, as sockets do it."""

    def send(self, data: bytes, /) -> int: ...

    def recv(self, size: int, /) -> bytes:
        """Nothing: the other side has closed it."""

    def settimeout(self, timeout: float | None, /) -> None: ...

    def close(self) -> None: ...


class Way:
    """A carrier that is watched; what paramiko takes for a socket."""

    def __init__(self, carrier: Carrier, end: str, *, why_ended: Callable[[], str] = str) -> None:
        """Args: end - what is at the other one, for messages; why_ended - asked when it was closed from there."""
        self._carrier = carrier
        self._end = end
        self._why_ended = why_ended
        self._dead_after_s = 0.0
        self._asked_at: float | None = None
        """When the first question was sent that nothing was heard after."""
        self._stuck_since: float | None = None
        self._closed = False  # paramiko reads it
        self.broke = ""
        """Why nothing goes through any more, as far as it is known; empty while something does."""

    def keep_alive(self, transport: paramiko.Transport, times: KeepAlive) -> None:
        """From now on, for as long as the connection stands."""
        self._dead_after_s = times.dead_after_s
        question = Message()
        question.add_byte(cMSG_GLOBAL_REQUEST)
        question.add_string(_ASK)
        question.add_boolean(True)  # an answer is wanted; "I do not know what you mean" is one

        def ask() -> None:
            # before it is sent: where nothing is taken any more, sending does not come to its end
            self._asked_at = self._asked_at or time.monotonic()
            transport._send_user_message(question)  # type: ignore[attr-defined]  # in its own thread, it must not wait

        transport.packetizer.set_keepalive(times.every_s, ask)

    def send(self, data: bytes) -> int:
        try:
            sent = self._carrier.send(data)
        except TimeoutError:
            self._stuck_since = self._stuck_since or time.monotonic()
            self._require_life(self._stuck_since, "took not a byte")
            raise
        except OSError:
            self._note_end()
            raise
        self._stuck_since = None
        return sent

    def recv(self, size: int) -> bytes:
        try:
            data = self._carrier.recv(size)
        except TimeoutError:
            if self._asked_at is not None:
                self._require_life(self._asked_at, "gave no sign of life")
            raise
        except OSError:
            self._note_end()
            raise
        self._asked_at = None
        if not data:
            self._note_end()
        return data

    def _note_end(self) -> None:
        if not self._closed:
            self.broke = self.broke or self._why_ended()

    def _require_life(self, since: float, what: str) -> None:
        if self._dead_after_s and time.monotonic() - since > self._dead_after_s:
            self.broke = (
                f"{self._end} {what} for {self._dead_after_s:g} s: the host is down, or the network between was cut"
            )
            raise ConnectionAbortedError(errno.ECONNABORTED, self.broke)  # ETIMEDOUT would be a TimeoutError

    def settimeout(self, timeout: float | None) -> None:
        self._carrier.settimeout(timeout)

    def close(self) -> None:
        self._closed = True
        self._carrier.close()
