"""What is kept of the lines that spoke for one sign: a count, the edges in time, a few of the lines. Bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from etcdops.diagnosis.entry import Entry

FIRST_KEPT = 3
LAST_KEPT = 2
"""Lines kept from the start and the end of a sign's run: enough to prove it, whatever its length."""


@dataclass(slots=True)
class Tally:
    """Lines of one source about one peer that match one sign.

    Invariant: `count` counts all lines, `first_lines` and `last_lines` hold at most FIRST_KEPT and LAST_KEPT of them.
    """

    sign: str
    source: str
    member: str = ""
    peer: str = ""
    count: int = 0
    confidence: float = 0.0
    deadly: bool = False
    first: float | None = None
    last: float | None = None
    first_number: int = 0
    last_number: int = 0
    worst: float = 0.0
    first_lines: list[Entry] = field(default_factory=list)
    last_lines: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry, confidence: float, deadly: bool, measured: float, count: int = 1) -> None:
        """Take in one line (`count` > 1: it stands for that many). Lines may come out of order."""
        self.count += count
        self.confidence = max(self.confidence, confidence)
        self.deadly = self.deadly or deadly
        self.worst = max(self.worst, measured)
        self._span(entry.time, entry.time)
        self.first_number = min(self.first_number or entry.number, entry.number)
        self.last_number = max(self.last_number, entry.number)
        _insert(self.first_lines, entry)
        if len(self.first_lines) > FIRST_KEPT:
            _insert(self.last_lines, self.first_lines.pop())
            del self.last_lines[:-LAST_KEPT]

    def absorb(self, other: Tally) -> None:
        """Take in what was counted elsewhere of the same log."""
        self.count += other.count
        self.confidence = max(self.confidence, other.confidence)
        self.deadly = self.deadly or other.deadly
        self.worst = max(self.worst, other.worst)
        self._span(other.first, other.last)
        self.first_number = min(filter(None, (self.first_number, other.first_number)), default=0)
        self.last_number = max(self.last_number, other.last_number)
        lines = sorted((*self.lines(), *other.lines()), key=lambda line: line.number)
        self.first_lines, self.last_lines = lines[:FIRST_KEPT], lines[FIRST_KEPT:][-LAST_KEPT:]

    def moved(self, lines: int, source: str) -> Tally:
        """The same, that many lines further down, in a log of that name."""
        return replace(
            self,
            source=source,
            first_number=self.first_number + lines,
            last_number=self.last_number + lines,
            first_lines=[line.moved(lines, source) for line in self.first_lines],
            last_lines=[line.moved(lines, source) for line in self.last_lines],
        )

    def _span(self, first: float | None, last: float | None) -> None:
        if first is not None:
            self.first = first if self.first is None else min(self.first, first)
        if last is not None:
            self.last = last if self.last is None else max(self.last, last)

    def lines(self) -> Iterator[Entry]:
        yield from self.first_lines
        yield from self.last_lines


def _insert(lines: list[Entry], entry: Entry) -> None:
    """Where it belongs by its number: most often at the end."""
    lines.append(entry)
    if len(lines) > 1 and entry.number < lines[-2].number:
        lines.sort(key=lambda line: line.number)
