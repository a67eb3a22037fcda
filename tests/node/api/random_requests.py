"""Random requests for comparing two servers: valid and invalid ones, from a seed, over few keys so that they collide.

Everything that a server chooses freely (lease IDs) or that depends on time (remaining TTL) is left out or chosen here.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb

Request = tuple[str, Message, type[Message]]
"""Path, request, type of the answer."""

KEYS = [b"a", b"ab", b"b", b"b\x00", b"c", b"d/1", b"d/2", b"\xff\xfe", b"\x00"]
ENDS = [b"", b"", b"\x00", b"b", b"c", b"d0", b"\xff", b"a"]
LEASES = [0, 0, 0, 1, 2, 3, -5, 999]


class RandomRequests:
    """Draws requests; `revision` follows the store so that revisions are often, not always, meaningful."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.revision = 1

    def next(self) -> Request:
        makers: list[tuple[int, Callable[[], Request]]] = [
            (30, lambda: ("/etcdserverpb.KV/Put", self.put(), pb.PutResponse)),
            (25, lambda: ("/etcdserverpb.KV/Range", self.range(), pb.RangeResponse)),
            (10, lambda: ("/etcdserverpb.KV/DeleteRange", self.delete(), pb.DeleteRangeResponse)),
            (25, lambda: ("/etcdserverpb.KV/Txn", self.txn(self.random.randrange(3)), pb.TxnResponse)),
            (2, lambda: ("/etcdserverpb.KV/Compact", self.compact(), pb.CompactionResponse)),
            (4, lambda: ("/etcdserverpb.Lease/LeaseGrant", self.grant(), pb.LeaseGrantResponse)),
            (3, lambda: ("/etcdserverpb.Lease/LeaseRevoke", self.revoke(), pb.LeaseRevokeResponse)),
            (2, lambda: ("/etcdserverpb.Lease/LeaseTimeToLive", self.time_to_live(), pb.LeaseTimeToLiveResponse)),
            (2, lambda: ("/etcdserverpb.Maintenance/HashKV", self.hash_kv(), pb.HashKVResponse)),
            (1, lambda: ("/etcdserverpb.Maintenance/Alarm", self.alarm(), pb.AlarmResponse)),
        ]
        (maker,) = self.random.choices([maker for _, maker in makers], [weight for weight, _ in makers])
        return maker()

    def key(self) -> bytes:
        return b"" if self.random.random() < 0.01 else self.random.choice(KEYS)

    def flag(self, probability: float) -> bool:
        return self.random.random() < probability

    def some_revision(self) -> int:
        return self.random.choice(
            [0, 0, 0, 0, -5, 1, self.revision, self.revision - 1, self.revision - 7, self.revision + 1]
        )

    def put(self) -> pb.PutRequest:
        return pb.PutRequest(
            key=self.key(),
            value=b"" if self.flag(0.2) else self.random.choice([b"x", b"y", b"zz", b"\x00\xff" * 10]),
            lease=self.random.choice(LEASES),
            prev_kv=self.flag(0.3),
            ignore_value=self.flag(0.1),
            ignore_lease=self.flag(0.1),
        )

    def range(self) -> pb.RangeRequest:
        request = pb.RangeRequest(
            key=self.key(),
            range_end=self.random.choice(ENDS),
            limit=self.random.choice([0, 0, 0, 1, 2, 5, -1]),
            revision=self.some_revision(),
            serializable=self.flag(0.3),
            keys_only=self.flag(0.2),
            count_only=self.flag(0.1),
        )
        if self.flag(0.3):
            # Ties are unspecified in etcd: only keys and mod revisions (one key each) have none.
            request.sort_order = self.random.choice(pb.RangeRequest.SortOrder.values())
            request.sort_target = pb.RangeRequest.KEY
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if self.flag(0.1):
                setattr(request, name, max(0, self.some_revision()))
        return request

    def delete(self) -> pb.DeleteRangeRequest:
        return pb.DeleteRangeRequest(key=self.key(), range_end=self.random.choice(ENDS), prev_kv=self.flag(0.4))

    def compare(self) -> pb.Compare:
        compare = pb.Compare(key=self.key(), range_end=self.random.choice(ENDS) if self.flag(0.3) else b"")
        compare.result = self.random.choice([0, 1, 2, 3, 0, 7])  # type: ignore[assignment]  # 7 is no known result
        compare.target = self.random.choice([0, 1, 2, 3, 4, 9])  # type: ignore[assignment]  # nor 9 a target
        match self.random.randrange(6):
            case 0:
                compare.version = self.random.randrange(3)
            case 1:
                compare.create_revision = max(0, self.some_revision())
            case 2:
                compare.mod_revision = max(0, self.some_revision())
            case 3:
                compare.value = self.random.choice([b"", b"x", b"y"])
            case 4:
                compare.lease = self.random.choice(LEASES)
            case _:
                pass
        return compare

    def op(self, depth: int) -> pb.RequestOp:
        drawn = self.random.random()
        if drawn < 0.02:
            return pb.RequestOp()
        if drawn < 0.45:
            return pb.RequestOp(request_range=self.range())
        if drawn < 0.75:
            return pb.RequestOp(request_put=self.put())
        if drawn < 0.88 or depth == 0:
            # A put with ignore_value into what the transaction itself deletes stops etcd: no open end here.
            delete = self.delete()
            if delete.range_end == b"\x00":
                delete.range_end = b"c"
            return pb.RequestOp(request_delete_range=delete)
        return pb.RequestOp(request_txn=self.txn(depth - 1))

    def txn(self, depth: int) -> pb.TxnRequest:
        return pb.TxnRequest(
            compare=[self.compare() for _ in range(self.random.choice([0, 1, 1, 2]))],
            success=[self.op(depth) for _ in range(self.random.choice([0, 1, 2, 3]))],
            failure=[self.op(depth) for _ in range(self.random.choice([0, 0, 1, 2]))],
        )

    def compact(self) -> pb.CompactionRequest:
        # Not 0: etcd keeps the hash of that compaction, and then takes it for what HashKV(0), "now", asks for.
        draw = self.random.choice([self.revision - 10, self.revision - 3, self.revision, self.revision + 5])
        revision = draw or -1
        return pb.CompactionRequest(revision=revision, physical=self.flag(0.5))

    def grant(self) -> pb.LeaseGrantRequest:
        return pb.LeaseGrantRequest(
            TTL=self.random.choice([3600, 3600, 7200, 9_000_000_001]), ID=self.random.choice([1, 2, 3, -5])
        )

    def revoke(self) -> pb.LeaseRevokeRequest:
        return pb.LeaseRevokeRequest(ID=self.random.choice(LEASES))

    def time_to_live(self) -> pb.LeaseTimeToLiveRequest:
        return pb.LeaseTimeToLiveRequest(ID=self.random.choice(LEASES), keys=True)

    def hash_kv(self) -> pb.HashKVRequest:
        # etcd hashes nothing at all for a negative revision, the node takes it as 0.
        return pb.HashKVRequest(revision=max(0, self.some_revision()))

    def alarm(self) -> pb.AlarmRequest:
        return pb.AlarmRequest(
            action=self.random.choice([pb.AlarmRequest.GET, pb.AlarmRequest.DEACTIVATE]),
            memberID=5,
            alarm=self.random.choice([pb.NONE, pb.NOSPACE, pb.CORRUPT]),
        )
