"""What a number was over the last minutes to a day, in bounded memory, with gaps kept as gaps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

BUCKETS = 120
"""Buckets kept for each zoom; a sparkline is never wider."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """A span of time a history can be seen in."""

    name: str
    span_s: float

    @property
    def bucket_s(self) -> float:
        return self.span_s / BUCKETS


ZOOMS: tuple[Zoom, ...] = (
    Zoom("5 min", 300),
    Zoom("15 min", 900),
    Zoom("1 h", 3_600),
    Zoom("6 h", 21_600),
    Zoom("24 h", 86_400),
)
DEFAULT_ZOOM = 0


@dataclass(frozen=True, slots=True)
class _Track:
    """The newest `BUCKETS` buckets of one zoom. `values[-1]` belongs to bucket number `newest`."""

    newest: int = 0
    values: tuple[float | None, ...] = ()

    def add(self, bucket: int, value: float | None) -> _Track:
        if not self.values:
            return _Track(bucket, (value,))
        if bucket <= self.newest:
            last = self.values[-1]
            return _Track(self.newest, (*self.values[:-1], _larger(last, value)))
        skipped = min(bucket - self.newest - 1, BUCKETS)
        return _Track(bucket, (*self.values, *(None,) * skipped, value)[-BUCKETS:])


@dataclass(frozen=True, slots=True)
class Series:
    """One number over time. Immutable: `add` returns the longer one, so a paused screen keeps what it shows.

    A bucket keeps the largest value that fell into it, because a short peak is what an operator looks for.
    """

    tracks: tuple[_Track, ...] = field(default_factory=lambda: tuple(_Track() for _ in ZOOMS))
    latest: float | None = None

    def add(self, at_s: float, value: float | None) -> Series:
        """The series with `value` seen at monotonic time `at_s`; None = it could not be had (a gap)."""
        tracks = zip(ZOOMS, self.tracks, strict=True)
        return Series(tuple(track.add(int(at_s // zoom.bucket_s), value) for zoom, track in tracks), value)

    def cells(self, zoom: int, count: int, now_s: float) -> list[float | None]:
        """The zoom's span up to `now_s` as `count` values, oldest first; None where nothing was seen."""
        track = self.tracks[zoom]
        newest = int(now_s // ZOOMS[zoom].bucket_s)
        padded: list[float | None] = [None] * BUCKETS
        for index, value in enumerate(track.values):
            position = BUCKETS - 1 - (newest - (track.newest - len(track.values) + 1 + index))
            if 0 <= position < BUCKETS:
                padded[position] = value
        bounds = [round(cell * BUCKETS / count) for cell in range(count + 1)]
        return [_largest(padded[low:high]) for low, high in itertools.pairwise(bounds)]


SPARKS = "▁▂▃▄▅▆▇█"
GAP = " "


def sparkline(values: Sequence[float | None], *, floor: float | None = 0.0, least_span: float = 0.0) -> str:
    """One character for each value; a blank where there is none.

    Args: floor - the value of the lowest bar, None = the smallest value seen (for sizes that change little);
        least_span - from floor to the highest bar at least, so that noise does not look like an alarm.
    """
    known = [value for value in values if value is not None]
    if not known:
        return GAP * len(values)
    low = min(known) if floor is None else floor
    span = max(max(known) - low, least_span)
    if span <= 0:
        return "".join(GAP if value is None else SPARKS[0] for value in values)
    top = len(SPARKS) - 1
    return "".join(GAP if v is None else SPARKS[max(0, min(top, round((v - low) / span * top)))] for v in values)


def _larger(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
