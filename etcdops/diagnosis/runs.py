"""Lines that are only counted: a shape and what is known of it, and its lines about one peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from etcdops.diagnosis.cuts import Cut, Longest
from etcdops.diagnosis.rules.rule import Rule


@dataclass(slots=True)
class Run:
    """Lines of one shape about one peer: how many wait to be counted, and the last two of them."""

    longest: Longest | None
    understood: int = 0
    hits: list[int] = field(default_factory=list)
    """Where in this block they are."""
    waiting: int = 0
    last: tuple[int, bytes] = (0, b"")
    before: tuple[int, bytes] = (0, b"")

    def settle(self, first: int, lines: Sequence[bytes]) -> None:
        """At the end of a block, whose first line has the number `first`."""
        hits = self.hits
        hits.sort()
        self.waiting += len(hits)
        self.before = (first + hits[-2], lines[hits[-2]]) if len(hits) > 1 else self.last
        self.last = (first + hits[-1], lines[hits[-1]])
        if self.longest is not None:
            self.longest.see([lines[at] for at in hits])
        hits.clear()


@dataclass(slots=True)
class Shape:
    """What is known of lines of one shape."""

    rules: tuple[Rule, ...] = ()
    noise: bool = False
    alone: bool = False
    """Its lines are understood one by one: too much depends on each."""
    event: bool = False
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
        for answers, hits in self._by_answers(lines).items():
            sure = self.sure.get(answers) if self.doubts else self
            if sure is None or sure.peer is None:
                yield sure, b"", hits
            else:
                for about, some in sure.peer.split(lines, hits).items():
                    yield sure, about, some

    def _by_answers(self, lines: Sequence[bytes]) -> dict[bytes, list[int]]:
        some = [lines[index] for index in self.hits]
        # By words, not by lines: most often all lines have one, or none has.
        columns = [[word in line for line in some] for word in self.doubts]
        if all(all(column) or not any(column) for column in columns):
            return {bytes([column[0] for column in columns]): list(self.hits)}
        found: dict[bytes, list[int]] = {}
        for index, answers in zip(self.hits, map(bytes, zip(*columns, strict=True)), strict=True):
            found.setdefault(answers, []).append(index)
        return found
