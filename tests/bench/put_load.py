"""A closed loop of puts from as few bytes of Python as possible, so that the members and not the load are measured.

grpcio's client takes longer for a call than the member it calls. This one writes ready-made frames and reads only how
each answer ends; both engines get exactly the same bytes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.http2_client import FakeClient, call_headers, message

PATH = "/etcdserverpb.KV/Put"
KEYS = 100_000
VALUE_BYTES = 256
IN_FLIGHT_BYTES_MAX = 32 * 1024
"""Of one connection. HTTP/2's first window is 65,535 bytes and is renewed while answers come, so that a load below half
of it never has to wait for a window; which spares the client from counting one."""

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM = _ACK = 1
_WINDOW = 2**31 - 65_536


@dataclass
class Load:
    """What the puts of one run came to."""

    took_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Puts per second."""
        return len(self.latencies_s) / self.took_s

    def percentile_ms(self, percent: int) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000


class LoadFailed(Exception):
    """A member refused a put or hung up: the figures would be worth nothing."""


def put(endpoints: Sequence[str], *, connections: int, in_flight: int, puts: int, seed: int, timeout_s: float) -> Load:
    """`puts` puts of random keys, `in_flight` at a time on each connection; connections take endpoints in turn.

    Raises: LoadFailed; TimeoutError.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_put(endpoints, connections, in_flight, puts, seed, timeout_s))


async def _put(
    endpoints: Sequence[str], connections: int, in_flight: int, puts: int, seed: int, timeout_s: float
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    work = _Work(puts, seed, load, loop.create_future())
    ends = [urlsplit(endpoints[number % len(endpoints)]) for number in range(connections)]
    transports = []
    for end in ends:
        assert end.hostname is not None
        assert end.port is not None
        transport, _ = await loop.create_connection(lambda: _Connection(work, in_flight), end.hostname, end.port)
        transports.append(transport)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            await work.done
    finally:
        load.took_s = time.perf_counter() - started
        work.closing = True
        for transport in transports:
            transport.close()
    return load


class _Work:
    """Requests to be sent, shared by all connections."""

    def __init__(self, puts: int, seed: int, load: Load, done: asyncio.Future[None]) -> None:
        self.left = self.missing = puts
        self.load = load
        self.done = done
        self.closing = False
        self._random = random.Random(seed)
        value = self._random.randbytes(VALUE_BYTES)
        request = pb.PutRequest(key=b"bench/%08d" % 0, value=value).SerializeToString()
        self._before, self._after = message(request).split(b"%08d" % 0, 1)
        self.request_bytes = len(message(request))

    def next_request(self) -> bytes:
        self.left -= 1
        return b"%s%08d%s" % (self._before, self._random.randrange(KEYS), self._after)

    def answered(self, started: float) -> None:
        self.load.latencies_s.append(time.perf_counter() - started)
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, reason: str) -> None:
        if not self.done.done() and not self.closing:
            self.done.set_exception(LoadFailed(reason))


class _Connection(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, work: _Work, in_flight: int) -> None:
        assert in_flight * work.request_bytes <= IN_FLIGHT_BYTES_MAX, "more than fits into the first window"
        self._work = work
        self._in_flight = in_flight
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._stream_id = 1
        self._started: dict[int, float] = {}
        self._has_answer: set[int] = set()
        fake = FakeClient()
        # The second time every header is in both tables: from then on this block is the same bytes for every call.
        _, self._first_headers = fake.headers(call_headers(PATH))
        _, again = fake.headers(call_headers(PATH))
        self._headers = again[:5]
        self._block = again[9:]
        self._hello = fake.hello({4: 2**31 - 1}) + fake.window_update(0, _WINDOW)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass
        self._write(self._hello + b"".join(self._next() for _ in range(min(self._in_flight, self._work.left))))

    def connection_lost(self, exc: Exception | None) -> None:
        self._work.fail(f"a member hung up: {exc}")

    def data_received(self, data: bytes) -> None:
        data = self._unread + data
        at, end = 0, len(data)
        answer = []
        while end - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if end - at < 9 + size:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream_id = int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == _DATA:
                self._has_answer.add(stream_id)
            elif kind == _HEADERS:
                if flags & _END_STREAM:
                    self._ended(stream_id)
                    if self._work.left > 0:
                        answer.append(self._next())
            elif kind == _PING and not flags & _ACK:
                answer.append(FakeClient.ping(data[at + 9 : at + 9 + size], ack=True))
            elif kind == _SETTINGS and not flags & _ACK:
                answer.append(FakeClient.raw_frame(_SETTINGS, _ACK, 0, b""))
            elif kind in (_RST, _GOAWAY):
                self._work.fail(f"frame of type {kind}: {data[at : at + 9 + size]!r}")
            at += 9 + size
        self._unread = data[at:]
        if answer:
            self._write(b"".join(answer))

    def _ended(self, stream_id: int) -> None:
        if stream_id not in self._has_answer:
            self._work.fail("a put was refused: its answer has no message")
            return
        self._has_answer.discard(stream_id)
        self._work.answered(self._started.pop(stream_id))

    def _next(self) -> bytes:
        """One more put: HEADERS and DATA."""
        stream_id = self._stream_id
        self._stream_id += 2
        number = stream_id.to_bytes(4, "big")
        headers = self._first_headers if stream_id == 1 else self._headers + number + self._block
        request = self._work.next_request()
        self._started[stream_id] = time.perf_counter()
        return b"%s%s\0\1%s%s" % (headers, len(request).to_bytes(3, "big"), number, request)

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
