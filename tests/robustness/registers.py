"""Linearizability of single keys by real time alone: no revision is believed.

Registers are only put, with values that are never written twice, and read alone. For such histories linearizability is
a matter of zones: of each value, from the first moment when all of its calls can have begun to the last one before any
has ended. Source: Gibbons and Korach, Testing Shared Memories, SIAM J. Comput. 26(4), 1997, section 4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.broken import Broken
from tests.model.history import Call

PREFIX = b"r"
_BEGINNING = float("-inf")
_END = float("inf")


@dataclass(slots=True)
class _Cluster:
    """All calls of one value. The zone is forward when one of them ended before another began."""

    value: bytes
    first_return: float = _END
    last_call: float = _BEGINNING
    written: float = _END
    """When its put was called."""
    read: bool = False

    def add(self, called: float, returned: float) -> None:
        self.first_return = min(self.first_return, returned)
        self.last_call = max(self.last_call, called)

    @property
    def forward(self) -> bool:
        return self.first_return < self.last_call

    @property
    def low(self) -> float:
        return min(self.first_return, self.last_call)

    @property
    def high(self) -> float:
        return max(self.first_return, self.last_call)


def check_registers(calls: Iterable[Call]) -> int:
    """Returns: how many calls were compared. Raises: Broken - no order of a register's calls agrees with real time."""
    by_key: dict[bytes, list[tuple[Call, bytes, bool]]] = defaultdict(list)
    for call in calls:
        found = _register_call(call)
        if found is not None:
            key, value, is_read = found
            by_key[key].append((call, value, is_read))
    for key, group in by_key.items():
        _check_zones(key, _clusters(key, group))
    return sum(map(len, by_key.values()))


def _register_call(call: Call) -> tuple[bytes, bytes, bool] | None:
    """Key, value and whether it read; None for all other calls."""
    if call.kind == "put":
        put = pb.PutRequest.FromString(call.request)
        return (put.key, put.value, False) if put.key.startswith(PREFIX) else None
    if call.kind == "range" and call.answered and not call.serializable:
        request = pb.RangeRequest.FromString(call.request)
        if not request.key.startswith(PREFIX) or request.range_end or request.revision:
            return None
        kvs = pb.RangeResponse.FromString(call.answer).kvs
        return request.key, kvs[0].value if kvs else b"", True
    return None


def _clusters(key: bytes, group: list[tuple[Call, bytes, bool]]) -> list[_Cluster]:
    clusters = {b"": _Cluster(b"", _BEGINNING, _BEGINNING, _BEGINNING)}
    for call, value, is_read in group:
        cluster = clusters.setdefault(value, _Cluster(value))
        cluster.add(call.called, call.returned)
        if is_read:
            cluster.read = True
        else:
            cluster.written = call.called
    for cluster in clusters.values():
        if cluster.written == _END:
            raise Broken("registers", f"{key!r} was read with {cluster.value!r}, which nobody wrote")
        if cluster.first_return < cluster.written:
            raise Broken("registers", f"{key!r} was read with {cluster.value!r} before that was asked for")
    # A put without an answer whose value nobody saw may never have happened.
    return [cluster for cluster in clusters.values() if cluster.read or cluster.first_return < _END]


def _check_zones(key: bytes, clusters: list[_Cluster]) -> None:
    forward = sorted((one for one in clusters if one.forward), key=lambda one: one.low)
    for one, other in pairwise(forward):
        if other.low < one.high:
            raise Broken(
                "registers", f"{key!r} had {one.value!r} before and after it had {other.value!r}: a stale read"
            )
    backward = sorted((one for one in clusters if not one.forward), key=lambda one: one.low)
    place = 0
    for one in backward:
        while place < len(forward) and forward[place].high < one.low:
            place += 1
        if place < len(forward) and forward[place].low < one.low and one.high < forward[place].high:
            raise Broken(
                "registers", f"{one.value!r} was put into {key!r} while it had {forward[place].value!r} all the time"
            )
