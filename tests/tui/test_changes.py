"""Events: what changed between two looks."""

from __future__ import annotations

import dataclasses

from etcdops.client.view import Alarm, ClusterView, Silence
from etcdops.diagnosis.finding import Severity
from etcdops.ids import ClusterID, Revision
from etcdops.tui.model.changes import changes, first_look
from tests.fakes.cluster_feed import MEMBER_IDS, START, cluster, degraded, healthy, member, quorum_lost


def texts(before: ClusterView, now: ClusterView) -> list[str]:
    return [f"{event.subject}: {event.text}" for event in changes(before, now)]


def test_two_equal_looks_give_no_event() -> None:
    assert changes(healthy(), healthy(at=START + 10)) == ()


def test_the_first_look_says_since_when_is_watched() -> None:
    event = first_look(healthy())[0]
    assert event.text == "watching from here on: 3 of 3 answer, leader etcd-1, term 42"
    assert event.severity is Severity.INFO
    assert first_look(quorum_lost())[0].severity is Severity.CRITICAL


def test_a_member_that_stops_and_comes_back() -> None:
    assert (
        texts(healthy(), degraded())
        == [
            "etcd-3: stopped answering (deadline exceeded after 2 s)",
            "etcd-1: revision went back 18204551 → 18204551: other data than before",
        ][:1]
    )
    assert "etcd-3: answers again" in texts(degraded(), healthy())


def test_a_change_of_leader_names_both_and_the_terms() -> None:
    before = cluster(*(member(n, leader=3, term=41) for n in (1, 2, 3)))
    now = cluster(*(member(n, leader=1, term=42) for n in (1, 2, 3)))
    assert texts(before, now) == ["cluster: leader etcd-3 → etcd-1, term 41 → 42"]


def test_a_new_term_with_the_same_leader_is_an_election_too() -> None:
    before, now = (cluster(*(member(n, term=term) for n in (1, 2, 3))) for term in (41, 42))
    assert texts(before, now) == ["cluster: new election, same leader, term 41 → 42"]


def test_losing_and_regaining_quorum_and_leader() -> None:
    lost = texts(healthy(), quorum_lost())
    assert "cluster: quorum lost: 1 of 3 voters answers, 2 needed" in lost
    assert "cluster: the leader is lost (it was etcd-1), term 42 → 44" in lost
    back = texts(quorum_lost(), cluster(*(member(n, term=45) for n in (1, 2, 3))))
    assert "cluster: quorum is back: 3/3 voters" in back
    assert "cluster: etcd-1 leads now, term 44 → 45" in back


def test_members_that_come_go_and_are_promoted() -> None:
    three = healthy()
    learner = member(4, is_learner=True)
    with_learner = dataclasses.replace(three, members=(*three.members, learner))
    promoted = dataclasses.replace(three, members=(*three.members, member(4)))
    number = format(MEMBER_IDS[3], "x")
    assert texts(three, with_learner) == [f"etcd-4: added as learner (ID {number})"]
    assert texts(with_learner, promoted) == ["etcd-4: promoted from learner to voter"]
    assert texts(promoted, three) == [f"etcd-4: removed from the cluster (ID {number})"]


def test_a_member_that_starts_for_the_first_time() -> None:
    waiting = cluster(member(1), member(2), member(3, silence=Silence.UNSTARTED))
    assert "etcd-3: started for the first time" in texts(waiting, cluster(member(1), member(2), member(3)))


def test_alarms_versions_sizes_and_revisions() -> None:
    before = healthy()
    raised = dataclasses.replace(before, alarms=(Alarm(MEMBER_IDS[0], "NOSPACE"),))
    assert texts(before, raised) == ["etcd-1: raised the alarm NOSPACE"]
    assert texts(raised, before) == ["etcd-1: the alarm NOSPACE was disarmed"]
    upgraded = cluster(member(1, version="3.6.5"), member(2), member(3))
    assert texts(cluster(member(1), member(2), member(3)), upgraded) == ["etcd-1: version 3.5.16 → 3.6.5"]
    smaller = cluster(member(1, size=2.8), member(2), member(3))
    shrunk = "etcd-1: database shrank 6.7 GB → 2.8 GB (defragmented or restored)"
    assert texts(cluster(member(1), member(2), member(3)), smaller) == [shrunk]


def test_a_revision_that_goes_back_is_critical() -> None:
    """Other data than before: a restore without a revision bump, or another cluster behind the same address."""
    before = healthy()
    first = before.members[0]
    assert first.status is not None
    older = dataclasses.replace(first, status=dataclasses.replace(first.status, revision=Revision(5)))
    found = changes(before, dataclasses.replace(before, members=(older, *before.members[1:])))
    assert [event.severity for event in found] == [Severity.CRITICAL]


def test_another_cluster_behind_the_same_endpoints_is_said() -> None:
    other = dataclasses.replace(healthy(), cluster_id=ClusterID(1))
    assert "cluster: another cluster answers: ID 6f2a9c1e04d7b3a1 → 1" in texts(healthy(), other)


def test_total_silence_does_not_invent_a_change_of_term_or_alarms() -> None:
    """Nobody said that the alarm is gone."""
    before = dataclasses.replace(healthy(), alarms=(Alarm(MEMBER_IDS[0], "NOSPACE"),))
    silent = cluster(*(member(n, silence=Silence.REFUSED, error="connection refused") for n in (1, 2, 3)))
    assert [text for text in texts(before, silent) if "term" in text or "alarm" in text or "leader" in text] == []
