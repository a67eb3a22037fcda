"""Files that are one log: what its rotation left is put together again, oldest first.

A trouble that begins in one file is over in the next, and what a member said of itself may stand in an older one. Files
belong together by their names, and only where each was begun when the one before it had ended.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from etcdops.diagnosis.collect import Collector, SourceLog
from etcdops.diagnosis.finding import Diagnosis, Evidence

_SLACK_S = 1.0
"""Lines of one second may stand on both sides of a rotation, and not every clock tells fractions."""
_PACKED = re.compile(r"\.(?:gz|xz|zst|bz2)\Z")
_NUMBERED = re.compile(r"(?<=[^\d./])(?:\.\d{1,4}|[-.]\d{8}(?:[-_T]?\d{2,6})?)\Z")
"""logrotate and docker count (`.1`), logrotate with dateext and the kubelet date what they put away. An address ends in
numbers too."""
_DATED = re.compile(r"-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?=(?:\.[^./]*)?\Z)")
"""lumberjack, with which etcd rotates by itself: `etcd-2026-01-31T08-00-00.000.log`."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The files of one log, oldest first, and how many lines stand before each."""

    names: tuple[str, ...]
    before: tuple[int, ...]

    def place(self, line: int) -> tuple[str, int]:
        """File and line, of a line of the whole log."""
        at = bisect_right(self.before, line - 1) - 1
        return self.names[at], line - self.before[at]


def written_name(name: str) -> str:
    """Of the file that a log is written to now; a name that no rotation makes is one itself."""
    plain = _PACKED.sub("", name)
    return _DATED.sub("", _NUMBERED.sub("", plain))


def join_rotated(collector: Collector) -> dict[str, Chain]:
    """Make one log of the files that are one. Returns: the log's name -> its files."""
    groups: dict[str, list[SourceLog]] = {}
    for log in collector.sources.values():
        groups.setdefault(written_name(log.name), []).append(log)
    found: dict[str, Chain] = {}
    for logs in groups.values():
        ordered = _in_order(logs)
        if len(ordered) > 1:
            whole = _whole(ordered)
            found[whole.name] = Chain(
                tuple(log.name for log in ordered), tuple(accumulate((log.lines for log in ordered[:-1]), initial=0))
            )
            left = {log.name for log in ordered} - {whole.name}
            collector.sources = {
                name: whole if name == whole.name else log
                for name, log in collector.sources.items()
                if name not in left
            }
    return found


def in_files(diagnosis: Diagnosis, chains: Mapping[str, Chain]) -> Diagnosis:
    """The same, with every line where it stands."""
    if not chains:
        return diagnosis

    def placed(lines: Iterable[Evidence]) -> tuple[Evidence, ...]:
        return tuple(
            Evidence(*chains[line.source].place(line.line), line.text) if line.source in chains else line
            for line in lines
        )

    moments = []
    for moment in diagnosis.timeline:
        if moment.source in chains:
            name, line = chains[moment.source].place(moment.line)
            moments.append(replace(moment, source=name, line=line))
        else:
            moments.append(moment)
    return replace(
        diagnosis,
        findings=tuple(replace(finding, evidence=placed(finding.evidence)) for finding in diagnosis.findings),
        sources=tuple(
            replace(source, files=chains[source.name].names) if source.name in chains else source
            for source in diagnosis.sources
        ),
        unexplained=placed(diagnosis.unexplained),
        timeline=tuple(moments),
    )


def _in_order(logs: Sequence[SourceLog]) -> list[SourceLog]:
    """Oldest first; nothing, where they are no log one after the other."""
    spans = sorted((span, number) for number, log in enumerate(logs) if (span := _span(log)) is not None)
    ordered = [logs[number] for _, number in spans]
    follow = all(later[0][0] >= earlier[0][1] - _SLACK_S for earlier, later in pairwise(spans))
    return ordered if follow and all(map(_may_be_one, ordered, ordered[1:])) else []


def _span(log: SourceLog) -> tuple[float, float] | None:
    times = [time for time in (log.first, log.last, log.left_out.first, log.left_out.last) if time is not None]
    return (min(times), max(times)) if times else None


def _may_be_one(one: SourceLog, other: SourceLog) -> bool:
    """A member that was replaced has another ID, and goes on in the same log."""
    return not one.host or not other.host or one.host == other.host


def _whole(ordered: Sequence[SourceLog]) -> SourceLog:
    whole = SourceLog(ordered[-1].name)
    for log in ordered:
        whole.absorb(log)
    return whole
