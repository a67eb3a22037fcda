"""Time as a dependency: everything that waits or stamps takes a `Clock`, so tests can move time themselves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time. `monotonic` never goes back and has no meaning between processes; `wall` is Unix time."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""

    def wall(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z, as this machine believes."""


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class ManualClock:
    """A clock that moves only when told to. Both readings move together."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward by `seconds` >= 0."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds}")
        self._now += seconds
