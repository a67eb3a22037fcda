"""How far members' clocks are apart, told by events that all of them log: who became leader at which term."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.rules import facts

NOTICED_S = 2.0
"""Smaller differences are the time the news took to arrive, and change no order that matters."""


def offsets(logs: Mapping[str, SourceLog]) -> dict[str, float]:
    """Seconds to subtract from each source's times to have them on one clock: that of the source that knows most terms.

    Sources with no event in common keep their own time. A difference of whole hours is a time zone that was not told.
    """
    seen = {name: _terms(log) for name, log in logs.items()}
    known = {name: terms for name, terms in seen.items() if terms}
    if len(known) < 2:
        return dict.fromkeys(logs, 0.0)
    reference = max(known, key=lambda name: (logs[name].zoned, len(known[name]), name))
    found = dict.fromkeys(logs, 0.0)
    for name, terms in known.items():
        common = terms.keys() & known[reference].keys()
        if name != reference and common:
            offset = median(terms[key] - known[reference][key] for key in common)
            if abs(offset) >= NOTICED_S:
                found[name] = offset
    return found


def _terms(log: SourceLog) -> dict[tuple[int, str], float]:
    """When this source saw each term's leader elected. Who has just started may only learn who leads since long."""
    found: dict[tuple[int, str], float] = {}
    was_there = True
    for event in log.events:
        if event.kind == facts.START:
            was_there = False
        elif event.kind == facts.CAMPAIGN:
            was_there = True
        elif event.kind == facts.ELECTED and event.time is not None and event.term and event.leader:
            if was_there:
                found.setdefault((event.term, event.leader), event.time)
            was_there = True
    return found
