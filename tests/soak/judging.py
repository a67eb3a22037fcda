"""Whether a series of samples stays flat: a robust fit, and how much growth is let pass.

The first part of a run is warm-up: caches fill, files reach their size. What follows is cut into equal parts; the
median of each part forgets single peaks, and the median of the slopes between all pairs of parts (Theil-Sen) forgets a
whole part that was odd. What goes up and down like the teeth of a saw, as entries do until the raft log is cut, can
still look like a slope: so the low end must have risen as well. Growth is the smaller of the two, over the time that
was looked at.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

WARM_UP_SHARE = 0.25
PARTS = 12
_KIB, _MIB = 1024.0, 1024.0 * 1024.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that must not grow: over the time looked at, no more than `share` of its median plus `more`."""

    name: str
    title: str
    unit: float
    """What one of its units is shown as: bytes are shown in MiB."""

    share: float
    more: float


MEASURES = (
    Measure("rss_bytes", "resident MiB", _MIB, 0.04, 3 * _MIB),
    Measure("blocks", "heap blocks, thousands", 1000.0, 0.04, 3000.0),
    Measure("fds", "open files", 1.0, 0.10, 4.0),
    Measure("threads", "threads", 1.0, 0.0, 2.0),
    Measure("tasks", "tasks", 1.0, 0.10, 10.0),
    Measure("db_bytes", "store MiB", _MIB, 0.10, 8 * _MIB),
    Measure("log_bytes", "raft log MiB", _MIB, 0.10, 32 * _MIB),
)
"""Threads: the pools of a member start theirs when first needed, which may be late. Logs are made anew at 16 MiB (the
node) or 64 MB (etcd), so one of them more is no growth."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one measure in one life of a member."""

    measure: Measure
    median: float
    growth: float
    """Over the time looked at, in the measure's own unit."""

    took_s: float
    """The time looked at."""

    @property
    def allowed(self) -> float:
        return self.measure.share * self.median + self.measure.more

    @property
    def flat(self) -> bool:
        return self.growth <= self.allowed

    @property
    def growth_an_hour(self) -> float:
        return self.growth * 3600.0 / self.took_s


def judge(measure: Measure, times_s: Sequence[float], values: Sequence[float]) -> Finding | None:
    """The verdict on samples in the order of time; None when there are too few after the warm-up."""
    start = times_s[0] + WARM_UP_SHARE * (times_s[-1] - times_s[0]) if times_s else 0.0
    kept = [(at, value) for at, value in zip(times_s, values, strict=True) if at >= start]
    if len(kept) < 2 * PARTS:
        return None
    points = [_middle(kept[len(kept) * part // PARTS : len(kept) * (part + 1) // PARTS]) for part in range(PARTS)]
    slope = statistics.median((late[1] - early[1]) / (late[0] - early[0]) for early, late in combinations(points, 2))
    took_s = kept[-1][0] - kept[0][0]
    third = len(kept) // 3
    lifted = 1.5 * (_low_end(kept[-third:]) - _low_end(kept[:third]))  # their middles are two thirds apart
    growth = min(slope * took_s, lifted) if slope > 0 else slope * took_s
    return Finding(measure, statistics.median(value for _, value in kept), growth, took_s)


def _low_end(part: Sequence[tuple[float, float]]) -> float:
    """What nearly all values are above."""
    return sorted(value for _, value in part)[len(part) // 20]


def _middle(part: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(at for at, _ in part), statistics.median(value for _, value in part)
