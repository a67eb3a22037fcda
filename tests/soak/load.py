"""Clients that come, work for a while and leave, in every way there is; about as many at any moment.

Each life is a connection of its own: writers of small and big values, readers, transactions, watchers that leave with
or without a word, leases that are revoked, kept for a while or left to die, and connections that vanish half said.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.http2_client import FakeClient

Answer = TypeVar("Answer", bound=Message)

LIFE_MAX_S = 30.0
_CALL_TIMEOUT_S = 10.0
_VALUE_BYTES = ((700, 256), (200, 4_096), (90, 16_384), (10, 300_000))
"""Weights and sizes."""

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for every client, as clients on many machines have
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
)
_KV, _LEASE, _WATCH = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Watch/Watch"


class Load:
    """`run` until cancelled; then the counters say what was done."""

    def __init__(self, urls: Sequence[str], *, clients: int, calls_a_second: float, keys: int, seed: int) -> None:
        """Args: urls of the members, which may be away for a while; clients alive at any moment; keys are written over
        and over, so that the store has a size to stay at."""
        self.urls = list(urls)
        self.calls: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.lives = 0
        self._clients = clients
        self._keys = keys
        self._pause_s = clients / calls_a_second
        self._draw = random.Random(seed)
        self._roles: dict[Callable[[str], Awaitable[None]], int] = {
            self._writer: 30,
            self._reader: 20,
            self._txn_writer: 10,
            self._watcher: 20,
            self._lease_holder: 15,
            self._visitor: 5,
            self._vanishing: 5,
        }

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._lives())

    async def _lives(self) -> None:
        while True:
            (role,) = self._draw.choices(list(self._roles), list(self._roles.values()))
            self.lives += 1
            try:
                async with asyncio.timeout(LIFE_MAX_S):
                    await role(self._draw.choice(self.urls))
            except grpc.aio.AioRpcError as error:
                self.failures[f"{role.__name__.strip('_')}: {error.code().name}"] += 1
            except (OSError, TimeoutError) as error:
                self.failures[f"{role.__name__.strip('_')}: {type(error).__name__}"] += 1
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s * self._draw.uniform(0.5, 1.5))

    # Roles.

    async def _writer(self, url: str) -> None:
        async with grpc.aio.insecure_channel(_target(url), options=_OPTIONS) as channel:
            for _ in range(self._draw.randint(1, 30)):
                request = pb.PutRequest(key=self._key(), value=self._value())
                await self._call(channel, _KV + "Put", request, pb.PutResponse)
                await self._pause()

    async def _reader(self, url: str) -> None:
        async with grpc.aio.insecure_channel(_target(url), options=_OPTIONS) as channel:
            for _ in range(self._draw.randint(1, 20)):
                key = self._key()
                end = key[:-1] + b"~" if self._draw.random() < 0.2 else b""
                serializable = self._draw.random() < 0.3
                request = pb.RangeRequest(key=key, range_end=end, serializable=serializable, limit=50)
                await self._call(channel, _KV + "Range", request, pb.RangeResponse)
                await self._pause()

    async def _txn_writer(self, url: str) -> None:
        async with grpc.aio.insecure_channel(_target(url), options=_OPTIONS) as channel:
            for _ in range(self._draw.randint(1, 10)):
                key = self._key()
                compare = pb.Compare(key=key, target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0)
                puts = [
                    pb.RequestOp(request_put=pb.PutRequest(key=self._key(), value=b"txn"))
                    for _ in range(self._draw.randint(1, 10))
                ]
                get = pb.RequestOp(request_range=pb.RangeRequest(key=key))
                delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
                request = pb.TxnRequest(compare=[compare], success=[get, delete], failure=_once(puts))
                await self._call(channel, _KV + "Txn", request, pb.TxnResponse)
                await self._pause()

    async def _watcher(self, url: str) -> None:
        """Some watches on one stream; waits for events; leaves in order or just hangs up."""
        async with grpc.aio.insecure_channel(_target(url), options=_OPTIONS) as channel:
            orderly = self._draw.random() < 0.5
            wanted, leave_s = self._draw.randint(1, 200), self._draw.uniform(0.5, 8.0)
            opened: Any = channel.stream_stream(  # grpc-stubs know only calls with all requests given at once
                _WATCH,
                request_serializer=pb.WatchRequest.SerializeToString,
                response_deserializer=pb.WatchResponse.FromString,
            )
            stream = opened(timeout=LIFE_MAX_S)
            try:
                async with asyncio.timeout(leave_s):
                    watches = self._draw.randint(1, 5)
                    for _ in range(watches):
                        create = pb.WatchCreateRequest(key=b"soak/", range_end=b"soak0", prev_kv=orderly)
                        await stream.write(pb.WatchRequest(create_request=create))
                    while wanted > 0:
                        answer = await stream.read()
                        if not isinstance(answer, pb.WatchResponse):
                            break  # the end of the stream
                        wanted -= len(answer.events)
                        self.calls["watch events"] += len(answer.events)
            except TimeoutError:
                pass  # it had enough
            if orderly and not stream.done():
                await stream.write(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=0)))
                await stream.done_writing()
            stream.cancel()

    async def _lease_holder(self, url: str) -> None:
        async with grpc.aio.insecure_channel(_target(url), options=_OPTIONS) as channel:
            granted = await self._call(
                channel,
                _LEASE + "LeaseGrant",
                pb.LeaseGrantRequest(TTL=self._draw.randint(2, 5)),
                pb.LeaseGrantResponse,
            )
            for number in range(self._draw.randint(0, 5)):
                put = pb.PutRequest(key=b"soak/lease/%x/%d" % (granted.ID, number), value=b"held", lease=granted.ID)
                await self._call(channel, _KV + "Put", put, pb.PutResponse)
            if self._draw.random() < 0.5:
                await self._keep_alive(channel, granted.ID)
            if self._draw.random() < 0.5:
                revoke = pb.LeaseRevokeRequest(ID=granted.ID)
                await self._call(channel, _LEASE + "LeaseRevoke", revoke, pb.LeaseRevokeResponse)

    async def _keep_alive(self, channel: grpc.aio.Channel, lease: int) -> None:
        async def requests() -> AsyncIterator[pb.LeaseKeepAliveRequest]:
            for _ in range(3):
                yield pb.LeaseKeepAliveRequest(ID=lease)
                await asyncio.sleep(0.5)

        answers = channel.stream_stream(
            _LEASE + "LeaseKeepAlive",
            request_serializer=pb.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=pb.LeaseKeepAliveResponse.FromString,
        )(requests(), timeout=_CALL_TIMEOUT_S)
        async for _ in answers:
            self.calls["LeaseKeepAlive"] += 1

    async def _visitor(self, url: str) -> None:
        """Monitoring: HTTP/1.1, and a status."""
        for path in ("/metrics", "/health"):
            await asyncio.to_thread(_get, url + path)
            self.calls[path] += 1
        async with grpc.aio.insecure_channel(_target(url), options=_OPTIONS) as channel:
            await self._call(channel, "/etcdserverpb.Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)

    async def _vanishing(self, url: str) -> None:
        """Says half a sentence, or a watch, and resets the connection."""
        client = FakeClient()
        said = client.hello()
        create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"soak/", range_end=b"soak0"))
        said += client.call(_WATCH, create.SerializeToString(), end=False)[1]
        host, _, port = _target(url).partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(said[: self._draw.randint(1, len(said))] if self._draw.random() < 0.5 else said)
            await asyncio.sleep(self._draw.uniform(0.0, 1.0))
        finally:
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends RST
            writer.transport.abort()
        self.calls["vanished"] += 1

    # Parts.

    async def _call(self, channel: grpc.aio.Channel, path: str, request: Message, kind: type[Answer]) -> Answer:
        call = channel.unary_unary(
            path, request_serializer=lambda sent: sent.SerializeToString(), response_deserializer=kind.FromString
        )
        answer: Answer = await call(request, timeout=_CALL_TIMEOUT_S)
        self.calls[path.rpartition("/")[2]] += 1
        return answer

    def _key(self) -> bytes:
        return b"soak/key/%05d" % self._draw.randrange(self._keys)

    def _value(self) -> bytes:
        (size,) = self._draw.choices([size for _, size in _VALUE_BYTES], [weight for weight, _ in _VALUE_BYTES])
        return self._draw.randbytes(size)


def _once(puts: Sequence[pb.RequestOp]) -> list[pb.RequestOp]:
    """Without a second put of the same key, which a transaction may not have."""
    return list({put.request_put.key: put for put in puts}.values())


def _target(url: str) -> str:
    return url.removeprefix("http://")


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=_CALL_TIMEOUT_S) as answer:
        answer.read()
