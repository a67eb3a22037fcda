"""What the committed log means, written from etcd's API alone: keys, their whole history, leases.

It never compacts, so it can say what any revision looked like.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb


@dataclass(frozen=True, slots=True)
class Happened:
    """One change of one key."""

    revision: int
    key: bytes
    kv: mvccpb.KeyValue | None
    """None: it was deleted."""
    before: mvccpb.KeyValue | None


@dataclass(frozen=True, slots=True)
class Done:
    """What one committed request came to."""

    field: str
    request: bytes
    revision: int
    """Of the store afterwards."""
    changed: bool
    answer: bytes
    """The encoded response without headers; b"" for an error and for what is not compared."""
    error: str = ""


@dataclass(slots=True)
class Model:
    """Apply the log's requests in order; `revision` 1 is the empty store."""

    revision: int = 1
    compacted: int = -1
    history: dict[bytes, list[Happened]] = field(default_factory=dict)
    events: list[Happened] = field(default_factory=list)
    leases: dict[int, int] = field(default_factory=dict)
    """ID -> granted TTL, seconds."""
    no_space: set[int] = field(default_factory=set)
    """Members with that alarm. While there is one, nothing is added."""

    def apply(self, request: pb.InternalRaftRequest) -> Done | None:
        """One committed request; None for one that is not about keys or leases."""
        if request.HasField("put"):
            return self._write("put", request.put, self._put(request.put))
        if request.HasField("delete_range"):
            return self._write("delete_range", request.delete_range, self._delete(request.delete_range))
        if request.HasField("txn"):
            return self._write("txn", request.txn, self._txn(request.txn))
        if request.HasField("compaction"):
            return self._compact(request.compaction)
        if request.HasField("lease_grant"):
            return self._grant(request.lease_grant)
        if request.HasField("lease_revoke"):
            return self._revoke(request.lease_revoke)
        if request.HasField("alarm") and request.alarm.alarm == pb.NOSPACE:
            (self.no_space.add if request.alarm.action == pb.AlarmRequest.ACTIVATE else self.no_space.discard)(
                request.alarm.memberID
            )
        return None

    # Reads.

    def at(self, key: bytes, revision: int) -> mvccpb.KeyValue | None:
        """The key as it was."""
        changes = self.history.get(key)
        if not changes:
            return None
        place = bisect_right(changes, revision, key=lambda change: change.revision)
        return changes[place - 1].kv if place else None

    def range(self, request: pb.RangeRequest, current: int) -> pb.RangeResponse:
        """The answer of a store at revision `current`."""
        revision = request.revision or current
        found = []
        for key in sorted(self.history):
            if covers(key, request.key, request.range_end):
                kv = self.at(key, revision)
                if kv is not None:
                    found.append(kv)
        answer = pb.RangeResponse(count=len(found))
        if not request.count_only:
            shown = found[: request.limit] if request.limit else found
            answer.more = len(shown) < len(found)
            answer.kvs.extend(shown)
        return answer

    def evaluate(self, kind: str, request: bytes, current: int) -> bytes:
        """The answer of a request that changed nothing, at a store at revision `current`."""
        if kind == "range":
            return self.range(pb.RangeRequest.FromString(request), current).SerializeToString(deterministic=True)
        if kind == "delete_range":
            return pb.DeleteRangeResponse().SerializeToString(deterministic=True)
        assert kind == "txn", kind
        past = Model(current, history=self.history)
        txn = pb.TxnRequest.FromString(request)
        succeeded = all(past._holds(compare) for compare in txn.compare)
        answer = pb.TxnResponse(succeeded=succeeded)
        for operation in txn.success if succeeded else txn.failure:
            if operation.HasField("request_range"):
                answer.responses.add().response_range.CopyFrom(past.range(operation.request_range, current))
            elif operation.HasField("request_delete_range"):
                answer.responses.add().response_delete_range.SetInParent()
            else:
                return b"a put changes something"
        return answer.SerializeToString(deterministic=True)

    def keys_of(self, lease: int) -> list[bytes]:
        """Keys that hang on a lease, sorted."""
        current = ((key, changes[-1].kv) for key, changes in self.history.items())
        return sorted(key for key, kv in current if kv is not None and kv.lease == lease)

    # Writes.

    def _write(self, kind: str, request: pb.PutRequest | pb.DeleteRangeRequest | pb.TxnRequest, answer: object) -> Done:
        sent = request.SerializeToString(deterministic=True)
        if isinstance(answer, str):
            return Done(kind, sent, self.revision, False, b"", answer)
        assert isinstance(answer, pb.PutResponse | pb.DeleteRangeResponse | pb.TxnResponse)
        changed = bool(self.events) and self.events[-1].revision > self.revision
        self.revision += changed
        return Done(kind, sent, self.revision, changed, answer.SerializeToString(deterministic=True))

    def _change(self, key: bytes, kv: mvccpb.KeyValue | None, before: mvccpb.KeyValue | None) -> None:
        happened = Happened(self.revision + 1, key, kv, before)
        self.history.setdefault(key, []).append(happened)
        self.events.append(happened)

    def _put(self, request: pb.PutRequest) -> pb.PutResponse | str:
        if self.no_space:
            return "no space"
        if request.lease and request.lease not in self.leases:
            return "lease not found"
        before = self.at(request.key, self.revision + 1)
        kv = mvccpb.KeyValue(
            key=request.key,
            value=request.value,
            lease=request.lease,
            create_revision=before.create_revision if before else self.revision + 1,
            mod_revision=self.revision + 1,
            version=before.version + 1 if before else 1,
        )
        self._change(request.key, kv, before)
        answer = pb.PutResponse()
        if request.prev_kv and before is not None:
            answer.prev_kv.CopyFrom(before)
        return answer

    def _delete(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        answer = pb.DeleteRangeResponse()
        for key in sorted(self.history):
            before = self.at(key, self.revision + 1)
            if before is not None and covers(key, request.key, request.range_end):
                answer.deleted += 1
                if request.prev_kv:
                    answer.prev_kvs.append(before)
                self._change(key, None, before)
        return answer

    def _txn(self, request: pb.TxnRequest) -> pb.TxnResponse | str:
        if self.no_space and any(one.HasField("request_put") for one in (*request.success, *request.failure)):
            return "no space"
        answer = pb.TxnResponse(succeeded=all(self._holds(compare) for compare in request.compare))
        operations = request.success if answer.succeeded else request.failure
        for operation in operations:
            put = operation.request_put
            if operation.HasField("request_put") and put.lease and put.lease not in self.leases:
                return "lease not found"
        for operation in operations:
            response = answer.responses.add()
            if operation.HasField("request_put"):
                put_answer = self._put(operation.request_put)
                assert not isinstance(put_answer, str)
                response.response_put.CopyFrom(put_answer)
            elif operation.HasField("request_delete_range"):
                response.response_delete_range.CopyFrom(self._delete(operation.request_delete_range))
            else:
                response.response_range.CopyFrom(self.range(operation.request_range, self.revision + 1))
        return answer

    def _holds(self, compare: pb.Compare) -> bool:
        kv = self.at(compare.key, self.revision) or mvccpb.KeyValue()
        match compare.target:
            case pb.Compare.VALUE:
                # An absent key has no value, equal to nothing.
                found, wanted = kv.value, compare.value
                if not kv.mod_revision:
                    return False
            case pb.Compare.VERSION:
                return _compared(kv.version, compare.version, compare.result)
            case pb.Compare.CREATE:
                return _compared(kv.create_revision, compare.create_revision, compare.result)
            case pb.Compare.MOD:
                return _compared(kv.mod_revision, compare.mod_revision, compare.result)
            case _:
                return _compared(kv.lease, compare.lease, compare.result)
        return _compared(found, wanted, compare.result)

    def _compact(self, request: pb.CompactionRequest) -> Done:
        sent = request.SerializeToString(deterministic=True)
        if request.revision <= self.compacted:
            return Done("compaction", sent, self.revision, False, b"", "compacted")
        if request.revision > self.revision:
            return Done("compaction", sent, self.revision, False, b"", "future")
        self.compacted = request.revision
        return Done("compaction", sent, self.revision, False, b"")

    def _grant(self, request: pb.LeaseGrantRequest) -> Done:
        sent = request.SerializeToString(deterministic=True)
        if self.no_space:
            return Done("lease_grant", sent, self.revision, False, b"", "no space")
        if request.ID in self.leases:
            return Done("lease_grant", sent, self.revision, False, b"", "exists")
        self.leases[request.ID] = request.TTL
        return Done("lease_grant", sent, self.revision, False, b"")

    def _revoke(self, request: pb.LeaseRevokeRequest) -> Done:
        sent = request.SerializeToString(deterministic=True)
        if self.leases.pop(request.ID, None) is None:
            return Done("lease_revoke", sent, self.revision, False, b"", "not found")
        keys = self.keys_of(request.ID)
        for key in keys:
            self._change(key, None, self.at(key, self.revision + 1))
        self.revision += bool(keys)
        return Done("lease_revoke", sent, self.revision, bool(keys), b"")


def covers(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether a key is in [start, end), by the API's convention."""
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


def _compared(found: int | bytes, wanted: int | bytes, result: int) -> bool:
    match result:
        case pb.Compare.EQUAL:
            return found == wanted
        case pb.Compare.NOT_EQUAL:
            return found != wanted
        case pb.Compare.GREATER:
            return found > wanted  # type: ignore[operator]  # both are of one kind
        case _:
            return found < wanted  # type: ignore[operator]  # both are of one kind
