"""Strict reconfiguration as arithmetic (M07-M14, M23, M25)."""

from __future__ import annotations

import pytest

from etcdops.ids import LogIndex, MemberID
from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.node.member.member import Member
from etcdops.node.member.reconfig import learner_ready, may_add, may_promote, may_remove, quorum

NOW = 1000.0
LOCAL = MemberID(1)
NEW = Member(MemberID(99), ("http://new:1",))


def voters(started: int, unstarted: int = 0) -> list[Member]:
    """Members 1, 2, ...; the unstarted ones last."""
    return [
        Member(MemberID(number), (f"http://m{number}:1",), f"m{number}" if number <= started else "")
        for number in range(1, started + unstarted + 1)
    ]


def links(**since: float) -> dict[MemberID, float]:
    return {MemberID(int(name[1:])): start for name, start in since.items()}


def connected(count: int) -> dict[MemberID, float]:
    """Members 2, 3, ... connected for long, `count` of all with ourselves."""
    return {MemberID(number): 0.0 for number in range(2, count + 1)}


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_quorum(count: int, needed: int) -> None:
    assert quorum(count) == needed


@pytest.mark.parametrize(
    ("members", "up", "learner", "error"),
    [
        (voters(1), 1, False, None),
        (voters(1), 1, True, None),
        (voters(1, 1), 1, False, errors.NOT_ENOUGH_STARTED_MEMBERS),
        (voters(1, 1), 1, True, errors.UNHEALTHY),
        (voters(2), 2, False, None),
        (voters(3), 3, False, None),
        (voters(3), 2, False, errors.UNHEALTHY),
        (voters(2, 1), 3, False, errors.NOT_ENOUGH_STARTED_MEMBERS),
        (voters(4), 3, False, None),
        (voters(5), 4, False, None),
        (voters(5), 3, True, errors.UNHEALTHY),
    ],
)
def test_adding(members: list[Member], up: int, learner: bool, error: EtcdError | None) -> None:
    """M07-M09: the cluster as it would be needs a quorum that is started and connected."""
    added = Member(NEW.id, NEW.peer_urls, is_learner=learner)
    assert may_add(members, added, local=LOCAL, active_since=connected(up).get, now=NOW) == error


def test_a_fresh_connection_does_not_count_yet() -> None:
    """M08: five seconds."""
    for since, error in ((NOW - 5.0, errors.UNHEALTHY), (NOW - 5.1, None)):
        assert may_add(voters(2), NEW, local=LOCAL, active_since=links(m2=since).get, now=NOW) == error


@pytest.mark.parametrize(
    ("members", "up", "removed", "error"),
    [
        (voters(1), 1, 1, errors.NOT_ENOUGH_STARTED_MEMBERS),
        (voters(1, 1), 1, 1, errors.NOT_ENOUGH_STARTED_MEMBERS),
        (voters(1, 1), 1, 2, None),
        (voters(3), 3, 3, None),
        (voters(3), 3, 1, None),
        (voters(3), 2, 3, None),
        (voters(3), 2, 2, errors.UNHEALTHY),
        (voters(3), 2, 1, errors.UNHEALTHY),
        (voters(5), 4, 5, None),
        (voters(5), 4, 4, None),
        (voters(5), 3, 3, errors.UNHEALTHY),
        (voters(2, 2), 2, 1, errors.NOT_ENOUGH_STARTED_MEMBERS),
        (voters(3), 3, 77, None),
    ],
)
def test_removing(members: list[Member], up: int, removed: int, error: EtcdError | None) -> None:
    """M11-M13: whoever is down may always go; of those that are up enough must stay."""
    found = may_remove(members, MemberID(removed), local=LOCAL, active_since=connected(up).get, now=NOW)
    assert found == error


@pytest.mark.parametrize(
    ("members", "error"),
    [(voters(1), None), (voters(1, 1), None), (voters(1, 2), errors.NOT_ENOUGH_STARTED_MEMBERS), (voters(3), None)],
)
def test_promoting(members: list[Member], error: EtcdError | None) -> None:
    """M25: the learner counts as started, and connections are not asked about."""
    assert may_promote(members) == error


@pytest.mark.parametrize(
    ("match", "leader_match", "error"),
    [(90, 100, None), (89, 100, errors.LEARNER_NOT_READY), (0, 0, None), (100, 100, None)],
)
def test_a_learner_is_ready_with_nine_tenths_of_the_log(match: int, leader_match: int, error: EtcdError | None) -> None:
    """M23."""
    learner = Member(MemberID(5), (), is_learner=True)
    assert learner_ready(learner, (LogIndex(match), LogIndex(leader_match))) == error


def test_who_cannot_be_promoted() -> None:
    """M22."""
    full = (LogIndex(1), LogIndex(1))
    assert learner_ready(None, full) == errors.MEMBER_NOT_FOUND
    assert learner_ready(Member(MemberID(5), ()), None) == errors.MEMBER_NOT_FOUND
    assert learner_ready(Member(MemberID(5), ()), full) == errors.MEMBER_NOT_LEARNER
