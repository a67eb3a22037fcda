"""What happened when, over all members, on one clock: starts, stops, leaders, and when each trouble began and ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.tally import Tally

MOMENTS_KEPT = 400
"""A timeline is to be read. Of a longer one its start and its end are kept."""

_WORDS = {
    facts.START: "start",
    facts.READY: "ready",
    facts.SIGNAL: "stop",
    facts.CAMPAIGN: "campaign",
    facts.ELECTED: "leader",
    facts.LOST: "leader-lost",
}
_ONCE = frozenset({facts.START, facts.READY})
"""Told by several lines that follow one another."""


@dataclass(frozen=True, slots=True)
class Moment:
    """`what` is start, ready, stop, campaign, leader, leader-lost, or the slug of a cause.

    `edge` is "first" or "last" for causes. `time` is in seconds since 1970 on the common clock.
    """

    time: float
    source: str
    line: int
    what: str
    edge: str
    text: str


def timeline(
    logs: Mapping[str, SourceLog], tallies: Iterable[Tally], offsets: Mapping[str, float]
) -> tuple[Moment, ...]:
    """All moments that have a time, in order."""
    found = [moment for log in logs.values() for moment in _events(log, offsets[log.name])]
    found += [moment for tally in tallies for moment in _edges(tally, offsets[tally.source])]
    found.sort(key=lambda moment: (moment.time, moment.source, moment.line))
    if len(found) > MOMENTS_KEPT:
        found = found[: MOMENTS_KEPT // 2] + found[-MOMENTS_KEPT // 2 :]
    return tuple(found)


def _events(log: SourceLog, offset: float) -> Iterator[Moment]:
    before = ""
    for event in log.events:
        repeated = event.kind in _ONCE and event.kind == before
        before = event.kind
        word = _WORDS.get(event.kind)
        if word and not repeated and event.time is not None and event.entry is not None:
            yield Moment(event.time - offset, log.name, event.number, word, "", event.entry.message)


def _edges(tally: Tally, offset: float) -> Iterator[Moment]:
    lines = [line for line in tally.lines() if line.time is not None]
    for line, edge in ((lines[0], "first"), (lines[-1], "last")) if lines else ():
        if line.time is not None and (edge == "first" or len(lines) > 1):
            yield Moment(line.time - offset, tally.source, line.number, tally.sign, edge, line.message)
