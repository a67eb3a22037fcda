"""What real etcd of a version is known to break, from its issues and change logs.

A run that breaks nothing else counts as good, and says so. The node has no line: whatever it breaks is to be mended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.robustness.engines import Engine

_ANY: frozenset[str] = frozenset()
_PAUSES = frozenset({"pause", "pause-leader"})
_PARTITIONS = frozenset({"isolate", "black-hole", "half-cut", "no-ring", "flapping", "slow-links"})
_CRASHES = frozenset({"kill", "kill-leader", "kill-all", "storm", "full-disk", "defragment"})


@dataclass(frozen=True)
class KnownBug:
    """A promise that can be broken when one of these faults has happened (any, when none is named)."""

    promise: str
    faults: frozenset[str]
    fixed: tuple[str, ...]
    """Versions, of each minor one, that have the fix."""
    what: str


KNOWN = (
    KnownBug("linearizability", _PAUSES, ("3.4.42", "3.5.28"), "#20418: stale linearizable read after a pause"),
    KnownBug(
        "linearizability", _CRASHES, ("3.4.32", "3.5.14"), "#17780: the revision goes down, crash in a compaction"
    ),
    KnownBug("revisions", _CRASHES, ("3.4.32", "3.5.14"), "#17780: the revision goes down, crash in a compaction"),
    KnownBug("watch", _PARTITIONS, ("3.4.24", "3.5.8"), "#15271: a watch goes back after a member got a snapshot"),
    KnownBug("watch", _ANY, ("3.4.31", "3.5.13"), "#17529: events lost when a slow watch meets a compaction"),
    KnownBug("watch", _ANY, ("3.4.34", "3.5.16"), "#18089: a deletion at the compacted revision is lost"),
    KnownBug("watch", _ANY, ("3.4.36", "3.5.18"), "#19179: a deletion at the compacted revision is not sent"),
    KnownBug("leases", _ANY, ("3.4.31", "3.5.13"), "pull 17465: a leader of the past ends leases"),
    KnownBug("leases", _ANY, ("3.4.38", "3.5.23"), "pull 20616: a renewal is confirmed although the lease has ended"),
)


def known_bug(engine: Engine, promise: str, faults: Iterable[str]) -> str:
    """What explains it; "" when nothing does. Args: faults are the kinds that the run had."""
    had = set(faults)
    for bug in KNOWN:
        if bug.promise == promise and (not bug.faults or bug.faults & had) and _lacks(engine.etcd.version, bug.fixed):
            return bug.what
    return ""


def _lacks(version: str, fixed: Iterable[str]) -> bool:
    """Whether this version comes before the fixed one of its minor version."""
    return any(_numbers(version)[:2] == _numbers(one)[:2] and _numbers(version) < _numbers(one) for one in fixed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
