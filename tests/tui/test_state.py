"""What the console keeps between looks."""

from __future__ import annotations

import dataclasses

from etcdops.client.metrics import QUOTA, MemberMetrics, NoMetrics
from etcdops.client.view import ClusterView, Health, MemberView, Silence
from etcdops.tui.model.changes import EVENTS_MAX
from etcdops.tui.model.state import ConsoleState, Look
from etcdops.wording import Texts
from tests.fakes.cluster_feed import GB, START, cluster, degraded, healthy, member, readings


def look(view: ClusterView, at_s: float = START) -> Look:
    return Look(view, readings(view, at_s), at_s)


def test_a_silent_member_keeps_what_it_said_last() -> None:
    """Its row shows the old values, dimmed, with their age."""
    state = ConsoleState().after(look(healthy())).after(look(degraded(START + 30), START + 30))
    assert state.view is not None
    silent = state.view.members[2]
    assert silent.status is None
    assert silent.last_status is not None
    assert silent.last_seen == START


def test_members_stay_known_when_nobody_answers_any_more() -> None:
    """Without an answer there is no member list; the members are still there."""
    state = ConsoleState().after(look(healthy()))
    endpoints = tuple(
        MemberView(None, "", (), (m.endpoint,), False, True, m.endpoint, None, "connection refused", Silence.REFUSED)
        for m in healthy().members
    )
    nobody = ClusterView(None, endpoints, taken_at=START + 10, members_known=False, serves_linearizable=False)
    state = state.after(Look(nobody, {}, START + 10))
    assert state.view is not None
    assert [m.name for m in state.view.members] == ["etcd-1", "etcd-2", "etcd-3"]
    assert all(m.error == "connection refused" and m.last_status for m in state.view.members)
    assert state.view.health is Health.UNREACHABLE
    assert state.view.cluster_id == healthy().cluster_id


def test_the_quota_comes_from_metrics_where_status_does_not_tell_it_and_stays_known() -> None:
    """Before 3.6 only /metrics has it; one page that cannot be read does not make it unknown."""
    view = cluster(*(member(n, quota=0.0) for n in (1, 2, 3)))
    metrics = {m.label: MemberMetrics(START, {QUOTA: 8.0 * GB}) for m in view.members}
    state = ConsoleState().after(Look(view, metrics, START))
    later = state.after(Look(view, {"etcd-1": NoMetrics("10.0.0.1:2379", "timeout")}, START + 2))
    for known in (state, later):
        assert known.view is not None
        assert [m.status.db_quota_bytes for m in known.view.members if m.status] == [8 * GB] * 3


def test_a_failed_poll_keeps_what_was_known() -> None:
    state = ConsoleState().after(look(healthy()))
    failed = state.after_failure("no route\x1b[2J")
    assert failed.view is state.view
    assert failed.failure == "no route\\x1b[2J"
    assert failed.after(look(healthy(START + 2), START + 2)).failure == ""


def test_text_from_the_network_is_made_safe_where_it_comes_in() -> None:
    """Names, errors and versions are as untrusted as keys."""
    view = cluster(member(1, name="evil\x1b[2J\n", version="3.5\t0", errors=("\x07",)), member(2), member(3))
    state = ConsoleState().after(look(dataclasses.replace(view, problems=(Texts("a\nb", "c\nd"),))))
    assert state.view is not None
    first = state.view.members[0]
    assert first.status is not None
    assert first.name == "evil\\x1b[2J\\n"
    assert first.status.version == "3.5\\t0"
    assert state.view.problems == (Texts("a\\nb", "c\\nd"),)
    assert all(event.text.isprintable() for event in state.events)


def test_histories_gather_the_worst_member_and_show_missing_metrics_as_gaps() -> None:
    state = ConsoleState().after(look(healthy())).after(look(healthy(START + 10), START + 10))
    assert state.history("rtt").latest == 0.005
    assert state.history("proposals").latest == 800.0
    assert state.history("commit").latest is not None
    view = healthy(START + 20)
    gaps = {m.label: NoMetrics("10.0.0.1:2379", "connection refused") for m in view.members}
    state = state.after(Look(view, gaps, START + 20))
    assert state.history("proposals").latest is None
    assert state.history("rtt").latest == 0.005
    assert len(state.metrics_gaps()) == 3


def test_a_thousand_looks_take_no_more_memory_than_a_few() -> None:
    """Every ring is bounded."""
    state = ConsoleState()
    for step in range(1_200):
        view = healthy(START + step) if step % 2 else degraded(START + step)
        state = state.after(Look(view, {}, START + step * 600.0))
    assert len(state.events) == EVENTS_MAX
    assert max(len(track.values) for series in state.series.values() for track in series.tracks) <= 120
    assert all(len(kept) <= 1 for kept in state.readings.values())
