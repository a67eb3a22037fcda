"""Waiting for configuration changes and transfers; publishing a member; agreeing on the cluster version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcdops.ids import MemberID
from etcdops.node.api.errors import MEMBER_NOT_FOUND, STOPPED, TIMEOUT, TIMEOUT_LEADER_TRANSFER, EtcdError
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_CLUSTER_MEMBER_ATTR_SET, FIELD_CLUSTER_VERSION_SET
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from etcdops.node.server.membership import Changes, ClusterVersion, Publisher
from etcdops.proto import membershippb_pb2 as membershippb
from tests.node.server.world import TIMEOUT_S, DrivenMember, World, new_member

Finished = Callable[[Outcome], None]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


class _Proposed:
    """Takes proposals; the test answers them."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, bytes, Finished]] = []

    def __call__(self, field: int, request: bytes, done: Finished) -> None:
        self.requests.append((field, request, done))

    def answer(self, error: EtcdError | None = None) -> None:
        self.requests[-1][2](Outcome(error=error))


# Changes.


class _Asked:
    """Somebody asks a member for changes, and notes down what it is told."""

    def __init__(self, world: World, member: DrivenMember) -> None:
        self.answers: list[EtcdError | None] = []
        self.changes = Changes(member.driver, member.request_ids.next, TIMEOUT_S)
        self._world = world
        self._member = member
        self._told = 0

    def configure(self, change: ConfChange) -> None:
        self.changes.configure(change, self._world.clock.monotonic(), self.answers.append)

    def transfer(self, target: MemberID) -> None:
        self.changes.transfer(target, self._world.clock.monotonic(), self.answers.append)

    def run(self, ticks: int = 20) -> None:
        """As Server does it: hand on what was applied, and tick."""
        for _ in range(ticks):
            self._world.tick()
            for request_id, error in self._member.changes[self._told :]:
                self.changes.applied(request_id, error)
            self._told = len(self._member.changes)
            self.changes.tick(self._world.clock.monotonic())


def _add_learner(number: int) -> ConfChange:
    added = new_member(number)
    return ConfChange((ConfChangeSingle(ConfChangeType.ADD_LEARNER_NODE, added.id),), context=added.to_json())


def test_a_change_is_answered_when_it_is_in_force_here(world: World) -> None:
    """Also one that a follower was asked for."""
    world.elect()
    follower = world.followers()[0]
    asked = _Asked(world, follower)
    asked.configure(_add_learner(1))
    assert asked.answers == []
    asked.run()
    assert asked.answers == [None]
    assert new_member(1).id in follower.core.conf_state.learners


def test_a_change_that_everybody_ignores_is_answered_with_the_reason(world: World) -> None:
    """It is in the log all the same."""
    leader = world.elect()
    asked = _Asked(world, leader)
    stranger = ConfChange((ConfChangeSingle(ConfChangeType.REMOVE_NODE, MemberID(0xDEAD)),))
    asked.configure(stranger)
    asked.run()
    assert asked.answers == [MEMBER_NOT_FOUND]


def test_a_change_that_the_leader_refuses_to_begin_is_not_the_beginning_of_a_term(world: World) -> None:
    """raft puts an empty entry in the place of a change while another is pending; a term begins with one, too.

    Leases start anew with a term: one that is being revoked must not look alive again.
    """
    leader = world.elect()
    before = leader.machine.applied_index
    asked = _Asked(world, leader)
    asked.configure(_add_learner(1))
    asked.configure(_add_learner(2))
    asked.run()
    assert leader.machine.applied_index == before + 2
    assert len(leader.core.conf_state.learners) == 1
    assert leader.terms_began == 1


def test_a_change_asked_for_without_a_leader_is_proposed_once_there_is_one(world: World) -> None:
    """Once: two of it would be one too many."""
    member = world.members[0]
    asked = _Asked(world, member)
    asked.configure(_add_learner(1))
    asked.run(60)
    assert asked.answers == [None]
    assert len(member.changes) == len(world.members) + 1


def test_a_change_without_a_quorum_times_out(world: World) -> None:
    """It may happen later; the client is told in time."""
    leader = world.elect()
    for follower in world.followers():
        follower.crash()
    asked = _Asked(world, leader)
    asked.configure(_add_learner(1))
    asked.run(75)
    assert asked.answers == [TIMEOUT]


def test_a_transfer_ends_when_the_target_leads(world: World) -> None:
    """And at once when it leads already."""
    leader = world.elect()
    heir = world.followers()[0]
    world.wait_equal()
    asked = _Asked(world, leader)
    asked.transfer(leader.id)
    assert asked.answers == [None]
    asked.transfer(heir.id)
    asked.run()
    assert asked.answers == [None, None]
    assert heir.is_leader


def test_a_transfer_to_somebody_who_is_gone_fails_in_time(world: World) -> None:
    """The old leader goes on."""
    leader = world.elect()
    heir = world.followers()[0]
    heir.crash()
    asked = _Asked(world, leader)
    asked.transfer(heir.id)
    asked.run(75)
    assert asked.answers == [TIMEOUT_LEADER_TRANSFER]
    written = leader.put("after")
    world.tick_until(lambda: written.answered)
    assert written.error is None


def test_everybody_who_waits_is_answered_when_the_member_stops(world: World) -> None:
    """Exactly once."""
    leader = world.elect()
    asked = _Asked(world, leader)
    asked.configure(_add_learner(1))
    asked.transfer(world.followers()[0].id)
    asked.changes.fail_all(STOPPED)
    asked.changes.fail_all(STOPPED)
    asked.changes.tick(world.clock.monotonic() + 2 * TIMEOUT_S)
    assert asked.answers == [STOPPED, STOPPED]


# Publishing.


def test_a_member_publishes_itself_until_the_cluster_has_agreed() -> None:
    """Once there is a leader, one request at a time, and never again after that."""
    proposed, told = _Proposed(), []
    publisher = Publisher(proposed, MemberID(7), "m7", ("http://c:1",), lambda: told.append("published"))
    publisher.tick(0.0, has_leader=False)
    assert proposed.requests == []
    publisher.tick(0.1, has_leader=True)
    publisher.tick(9.0, has_leader=True)
    assert len(proposed.requests) == 1
    proposed.answer(TIMEOUT)
    publisher.tick(9.1, has_leader=True)
    assert len(proposed.requests) == 2
    assert not told
    proposed.answer()
    publisher.tick(20.0, has_leader=True)
    assert (told, publisher.published, len(proposed.requests)) == (["published"], True, 2)
    field, request, _ = proposed.requests[-1]
    decoded = membershippb.ClusterMemberAttrSetRequest.FromString(request)
    assert field == FIELD_CLUSTER_MEMBER_ATTR_SET
    assert (decoded.member_ID, decoded.member_attributes.name) == (7, "m7")
    assert list(decoded.member_attributes.client_urls) == ["http://c:1"]


# The cluster version.


@pytest.mark.parametrize(
    ("current", "versions", "decided"),
    [
        ("", ["3.5.21", "3.5.16", "3.5.21"], "3.5.0"),
        ("", ["3.5.21", "3.4.23"], "3.4.0"),
        ("", ["3.5.21", None], "3.0.0"),
        ("3.0.0", ["3.5.21", "3.5.21"], "3.5.0"),
        ("3.4.0", ["3.10.1", "3.9.0"], "3.9.0"),
        ("3.5.0", ["3.5.21", "3.5.21"], None),
        ("3.5.0", ["3.5.21", "3.4.23"], None),
        ("3.5.0", ["3.6.1", None], None),
    ],
)
def test_the_cluster_version_is_the_lowest_and_only_rises(
    current: str, versions: list[str | None], decided: str | None
) -> None:
    """A member that does not answer holds it where it is (K15)."""
    proposed = _Proposed()
    ClusterVersion(proposed, lambda: current).decide(versions, "3.0.0")
    found = [
        (field, membershippb.ClusterVersionSetRequest.FromString(request).ver)
        for field, request, _ in proposed.requests
    ]
    assert found == ([(FIELD_CLUSTER_VERSION_SET, decided)] if decided else [])


def test_one_decision_at_a_time() -> None:
    """The next one waits for the answer, and may come after a failure."""
    proposed = _Proposed()
    version = ClusterVersion(proposed, lambda: "")
    version.decide(["3.5.1"], "3.0.0")
    version.decide(["3.5.1"], "3.0.0")
    assert len(proposed.requests) == 1
    proposed.answer(TIMEOUT)
    version.decide(["3.5.1"], "3.0.0")
    assert len(proposed.requests) == 2
