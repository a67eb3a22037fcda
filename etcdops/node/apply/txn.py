"""Transactions: compares choose a branch at every level, then the chosen operations run in order.

All compares, of nested transactions too, look at the store as it was before the transaction wrote anything, and all
checks are made before the first write: a transaction either fails without a trace or runs to its end.
Source: etcd server/etcdserver/apply.go, applierV3backend.Txn and what it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from etcdops.ids import LeaseID, Revision
from etcdops.node.api.errors import COMPACTED, FUTURE_REVISION, KEY_NOT_FOUND, LEASE_NOT_FOUND, EtcdError
from etcdops.node.apply.ranges import View, range_outcome
from etcdops.node.apply.wire import (
    KeyValueFields,
    delimited,
    number_field,
    repeated,
    scan_key_value,
)
from etcdops.proto import etcdserverpb_pb2 as pb

_HEADER_TAG = b"\x0a"
_EMPTY_HEADER = b"\x0a\x00"
_REVISION_TAG = b"\x18"
_SUCCEEDED = b"\x10\x01"
_RESPONSES_TAG = b"\x1a"
_PUT_PREV_KV_TAG = b"\x12"
_DELETED_TAG = b"\x10"
_PREV_KVS_TAG = b"\x1a"
_RESPONSE_RANGE, _RESPONSE_PUT, _RESPONSE_DELETE_RANGE, _RESPONSE_TXN = b"\x0a", b"\x12", b"\x1a", b"\x22"

_MISSING = KeyValueFields(b"", 0, 0, 0, b"", 0)


class Store(View, Protocol):
    """The store before the transaction."""

    @property
    def compact_revision(self) -> Revision: ...


class Writer(View, Protocol):
    """A write transaction of the store: sees its own writes."""

    def put(self, key: bytes, value: bytes, lease_id: LeaseID) -> bytes: ...

    def delete_range(self, key: bytes, range_end: bytes) -> list[bytes]: ...


Attachments = list[tuple[bytes, LeaseID]]
"""Which lease each written key hangs on now (0 = none), in the order of the writes."""


class Refused(Exception):
    """A write inside a transaction cannot be done; the transaction must be abandoned."""

    def __init__(self, error: EtcdError) -> None:
        super().__init__(error.text)
        self.error = error


@dataclass(slots=True)
class Branch:
    """One level of a transaction with its compares decided: what it will run."""

    succeeded: bool
    ops: Sequence[pb.RequestOp]
    nested: list[Branch | None]
    """As long as `ops`: the decided nested transaction at that place."""


def decide(view: View, txn: pb.TxnRequest) -> Branch:
    """Evaluate the compares of `txn` and of the nested transactions it leads to."""
    succeeded = all(_holds(view, compare) for compare in txn.compare)
    ops = txn.success if succeeded else txn.failure
    nested = [decide(view, op.request_txn) if op.HasField("request_txn") else None for op in ops]
    return Branch(succeeded, ops, nested)


def _holds(view: View, compare: pb.Compare) -> bool:
    kvs = view.range(compare.key, compare.range_end).kvs
    if not kvs:
        # There is no way to say "no value" in a compare, so none holds; numbers of a missing key are 0.
        return compare.target != pb.Compare.VALUE and _matches(compare, _MISSING)
    return all(_matches(compare, scan_key_value(kv)) for kv in kvs)


def _matches(compare: pb.Compare, found: KeyValueFields) -> bool:
    order = _order(compare, found)
    match compare.result:
        case pb.Compare.EQUAL:
            return order == 0
        case pb.Compare.NOT_EQUAL:
            return order != 0
        case pb.Compare.GREATER:
            return order > 0
        case pb.Compare.LESS:
            return order < 0
        case _:
            return True


def _order(compare: pb.Compare, found: KeyValueFields) -> int:
    """Negative, 0 or positive as `found` is below, equal to or above what is asked. A member of the union that does
    not fit the target counts as 0 or empty, an unknown target as equal.
    """
    match compare.target:
        case pb.Compare.VALUE:
            return (found.value > compare.value) - (found.value < compare.value)
        case pb.Compare.VERSION:
            return found.version - compare.version
        case pb.Compare.CREATE:
            return found.create_revision - compare.create_revision
        case pb.Compare.MOD:
            return found.mod_revision - compare.mod_revision
        case pb.Compare.LEASE:
            return found.lease - compare.lease
        case _:
            return 0


def is_read_only(txn: pb.TxnRequest) -> bool:
    """Only ranges at the top level: it needs no log entry. A nested transaction counts as a write."""
    return all(op.HasField("request_range") for op in _both(txn))


def is_serializable(txn: pb.TxnRequest) -> bool:
    """Every one of its ranges may be answered from local, perhaps old, data. One without any operation is not: etcd
    answers its compares from old data, which nobody asked for.
    """
    ops = list(_both(txn))
    return bool(ops) and all(op.request_range.serializable for op in ops)


def _both(txn: pb.TxnRequest) -> Iterable[pb.RequestOp]:
    yield from txn.success
    yield from txn.failure


def check(view: Store, branch: Branch, leases: Container[LeaseID]) -> EtcdError | None:
    """Whether the chosen operations can all be done: first all puts, then all ranges, as etcd does."""
    return _first_error(branch, lambda op: _check_put(view, op, leases)) or _first_error(
        branch, lambda op: _check_range(view, op)
    )


def _first_error(branch: Branch, check_op: Callable[[pb.RequestOp], EtcdError | None]) -> EtcdError | None:
    for op, nested in zip(branch.ops, branch.nested, strict=True):
        error = check_op(op) if nested is None else _first_error(nested, check_op)
        if error is not None:
            return error
    return None


def _check_put(view: View, op: pb.RequestOp, leases: Container[LeaseID]) -> EtcdError | None:
    if not op.HasField("request_put"):
        return None
    put = op.request_put
    if (put.ignore_value or put.ignore_lease) and not view.range(put.key, b"").kvs:
        return KEY_NOT_FOUND
    if put.lease and put.lease not in leases:
        return LEASE_NOT_FOUND
    return None


def _check_range(view: Store, op: pb.RequestOp) -> EtcdError | None:
    revision = op.request_range.revision if op.HasField("request_range") else 0
    if revision == 0:
        return None
    if revision > view.revision:
        return FUTURE_REVISION
    return COMPACTED if revision < view.compact_revision else None


def run(view: View, writer: Writer | None, branch: Branch, attachments: Attachments) -> bytes:
    """Do the chosen operations. Returns: an encoded TxnResponse minus its header.

    `writer` None means there is nothing but ranges. Raises: Refused - a write cannot be done after all.
    """
    responses: list[bytes] = []
    for op, nested in zip(branch.ops, branch.nested, strict=True):
        if nested is not None:
            body = _EMPTY_HEADER + run(view, writer, nested, attachments)
            responses.append(delimited(_RESPONSE_TXN, body))
        elif op.HasField("request_range"):
            found = range_outcome(view, op.request_range)
            responses.append(delimited(_RESPONSE_RANGE, header(found.revision) + found.body))
        elif writer is not None and op.HasField("request_put"):
            body, revision = put(writer, op.request_put, attachments)
            responses.append(delimited(_RESPONSE_PUT, header(revision) + body))
        elif writer is not None and op.HasField("request_delete_range"):
            body, revision = delete_range(writer, op.request_delete_range, attachments)
            responses.append(delimited(_RESPONSE_DELETE_RANGE, header(revision) + body))
        else:
            responses.append(b"")
    return (_SUCCEEDED if branch.succeeded else b"") + repeated(_RESPONSES_TAG, responses)


def header(revision: Revision | int) -> bytes:
    """A header that says only the revision, as inner responses of a transaction have it."""
    return delimited(_HEADER_TAG, number_field(_REVISION_TAG, revision))


def put(writer: Writer, request: pb.PutRequest, attachments: Attachments) -> tuple[bytes, Revision]:
    """One put. Returns: an encoded PutResponse minus its header, and the revision of that.

    Raises: Refused(KEY_NOT_FOUND) - value or lease are to be kept and there is no such key.
    """
    value, lease, body = request.value, LeaseID(request.lease), b""
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        kvs = writer.range(request.key, b"").kvs
        if kvs:
            body = delimited(_PUT_PREV_KV_TAG, kvs[0]) if request.prev_kv else b""
            before = scan_key_value(kvs[0])
            value = before.value if request.ignore_value else value
            lease = LeaseID(before.lease) if request.ignore_lease else lease
        elif request.ignore_value or request.ignore_lease:
            raise Refused(KEY_NOT_FOUND)
    writer.put(request.key, value, lease)
    attachments.append((request.key, lease))
    return body, writer.revision


def delete_range(writer: Writer, request: pb.DeleteRangeRequest, attachments: Attachments) -> tuple[bytes, Revision]:
    """One deletion. Returns: an encoded DeleteRangeResponse minus its header, and the revision of that."""
    previous: list[bytes] = []
    if request.prev_kv:
        previous = writer.range(request.key, request.range_end).kvs
    deleted = writer.delete_range(request.key, request.range_end)
    attachments.extend((key, LeaseID(0)) for key in deleted)
    return number_field(_DELETED_TAG, len(deleted)) + repeated(_PREV_KVS_TAG, previous), writer.revision
