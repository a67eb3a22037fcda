"""How one member of a Raft group behaves. Times are ticks: the core knows no seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from etcdops.ids import NO_MEMBER, LogIndex, MemberID
from etcdops.node.raft.types import ConfChange, Entry

NO_LIMIT = 1 << 62

NOTHING_APPLIED = LogIndex(0)

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """Settings of the core; a value that cannot work raises ValueError when the object is made.

    Source: etcd-io/raft raft.go, Config; the defaults are those of etcd's server.
    """

    id: MemberID
    """This member; never 0."""

    election_timeout_ticks: int = 10
    """A follower that hears nothing for one to two times this long campaigns. Must exceed heartbeat_ticks."""

    heartbeat_ticks: int = 1
    """A leader sends heartbeats this often."""

    applied: LogIndex = NOTHING_APPLIED
    """What the state machine already holds at a restart; entries up to it are not handed out again."""

    size_max_bytes_per_message: int = MIB
    """Encoded entries in one APP message; 0 means one entry each."""

    size_max_bytes_committed_per_ready: int = 0
    """Encoded committed entries in one Ready; 0 means the same as per message."""

    size_max_bytes_uncommitted: int = 1 << 30
    """Payload a leader holds that is not committed; proposals beyond it are dropped. 0 means no limit."""

    inflight_messages_max: int = 512
    """APP messages with entries on the way to one follower before the leader waits for an answer."""

    inflight_bytes_max: int = 0
    """Payload on the way to one follower; 0 means no limit, else at least one message's worth."""

    check_quorum: bool = True
    """A leader steps down when no quorum was heard for an election timeout, and members that hear a leader refuse
    to vote for another one."""

    pre_vote: bool = True
    """Ask whether an election could be won before raising the term (Raft thesis 9.6)."""

    lease_read: bool = False
    """Answer reads from the leader's lease instead of asking a quorum: unsafe under clock drift, needs check_quorum."""

    disable_proposal_forwarding: bool = False
    """Followers drop proposals instead of sending them on to the leader."""

    step_down_on_removal: bool = True
    """A leader that is removed, or becomes a learner, becomes a follower at once."""

    validate_conf_changes: bool = True
    """A leader turns a configuration change that cannot be made now into an empty entry."""

    conf_change_decoder: Callable[[Entry], ConfChange | None] | None = None
    """Reads the data of a configuration entry, None when it is damaged: how a leader judges changes that a follower
    forwarded. Without it, only a CONF_CHANGE_V2 without data counts as one that leaves a joint configuration."""

    debug_notes: bool = False
    """Also note what etcd logs at debug level; costs formatting on every rejected or paused append."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.id == NO_MEMBER:
            raise ValueError("cannot use none as id")
        if self.heartbeat_ticks <= 0:
            raise ValueError("heartbeat tick must be greater than 0")
        if self.election_timeout_ticks <= self.heartbeat_ticks:
            raise ValueError("election tick must be greater than heartbeat tick")
        if self.inflight_messages_max <= 0:
            raise ValueError("max inflight messages must be greater than 0")
        if 0 < self.inflight_bytes_max < self.size_max_bytes_per_message:
            raise ValueError("max inflight bytes must be >= max message size")
        if self.lease_read and not self.check_quorum:
            raise ValueError("check_quorum must be enabled when lease_read is")
