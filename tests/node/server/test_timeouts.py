"""The reason given for a timed-out proposal (etcd-semantics X16)."""

from __future__ import annotations

from dataclasses import dataclass, field

from etcdops.clock import ManualClock
from etcdops.ids import MemberID
from etcdops.node.api.errors import TIMEOUT, TIMEOUT_CONNECTION_LOST, TIMEOUT_LEADER_FAILED
from etcdops.node.server.timeouts import Timeouts

_SELF, _B, _C = MemberID(1), MemberID(2), MemberID(3)


@dataclass
class _Surroundings:
    member_id: MemberID = _SELF
    leader: MemberID = _SELF
    active_since: dict[MemberID, float] = field(default_factory=dict)

    def peer_active_since(self, member: MemberID) -> float | None:
        return self.active_since.get(member)

    def voter_ids(self) -> list[MemberID]:
        return [_SELF, _B, _C]


def _timeouts(surroundings: _Surroundings) -> Timeouts:
    """Elected at 100 s, with an election timeout of 1 s."""
    clock = ManualClock(0.0)
    timeouts = Timeouts(surroundings, 1.0, clock.monotonic)
    clock.advance(100.0)
    timeouts.leader_elected()
    return timeouts


def test_a_request_from_just_before_the_election_blames_the_previous_leader() -> None:
    """Between two election timeouts before the election and the election itself."""
    timeouts = _timeouts(_Surroundings(active_since={_B: 0.0}))
    assert timeouts.reason(98.5) is TIMEOUT_LEADER_FAILED
    assert timeouts.reason(97.9) is TIMEOUT
    assert timeouts.reason(100.5) is TIMEOUT


def test_a_leader_without_a_quorum_since_the_request_began_blames_the_connection() -> None:
    """One of two others connected is a quorum of three; connected only later is not."""
    assert _timeouts(_Surroundings()).reason(200.0) is TIMEOUT_CONNECTION_LOST
    assert _timeouts(_Surroundings(active_since={_B: 250.0})).reason(200.0) is TIMEOUT_CONNECTION_LOST
    assert _timeouts(_Surroundings(active_since={_B: 150.0})).reason(200.0) is TIMEOUT


def test_a_follower_blames_the_connection_only_if_the_link_to_the_leader_was_cut() -> None:
    """Links to others do not matter."""
    assert _timeouts(_Surroundings(leader=_B, active_since={_C: 0.0})).reason(200.0) is TIMEOUT_CONNECTION_LOST
    assert _timeouts(_Surroundings(leader=_B, active_since={_B: 0.0})).reason(200.0) is TIMEOUT


def test_without_a_leader_it_is_a_plain_timeout() -> None:
    """etcd says no more either."""
    assert _timeouts(_Surroundings(leader=MemberID(0))).reason(200.0) is TIMEOUT
