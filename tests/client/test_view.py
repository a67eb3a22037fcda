"""The verdicts drawn from a view, without any network."""

from __future__ import annotations

import dataclasses

import pytest

from etcdops.client.view import Alarm, ClusterView, HashKV, Health, MemberStatus, MemberView, Silence
from etcdops.ids import ClusterID, LogIndex, MemberID, Revision, Term
from etcdops.wording import Texts


def member(number: int, *, leader: int = 1, term: int = 2, answers: bool = True, learner: bool = False) -> MemberView:
    status = MemberStatus(
        "3.5.16", 20480, 16384, 0, MemberID(leader), Term(term), LogIndex(9), LogIndex(9), Revision(4)
    )
    return MemberView(
        id=MemberID(number),
        name=f"m{number}",
        peer_urls=(f"http://p{number}:2380",),
        client_urls=(f"http://c{number}:2379",),
        is_learner=learner,
        started=True,
        endpoint=f"http://c{number}:2379",
        status=status if answers else None,
        error="" if answers else "connection refused",
        silence=Silence.NONE if answers else Silence.REFUSED,
    )


def view(
    *members: MemberView, proof: bool | None = True, known: bool = True, problems: tuple[Texts, ...] = ()
) -> ClusterView:
    return ClusterView(
        cluster_id=ClusterID(7), members=members, serves_linearizable=proof, members_known=known, problems=problems
    )


def denied(number: int) -> MemberView:
    return dataclasses.replace(member(number, answers=False), silence=Silence.ACCESS_DENIED)


DEAD = {number: member(number, answers=False) for number in (1, 2, 3)}


@pytest.mark.parametrize(
    ("seen", "health"),
    [
        (view(member(1), member(2), member(3)), Health.HEALTHY),
        (view(member(1), member(2), DEAD[3]), Health.DEGRADED),
        (view(member(1), member(2), member(3), problems=(Texts("two clusters", "两个集群"),)), Health.DEGRADED),
        (view(member(1, leader=0), DEAD[2], DEAD[3], proof=False), Health.QUORUM_LOST),
        # Reads through the quorum work although two voters are silent: they are hidden from us only.
        (view(member(1), DEAD[2], DEAD[3], proof=True), Health.DEGRADED),
        (view(member(1, leader=0), member(2, leader=0), member(3, leader=0), proof=False), Health.NO_LEADER),
        # Whether two silent but living voters make a quorum, only a read could tell.
        (view(member(1), denied(2), denied(3), proof=None), Health.UNKNOWN),
        (view(denied(1), denied(2), denied(3), proof=None), Health.UNKNOWN),
        (view(DEAD[1], DEAD[2], DEAD[3], proof=False), Health.UNREACHABLE),
        (view(member(1), proof=True, known=False), Health.DEGRADED),
        # A silent learner costs no quorum but is not healthy either.
        (view(member(1), member(2, learner=True, answers=False)), Health.DEGRADED),
    ],
)
def test_the_verdict(seen: ClusterView, health: Health) -> None:
    assert seen.health is health


def test_an_alarm_or_a_members_own_error_is_not_healthy() -> None:
    healthy = view(member(1))
    alarmed = dataclasses.replace(healthy, alarms=(Alarm(MemberID(1), "NOSPACE"),))
    assert alarmed.health is Health.DEGRADED
    assert alarmed.alarms_of(alarmed.members[0]) == ("NOSPACE",)
    status = member(1).status
    assert status is not None
    sick = dataclasses.replace(member(1), status=dataclasses.replace(status, errors=("corrupt",)))
    assert view(sick).health is Health.DEGRADED


def test_the_leader_is_the_one_of_the_highest_term() -> None:
    """A member that was cut off still names the old leader."""
    seen = view(member(1, leader=1, term=2), member(2, leader=3, term=5), member(3, leader=3, term=5))
    assert seen.leader == 3
    assert seen.leader_member is seen.members[2]
    assert seen.term == 5


def test_lag_counts_from_the_highest_committed_index() -> None:
    status = member(2).status
    assert status is not None
    behind = dataclasses.replace(status, raft_index=LogIndex(5), raft_applied_index=LogIndex(4))
    seen = view(member(1), dataclasses.replace(member(2), status=behind), DEAD[3])
    assert [seen.lag(m) for m in seen.members] == [0, 5, None]


def test_hashes_are_compared_only_where_they_can_be() -> None:
    """A member that compacted further has another hash of the same data."""

    def hashed(number: int, value: int, compacted: int) -> MemberView:
        return dataclasses.replace(member(number), hash=HashKV(value, Revision(compacted), Revision(9)))

    assert view(hashed(1, 5, 0), hashed(2, 5, 0)).hashes_agree() is True
    assert view(hashed(1, 5, 0), hashed(2, 6, 0)).hashes_agree() is False
    assert view(hashed(1, 5, 0), hashed(2, 6, 3)).hashes_agree() is None
    assert view(hashed(1, 5, 0), member(2)).hashes_agree() is None


def test_a_silent_member_keeps_what_was_last_known_of_it() -> None:
    """The dashboard shows it dimmed, with its age."""
    before = view(member(1), dataclasses.replace(member(2), last_seen=100.0, last_status=member(2).status))
    now = view(member(1), DEAD[2]).remembering(before)
    assert now.members[1].last_seen == 100.0
    assert now.members[1].last_status == member(2).status
    assert now.members[1].status is None
    later = view(member(1), DEAD[2]).remembering(now)
    assert later.members[1].last_seen == 100.0
    other_cluster = dataclasses.replace(now, cluster_id=ClusterID(8))
    assert view(DEAD[2]).remembering(other_cluster).members[0].last_seen is None
