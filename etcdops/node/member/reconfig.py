"""Strict reconfiguration: would this change of membership cost the cluster its quorum? Pure arithmetic.

Source: etcd server/etcdserver/server.go, mayAddMember, mayRemoveMember, mayPromoteMember; membership/cluster.go,
IsReadyTo*; server/etcdserver/util.go of 3.6.14 and 3.5.30 for the connectivity rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etcdops.ids import LogIndex, MemberID
from etcdops.node.api.errors import (
    LEARNER_NOT_READY,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    NOT_ENOUGH_STARTED_MEMBERS,
    UNHEALTHY,
    EtcdError,
)
from etcdops.node.member.member import Member

HEALTH_INTERVAL_S = 5.0
"""How long a link must have worked for its member to count as connected."""

LEARNER_READY_RATIO = 0.9
"""A learner may vote once it has this part of the leader's log."""

ActiveSince = Callable[[MemberID], float | None]
"""Monotonic time since when the link to a member works, None if it does not."""


def quorum(voters_count: int) -> int:
    return voters_count // 2 + 1


def may_add(
    voters: Sequence[Member], added: Member, *, local: MemberID, active_since: ActiveSince, now: float
) -> EtcdError | None:
    """Whether `added` (voter or learner) may join. Growing a single member is always allowed: it is a restore."""
    started = sum(member.is_started for member in voters)
    alone = len(voters) == 1
    if not added.is_learner and not (alone and started == 1) and started < quorum(len(voters) + 1):
        return NOT_ENOUGH_STARTED_MEMBERS
    if not alone and _connected(voters, local, active_since, now) < quorum(len(voters) + 1):
        return UNHEALTHY
    return None


def may_remove(
    voters: Sequence[Member], removed: MemberID, *, local: MemberID, active_since: ActiveSince, now: float
) -> EtcdError | None:
    """Whether a voter may be removed. Learners need not be asked about; unknown members fail when applied.

    A member that is down is no part of the active quorum: removing it is always right.
    """
    rest = [member for member in voters if member.id != removed]
    if sum(member.is_started for member in rest) < quorum(len(rest)):
        return NOT_ENOUGH_STARTED_MEMBERS
    if removed != local and active_since(removed) is None:
        return None
    if _connected(voters, local, active_since, now) - 1 < 1 + (len(voters) - 1) // 2:
        return UNHEALTHY
    return None


def may_promote(voters: Sequence[Member]) -> EtcdError | None:
    """Whether one learner (known to run and keep up) may become a voter."""
    started = sum(member.is_started for member in voters) + 1
    return NOT_ENOUGH_STARTED_MEMBERS if started < quorum(len(voters) + 1) else None


def learner_ready(member: Member | None, progress: tuple[LogIndex, LogIndex] | None) -> EtcdError | None:
    """Whether a learner has caught up. `progress` is (its match index, the leader's), None when raft has none."""
    if member is None or progress is None:
        return MEMBER_NOT_FOUND
    match, leader_match = progress
    if match < leader_match * LEARNER_READY_RATIO:
        return LEARNER_NOT_READY
    return None if member.is_learner else MEMBER_NOT_LEARNER


def _connected(voters: Sequence[Member], local: MemberID, active_since: ActiveSince, now: float) -> int:
    count = 0
    for member in voters:
        since = active_since(member.id)
        count += member.id == local or (since is not None and since < now - HEALTH_INTERVAL_S)
    return count
