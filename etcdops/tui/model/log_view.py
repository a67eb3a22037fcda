"""What of the logs is shown: filter, level, member, context; and where in time."""

from __future__ import annotations

import bisect
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from etcdops.diagnosis.times import parse_clock, parse_duration
from etcdops.tui.model.filtering import Filter
from etcdops.tui.model.logs import Level, LogLine

CONTEXTS = (0, 3, 10, -1)
"""Lines around each match that are shown too; -1 = all lines, the matches marked."""
_LEVELS = (Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR)


@dataclass(frozen=True, slots=True)
class LogView:
    """What the user chose to see."""

    filter: Filter = field(default_factory=Filter)
    level: Level = Level.DEBUG
    source: int | None = None
    """Only this member's lines; None = all."""
    problems_only: bool = False
    """Only warnings and worse, and lines of a known cause."""
    context: int = 0
    """Index into CONTEXTS."""

    @property
    def narrowed(self) -> bool:
        return bool(self.filter) or self.level > Level.DEBUG or self.source is not None or self.problems_only

    def matches(self, line: LogLine) -> bool:
        """Whether the line is one that was asked for."""
        if line.level < self.level or (self.source is not None and line.source != self.source):
            return False
        if self.problems_only and line.level < Level.WARN and not line.slug:
            return False
        return not self.filter or self.filter.matches(line.text)

    def chosen(self, lines: Sequence[LogLine]) -> list[LogLine]:
        """The lines to show, in order."""
        if not self.narrowed:
            return list(lines)
        around = CONTEXTS[self.context]
        if around < 0:
            return list(lines)
        if not around:
            return [line for line in lines if self.matches(line)]
        wanted = bytearray(len(lines))
        for index, line in enumerate(lines):
            if self.matches(line):
                low, high = max(0, index - around), min(len(lines), index + around + 1)
                wanted[low:high] = b"\1" * (high - low)
        return [line for line, shown in zip(lines, wanted, strict=True) if shown]

    def next_level(self) -> LogView:
        return dataclasses.replace(self, level=_LEVELS[(_LEVELS.index(self.level) + 1) % len(_LEVELS)])

    def next_source(self, count: int) -> LogView:
        following = 0 if self.source is None else self.source + 1
        return dataclasses.replace(self, source=following if following < count else None)

    def next_context(self) -> LogView:
        return dataclasses.replace(self, context=(self.context + 1) % len(CONTEXTS))

    def note(self, names: Sequence[str]) -> str:
        """What is narrowed, in words; "" = nothing is."""
        parts = [f"/{self.filter.text}"] if self.filter else []
        if self.filter.error:
            parts = [self.filter.error]
        parts += [f"{self.level.word} and worse"] if self.level > Level.DEBUG else []
        parts += [f"only {names[self.source]}"] if self.source is not None else []
        parts += ["problems only"] if self.problems_only else []
        if parts and self.context:
            around = CONTEXTS[self.context]
            parts.append("all lines, matches marked" if around < 0 else f"{around} lines around")
        return " · ".join(parts)


def place_of(lines: Sequence[LogLine], wanted: LogLine) -> int:
    """Where a line stands among `lines` in order, or would stand."""
    return bisect.bisect_left(lines, wanted)


def place_at(lines: Sequence[LogLine], moment: float) -> int:
    """The first line at or after a time; the last line when all are before."""
    found = bisect.bisect_left(lines, moment, key=lambda line: line.at)
    return min(found, max(0, len(lines) - 1))


def parse_moment(text: str, newest: float) -> float | None:
    """Unix time of what somebody typed; None when it is no time.

    `14:05`, `14:05:30` are local times, of the last 24 hours before `newest`; `11-21 14:05` has a day, `2m` is so long
    before `newest`; everything `etcdops diagnose --since` reads is read too, without a zone as local time.
    """
    text = text.strip().replace(".", ":") if text.count(".") > 1 else text.strip()
    ago = parse_duration(text.lstrip("-"))
    if ago is not None and ":" not in text:
        return newest - ago
    local = time.localtime(newest)
    for form, day_known in (("%H:%M:%S", False), ("%H:%M", False), ("%m-%d %H:%M:%S", True), ("%m-%d %H:%M", True)):
        try:
            read = time.strptime(f"2000 {text}", f"%Y {form}")
        except ValueError:
            continue
        month, day = (read.tm_mon, read.tm_mday) if day_known else (local.tm_mon, local.tm_mday)
        clock = (read.tm_hour, read.tm_min, read.tm_sec)
        moment = time.mktime((local.tm_year, month, day, *clock, 0, 0, -1))
        # Later than everything that was written: it is of the day, or the year, before.
        if moment > newest + 60.0:
            earlier = (local.tm_year - 1, month, day) if day_known else (local.tm_year, month, day - 1)
            moment = time.mktime((*earlier, *clock, 0, 0, -1))
        return moment
    found, zoned = parse_clock(text if len(text) > 10 else f"{text}T00:00:00")
    if found is None and len(text) == 16:
        found, zoned = parse_clock(f"{text}:00")
    if found is None or zoned:
        return found
    return time.mktime((*time.gmtime(found)[:6], 0, 0, -1))
