"""A closed loop of unary calls from as few bytes of Python as possible: the members are measured, not the load.

grpcio's client takes longer for a call than the member it calls. This one writes ready-made frames and reads only how
each answer ends; both engines get exactly the same bytes. `Load.cpu_s` tells what it took itself: well below one core,
it held nobody up.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.http2_client import FakeClient, call_headers, message

PATH = "/etcdserverpb.KV/Put"
KEY = b"bench/%08d"
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
    """What the calls of one run came to."""

    took_s: float = 0.0
    cpu_s: float = 0.0
    """Of the load itself, not of the members."""

    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Calls per second."""
        return len(self.latencies_s) / self.took_s

    def percentile_ms(self, percent: int) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000


class LoadFailed(Exception):
    """A member refused a call or hung up: the figures would be worth nothing."""


def put(
    endpoints: Sequence[str],
    *,
    connections: int,
    in_flight: int,
    puts: int,
    seed: int,
    timeout_s: float,
    keys: int = KEYS,
) -> Load:
    """`puts` puts of `keys` random keys, `in_flight` at a time on each connection; connections take endpoints in turn.

    Raises: LoadFailed; TimeoutError.
    """
    source = random.Random(seed)
    request = message(pb.PutRequest(key=KEY % 0, value=source.randbytes(VALUE_BYTES)).SerializeToString())
    before, after = request.split(KEY % 0, 1)

    def next_put() -> bytes:
        return b"%s%s%s" % (before, KEY % source.randrange(keys), after)

    return call(
        endpoints, PATH, next_put, connections=connections, in_flight=in_flight, calls=puts, timeout_s=timeout_s
    )


def call(
    endpoints: Sequence[str],
    path: str,
    next_message: Callable[[], bytes],
    *,
    connections: int,
    in_flight: int,
    calls: int,
    timeout_s: float,
) -> Load:
    """`calls` unary calls; `next_message` gives each request with its gRPC prefix. Else like `put`.

    Raises: LoadFailed; TimeoutError.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_call(endpoints, path, next_message, connections, in_flight, calls, timeout_s))


async def _call(
    endpoints: Sequence[str],
    path: str,
    next_message: Callable[[], bytes],
    connections: int,
    in_flight: int,
    calls: int,
    timeout_s: float,
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    work = _Work(path, next_message, calls, load, loop.create_future())
    ends = [urlsplit(endpoints[number % len(endpoints)]) for number in range(connections)]
    transports = []
    for end in ends:
        assert end.hostname is not None
        assert end.port is not None
        transport, _ = await loop.create_connection(lambda: _Connection(work, in_flight), end.hostname, end.port)
        transports.append(transport)
    started, started_cpu = time.perf_counter(), time.process_time()
    try:
        async with asyncio.timeout(timeout_s):
            await work.done
    finally:
        load.took_s = time.perf_counter() - started
        load.cpu_s = time.process_time() - started_cpu
        work.closing = True
        for transport in transports:
            transport.close()
    return load


class _Work:
    """Requests to be sent, shared by all connections."""

    def __init__(
        self, path: str, next_message: Callable[[], bytes], calls: int, load: Load, done: asyncio.Future[None]
    ) -> None:
        self.path = path
        self.left = self.missing = calls
        self.load = load
        self.done = done
        self.closing = False
        self._next_message = next_message

    def next_request(self) -> bytes:
        self.left -= 1
        return self._next_message()

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
        self._work = work
        self._in_flight = in_flight
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._stream_id = 1
        self._started: dict[int, float] = {}
        self._has_answer: set[int] = set()
        fake = FakeClient()
        # The second time every header is in both tables: from then on this block is the same bytes for every call.
        _, self._first_headers = fake.headers(call_headers(work.path))
        _, again = fake.headers(call_headers(work.path))
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
            self._work.fail("a call was refused: its answer has no message")
            return
        self._has_answer.discard(stream_id)
        self._work.answered(self._started.pop(stream_id))

    def _next(self) -> bytes:
        """One more call: HEADERS and DATA."""
        stream_id = self._stream_id
        self._stream_id += 2
        number = stream_id.to_bytes(4, "big")
        headers = self._first_headers if stream_id == 1 else self._headers + number + self._block
        request = self._work.next_request()
        assert self._in_flight * len(request) <= IN_FLIGHT_BYTES_MAX, "more than fits into the first window"
        self._started[stream_id] = time.perf_counter()
        return b"%s%s\0\1%s%s" % (headers, len(request).to_bytes(3, "big"), number, request)

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
