"""A starting member skips most of its first election timeout, once (etcd's adjustTicks)."""

from __future__ import annotations

from etcdops.node.server.head_start import PATIENCE_S, HeadStart


def test_a_lone_member_skips_all_but_one_tick_and_only_once() -> None:
    """Nobody else can lead."""
    head_start = HeadStart(10, 0.0, wanted=True)
    assert head_start.ticks(0.1, members=1, active_peers=0) == 9
    assert head_start.ticks(0.2, members=1, active_peers=0) == 0


def test_a_member_of_many_waits_for_two_peers() -> None:
    """Two ticks stay for a leader that is there to make itself heard."""
    head_start = HeadStart(10, 0.0, wanted=True)
    assert [head_start.ticks(0.1 * n, members=3, active_peers=n) for n in range(4)] == [0, 0, 8, 0]


def test_peers_that_come_late_bring_nothing_any_more() -> None:
    """By then an election is under way in any case."""
    head_start = HeadStart(10, 0.0, wanted=True)
    assert head_start.ticks(PATIENCE_S + 0.1, members=3, active_peers=2) == 0


def test_without_the_flag_nothing_is_skipped() -> None:
    """--initial-election-tick-advance=false."""
    assert HeadStart(10, 0.0, wanted=False).ticks(0.1, members=1, active_peers=0) == 0
