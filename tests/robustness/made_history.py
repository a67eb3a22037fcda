"""Histories without a cluster: a model of the store answers clients at random moments, some answers are lost.

They are good by construction, so the checks must let them pass; made wrong by hand, the checks must not.
"""

from __future__ import annotations

import random

from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.model.api_model import Happened, Model, covers
from tests.model.history import Call
from tests.robustness.record import Compacted, Final, History, Opened, Renewed, Run, Seen, keys_of

MEMBERS = ("m1", "m2", "m3")
_END = float("inf")
_NAMES = {"put": "put", "delete_range": "delete_range", "txn": "txn"}


def make_history(seed: int, calls: int = 300) -> History:
    """A good one."""
    return _Maker(seed).make(calls)


class _Maker:
    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.model = Model()
        self.history = History(Run(seed, "made", "0"))
        self.now = 100.0
        self.at: list[tuple[float, Happened]] = []
        """Every change and when it happened."""
        self._numbers = 0
        self._leases: dict[int, float] = {}
        """Lease -> when it ends."""

    def make(self, calls: int) -> History:
        for _ in range(calls):
            self.now += self.draw.expovariate(100.0)
            self._end_leases(self.now)
            if self.draw.random() < 0.06:
                self._lease()
            else:
                self._call()
        self.now += 30.0
        self._end_leases(self.now)
        self.history.compacted.append(Compacted(self.model.revision // 3, self.now, self.now + 0.1, ""))
        for number, (key, end) in enumerate(((b"\0", b"\0"), (b"\0", b"\0"), (b"k", b"l"), (b"k1", b""))):
            self._watch(f"w{number}", key, end)
        everything = self.model.range(pb.RangeRequest(key=b"\0", range_end=b"\0"), self.model.revision)
        for member in MEMBERS:
            final = Final(member, self.model.revision, 4711, self.model.revision // 3, keys_of(everything), [])
            self.history.final.append(final)
        return self.history

    # Calls.

    def _call(self) -> None:
        """One call whose moment is now; it began before and is answered after, or not at all."""
        kind, request = self._draw_request()
        serializable = kind == "range" and self.draw.random() < 0.3
        call = Call(
            f"c{self.draw.randrange(9)}", kind, request, self.now - self.draw.uniform(0, 0.05),
            self.draw.choice(MEMBERS), 2, serializable,
        )  # fmt: skip
        self.history.calls.append(call)
        lost = self.draw.random() < 0.15
        if lost and self.draw.random() < 0.5:
            call.error = "DEADLINE_EXCEEDED"
            return  # it never took effect
        answer = self._apply(kind, request)
        if lost:
            call.error = "DEADLINE_EXCEEDED"
            return
        call.revision, call.answer = self.model.revision, answer
        call.returned = self.now + self.draw.uniform(0, 0.05)

    def _apply(self, kind: str, request: bytes) -> bytes:
        if kind == "range":
            return self.model.evaluate(kind, request, self.model.revision)
        parts = {
            "put": pb.PutRequest.FromString,
            "delete_range": pb.DeleteRangeRequest.FromString,
            "txn": pb.TxnRequest.FromString,
        }
        done = self.model.apply(pb.InternalRaftRequest(**{kind: parts[kind](request)}))  # type: ignore[arg-type]  # by kind
        assert done is not None
        self._note()
        return done.answer

    def _note(self) -> None:
        self.at += [(self.now, happened) for happened in self.model.events[len(self.at) :]]

    def _value(self) -> bytes:
        self._numbers += 1
        return b"v%d" % self._numbers

    def _draw_request(self) -> tuple[str, bytes]:
        key = b"k%d" % self.draw.randrange(4)
        register = b"r%d" % self.draw.randrange(2)
        other = b"k9"
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=self._value()))
        second = pb.RequestOp(request_put=pb.PutRequest(key=other, value=self._value()))
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=b"k", range_end=b"l"))
        there = pb.Compare(key=key, result=pb.Compare.GREATER, target=pb.Compare.VERSION, version=0)
        requests: list[tuple[str, pb.RangeRequest | pb.PutRequest | pb.DeleteRangeRequest | pb.TxnRequest]] = [
            ("range", pb.RangeRequest(key=key)),
            ("range", pb.RangeRequest(key=b"k", range_end=b"l", limit=self.draw.choice((0, 1)))),
            ("range", pb.RangeRequest(key=register)),
            ("put", pb.PutRequest(key=register, value=self._value())),
            ("put", pb.PutRequest(key=key, value=self._value(), prev_kv=True)),
            ("delete_range", pb.DeleteRangeRequest(key=key)),
            ("delete_range", pb.DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)),
            ("txn", pb.TxnRequest(compare=[there], success=[put, get, second], failure=[get])),
            ("txn", pb.TxnRequest(compare=[there], success=[delete], failure=[put])),
        ]
        kind, request = self.draw.choice(requests)
        return kind, request.SerializeToString(deterministic=True)

    # Leases.

    def _lease(self) -> None:
        self._numbers += 1
        lease, ttl = 1_000_000 + self._numbers, 2
        grant = pb.LeaseGrantRequest(ID=lease, TTL=ttl)
        self.model.apply(pb.InternalRaftRequest(lease_grant=grant))
        member = self.draw.choice(MEMBERS)
        call = Call("l", "lease_grant", grant.SerializeToString(), self.now - 0.01, member, 2)
        call.returned, call.revision = self.now + 0.001, self.model.revision
        call.answer = pb.LeaseGrantResponse(ID=lease, TTL=ttl).SerializeToString()
        self.history.calls.append(call)
        self.now += 0.01
        put = pb.PutRequest(key=b"l%d" % lease, value=self._value(), lease=lease)
        request = put.SerializeToString(deterministic=True)
        call = Call("l", "put", request, self.now - 0.005, member, 2)
        call.answer, call.returned = self._apply("put", request), self.now + 0.005
        call.revision = self.model.revision
        self.history.calls.append(call)
        self.now += 0.01
        self.history.renewed.append(Renewed(lease, member, self.now - 0.005, self.now + 0.005, ttl))
        self._leases[lease] = self.now + ttl + self.draw.uniform(0, 0.5)

    def _end_leases(self, until: float) -> None:
        for lease, end in sorted(self._leases.items(), key=lambda pair: pair[1]):
            if end <= until:
                del self._leases[lease]
                self.model.apply(pb.InternalRaftRequest(lease_revoke=pb.LeaseRevokeRequest(ID=lease)))
                self._note()

    # Watches.

    def _watch(self, name: str, key: bytes, end: bytes) -> None:
        """A watcher from the first revision, whose stream breaks now and then."""
        following, position = 1, 0
        by_revision: dict[int, list[tuple[float, Happened]]] = {}
        for at, happened in self.at:
            if covers(happened.key, key, end):
                by_revision.setdefault(happened.revision, []).append((at, happened))
        revisions = sorted(by_revision)
        while position < len(revisions):
            member = self.draw.choice(MEMBERS)
            begin = by_revision[revisions[position]][0][0]
            self.history.opened.append(Opened(name, member, begin, following, key, end, True))
            for revision in revisions[position : position + self.draw.randint(1, 40)]:
                message = pb.WatchResponse(header=pb.ResponseHeader(revision=revision))
                message.events.extend(_event(happened) for _, happened in by_revision[revision])
                at = by_revision[revision][0][0] + self.draw.uniform(0, 0.05)
                self.history.seen.append(Seen(name, member, at, message.SerializeToString()))
                following, position = revision + 1, position + 1
        progress = pb.WatchResponse(header=pb.ResponseHeader(revision=self.model.revision))
        self.history.seen.append(Seen(name, MEMBERS[0], self.now, progress.SerializeToString()))


def _event(happened: Happened) -> mvccpb.Event:
    if happened.kv is None:
        gone = mvccpb.KeyValue(key=happened.key, mod_revision=happened.revision)
        return mvccpb.Event(type=mvccpb.Event.DELETE, kv=gone, prev_kv=happened.before)
    return mvccpb.Event(type=mvccpb.Event.PUT, kv=happened.kv, prev_kv=happened.before)
