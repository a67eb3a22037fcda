"""One connection made of bytes: frames no library would send, and everything that comes back, as lines of text."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from hyperframe.frame import GoAwayFrame

from tests.fakes.http2_client import Answer, FakeClient

TIMEOUT_S = 20.0
_IGNORED_HEADERS = frozenset({"date"})


class Wire:
    """A TCP connection to a member that has said hello in HTTP/2. Use it in a `with`."""

    def __init__(self, address: str, settings: Mapping[int, int] | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self.http2 = FakeClient()
        self.closed = False
        self.send(self.http2.hello(dict(settings or {})))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """A server that has heard enough may close before everything is sent."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def read_until(self, done: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> bool:
        """Read until `done()`, the server closes, or time is up. Returns: whether it was done."""
        ends = time.monotonic() + timeout_s
        while not done() and not self.closed:
            left = ends - time.monotonic()
            if left <= 0:
                break
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self.closed = True
            self.http2.read(data)
            self._acknowledge(len(data))
        return done()

    def _acknowledge(self, size: int) -> None:
        """Windows stay open, settings and pings are answered: what every client does."""
        sent = b""
        if size:
            sent += self.http2.window_update(0, size)
        for data in self.http2.pings:
            sent += self.http2.ping(data, ack=True)
        self.http2.pings.clear()
        if sent and not self.closed:
            self.send(sent)

    def settle(self) -> None:
        """Read what the server had to say up to now: it answers a PING after everything before it."""
        mark = b"settled%d" % (len(self.http2.ping_acks) % 10)
        self.send(self.http2.ping(mark))
        self.read_until(lambda: mark in self.http2.ping_acks)

    def answer(self, stream_id: int, timeout_s: float = TIMEOUT_S) -> Answer:
        """What came on a stream once it ended, was reset, or the connection is closed."""
        found = self.http2.answer(stream_id)
        self.read_until(lambda: found.ended or found.reset is not None, timeout_s)
        return found

    def goaways(self) -> list[str]:
        """Code and words of every GOAWAY."""
        return [_goaway(frame) for frame in self.http2.goaways]


def _goaway(frame: GoAwayFrame) -> str:
    return f"GOAWAY {frame.error_code} {bytes(frame.additional_data).decode()!r}"


def shown(answer: Answer) -> list[str]:
    """An answer as lines: head, messages by size, trailers, how it ended."""
    lines = [f"{name}: {value}" for name, value in sorted(answer.headers.items()) if name not in _IGNORED_HEADERS]
    if answer.data:
        lines.append(f"messages: {len(answer.messages)}")
    # Nothing said and "" said are the same to every client.
    lines += [f"{name}: {value}" for name, value in sorted(answer.trailers.items()) if value]
    if answer.reset is not None and not answer.ended:
        lines.append(f"RST_STREAM {answer.reset}")
    return lines or ["nothing"]


def http1(address: str, request: bytes, *, names: Sequence[str] = (), timeout_s: float = 3.0) -> list[str]:
    """Send bytes on a connection of their own; status line, the headers asked for, and the body, as lines."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
        connection.sendall(request)
        data = b""
        try:
            while part := connection.recv(1 << 16):
                data += part
        except (ConnectionResetError, TimeoutError):
            pass  # an upgrade, for one, leaves it open
    head, _, body = data.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    kept = []
    for header in headers:
        name, _, value = header.partition(": ")
        if name.lower() in names:
            kept.append(f"{name.lower()}: {value}")
    return [re.sub(r"HTTP/1\.\d (\d+).*", r"\1", status), *sorted(kept), body.decode(errors="replace")]
