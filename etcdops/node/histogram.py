"""Counting how often something took how long, as Prometheus wants it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from itertools import accumulate


def exponential(start: float, count: int) -> Histogram:
    """Bounds that double from `start`. Source: prometheus.ExponentialBuckets(start, 2, count)."""
    return Histogram([start * 2**power for power in range(count)])


class Histogram:
    """Counts of observations by upper bound, as Prometheus wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascending; one bucket above all of them is added."""
        self._bounds = list(bounds)
        self._first = bounds[0]
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        # Most of what is counted per request is below the first bound.
        self._counts[0 if value <= self._first else bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[float, int]]:
        """(upper bound, observations at or below it), the last bound infinite."""
        return list(zip([*self._bounds, math.inf], accumulate(self._counts), strict=True))
