"""Two processes with one identity: what no single log can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.identify import member_of
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.rule import LIKELY
from etcdops.diagnosis.tally import Tally

OVERLAP_S = 1.0
"""How long both must have run at the same time: a disk that moves to another host is one member, and clocks differ."""

SILENCE_S = 30.0
"""How long a member that has nothing to say is taken to run on after its last line."""


@dataclass(frozen=True, slots=True)
class Run:
    """A time through which the writer of a log had one member ID, on one clock for all logs."""

    log: SourceLog
    member: str
    first: float
    last: float
    entry: Entry | None
    """The line that shows the ID; none where the log tells it in another."""


def duplicates(logs: Mapping[str, SourceLog], clock: Mapping[str, float]) -> Iterator[Tally]:
    """Logs of different hosts whose writers had the same member ID at the same time. `clock`: offset of each log.

    Of logs that name no host, files count as hosts: those of one member that were rotated follow one another.
    """
    runs = [run for log in logs.values() for run in _runs(log, clock[log.name])]
    pairs = [
        (one, other, together)
        for one, other in permutations(runs, 2)
        if one.member == other.member
        and (together := min(one.last, other.last) - max(one.first, other.first)) > _least(one.log)
        and _are_two(one.log, other.log)
    ]
    lasted: dict[tuple[str, str], list[float]] = {}
    for one, _, together in pairs:
        lasted.setdefault((one.member, one.log.name), []).append(together)
    for (member, name), times in lasted.items():
        # A copy that falls over at once, and is started again, is there for a moment only, but more than once.
        if sum(times) >= OVERLAP_S or len(times) > 1:
            run = next(one for one, _, _ in pairs if (one.member, one.log.name) == (member, name))
            entry = run.entry
            if entry is None:
                proof = next(iter(run.log.tallies.values()), None)
                entry = next(proof.lines(), None) if proof is not None else None
            if entry is not None:
                tally = Tally("duplicate-cloned-member", run.log.name, member=run.member)
                tally.add(entry, LIKELY, False, 0.0)
                yield tally


def _runs(log: SourceLog, offset: float) -> Iterator[Run]:
    """Told by every line at hand that names the writer; a log without such lines is one run of whoever wrote it."""
    run: Run | None = None
    if log.member and log.first is not None:
        run = Run(log, log.member, log.first - offset, log.first - offset, None)
    for entry, ends in _sightings(log):
        if entry.time is None:
            continue
        member, time = member_of(entry), entry.time - offset
        if ends:
            if run is not None:
                yield replace(run, last=time)
            run = None
        elif run is not None and member in ("", run.member):
            run = replace(run, last=time, entry=run.entry or (entry if member else None))
        else:
            if run is not None:
                yield run  # nobody saw its end: what is known ends where it was seen last
            run = Run(log, member, time, time, entry) if member else None
    if run is not None and log.last is not None:
        # Without a host it may be the same member, in the file that follows.
        yield replace(run, last=log.last - offset + (SILENCE_S if log.host else 0.0))


def _least(log: SourceLog) -> float:
    """How long two must have run together to count: lines that tell whole seconds overlap by one where files meet."""
    return 0.0 if log.host else OVERLAP_S


def _are_two(one: SourceLog, other: SourceLog) -> bool:
    """Whether two logs are of two processes: on two hosts, or else in two files that are no copies of each other."""
    if one.host or other.host:
        return bool(one.host and other.host) and one.host != other.host
    if one is other:
        return False
    lines = {entry.raw for entry, _ in _sightings(one) if entry.time is not None}
    return not any(entry.raw in lines for entry, _ in _sightings(other))


def identities(log: SourceLog) -> frozenset[str]:
    """All member IDs that the writer of a log had, as far as lines at hand tell."""
    told = {member_of(entry) for entry, _ in _sightings(log)}
    return frozenset(member for member in (log.member, *told) if member)


def _sightings(log: SourceLog) -> list[tuple[Entry, bool]]:
    """Lines in their order, and whether the process ends with them."""
    found = {line.number: (line, False) for tally in log.tallies.values() for line in tally.lines()}
    for event in log.events:
        if event.entry is not None:
            found[event.number] = (event.entry, event.kind in (facts.SIGNAL, facts.STOPPING))
    return [found[number] for number in sorted(found)]
