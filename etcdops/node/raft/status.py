"""What the core shows of itself to operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.tracker import Progress
from etcdops.node.raft.types import ConfState, Role


@dataclass(frozen=True, slots=True)
class PeerProgress:
    """How far one member's log follows the leader's. Source: etcd-io/raft tracker/progress.go, Progress."""

    match: LogIndex
    """The highest index known to be in that member's log; it never goes down while the leader leads."""

    next: LogIndex
    """The index of the next entry to send; always above match."""

    state: str
    """StateProbe, StateReplicate or StateSnapshot, as etcd prints it."""

    recent_active: bool
    """Something was heard from it since the last check-quorum round."""

    is_learner: bool
    paused: bool
    """The leader waits for an answer before sending more entries."""

    pending_snapshot: LogIndex
    """The index of the snapshot on its way there, 0 for none."""

    inflight_messages: int


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of a member. Source: etcd-io/raft status.go, Status."""

    id: MemberID
    term: Term
    vote: MemberID
    commit: LogIndex
    applied: LogIndex
    leader: MemberID
    role: Role
    transferee: MemberID
    """Who is being made the leader, 0 for nobody."""

    conf_state: ConfState
    progress: Mapping[MemberID, PeerProgress]
    """On the leader: every member, itself included, in ID order. Empty elsewhere."""


def status_of(raft: RaftState) -> Status:
    """What `raft` is at this moment."""
    shown = raft.tracker.progress if raft.role is Role.LEADER else {}
    return Status(
        id=raft.id,
        term=raft.term,
        vote=raft.vote,
        commit=raft.log.committed,
        applied=raft.log.applied,
        leader=raft.leader,
        role=raft.role,
        transferee=raft.transferee,
        conf_state=raft.tracker.config.conf_state(),
        progress={member: _peer_progress(progress) for member, progress in shown.items()},
    )


def _peer_progress(progress: Progress) -> PeerProgress:
    return PeerProgress(
        match=progress.match,
        next=progress.next,
        state=progress.state.value,
        recent_active=progress.recent_active,
        is_learner=progress.is_learner,
        paused=progress.paused,
        pending_snapshot=progress.pending_snapshot,
        inflight_messages=len(progress.inflights),
    )
