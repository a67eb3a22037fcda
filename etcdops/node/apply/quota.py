"""How much room a request may take, and whether there is any left.

Source: etcd server/etcdserver/quota.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from etcdops.proto import etcdserverpb_pb2 as pb

DEFAULT_BYTES = 2 * 1024**3
KEY_OVERHEAD_BYTES = 256
LEASE_BYTES = 64


class Quota:
    """The backend quota of one member: its file must stay below it, whatever is in use inside."""

    def __init__(self, limit_bytes: int, size_bytes: Callable[[], int]) -> None:
        """`limit_bytes` 0 = etcd's default of 2 GiB, negative = no quota."""
        self.limit_bytes = limit_bytes or DEFAULT_BYTES
        self._size_bytes = size_bytes

    def available(self, cost_bytes: int) -> bool:
        """Whether a request that adds about `cost_bytes` fits; one that adds nothing always does."""
        return cost_bytes == 0 or self.limit_bytes < 0 or self._size_bytes() + cost_bytes < self.limit_bytes


def put_cost(key: bytes, value: bytes) -> int:
    """What a put may add, in bytes."""
    return KEY_OVERHEAD_BYTES + len(key) + len(value)


def txn_cost(txn: pb.TxnRequest) -> int:
    """What the dearer branch may add, puts of nested transactions included."""
    return max(_branch_cost(txn.success), _branch_cost(txn.failure))


def _branch_cost(ops: Iterable[pb.RequestOp]) -> int:
    cost = 0
    for op in ops:
        kind = op.WhichOneof("request")
        if kind == "request_put":
            cost += put_cost(op.request_put.key, op.request_put.value)
        elif kind == "request_txn":
            cost += txn_cost(op.request_txn)
    return cost
