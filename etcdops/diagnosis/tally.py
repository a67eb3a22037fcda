"""What is kept of the lines that spoke for one sign: a count, the edges in time, a few of the lines. Bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
        """Take in one line (`count` > 1: it stands for that many)."""
        self.count += count
        self.confidence = max(self.confidence, confidence)
        self.deadly = self.deadly or deadly
        self.worst = max(self.worst, measured)
        self.first_number = self.first_number or entry.number
        self.last_number = entry.number
        if entry.time is not None:
            self.first = entry.time if self.first is None else min(self.first, entry.time)
            self.last = entry.time if self.last is None else max(self.last, entry.time)
        if len(self.first_lines) < FIRST_KEPT:
            self.first_lines.append(entry)
        else:
            self.last_lines.append(entry)
            del self.last_lines[:-LAST_KEPT]

    def lines(self) -> Iterator[Entry]:
        yield from self.first_lines
        yield from self.last_lines
