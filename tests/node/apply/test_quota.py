"""The quota's arithmetic (N01, N02, T30)."""

from __future__ import annotations

import pytest

from etcdops.node.apply.quota import DEFAULT_BYTES, Quota, put_cost, txn_cost
from etcdops.proto import etcdserverpb_pb2 as pb

MIB = 1024**2


def test_costs() -> None:
    """The dearer branch counts, nested puts included."""
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"ab", value=b"xyz"))
    assert put_cost(b"ab", b"xyz") == 261
    nested = pb.RequestOp(request_txn=pb.TxnRequest(failure=[put, put]))
    assert txn_cost(pb.TxnRequest(success=[put], failure=[nested])) == 522
    assert txn_cost(pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))])) == 0


@pytest.mark.parametrize(
    ("limit", "size", "cost", "fits"), [(100, 50, 49, True), (100, 50, 50, False), (-1, 99, 9, True)]
)
def test_what_fits(limit: int, size: int, cost: int, fits: bool) -> None:
    """Strictly below the limit; negative means none; what adds nothing always fits."""
    assert Quota(limit, lambda: size).available(cost) is fits
    assert Quota(limit, lambda: size).available(0)
    assert Quota(0, lambda: size).limit_bytes == DEFAULT_BYTES


def test_the_size_is_not_asked_for_every_time_and_every_time_near_the_limit() -> None:
    """Far below the limit it cannot matter."""
    asked = 0
    size = 10 * MIB

    def read() -> int:
        nonlocal asked
        asked += 1
        return size

    quota = Quota(100 * MIB, read)
    for _ in range(640):
        assert quota.available(500)
    assert asked <= 12
    size = 99 * MIB
    for _ in range(64):
        quota.available(500)
    before = asked
    for _ in range(10):
        assert quota.available(500)
    assert asked == before + 10
    size = 100 * MIB
    assert not quota.available(500)


def test_large_requests_bring_the_next_reading_forward() -> None:
    """Otherwise 64 of them could pass the limit unseen."""
    size = 0
    quota = Quota(100 * MIB, lambda: size)
    passed = 0
    while quota.available(MIB) and passed < 200:
        passed += 1
        size += MIB
    assert passed == 99
