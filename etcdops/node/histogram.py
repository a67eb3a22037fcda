"""Counting how often something took how long, as Prometheus wants it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts of observations by upper bound, as Prometheus wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascending; one bucket above all of them is added."""
        self._bounds = list(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, observations at or below it), the last for "+Inf"."""
        bounds = [repr(bound) for bound in self._bounds] + ["+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
