"""What is refused before it costs anything: KV requests that can be seen to be wrong without the store.

Source: etcd server/etcdserver/api/v3rpc/key.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from etcdops.node.api.errors import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT_OPTION,
    KEY_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
    EtcdError,
)
from etcdops.node.apply.wire import PutFields
from etcdops.proto import etcdserverpb_pb2 as pb

_SORT_TARGETS = frozenset(pb.RangeRequest.SortTarget.values())


def check_range(request: pb.RangeRequest) -> EtcdError | None:
    """An unknown sort target stops etcd up to 3.5; it is refused with 3.6's error. An unknown order is ignored."""
    if not request.key:
        return EMPTY_KEY
    return None if request.sort_target in _SORT_TARGETS else INVALID_SORT_OPTION


def check_put(put: PutFields | pb.PutRequest) -> EtcdError | None:
    if not put.key:
        return EMPTY_KEY
    if put.ignore_value and put.value:
        return VALUE_PROVIDED
    if put.ignore_lease and put.lease:
        return LEASE_PROVIDED
    return None


def check_txn(txn: pb.TxnRequest, ops_max: int) -> EtcdError | None:
    """A transaction and all it nests: sizes, every operation by itself, then keys written more than once."""
    return _check_level(txn, ops_max) or _check_overlaps(txn)


def _check_level(txn: pb.TxnRequest, ops_max: int) -> EtcdError | None:
    """Nested transactions share what the largest list of this level leaves, each by itself."""
    count = max(len(txn.compare), len(txn.success), len(txn.failure))
    if count > ops_max:
        return TOO_MANY_OPS
    if any(not compare.key for compare in txn.compare):
        return EMPTY_KEY
    for branch in (txn.success, txn.failure):
        for op in branch:
            error = _check_op(op, ops_max - count)
            if error is not None:
                return error
    return None


def _check_op(op: pb.RequestOp, ops_max: int) -> EtcdError | None:
    match op.WhichOneof("request"):
        case "request_range":
            return check_range(op.request_range)
        case "request_put":
            return check_put(op.request_put)
        case "request_delete_range":
            return None if op.request_delete_range.key else EMPTY_KEY
        case "request_txn":
            return _check_level(op.request_txn, ops_max)
        case _:
            return KEY_NOT_FOUND


def _check_overlaps(txn: pb.TxnRequest) -> EtcdError | None:
    try:
        _written(txn.success)
        _written(txn.failure)
    except _Overlap:
        return DUPLICATE_KEY
    return None


class _Overlap(Exception):
    """A key is put twice, or put inside a deleted range."""


class _Deletions:
    """Ranges of keys, for asking whether one of them holds a key."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._ranges: list[tuple[bytes, bytes]] = []

    def add(self, request: pb.DeleteRangeRequest) -> None:
        if request.range_end:
            self._ranges.append((request.key, request.range_end))
        else:
            self._keys.add(request.key)

    def update(self, other: _Deletions) -> None:
        self._keys |= other._keys
        self._ranges += other._ranges

    def hold(self, key: bytes) -> bool:
        """As etcd, this takes a range end of one NUL byte literally, so such deletions hold nothing."""
        return key in self._keys or any(start <= key < end for start, end in self._ranges)


def _written(ops: Iterable[pb.RequestOp]) -> tuple[set[bytes], _Deletions]:
    """The keys that `ops` put and the ranges they delete, nested ones included.

    The branches of one nested transaction exclude each other, so they may put the same key. What a nested transaction
    deletes counts for everything after it but not for what came before: put, then delete is allowed.
    Raises: _Overlap.
    """
    listed = list(ops)
    deletions = _Deletions()
    for op in listed:
        if op.HasField("request_delete_range"):
            deletions.add(op.request_delete_range)
    puts: set[bytes] = set()
    for op in listed:
        if not op.HasField("request_txn"):
            continue
        puts_then, deletions_then = _written(op.request_txn.success)
        puts_else, deletions_else = _written(op.request_txn.failure)
        for key in puts_then | puts_else:
            if key in puts or deletions.hold(key):
                raise _Overlap
        puts |= puts_then | puts_else
        deletions.update(deletions_then)
        deletions.update(deletions_else)
    for op in listed:
        if op.HasField("request_put"):
            key = op.request_put.key
            if key in puts or deletions.hold(key):
                raise _Overlap
            puts.add(key)
    return puts, deletions
