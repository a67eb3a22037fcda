"""Streams that stay open: watchers that count events, and leases kept alive, with as little Python as `put_load`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar, cast
from urllib.parse import urlsplit

import uvloop

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.bench.put_load import Load, LoadFailed
from tests.fakes.http2_client import FakeClient, call_headers, message

WATCH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
STREAMS_MAX = 10
LEASE_TTL_S = 600

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM = _ACK = 1
_WINDOW = 2**31 - 65_536
"""So large that a run never has to renew it."""

T = TypeVar("T")


class Stream(asyncio.Protocol):
    """One connection with one open call; each message of the server goes to `take`."""

    def __init__(self, path: str, take: Callable[[Stream, bytes], None], failed: Callable[[str], None]) -> None:
        self._take = take
        self._failed = failed
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._messages = b""
        fake = FakeClient()
        self._stream_id, headers = fake.headers(call_headers(path))
        self._hello = fake.hello({4: 2**31 - 1}) + fake.window_update(0, _WINDOW) + headers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass
        self._transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        self._failed(f"a member hung up: {exc}")

    def send(self, *requests: bytes) -> None:
        """Send encoded messages, each in a frame of its own."""
        assert self._transport is not None
        raw = FakeClient.raw_frame
        self._transport.write(b"".join(raw(_DATA, 0, self._stream_id, message(request)) for request in requests))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        data = self._unread + data
        at, end = 0, len(data)
        while end - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if end - at < 9 + size:
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind == _DATA:
                self._messages += data[at + 9 : at + 9 + size]
                self._take_messages()
            elif kind != _SETTINGS and kind != _PING:
                if kind in (_RST, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
                    self._failed(f"the member ended a stream: frame of type {kind}")
            elif not flags & _ACK:
                assert self._transport is not None
                self._transport.write(
                    FakeClient.raw_frame(kind, _ACK, 0, data[at + 9 : at + 9 + size * (kind == _PING)])
                )
            at += 9 + size
        self._unread = data[at:]

    def _take_messages(self) -> None:
        data, at = self._messages, 0
        while len(data) - at >= 5:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            if end > len(data):
                break
            self._take(self, data[at + 5 : end])
            at = end
        self._messages = data[at:]


class Watchers:
    """Watchers of one key range, spread over a few streams, and the events they got."""

    def __init__(self, endpoint: str, count: int) -> None:
        self._endpoint = endpoint
        self._count = count
        self._streams: list[Stream] = []
        self._done = asyncio.get_running_loop().create_future()
        self._created = asyncio.Event()
        self._watching = 0
        self._missing = 0
        self._closing = False

    async def open(self) -> None:
        """Create them and wait until the member has all of them."""
        for number in range(min(self._count, STREAMS_MAX)):
            stream = await _connect(self._endpoint, WATCH, self._take, self._fail)
            self._streams.append(stream)
            share = len(range(number, self._count, STREAMS_MAX))
            create = pb.WatchCreateRequest(key=b"bench/", range_end=b"bench0")
            stream.send(*[pb.WatchRequest(create_request=create).SerializeToString()] * share)
        await self._created.wait()

    def expect(self, events: int) -> asyncio.Future[None]:
        """Resolved when this many more events, over all watchers, have come."""
        self._missing = events
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def close(self) -> None:
        self._closing = True
        for stream in self._streams:
            stream.close()

    def _take(self, stream: Stream, data: bytes) -> None:
        response = pb.WatchResponse.FromString(data)
        if response.created:
            self._watching += 1
            if self._watching == self._count:
                self._created.set()
        self._missing -= len(response.events)
        if self._missing <= 0 and not self._done.done():
            self._done.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._closing and not self._done.done():
            self._done.set_exception(LoadFailed(reason))


def watch(endpoint: str, *, watchers: int, events: int, drive: Callable[[], object], timeout_s: float) -> Load:
    """Time until `watchers` have got `events` events each, which `drive`, run on a thread, causes.

    Raises: LoadFailed; TimeoutError.
    """

    async def run() -> Load:
        load = Load()
        group = Watchers(endpoint, watchers)
        try:
            async with asyncio.timeout(timeout_s):
                await group.open()
                done = group.expect(watchers * events)
                started, started_cpu = time.perf_counter(), time.process_time()
                driving = asyncio.create_task(asyncio.to_thread(drive))
                await done
                load.took_s = time.perf_counter() - started
                load.cpu_s = time.process_time() - started_cpu
                await driving
        finally:
            group.close()
        return load

    return _run(run)


def keep_alive(endpoint: str, leases: list[int], *, in_flight: int, count: int, timeout_s: float) -> Load:
    """`count` keep-alives of `leases` in turn over a few streams, `in_flight` under way on each.

    Raises: LoadFailed - also when a lease is gone; TimeoutError.
    """

    async def run() -> Load:
        load = Load()
        done = asyncio.get_running_loop().create_future()
        requests = [pb.LeaseKeepAliveRequest(ID=lease).SerializeToString() for lease in leases]
        streams: list[Stream] = []
        sent = answered = 0

        def fail(reason: str) -> None:
            if not done.done():
                done.set_exception(LoadFailed(reason))

        def take(stream: Stream, data: bytes) -> None:
            nonlocal sent, answered
            if pb.LeaseKeepAliveResponse.FromString(data).TTL != LEASE_TTL_S:
                fail("a lease is gone")
            answered += 1
            if answered == count and not done.done():
                done.set_result(None)
            if sent < count:
                stream.send(requests[sent % len(requests)])
                sent += 1

        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(STREAMS_MAX):
                    streams.append(await _connect(endpoint, KEEP_ALIVE, take, fail))
                started, started_cpu = time.perf_counter(), time.process_time()
                for stream in streams:
                    first, sent = sent, min(sent + in_flight, count)
                    stream.send(*[requests[number % len(requests)] for number in range(first, sent)])
                await done
            load.took_s = time.perf_counter() - started
            load.cpu_s = time.process_time() - started_cpu
        finally:
            for stream in streams:
                stream.close()
        return load

    return _run(run)


async def _connect(
    endpoint: str, path: str, take: Callable[[Stream, bytes], None], failed: Callable[[str], None]
) -> Stream:
    end = urlsplit(endpoint)
    assert end.hostname is not None
    assert end.port is not None
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(path, take, failed), end.hostname, end.port)
    return stream


def _run(main: Callable[[], Coroutine[None, None, T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
