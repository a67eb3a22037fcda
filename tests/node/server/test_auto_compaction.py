"""The automatic compactors, driven by a clock that only the test moves (etcd-semantics C11)."""

from __future__ import annotations

import itertools

from etcdops.ids import Revision
from etcdops.node.server.auto_compaction import AutoCompactor, PeriodicCompactor, RevisionCompactor

_MINUTE_S = 60.0


def _run(compactor: AutoCompactor, minutes: int, *, leading: bool = True) -> list[tuple[int, int]]:
    """Tick every minute; the revision is the number of minutes passed. Returns (minute, compacted revision)."""
    done = []
    for minute in range(minutes):
        now = minute * _MINUTE_S
        revision = compactor.due(now, Revision(minute), leading=leading)
        if revision is not None:
            done.append((minute, int(revision)))
            compactor.finished(now, revision)
    return done


def test_periodic_compaction_waits_one_period_and_then_keeps_exactly_one() -> None:
    """Ten minutes of history: the first compaction comes after ten, to the revision of ten minutes before."""
    assert _run(PeriodicCompactor(10 * _MINUTE_S, 0.0), 31) == [(11, 1), (21, 11)]


def test_periodic_compaction_of_a_long_period_runs_hourly() -> None:
    """Retention of three hours: nothing for three, then each hour, always to the revision of three hours before."""
    compactions = _run(PeriodicCompactor(180 * _MINUTE_S, 0.0), 400)
    assert next(minute for minute, _ in compactions) >= 180
    assert {later[0] - sooner[0] for sooner, later in itertools.pairwise(compactions)} == {60}
    assert {minute - revision for minute, revision in compactions} == {180}


def test_a_follower_samples_but_never_compacts() -> None:
    """A follower that becomes leader after a period compacts at once, from its own samples."""
    compactor = PeriodicCompactor(10 * _MINUTE_S, 0.0)
    assert _run(compactor, 30, leading=False) == []
    assert compactor.due(30 * _MINUTE_S, Revision(30), leading=True) == 20


def test_a_failed_periodic_compaction_is_due_again_at_the_next_sample() -> None:
    """Not reported as finished, it is retried after a tenth of the interval."""
    compactor = PeriodicCompactor(10 * _MINUTE_S, 0.0)
    due = [minute for minute in range(14) if compactor.due(minute * _MINUTE_S, Revision(minute), leading=True)]
    assert due[:2] == [due[0], due[0] + 1]


def test_revision_compaction_keeps_the_newest_revisions_and_looks_every_five_minutes() -> None:
    """Retention 7: at minute 10 revision 3 goes, at 15 revision 8."""
    assert _run(RevisionCompactor(7, 0.0), 16) == [(10, 3), (15, 8)]


def test_revision_compaction_does_not_repeat_itself_while_nothing_is_written() -> None:
    """An unchanged revision is not compacted to twice."""
    compactor = RevisionCompactor(5, 0.0)
    assert compactor.due(300.0, Revision(20), leading=True) == 15
    compactor.finished(300.0, Revision(15))
    assert compactor.due(600.0, Revision(20), leading=True) is None
