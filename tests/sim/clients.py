"""Clients: mixed requests whose outcome may stay unknown, watchers that resume, and holders of leases."""

from __future__ import annotations

import asyncio
import random

from etcdops.node.rpc.service import RpcError
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.model.broken import Broken
from tests.model.history import Call
from tests.model.watched import Watched
from tests.sim.calls import CallLost, SimStream, SimUnary
from tests.sim.cluster import SimCluster
from tests.sim.member import SimMember

PATHS = {
    "range": "/etcdserverpb.KV/Range",
    "put": "/etcdserverpb.KV/Put",
    "delete_range": "/etcdserverpb.KV/DeleteRange",
    "txn": "/etcdserverpb.KV/Txn",
    "lease_grant": "/etcdserverpb.Lease/LeaseGrant",
    "lease_revoke": "/etcdserverpb.Lease/LeaseRevoke",
}


class Caller:
    """Somebody who talks to one member until that fails, and then to another."""

    def __init__(self, cluster: SimCluster, name: str, calls: list[Call]) -> None:
        self.cluster = cluster
        self.name = name
        self.draw = random.Random(f"{cluster.seed}/{name}")
        self.calls = calls
        self.at: SimMember | None = None
        self.lets_go = False
        """A holder of leases: it renews once more, and then no longer."""
        cluster.callers.append(self)
        self._asked: SimUnary | None = None

    def hang_up(self) -> None:
        """Wait no longer for an answer."""
        if self._asked is not None and not self._asked.answered.done():
            self._asked.give_up()

    def _delay_s(self) -> float:
        """Clients are near: so real time tells more about the order of their calls."""
        return self.draw.uniform(0.0001, 0.001)

    def member(self) -> SimMember | None:
        """The one it talks to; None while nobody is there."""
        if self.at is None or not self.at.serves:
            up = self.cluster.up()
            self.at = self.draw.choice(up) if up else None
        return self.at

    async def call(self, kind: str, request: bytes, timeout_s: float, *, serializable: bool = False) -> Call | None:
        """One try; None when there is nobody to ask."""
        member = self.member()
        if member is None:
            return None
        loop = self.cluster.loop
        call = Call(self.name, kind, request, loop.time(), member.name, member.lives, serializable)
        self.calls.append(call)
        self._asked = unary = SimUnary(loop, self._delay_s)
        timer = loop.call_later(timeout_s, unary.give_up)
        await asyncio.sleep(self._delay_s())
        if not unary.answered.done():
            call.life = member.lives
            member.call(PATHS[kind], request, unary)
        try:
            call.take(await unary.answered, loop.time())
        except (RpcError, CallLost) as error:
            call.error = str(error)
            call.returned = loop.time()
            self._check_error(call)
            if self.draw.random() < 0.7:
                self.at = None
        finally:
            timer.cancel()
        self.cluster.trace(self.name, f"{kind} at {member.name}: {call.error or call.revision}")
        return call

    def _check_error(self, call: Call) -> None:
        """What is said about revisions must be true."""
        if call.kind != "range":
            return
        truth = self.cluster.truth
        asked = pb.RangeRequest.FromString(call.request).revision
        if "required revision has been compacted" in call.error and not 0 < asked < truth.model.compacted:
            raise Broken("revisions", f"{call}: {asked} was compacted, it says, but that is {truth.model.compacted}")
        if "required revision is a future revision" in call.error and not call.serializable:
            committed = truth.by_revision.get(asked)
            if asked <= 1 or (committed is not None and committed.at < call.called):
                raise Broken("linearizability", f"{call}: it does not know revision {asked}, which was there before")

    async def ask(self, path: str, request: bytes, timeout_s: float) -> bytes | None:
        """Something that is no part of the history; None when nobody answered."""
        member = self.member()
        if member is None:
            return None
        unary = SimUnary(self.cluster.loop, self._delay_s)
        timer = self.cluster.loop.call_later(timeout_s, unary.give_up)
        member.call(path, request, unary)
        try:
            return await unary.answered
        except (RpcError, CallLost):
            return None
        finally:
            timer.cancel()


class KeyClient(Caller):
    """Puts, gets, transactions and deletes of a few keys that everybody uses."""

    def __init__(self, cluster: SimCluster, number: int, calls: list[Call]) -> None:
        super().__init__(cluster, f"c{number}", calls)
        self._number = 0
        self._reads = self.draw.choice((0.3, 0.3, 0.9))
        """The part of its requests that reads: one that seldom writes is seldom stuck at a leader without followers."""

    async def run(self, until: float) -> None:
        options = self.cluster.options
        while self.cluster.loop.time() < until:
            kind, request, serializable = self._draw_request()
            timeout_s = self.draw.choice((0.3, 0.3, 2.0) if kind == "range" else (0.3, 2.0, 9.0))
            call = await self.call(kind, request, timeout_s, serializable=serializable)
            retries = 2 if call is not None and not call.answered and self.draw.random() < 0.3 else 0
            for _ in range(retries):
                # A client library that tries again, although the first try may have worked.
                again = await self.call(kind, request, timeout_s, serializable=serializable)
                if again is not None and again.answered:
                    break
            await asyncio.sleep(self.draw.uniform(0, options.think_s))

    async def put(self, key: bytes, timeout_s: float, *, size: int = 0) -> Call | None:
        """A value that nobody else ever writes, of at least `size` bytes."""
        put = pb.PutRequest(key=key, value=self._value().ljust(size, b".")).SerializeToString(deterministic=True)
        return await self.call("put", put, timeout_s)

    def _key(self) -> bytes:
        return b"k%d" % self.draw.randrange(self.cluster.options.keys)

    def _value(self) -> bytes:
        """Nobody else ever writes it. A quota is for long ones."""
        self._number += 1
        return f"{self.name}-{self._number}".encode().ljust(400 if self.cluster.options.quota_bytes else 0, b".")

    def _draw_request(self) -> tuple[str, bytes, bool]:
        if self.draw.random() < self._reads:
            return self._draw_read()
        what = self.draw.random()
        if what < 0.55:
            put = pb.PutRequest(key=self._key(), value=self._value(), prev_kv=self.draw.random() < 0.3)
            return "put", put.SerializeToString(deterministic=True), False
        if what < 0.85:
            return "txn", self._txn().SerializeToString(deterministic=True), False
        delete = pb.DeleteRangeRequest(key=self._key(), prev_kv=self.draw.random() < 0.5)
        if self.draw.random() < 0.2:
            delete.key, delete.range_end = b"k", b"l"
        return "delete_range", delete.SerializeToString(deterministic=True), False

    def _draw_read(self) -> tuple[str, bytes, bool]:
        serializable = self.draw.random() < 0.25
        request = pb.RangeRequest(key=self._key(), serializable=serializable)
        if self.draw.random() < 0.3:
            request.key, request.range_end = b"k", b"l"
            request.limit = self.draw.choice((0, 0, 1, 3))
        if self.draw.random() < 0.1:
            request.revision = max(1, self.cluster.truth.model.revision - self.draw.randrange(5))
        return "range", request.SerializeToString(deterministic=True), serializable

    def _txn(self) -> pb.TxnRequest:
        key = self._key()
        kv = self.cluster.truth.model.at(key, self.cluster.truth.model.revision) or mvccpb.KeyValue()
        compare = pb.Compare(key=key, result=pb.Compare.EQUAL, target=pb.Compare.MOD, mod_revision=kv.mod_revision)
        if self.draw.random() < 0.3:
            compare = pb.Compare(key=key, result=pb.Compare.GREATER, target=pb.Compare.VERSION, version=0)
        txn = pb.TxnRequest(compare=[compare])
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=self._value()))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=b"k", range_end=b"l"))
        other = next((one for one in (b"k0", b"k1") if one != key), key)
        second = pb.RequestOp(request_put=pb.PutRequest(key=other, value=self._value()))
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        txn.success.extend(self.draw.choice(([put], [get, put], [put, second], [put, get], [delete, second])))
        txn.failure.extend(self.draw.choice(([], [get], [second])))
        return txn


class WatchClient(Caller):
    """Watches a key or all of them; resumes elsewhere when its stream ends, or for no reason."""

    def __init__(self, cluster: SimCluster, number: int) -> None:
        super().__init__(cluster, f"w{number}", [])
        key, end = self.draw.choice(((b"k", b"l"), (b"\0", b"\0"), (b"k0", b"")))
        self.seen = Watched(self.name, key, end, self.draw.random() < 0.4, start=0, next=0)
        self._slow = self.draw.choice((0.0, 0.0, 0.02, 0.3))
        self._room = self.draw.choice((1 << 30, 1 << 30, 3, 1))
        self._progress = self.draw.random() < 0.5
        self.stream: SimStream | None = None
        self._heard = 0

    async def run(self, until: float) -> None:
        loop = self.cluster.loop
        await asyncio.sleep(self.draw.uniform(0, 3.0))
        # In the past, or in the future: then nothing that happens before it may be sent.
        away = self.draw.choice((self.draw.randrange(30), self.draw.randrange(30), -self.draw.randrange(1, 6)))
        self.seen.start = self.seen.next = max(1, self.cluster.truth.model.revision - away)
        while loop.time() < until:
            await self._watch(min(until - loop.time(), self.draw.choice((1.0, 5.0, 30.0))))
            await asyncio.sleep(self.draw.uniform(0.001, 0.3))

    async def _watch(self, for_s: float) -> None:
        member = self.member()
        if member is None:
            await asyncio.sleep(0.2)
            return
        loop = self.cluster.loop
        over: asyncio.Future[None] = loop.create_future()
        stream = SimStream(loop, self.draw, lambda message: self._received(message, over))
        stream.room, stream.read_s = self._room, 0.0 if self.cluster.healed else self._slow
        self.stream = stream
        self._heard = 0
        member.stream("/etcdserverpb.Watch/Watch", stream)
        if stream.ended.done():
            self.at = None
            return
        create = pb.WatchCreateRequest(
            key=self.seen.key,
            range_end=self.seen.range_end,
            start_revision=self.seen.next,
            prev_kv=self.seen.prev_kv,
            progress_notify=self._progress,
        )
        stream.say(pb.WatchRequest(create_request=create).SerializeToString())
        if self.draw.random() < 0.3:
            progress = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
            stream.say(progress.SerializeToString())
            for at in (0.0, self.draw.uniform(0.0, 0.01), self.draw.uniform(0.0, for_s)):
                loop.call_later(at, self._say, stream, progress.SerializeToString())
        await asyncio.wait((stream.ended, over), timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
        stream.cancel()
        if not over.done():
            over.cancel()
        if self.draw.random() < 0.7:
            self.at = None

    def _say(self, stream: SimStream, message: bytes) -> None:
        if not stream.ended.done() and not stream.cancelled:
            stream.say(message)

    def _received(self, message: bytes, over: asyncio.Future[None]) -> None:
        response = pb.WatchResponse.FromString(message)
        seen, model = self.seen, self.cluster.truth.model
        revision = response.header.revision
        if revision > model.revision:
            raise Broken("watch", f"{self.name} hears of revision {revision}, the cluster is at {model.revision}")
        if response.compact_revision:
            if not seen.next < response.compact_revision <= model.compacted:
                raise Broken(
                    "watch",
                    f"{self.name} wants {seen.next} and is told that {response.compact_revision} was compacted, "
                    f"the cluster is compacted to {model.compacted}",
                )
            seen.skipped.append((seen.next, response.compact_revision))
            seen.next = max(seen.next, response.compact_revision)
        if response.canceled and not over.done():
            over.set_result(None)
            return
        if response.created:
            return
        if revision < self._heard:
            raise Broken("watch", f"{self.name} heard of revision {self._heard} on this stream, and then of {revision}")
        self._heard = revision
        for event in response.events:
            if event.kv.mod_revision < seen.next:
                raise Broken(
                    "watch", f"{self.name} got revision {event.kv.mod_revision} again, it has all below {seen.next}"
                )
            if event.kv.mod_revision > revision:
                raise Broken(
                    "watch", f"{self.name} got an event of {event.kv.mod_revision} with a header of {revision}"
                )
            seen.events.append(event)
        # An event's revision is never split between messages, and progress tells that nothing is missing.
        seen.next = max(seen.next, revision + 1)
        if response.events:
            self.cluster.trace(self.name, f"sees {len(response.events)} events up to {revision}")


class LeaseClient(Caller):
    """Grants leases, hangs keys on them, keeps them alive for a while, and lets go."""

    def __init__(self, cluster: SimCluster, number: int, calls: list[Call]) -> None:
        super().__init__(cluster, f"l{number}", calls)
        self._leases = 0
        self._id = 1000 * (number + 1)

    async def run(self, until: float) -> None:
        while self.cluster.loop.time() < until:
            self._leases += 1
            lease, ttl = self._id + self._leases, self.draw.randint(2, 4)
            grant = pb.LeaseGrantRequest(ID=lease, TTL=ttl).SerializeToString(deterministic=True)
            call = await self.call("lease_grant", grant, 3.0)
            if call is not None and call.answered:
                key = b"k%d" % self.draw.randrange(self.cluster.options.keys)
                value = f"{self.name}-{self._leases}".encode()
                put = pb.PutRequest(key=key, value=value, lease=lease)
                await self.call("put", put.SerializeToString(deterministic=True), 3.0)
                await self._keep_alive(lease, until)
                if self.draw.random() < 0.2:
                    self.cluster.truth.revoke_asked.add(lease)
                    revoke = pb.LeaseRevokeRequest(ID=lease).SerializeToString(deterministic=True)
                    await self.call("lease_revoke", revoke, 3.0)
            await asyncio.sleep(self.draw.uniform(0.1, 2.0))

    async def _keep_alive(self, lease: int, until: float) -> None:
        loop = self.cluster.loop
        end = min(until, loop.time() + self.draw.uniform(0.0, 8.0))
        while loop.time() < end:
            member = self.member()
            if member is None:
                await asyncio.sleep(0.2)
                continue
            asked = loop.time()
            answered: asyncio.Future[int] = loop.create_future()

            def received(message: bytes, answered: asyncio.Future[int] = answered) -> None:
                if not answered.done():
                    answered.set_result(pb.LeaseKeepAliveResponse.FromString(message).TTL)

            stream = SimStream(loop, self.draw, received)
            member.stream("/etcdserverpb.Lease/LeaseKeepAlive", stream)
            if not stream.ended.done():
                stream.say(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
                await asyncio.wait((answered, stream.ended), timeout=2.0, return_when=asyncio.FIRST_COMPLETED)
            stream.cancel()
            if self.draw.random() < 0.2:
                await self._look(lease)
            if answered.done() and answered.result() > 0:
                self._renewed(lease, asked, answered.result())
                if self.lets_go:
                    self.lets_go = False
                    return
            elif answered.done():
                self._not_found(lease)
                return
            else:
                self.at = None
            await asyncio.sleep(self.draw.uniform(0.2, 1.0))

    def _not_found(self, lease: int) -> None:
        """Its grant was answered before: so it must have ended."""
        if lease in self.cluster.truth.model.leases:
            raise Broken("leases", f"{self.name} is told that there is no lease {lease}, and it is there")

    async def _look(self, lease: int) -> None:
        """What is left of it, and what hangs on it: linearizable, as the leader answers."""
        asked = self.cluster.loop.time()
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=True).SerializeToString()
        truth = self.cluster.truth
        before = truth.model.keys_of(lease), truth.model.revision
        answer = await self.ask("/etcdserverpb.Lease/LeaseTimeToLive", request, 3.0)
        if answer is None:
            return
        found = pb.LeaseTimeToLiveResponse.FromString(answer)
        if not found.grantedTTL:
            # A TTL below zero alone says that it has ended and is not yet revoked.
            self._not_found(lease)
            return
        if lease in truth.expired and truth.expired[lease] < asked:
            raise Broken("leases", f"{self.name} is told of lease {lease}, which has ended before")
        if before == (truth.model.keys_of(lease), truth.model.revision) and list(found.keys) != before[0]:
            raise Broken("leases", f"lease {lease} has the keys {before[0]}, {self.name} is told {list(found.keys)}")
        self._promised(lease, asked, found.TTL)

    def _renewed(self, lease: int, asked: float, ttl: int) -> None:
        self.cluster.trace(self.name, f"renewed {lease} for {ttl} s, asked at {asked:.4f}")
        self._promised(lease, asked, ttl)

    def _promised(self, lease: int, asked: float, ttl: int) -> None:
        """At `asked` or later it had so many seconds left."""
        truth = self.cluster.truth
        ended = truth.expired.get(lease)
        if (
            ended is not None
            and lease not in truth.revoke_asked
            and ended < asked + ttl / self.cluster.options.rate_max
        ):
            raise Broken("leases", f"lease {lease} had {ttl} s left at {asked:.3f} or later, and ended at {ended:.3f}")
        truth.promised[lease] = max(truth.promised.get(lease, 0.0), asked + ttl / self.cluster.options.rate_max)
