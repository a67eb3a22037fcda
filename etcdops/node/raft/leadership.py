"""Leading: taking over, keeping the lead, and handing it on."""

from __future__ import annotations

from etcdops.ids import NO_MEMBER, LogIndex, Term
from etcdops.node.raft.heartbeats import broadcast_heartbeat
from etcdops.node.raft.replication import append_entries, send_append, send_timeout_now
from etcdops.node.raft.roles import Cause
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Entry, EntryType, Message, NoteLevel, Role

EMPTY_ENTRY = Entry(Term(0), LogIndex(0), EntryType.NORMAL, b"")


def take_lead(raft: RaftState) -> None:
    """Become the leader and append an empty entry: earlier terms' entries are committed with it (5.4.2)."""
    raft.become_leader()
    append_entries(raft, (EMPTY_ENTRY,))
    raft.note(f"{raft.name} became leader at term {raft.term}")


def tick_leader(raft: RaftState) -> None:
    """A leader's tick: once per election timeout look for a quorum, once per heartbeat interval send heartbeats.

    A leader transfer that took an election timeout has failed.
    Source: etcd-io/raft raft.go, tickHeartbeat.
    """
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.config.election_timeout_ticks:
        raft.election_elapsed = 0
        if raft.config.check_quorum:
            check_quorum(raft)
        if raft.role is not Role.LEADER:
            return
        raft.transferee = NO_MEMBER
    if raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        broadcast_heartbeat(raft)


def check_quorum(raft: RaftState) -> None:
    """Step down when no quorum was heard since the last time (thesis 6.2), and start listening anew."""
    if not raft.tracker.quorum_active():
        raft.note(f"{raft.name} stepped down to follower since quorum is not active", NoteLevel.WARNING)
        raft.become_follower(raft.term, NO_MEMBER, Cause.QUORUM_INACTIVE)
    for member, progress in raft.tracker.progress.items():
        if member != raft.id:
            progress.recent_active = False


def handle_transfer(raft: RaftState, message: Message) -> None:
    """Make the message's sender the leader: bring it up to date, then let it campaign (thesis 3.10).

    Source: etcd-io/raft raft.go, stepLeader.
    """
    target = message.from_
    progress = raft.tracker.progress.get(target)
    if progress is None:
        raft.note_debug(f"{raft.name} no progress available for {target:x}")
        return
    if progress.is_learner:
        raft.note_debug(f"{raft.name} is learner. Ignored transferring leadership")
        return
    if raft.transferee == target:
        raft.note(
            f"{raft.name} [term {raft.term}] transfer leadership to {target:x} is in progress, "
            f"ignores request to same node {target:x}"
        )
        return
    if raft.transferee != NO_MEMBER:
        previous, raft.transferee = raft.transferee, NO_MEMBER
        raft.note(f"{raft.name} [term {raft.term}] abort previous transferring leadership to {previous:x}")
    if target == raft.id:
        raft.note_debug(f"{raft.name} is already leader. Ignored transferring leadership to self")
        return
    raft.note(f"{raft.name} [term {raft.term}] starts to transfer leadership to {target:x}")
    raft.election_elapsed = 0  # it has one election timeout
    raft.transferee = target
    if progress.match == raft.log.last_index():
        send_timeout_now(raft, target)
        raft.note(f"{raft.name} sends MsgTimeoutNow to {target:x} immediately as {target:x} already has up-to-date log")
    else:
        send_append(raft, target, progress)


def forward_transfer(raft: RaftState, message: Message) -> None:
    """A follower passes the wish on; the sender stays who is to lead."""
    if raft.leader == NO_MEMBER:
        raft.note(f"{raft.name} no leader at term {raft.term}; dropping leader transfer msg")
        return
    raft.send(message._replace(to=raft.leader, term=raft.term))
