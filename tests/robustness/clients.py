"""Clients of a real cluster: mixed requests that are never tried again, watchers that resume, holders of leases.

Every value is written once, so what is found later tells who wrote it. Each try is one call to one member.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.broken import Broken
from tests.model.history import Call
from tests.model.watched import Watched
from tests.robustness.lives import Lives
from tests.robustness.record import Compacted, Journal, Opened, Record, Renewed, Seen
from tests.robustness.watching import take

PATHS = {
    "range": "/etcdserverpb.KV/Range",
    "put": "/etcdserverpb.KV/Put",
    "delete_range": "/etcdserverpb.KV/DeleteRange",
    "txn": "/etcdserverpb.KV/Txn",
    "lease_grant": "/etcdserverpb.Lease/LeaseGrant",
    "lease_revoke": "/etcdserverpb.Lease/LeaseRevoke",
}
KEYS = 9
REGISTERS = 3
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)
_FAILURES = (grpc.aio.AioRpcError, asyncio.TimeoutError, grpc.aio.UsageError, asyncio.InvalidStateError)
"""InvalidStateError: something was to be said on a stream that has just ended."""


def _same(message: bytes) -> bytes:
    return message


@dataclass
class Shared:
    """What the clients of one process share."""

    process: int
    seed: int
    urls: Sequence[str]
    names: Sequence[str]
    lives: Lives
    journal: Journal
    think_s: float
    ask_progress: bool
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when no client may begin another request."""
    last: int | None = None
    """The last revision of all; watchers end when they have it."""
    revision: int = 1
    """The highest that anybody of this process was told."""
    mod_revisions: dict[bytes, int] = field(default_factory=dict)
    witnessed: int = 0
    """Everything up to here is in the journal, seen by a watcher of all keys."""
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def write(self, record: Record) -> None:
        self.journal.write(record)

    def told(self, revision: int) -> None:
        self.revision = max(self.revision, revision)


class Caller:
    """Somebody who talks to one member until that fails, and then to another."""

    def __init__(self, shared: Shared, name: str) -> None:
        self.shared = shared
        self.name = f"p{shared.process}{name}"
        self.draw = random.Random(f"{shared.seed}/{self.name}")
        self.at = self.draw.randrange(len(shared.urls))

    def move(self) -> None:
        """To any member."""
        self.at = self.draw.randrange(len(self.shared.urls))

    async def call(self, kind: str, request: bytes, timeout_s: float, *, serializable: bool = False) -> Call:
        """One try."""
        shared, at = self.shared, self.at
        life = shared.lives.of(at)
        call = Call(self.name, kind, request, time.monotonic(), shared.names[at], life, serializable)
        unary = shared.channels[at].unary_unary(PATHS[kind], request_serializer=_same, response_deserializer=_same)
        try:
            answer = await unary(request, timeout=timeout_s)
            call.take(answer, time.monotonic())
            shared.told(call.revision)
        except _FAILURES as error:
            call.error = words(error)
            if self.draw.random() < 0.7:
                self.move()
        finally:
            # Also when the run breaks off: it may take effect yet.
            if life % 2 or shared.lives.of(at) != life:
                call.life = -1
            shared.write(call)
        if call.error:
            await asyncio.sleep(self.draw.uniform(0.01, 0.1))
        return call

    async def think(self, seconds: float) -> None:
        """Wait, but not longer than until the end."""
        if seconds > 0 and not self.shared.stop.is_set():
            try:
                await asyncio.wait_for(self.shared.stop.wait(), seconds)
            except TimeoutError:
                pass  # the usual case: it goes on


def words(error: BaseException) -> str:
    """Code and text of a failed call, without addresses."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {(error.details() or '').partition(';')[0][:120]}"
    return type(error).__name__


class KeyClient(Caller):
    """Puts, gets, transactions and deletes of a few keys that everybody uses."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, f"c{number}")
        self._number = 0

    async def run(self) -> None:
        while not self.shared.stop.is_set():
            kind, request, serializable = self._draw_request()
            timeout_s = self.draw.choice((0.5, 2.0, 5.0) if kind == "range" else (1.0, 4.0, 8.0))
            call = await self.call(kind, request, timeout_s, serializable=serializable)
            if kind == "range" and call.answered:
                for kv in pb.RangeResponse.FromString(call.answer).kvs:
                    self.shared.mod_revisions[kv.key] = kv.mod_revision
            await self.think(self.draw.uniform(0, 2 * self.shared.think_s))

    def _key(self) -> bytes:
        return b"k%d" % self.draw.randrange(KEYS)

    def _value(self) -> bytes:
        """Nobody else ever writes it."""
        self._number += 1
        size = self.draw.choice((0, 0, 0, 0, 0, 0, 300, 5000))
        return f"{self.name}-{self._number} ".encode() + b"." * size

    def _draw_request(self) -> tuple[str, bytes, bool]:
        what = self.draw.random()
        if what < 0.12:  # registers are written and read alone, see registers.py
            key = b"r%d" % self.draw.randrange(REGISTERS)
            if what < 0.05:
                return "put", encoded(pb.PutRequest(key=key, value=self._value())), False
            return "range", encoded(pb.RangeRequest(key=key)), False
        if what < 0.5:
            return self._draw_read()
        if what < 0.75:
            return "put", encoded(self._put()), False
        if what < 0.92:
            return "txn", encoded(self._txn()), False
        delete = pb.DeleteRangeRequest(key=self._key(), prev_kv=self.draw.random() < 0.5)
        if self.draw.random() < 0.1:
            delete.key, delete.range_end = b"k", b"l"
        return "delete_range", encoded(delete), False

    def _put(self) -> pb.PutRequest:
        return pb.PutRequest(key=self._key(), value=self._value(), prev_kv=self.draw.random() < 0.3)

    def _draw_read(self) -> tuple[str, bytes, bool]:
        serializable = self.draw.random() < 0.35
        request = pb.RangeRequest(key=self._key(), serializable=serializable)
        if self.draw.random() < 0.3:
            request.key, request.range_end = b"k", b"l"
            request.limit = self.draw.choice((0, 0, 1, 3))
        if self.draw.random() < 0.1:
            request.revision = max(1, self.shared.revision - self.draw.randrange(5))
        return "range", encoded(request), serializable

    def _txn(self) -> pb.TxnRequest:
        key = self._key()
        known = self.shared.mod_revisions.get(key, 0)
        compare = pb.Compare(key=key, result=pb.Compare.EQUAL, target=pb.Compare.MOD, mod_revision=known)
        if self.draw.random() < 0.5:
            compare = pb.Compare(key=key, result=pb.Compare.GREATER, target=pb.Compare.VERSION, version=0)
        txn = pb.TxnRequest(compare=[compare])
        other = next(one for one in (b"k0", b"k1") if one != key)
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=self._value()))
        second = pb.RequestOp(request_put=pb.PutRequest(key=other, value=self._value()))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=b"k", range_end=b"l"))
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        txn.success.extend(self.draw.choice(([put], [get, put], [put, second], [put, get], [delete, second])))
        txn.failure.extend(self.draw.choice(([], [get], [second])))
        return txn


def encoded(request: pb.RangeRequest | pb.PutRequest | pb.DeleteRangeRequest | pb.TxnRequest) -> bytes:
    return request.SerializeToString(deterministic=True)


class WatchClient(Caller):
    """Watches keys; resumes elsewhere when its stream ends, falls silent, or for no reason.

    A witness watches everything from the first revision: together witnesses tell what happened.
    """

    def __init__(self, shared: Shared, number: int, *, witness: bool = False) -> None:
        super().__init__(shared, f"{'witness' if witness else 'w'}{number}")
        self._witness = witness
        key, end = self.draw.choice(((b"k", b"l"), (b"\0", b"\0"), (b"k0", b""), (b"r", b"s")))
        self.seen = Watched(self.name, key, end, self.draw.random() < 0.4, start=0, next=0)
        self._slow = 0.0 if witness else self.draw.choice((0.0, 0.0, 0.02, 0.2))
        self._silence_s = 1.0 if witness else self.draw.choice((1.0, 3.0))
        if witness:
            self.at = number % len(shared.urls)
            self.seen = Watched(self.name, b"\0", b"\0", True, start=1, next=1)

    async def run(self) -> None:
        shared, seen = self.shared, self.seen
        if not self._witness:
            await self.think(self.draw.uniform(0, 4.0))
            from_now, back = self.draw.random() < 0.2, self.draw.randrange(200)
            start = 1 if self.draw.random() < 0.3 else max(1, shared.revision - back)
            seen.start = seen.next = 0 if from_now else start
        while not self.finished:
            try:
                await self._watch(time.monotonic() + (600.0 if self._witness else self.draw.choice((2.0, 8.0, 60.0))))
            except _FAILURES:
                pass  # it resumes where it was
            if self.draw.random() < 0.7:
                self.move()
            await asyncio.sleep(self.draw.uniform(0.01, 0.2))

    @property
    def finished(self) -> bool:
        """Whether it has what it can have."""
        last = self.shared.last
        # One that waits for the future when all is over has nothing to come; one whose keys rest hears by progress.
        return last is not None and (self.seen.next == 0 or self.seen.next > last)

    async def _watch(self, until: float) -> None:
        shared, seen, at = self.shared, self.seen, self.at
        member = shared.names[at]
        stream = shared.channels[at].stream_stream(
            "/etcdserverpb.Watch/Watch", request_serializer=_same, response_deserializer=_same
        )(None)
        create = pb.WatchCreateRequest(
            key=seen.key, range_end=seen.range_end, start_revision=seen.next, prev_kv=seen.prev_kv,
            progress_notify=True,
        )  # fmt: skip
        shared.write(Opened(self.name, member, time.monotonic(), seen.next, seen.key, seen.range_end, seen.prev_kv))
        try:
            await asyncio.wait_for(stream.write(pb.WatchRequest(create_request=create).SerializeToString()), 2.0)
            while time.monotonic() < until and not self.finished:
                message = await asyncio.wait_for(stream.read(), self._silence_s)
                if not isinstance(message, bytes):
                    return  # the stream has ended
                shared.write(Seen(self.name, member, time.monotonic(), message))
                response = pb.WatchResponse.FromString(message)
                try:
                    take(seen, response)
                except Broken:
                    pass  # the checks say so
                if self._witness:
                    shared.witnessed = max(shared.witnessed, seen.next - 1)
                shared.told(seen.next - 1)
                if response.canceled:
                    return
                if shared.ask_progress and self.draw.random() < 0.02:
                    progress = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
                    await asyncio.wait_for(stream.write(progress.SerializeToString()), 2.0)
                if self._slow and not shared.stop.is_set():
                    await asyncio.sleep(self._slow)
        finally:
            stream.cancel()


class LeaseClient(Caller):
    """Grants leases, hangs keys on them, keeps them alive for a while, and lets go."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, f"l{number}")
        self._id = 1_000_000 * (shared.process + 1) + 10_000 * (number + 1)

    async def run(self) -> None:
        count = 0
        while not self.shared.stop.is_set():
            count += 1
            lease, ttl = self._id + count, self.draw.randint(2, 4)
            grant = pb.LeaseGrantRequest(ID=lease, TTL=ttl).SerializeToString(deterministic=True)
            call = await self.call("lease_grant", grant, 4.0)
            if call.answered:
                for number in range(self.draw.choice((1, 1, 2))):
                    key = self.draw.choice((b"k%d" % self.draw.randrange(KEYS), b"l" + self.name.encode()))
                    value = f"{self.name}-{count}-{number}".encode()
                    await self.call("put", encoded(pb.PutRequest(key=key, value=value, lease=lease)), 4.0)
                await self._keep_alive(lease)
                if self.draw.random() < 0.2:
                    revoke = pb.LeaseRevokeRequest(ID=lease).SerializeToString(deterministic=True)
                    await self.call("lease_revoke", revoke, 4.0)
            await self.think(self.draw.uniform(0.1, 2.0))

    async def _keep_alive(self, lease: int) -> None:
        end = time.monotonic() + self.draw.uniform(0.0, 8.0)
        while time.monotonic() < end and not self.shared.stop.is_set():
            try:
                if not await self._renew(lease):
                    return
            except _FAILURES:
                self.move()
            await self.think(self.draw.uniform(0.2, 1.0))

    async def _renew(self, lease: int) -> bool:
        """One keep-alive. Returns: whether the lease is there."""
        shared, at = self.shared, self.at
        stream = shared.channels[at].stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive", request_serializer=_same, response_deserializer=_same
        )(None)
        try:
            asked = time.monotonic()
            await asyncio.wait_for(stream.write(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString()), 2.0)
            message = await asyncio.wait_for(stream.read(), 2.0)
            if not isinstance(message, bytes):
                self.move()
                return True  # nobody said that it is gone
            answer = pb.LeaseKeepAliveResponse.FromString(message)
            shared.write(Renewed(lease, shared.names[at], asked, time.monotonic(), answer.TTL))
            return answer.TTL > 0
        finally:
            stream.cancel()


class Compactor(Caller):
    """Compacts now and then, but never what no witness has seen."""

    async def run(self) -> None:
        shared, last = self.shared, 0
        while not shared.stop.is_set():
            await self.think(self.draw.uniform(0.5, 4.0))
            target = shared.witnessed - self.draw.choice((1, 10, 200))
            if target <= last:
                continue
            last = target
            called, error = time.monotonic(), ""
            compact = shared.channels[self.at].unary_unary(
                "/etcdserverpb.KV/Compact", request_serializer=_same, response_deserializer=_same
            )
            request = pb.CompactionRequest(revision=target, physical=self.draw.random() < 0.5)
            try:
                await compact(request.SerializeToString(), timeout=4.0)
            except _FAILURES as failure:
                error = words(failure)
                self.move()
            shared.write(Compacted(target, called, time.monotonic(), error))


def connect(shared: Shared) -> None:
    """One connection to each member, which all clients of the process use."""
    shared.channels = [grpc.aio.insecure_channel(url.removeprefix("http://"), options=_OPTIONS) for url in shared.urls]
