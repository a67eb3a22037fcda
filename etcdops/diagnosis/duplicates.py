"""Two processes with one identity: what no single log can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.rules.rule import LIKELY
from etcdops.diagnosis.tally import Tally


def duplicates(logs: Mapping[str, SourceLog]) -> Iterator[Tally]:
    """Logs of different hosts whose writer has the same member ID while their times overlap."""
    by_member: dict[str, list[SourceLog]] = {}
    for log in logs.values():
        if log.member and log.host:
            by_member.setdefault(log.member, []).append(log)
    for member, group in by_member.items():
        for log in group:
            if any(other.host != log.host and _overlap(log, other) for other in group):
                proof = next(iter(log.tallies.values()), None)
                if proof is not None:
                    yield replace(
                        proof, sign="duplicate-cloned-member", member=member, confidence=LIKELY, deadly=False, worst=0.0
                    )


def _overlap(one: SourceLog, other: SourceLog) -> bool:
    if one.first is None or one.last is None or other.first is None or other.last is None:
        return False
    return one.first <= other.last and other.first <= one.last
