"""What a member does when the leader of its term speaks (Raft 5.3, 7)."""

from __future__ import annotations

from etcdops.ids import NO_MEMBER, LogIndex
from etcdops.node.raft.membership import install_snapshot
from etcdops.node.raft.roles import Cause
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Message, MessageType, NoteLevel, Role


def handle_append(raft: RaftState, message: Message) -> None:
    """Entries from the leader, after its entry (log_term, index): take them, or say where the logs may agree.

    Raises: CoreCorrupt when the leader contradicts what is committed here.
    Source: etcd-io/raft raft.go, handleAppendEntries.
    """
    _hear_leader(raft, message)
    log = raft.log
    if message.index < log.committed:
        log.check_committed(message.index, message.log_term, message.entries)
        _acknowledge(raft, message, log.committed)
        return
    last = log.maybe_append(message.index, message.log_term, message.entries, message.commit)
    if last is not None:
        _acknowledge(raft, message, last)
        return
    if raft.debug:
        raft.note_debug(
            f"{raft.name} [logterm: {log.term_or_zero(message.index)}, index: {message.index}] rejected MsgApp "
            f"[logterm: {message.log_term}, index: {message.index}] from {message.from_:x}"
        )
    # Our entries with a higher term than the leader has at `index` cannot be in its log: skip them all at once.
    hint, hint_term = log.find_conflict_by_term(min(message.index, log.last_index()), message.log_term)
    raft.send(
        Message(
            MessageType.APP_RESP,
            message.from_,
            raft.id,
            raft.term,
            index=message.index,
            reject=True,
            reject_hint=hint,
            log_term=hint_term,
        )
    )


def handle_heartbeat(raft: RaftState, message: Message) -> None:
    """The leader lives; what it knows us to have is committed up to `commit`.

    Raises: CoreCorrupt when we do not have it.
    """
    _hear_leader(raft, message)
    raft.log.commit_to(message.commit)
    raft.send(Message(MessageType.HEARTBEAT_RESP, message.from_, raft.id, raft.term, context=message.context))


def handle_snapshot(raft: RaftState, message: Message) -> None:
    """The leader has compacted what we need: take its snapshot, or say how far we are already."""
    _hear_leader(raft, message)
    assert message.snapshot is not None, "validated when it came in"
    metadata = message.snapshot.metadata
    installed = install_snapshot(raft, message.snapshot)
    raft.note(
        f"{raft.name} [commit: {raft.log.committed}] {'restored' if installed else 'ignored'} snapshot "
        f"[index: {metadata.index}, term: {metadata.term}]"
    )
    _acknowledge(raft, message, raft.log.last_index() if installed else raft.log.committed)


def handle_forget_leader(raft: RaftState, _message: Message) -> None:
    """Follow nobody until somebody is heard; a lease that reads rely on is not broken.

    Source: etcd-io/raft raft.go, stepFollower.
    """
    if raft.config.lease_read:
        raft.note("ignoring MsgForgetLeader due to ReadOnlyLeaseBased", NoteLevel.ERROR)
    elif raft.leader != NO_MEMBER:
        raft.note(f"{raft.name} forgetting leader {raft.leader:x} at term {raft.term}")
        raft.leader = NO_MEMBER


def _hear_leader(raft: RaftState, message: Message) -> None:
    if raft.role is Role.FOLLOWER:
        raft.election_elapsed = 0
        raft.leader = message.from_
    else:
        raft.become_follower(message.term, message.from_, Cause.LEADER_HEARD)


def _acknowledge(raft: RaftState, message: Message, index: LogIndex) -> None:
    raft.send(Message(MessageType.APP_RESP, message.from_, raft.id, raft.term, index=index))
