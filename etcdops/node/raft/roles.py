"""Which role a member may go to, and why: the state machine of an election as data (Raft 5.1, thesis 9.6)."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from etcdops.node.raft.types import Role


class Cause(enum.Enum):
    """Why a role ends."""

    PRE_CAMPAIGN = "asks whether it could win an election"
    CAMPAIGN = "starts an election"
    ELECTED = "has the votes of a quorum"
    NOT_ELECTED = "cannot get the votes of a quorum any more"
    HIGHER_TERM = "heard of a higher term"
    LEADER_HEARD = "heard the leader of this term"
    QUORUM_INACTIVE = "has not heard a quorum for an election timeout"
    REMOVED = "is no voter any more"


TRANSITIONS: Mapping[Role, Mapping[Cause, Role]] = {
    Role.FOLLOWER: {
        Cause.PRE_CAMPAIGN: Role.PRE_CANDIDATE,
        Cause.CAMPAIGN: Role.CANDIDATE,
        Cause.HIGHER_TERM: Role.FOLLOWER,
    },
    Role.PRE_CANDIDATE: {
        Cause.PRE_CAMPAIGN: Role.PRE_CANDIDATE,
        Cause.CAMPAIGN: Role.CANDIDATE,
        Cause.NOT_ELECTED: Role.FOLLOWER,
        Cause.HIGHER_TERM: Role.FOLLOWER,
        Cause.LEADER_HEARD: Role.FOLLOWER,
    },
    Role.CANDIDATE: {
        Cause.PRE_CAMPAIGN: Role.PRE_CANDIDATE,
        Cause.CAMPAIGN: Role.CANDIDATE,
        Cause.ELECTED: Role.LEADER,
        Cause.NOT_ELECTED: Role.FOLLOWER,
        Cause.HIGHER_TERM: Role.FOLLOWER,
        Cause.LEADER_HEARD: Role.FOLLOWER,
    },
    Role.LEADER: {
        Cause.HIGHER_TERM: Role.FOLLOWER,
        Cause.QUORUM_INACTIVE: Role.FOLLOWER,
        Cause.REMOVED: Role.FOLLOWER,
    },
}
"""{role: {cause: next role}}; a pair that is not here cannot happen."""


def diagram() -> str:
    """The table as a Mermaid state diagram, for documents."""
    lines = ["stateDiagram-v2", f"    [*] --> {_state(Role.FOLLOWER)}: starts"]
    for role, causes in TRANSITIONS.items():
        lines += [f"    {_state(role)} --> {_state(after)}: {cause.value}" for cause, after in causes.items()]
    return "\n".join(lines) + "\n"


def _state(role: Role) -> str:
    return role.value.replace("-", "_")
