"""Answering a RangeRequest from a view of the store, as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from etcdops.ids import Revision
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import KeyValueFields, number_field, repeated, scan_key_value, without_value
from etcdops.node.storage.mvcc import RangeResult
from etcdops.proto import etcdserverpb_pb2 as pb

KVS_TAG = b"\x12"
_MORE = b"\x18\x01"
_COUNT_TAG = b"\x20"


class View(Protocol):
    """What can be read: the store as it is, or a transaction's own sight of it."""

    @property
    def revision(self) -> Revision: ...
    def range(
        self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult: ...


class _Row(NamedTuple):
    kv: bytes
    fields: KeyValueFields


_SORT_KEYS: dict[int, Callable[[_Row], int | bytes]] = {
    pb.RangeRequest.KEY: lambda row: row.fields.key,
    pb.RangeRequest.VERSION: lambda row: row.fields.version,
    pb.RangeRequest.CREATE: lambda row: row.fields.create_revision,
    pb.RangeRequest.MOD: lambda row: row.fields.mod_revision,
    pb.RangeRequest.VALUE: lambda row: row.fields.value,
}


def range_outcome(view: View, request: pb.RangeRequest) -> Outcome:
    """The answer to a checked RangeRequest; its header's revision is the view's, whatever revision was read.

    Order of work: read, filter (max and min mod revision, max and min create revision), sort, limit, drop values.
    `count` is what the key and revision match, before filters and limit. Ties of a sort stay in key order. A sort
    target without a sort order sorts ascending what a limit has left, which is etcd's quirk.
    Raises: Compacted, FutureRevision.
    Source: etcd server/etcdserver/apply.go, applierV3backend.Range.
    """
    limit = max(request.limit, 0)
    needs_all = (
        request.sort_order
        or request.max_mod_revision
        or request.min_mod_revision
        or request.max_create_revision
        or request.min_create_revision
    )
    found = view.range(
        request.key,
        request.range_end,
        revision=request.revision,
        limit=0 if needs_all or limit == 0 else limit + 1,
        count_only=request.count_only,
    )
    kvs = found.kvs
    if needs_all or request.sort_target:
        kvs = _filtered_and_sorted(kvs, request)
    more = limit > 0 and len(kvs) > limit
    if more:
        kvs = kvs[:limit]
    if request.keys_only:
        kvs = [without_value(kv) for kv in kvs]
    body = repeated(KVS_TAG, kvs) + (_MORE if more else b"") + number_field(_COUNT_TAG, found.count)
    return Outcome(body, found.revision)


def one_key_outcome(view: View, key: bytes) -> Outcome:
    """The answer to a RangeRequest with nothing but a key."""
    found = view.range(key, b"")
    if not found.kvs:
        return Outcome(b"", found.revision)
    return Outcome(repeated(KVS_TAG, found.kvs) + _COUNT_TAG + b"\x01", found.revision)


def _filtered_and_sorted(kvs: list[bytes], request: pb.RangeRequest) -> list[bytes]:
    rows = [_Row(kv, scan_key_value(kv)) for kv in kvs]
    if request.max_mod_revision:
        rows = [row for row in rows if row.fields.mod_revision <= request.max_mod_revision]
    if request.min_mod_revision:
        rows = [row for row in rows if row.fields.mod_revision >= request.min_mod_revision]
    if request.max_create_revision:
        rows = [row for row in rows if row.fields.create_revision <= request.max_create_revision]
    if request.min_create_revision:
        rows = [row for row in rows if row.fields.create_revision >= request.min_create_revision]
    order = request.sort_order
    if order == pb.RangeRequest.NONE and request.sort_target != pb.RangeRequest.KEY:
        order = pb.RangeRequest.ASCEND
    sort_key = _SORT_KEYS.get(request.sort_target)
    if order in (pb.RangeRequest.ASCEND, pb.RangeRequest.DESCEND) and sort_key is not None:
        rows.sort(key=sort_key, reverse=order == pb.RangeRequest.DESCEND)
    return [row.kv for row in rows]
