"""What to tell a client whose proposal took too long: was the leader lost, was the link cut, or neither.

Source: etcd server/etcdserver/server.go, parseProposeCtxErr.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etcdops.ids import NO_MEMBER, MemberID
from etcdops.node.api.errors import TIMEOUT, TIMEOUT_CONNECTION_LOST, TIMEOUT_LEADER_FAILED, EtcdError
from etcdops.node.member.reconfig import quorum


class Surroundings(Protocol):
    """What is asked about the member at the moment of the timeout."""

    member_id: MemberID

    @property
    def leader(self) -> MemberID: ...
    def peer_active_since(self, member: MemberID) -> float | None: ...
    def voter_ids(self) -> list[MemberID]: ...


class Timeouts:
    """Remembers when the leader was elected, and names the likely reason of a timeout."""

    def __init__(self, surroundings: Surroundings, election_timeout_s: float, monotonic: Callable[[], float]) -> None:
        self._surroundings = surroundings
        self._election_timeout_s = election_timeout_s
        self._monotonic = monotonic
        self._elected_at = monotonic()

    def leader_elected(self) -> None:
        """Somebody leads from now on."""
        self._elected_at = self._monotonic()

    def reason(self, started: float) -> EtcdError:
        """For a request that began at `started`, monotonic seconds."""
        if self._elected_at - 2 * self._election_timeout_s < started < self._elected_at:
            return TIMEOUT_LEADER_FAILED
        leader = self._surroundings.leader
        if leader == NO_MEMBER:
            return TIMEOUT
        if leader == self._surroundings.member_id:
            voters = self._surroundings.voter_ids()
            connected = sum(self._is_connected_since(started, member) for member in voters)
            return TIMEOUT if connected >= quorum(len(voters)) else TIMEOUT_CONNECTION_LOST
        return TIMEOUT if self._is_connected_since(started, leader) else TIMEOUT_CONNECTION_LOST

    def _is_connected_since(self, started: float, member: MemberID) -> bool:
        if member == self._surroundings.member_id:
            return True
        since = self._surroundings.peer_active_since(member)
        return since is not None and since < started
