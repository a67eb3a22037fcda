"""Lines that are only counted: a shape and what is known of it, and its lines about one peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from etcdops.diagnosis.cuts import Cut, Longest
from etcdops.diagnosis.rules.rule import Rule


class Kept(NamedTuple):
    """A line that may be needed: its number, its text, and that of the line that tells its time if it has none."""

    number: int
    line: bytes
    dated: bytes = b""


_NONE = Kept(0, b"")


@dataclass(slots=True)
class Run:
    """Lines of one shape about one peer: how many wait to be counted, and the last two of them."""

    longest: Longest | None
    """None: no line of it tells a duration, or none can be longer than what is known."""
    measured: tuple[tuple[str, str], ...] = ()
    """The signs and peers whose tallies the longest is for."""
    timeless: bool = False
    understood: int = 0
    hits: list[int] = field(default_factory=list)
    """Where in this block they are."""
    waiting: int = 0
    last: Kept = _NONE
    before: Kept = _NONE

    def settle(self, first: int, lines: Sequence[bytes], dated: Callable[[int], bytes] | None) -> None:
        """At the end of a block, whose first line has the number `first`.

        `dated`: of lines without a time, which line tells that of the one at an index.
        """
        hits = self.hits
        hits.sort()
        self.waiting += len(hits)
        kept = [Kept(first + at, lines[at], dated(at) if dated else b"") for at in hits[-2:]]
        self.before, self.last = (self.last, *kept)[-2:]
        if self.longest is not None:
            self.longest.see(lines, hits)
        hits.clear()


@dataclass(slots=True)
class Shape:
    """What is known of lines of one shape."""

    rules: tuple[Rule, ...] = ()
    noise: bool = False
    alone: bool = False
    """Its lines are understood one by one: too much depends on each."""
    event: bool = False
    timeless: bool = False
    doubts: tuple[bytes, ...] = ()
    """Words with numbers, which a shape has not, on which it depends what a line means."""
    sure: dict[bytes, Shape] = field(default_factory=dict)
    """With doubts: the shapes of lines with and without those words."""
    peer: Cut | None = None
    took: Cut | None = None
    runs: dict[bytes, Run] = field(default_factory=dict)
    hits: list[int] = field(default_factory=list)
    """Lines of this block that are not yet told apart by doubts and peers."""

    def answers(self, line: bytes) -> bytes:
        """Which of the doubtful words a line has; the key of `sure`."""
        return bytes([word in line for word in self.doubts])

    def spread(self, lines: Sequence[bytes]) -> Iterator[tuple[Shape | None, bytes, list[int]]]:
        """The hits by the shape they are of when doubts are answered (None: a new one), and by peer."""
        if not self.doubts and self.peer is None:
            yield self, b"", self.hits
            return
        for answers, hits in self._by_answers(lines).items():
            sure = self.sure.get(answers) if self.doubts else self
            if sure is None or sure.peer is None:
                yield sure, b"", hits
            else:
                for about, some in sure.peer.split(lines, hits).items():
                    yield sure, about, some

    def _by_answers(self, lines: Sequence[bytes]) -> dict[bytes, list[int]]:
        if not self.doubts:
            return {b"": self.hits}
        some = [lines[index] for index in self.hits]
        # By words, not by lines: most often all lines have one, or none has.
        columns = [[word in line for line in some] for word in self.doubts]
        if all(all(column) or not any(column) for column in columns):
            return {bytes([column[0] for column in columns]): list(self.hits)}
        found: dict[bytes, list[int]] = {}
        for index, answers in zip(self.hits, map(bytes, zip(*columns, strict=True)), strict=True):
            found.setdefault(answers, []).append(index)
        return found
