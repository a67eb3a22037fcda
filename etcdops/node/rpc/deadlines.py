"""Deadlines of many calls with one timer: a wheel of 5 ms buckets, because most calls end long before theirs."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

RESOLUTION_S = 0.005
"""A deadline passes at most this much late, and never early."""


class Expiring(Protocol):
    """Something that ends at its deadline."""

    def expire(self) -> None:
        """The deadline has passed."""


class Deadlines:
    """Who must end when. Adding and dropping cost O(1); `wake_at(time)` asks the owner to call `expire` then.

    Times are the owner's monotonic seconds.
    """

    def __init__(self, wake_at: Callable[[float], None]) -> None:
        self._wake_at = wake_at
        # dicts as ordered sets, so that calls of one bucket expire in the order they came
        self._buckets: dict[int, dict[Expiring, None]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, when: float, call: Expiring) -> int:
        """End `call` at `when`. Returns: what `drop` needs."""
        bucket = int(when / RESOLUTION_S) + 1
        calls = self._buckets.get(bucket)
        if calls is None:
            self._buckets[bucket] = {call: None}
            heapq.heappush(self._order, bucket)
            if self._order[0] == bucket:
                self._wake_at(bucket * RESOLUTION_S)
        else:
            calls[call] = None
        return bucket

    def drop(self, bucket: int, call: Expiring) -> None:
        """`call` has ended before its deadline."""
        calls = self._buckets.get(bucket)
        if calls is not None:
            calls.pop(call, None)

    def expire(self, now: float) -> None:
        """End every call whose deadline has passed."""
        while self._order and self._order[0] * RESOLUTION_S <= now:
            for call in self._buckets.pop(heapq.heappop(self._order)):
                call.expire()
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        if self._order:
            self._wake_at(self._order[0] * RESOLUTION_S)
