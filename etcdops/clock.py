"""Time as a dependency: everything that waits or stamps takes a `Clock`, so tests can move time themselves."""

from __future__ import annotations

import datetime
import time
from typing import Protocol, overload


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


@overload
def rfc3339(seconds: float) -> str: ...
@overload
def rfc3339(seconds: None) -> None: ...
@overload
def rfc3339(seconds: float | None) -> str | None: ...
def rfc3339(seconds: float | None) -> str | None:
    """A Unix time as RFC 3339 in UTC with milliseconds, as in the members' own logs."""
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
