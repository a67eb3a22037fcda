"""How much room a request may take, and whether there is any left.

Source: etcd server/etcdserver/quota.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from etcdops.proto import etcdserverpb_pb2 as pb

DEFAULT_BYTES = 2 * 1024**3
KEY_OVERHEAD_BYTES = 256
LEASE_BYTES = 64


_CHECKS_PER_READING = 64
_MARGIN_BYTES = 16 * 1024**2
_GROWTH = 4


class Quota:
    """The backend quota of one member: its file must stay below it, whatever is in use inside.

    The file's size costs two questions to SQLite, so it is read again only every so often, and each time once it comes
    near the limit: within 16 MiB, counting four times what was asked for since, because pages fill up unevenly.
    """

    def __init__(self, limit_bytes: int, size_bytes: Callable[[], int]) -> None:
        """`limit_bytes` 0 = etcd's default of 2 GiB, negative = no quota."""
        self.limit_bytes = limit_bytes or DEFAULT_BYTES
        self._size_bytes = size_bytes
        self._known_bytes = self._added_bytes = 0
        self._checks = _CHECKS_PER_READING

    def available(self, cost_bytes: int) -> bool:
        """Whether a request that adds about `cost_bytes` fits; one that adds nothing always does."""
        if cost_bytes == 0 or self.limit_bytes < 0:
            return True
        self._checks += 1
        self._added_bytes += cost_bytes
        expected = self._known_bytes + _GROWTH * self._added_bytes + _MARGIN_BYTES
        if self._checks >= _CHECKS_PER_READING or expected >= self.limit_bytes:
            self._known_bytes = self._size_bytes()
            self._checks = self._added_bytes = 0
        return self._known_bytes + cost_bytes < self.limit_bytes


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
