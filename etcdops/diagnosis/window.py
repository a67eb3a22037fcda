"""Which time of a log counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The time that counts, in seconds since 1970; entries without a time belong to the entry before them."""

    since: float | None = None
    until: float | None = None

    @property
    def limited(self) -> bool:
        return self.since is not None or self.until is not None

    def holds(self, moment: float | None) -> bool:
        if moment is None:
            return True
        return (self.since is None or moment >= self.since) and (self.until is None or moment <= self.until)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Lines of a log whose time does not count: how many, and from when to when they were written."""

    lines: int = 0
    first: float | None = None
    last: float | None = None

    def and_more(self, lines: int, times: Iterable[float | None]) -> LeftOut:
        """With that many more; `times` are some of theirs, the first and the last among them."""
        known = [time for time in (self.first, self.last, *times) if time is not None]
        return LeftOut(self.lines + lines, min(known, default=None), max(known, default=None))
