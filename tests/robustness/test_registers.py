"""Registers: the check that believes no revision."""

from __future__ import annotations

import random

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.model.broken import Broken
from tests.model.history import Call
from tests.robustness.registers import check_registers

NEVER = float("inf")


def write(value: bytes, called: float, returned: float) -> Call:
    request = pb.PutRequest(key=b"r0", value=value).SerializeToString()
    return Call("c", "put", request, called, "m", 2, returned=returned, revision=1 if returned < NEVER else 0)


def read(value: bytes, called: float, returned: float) -> Call:
    answer = pb.RangeResponse(kvs=[mvccpb.KeyValue(key=b"r0", value=value)] if value else [])
    request = pb.RangeRequest(key=b"r0").SerializeToString()
    call = Call("c", "range", request, called, "m", 2, returned=returned, revision=1)
    call.answer = answer.SerializeToString()
    return call


GOOD = {
    "one after the other": [read(b"", 0, 1), write(b"a", 2, 3), read(b"a", 4, 5), write(b"b", 6, 7), read(b"b", 8, 9)],
    "at the same time": [write(b"a", 0, 10), write(b"b", 0, 10), read(b"b", 1, 2), read(b"a", 3, 4)],
    "unknown, and done later": [write(b"a", 0, NEVER), write(b"b", 1, 2), read(b"b", 3, 4), read(b"a", 5, 6)],
    "unknown, and never done": [write(b"a", 0, NEVER), write(b"b", 1, 2), read(b"b", 3, 4)],
}
WRONG = {
    "stale": [write(b"a", 0, 1), write(b"b", 2, 3), read(b"a", 4, 5)],
    "there and back": [write(b"a", 0, 9), write(b"b", 0, 9), read(b"a", 1, 2), read(b"b", 3, 4), read(b"a", 5, 6)],
    "lost": [write(b"a", 0, 1), read(b"", 2, 3)],
    "from nowhere": [read(b"a", 0, 1)],
    "from the future": [read(b"a", 0, 1), write(b"a", 2, 3)],
    "forgotten between": [write(b"a", 0, 1), read(b"a", 1, 2), write(b"b", 3, 4), read(b"a", 5, 6)],
    "gone again": [write(b"a", 0, 9), read(b"a", 1, 2), read(b"", 3, 4)],
}


@pytest.mark.parametrize("calls", GOOD.values(), ids=GOOD)
def test_what_some_order_explains_passes(calls: list[Call]) -> None:
    assert check_registers(calls) == len(calls)


@pytest.mark.parametrize("calls", WRONG.values(), ids=WRONG)
def test_what_no_order_explains_is_found(calls: list[Call]) -> None:
    with pytest.raises(Broken, match="registers"):
        check_registers(calls)


def _explains(calls: tuple[Call, ...], value: bytes) -> bool:
    """Whether some order of these calls agrees with real time: all orders are tried."""
    if not calls:
        return True
    if all(call.returned == NEVER for call in calls):
        return True
    for call in calls:
        if any(other.returned < call.called for other in calls):
            continue
        rest = tuple(other for other in calls if other is not call)
        if call.kind == "put":
            if _explains(rest, pb.PutRequest.FromString(call.request).value):
                return True
        else:
            kvs = pb.RangeResponse.FromString(call.answer).kvs
            if (kvs[0].value if kvs else b"") == value and _explains(rest, value):
                return True
    return False


@pytest.mark.slow
def test_zones_say_what_a_search_through_all_orders_says() -> None:
    """Random small histories, most of them wrong; an unknown put may be anywhere after its call, or nowhere."""
    draw, wrong = random.Random(1), 0
    for _ in range(1500):
        calls = []
        for value in (b"a", b"b"):
            called = draw.uniform(0, 10)
            calls.append(write(value, called, NEVER if draw.random() < 0.3 else called + draw.uniform(0.1, 6)))
        for _ in range(3):
            called = draw.uniform(0, 10)
            calls.append(read(draw.choice((b"", b"a", b"b")), called, called + draw.uniform(0.1, 4)))
        expected = _explains(tuple(calls), b"")
        try:
            check_registers(calls)
            found = True
        except Broken:
            found = False
        assert found == expected, [str(call) for call in calls]
        wrong += not expected
    assert 200 < wrong < 1400
