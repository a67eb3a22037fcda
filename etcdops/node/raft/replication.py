"""The leader's side of log replication: what to send to whom, and what answers mean (Raft 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.ids import LogIndex, MemberID
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.reads import handle_acknowledged_heartbeat, release_pending_reads
from etcdops.node.raft.size import payload_size_bytes
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.storage import LogError, SnapshotTemporarilyUnavailable
from etcdops.node.raft.tracker import Progress, ProgressState
from etcdops.node.raft.types import Entry, Message, MessageType, NoteLevel


def append_entries(raft: RaftState, entries: Sequence[Entry]) -> bool:
    """Append to the leader's own log; its term and the next indexes are put on.

    Returns: false, with nothing appended, when too much payload is not committed yet. Empty entries are never
    refused, and any size is taken when nothing waits.
    Source: etcd-io/raft raft.go, appendEntry.
    """
    size = payload_size_bytes(entries)
    if size and raft.uncommitted_size_bytes and raft.uncommitted_size_bytes + size > raft.uncommitted_size_max_bytes:
        raft.note(
            f"{raft.name} appending new entries to log would exceed uncommitted entry size limit; dropping proposal",
            NoteLevel.WARNING,
        )
        return False
    raft.uncommitted_size_bytes += size
    term, last = raft.term, raft.log.last_index()
    raft.log.append([Entry(term, LogIndex(last + n), entry.type, entry.data) for n, entry in enumerate(entries, 1)])
    _acknowledge_own(raft, LogIndex(last + len(entries)))
    return True


def _acknowledge_own(raft: RaftState, index: LogIndex) -> None:
    """The leader counts for the commitment of its own entries once they are saved, like everybody else."""
    own = Message(MessageType.APP_RESP, raft.id, raft.id, raft.term, index=index)
    queue = raft.messages_after_save
    if queue and queue[-1].to == raft.id and queue[-1].term == raft.term and queue[-1].type is MessageType.APP_RESP:
        queue[-1] = own
    else:
        raft.send(own)


def broadcast_append(raft: RaftState) -> None:
    """Send everyone what it misses, and the commit index."""
    for member, progress in raft.tracker.progress.items():
        if member != raft.id:
            send_append(raft, member, progress)


def send_append(raft: RaftState, to: MemberID, progress: Progress, *, if_empty: bool = True) -> bool:
    """Send `to` the next entries, or the snapshot when they are compacted. Returns whether something was sent.

    Args: if_empty - also send a message that only tells the commit index. A replicating member with a full window gets
    an empty one, so that it can answer when everything sent ahead was lost.
    Source: etcd-io/raft raft.go, maybeSendAppend.
    """
    if progress.paused:
        return False
    log = raft.log
    previous = LogIndex(progress.next - 1)
    entries: tuple[Entry, ...] = ()
    try:
        previous_term = log.term(previous)
        if progress.state is not ProgressState.REPLICATE or not progress.inflights.full:
            entries = log.entries_from(progress.next, raft.config.size_max_bytes_per_message)
    except LogError:
        return _send_snapshot(raft, to, progress)
    if not entries and not if_empty:
        return False
    committed = log.committed
    raft.send(Message(MessageType.APP, to, raft.id, raft.term, previous_term, previous, entries, committed))
    progress.sent_entries(len(entries), payload_size_bytes(entries))
    progress.sent_commit = committed
    return True


def _send_snapshot(raft: RaftState, to: MemberID, progress: Progress) -> bool:
    if not progress.recent_active:
        raft.note_debug(f"ignore sending snapshot to {to:x} since it is not recently active")
        return False
    try:
        snapshot = raft.log.snapshot()
    except SnapshotTemporarilyUnavailable:
        raft.note_debug(f"{raft.name} failed to send snapshot to {to:x} because snapshot is temporarily unavailable")
        return False
    metadata = snapshot.metadata
    if not metadata.index:
        raise CoreCorrupt("need non-empty snapshot")
    if raft.debug:
        raft.note_debug(
            f"{raft.name} [firstindex: {raft.log.first_index()}, commit: {raft.log.committed}] "
            f"sent snapshot[index: {metadata.index}, term: {metadata.term}] to {to:x} [{progress}]"
        )
    progress.become_snapshot(metadata.index)
    if raft.debug:
        raft.note_debug(f"{raft.name} paused sending replication messages to {to:x} [{progress}]")
    raft.send(Message(MessageType.SNAP, to, raft.id, raft.term, snapshot=snapshot))
    return True


def maybe_commit(raft: RaftState) -> bool:
    """Commit what a quorum has, when its last entry is of this term (5.4.2). Returns whether that was news."""
    return raft.log.maybe_commit(raft.tracker.committed(), raft.term)


def handle_append_response(raft: RaftState, message: Message) -> None:
    """A follower, or this leader itself after saving, tells how far its log agrees with ours."""
    progress = raft.tracker.progress.get(message.from_)
    if progress is None:
        raft.note_debug(f"{raft.name} no progress available for {message.from_:x}")
        return
    progress.recent_active = True
    if message.reject:
        _handle_rejection(raft, message, progress)
        return
    probed = progress.state is ProgressState.PROBE and progress.match == message.index
    if progress.maybe_update(message.index) or probed:
        _handle_progress(raft, message.from_, progress)


def _handle_rejection(raft: RaftState, message: Message, progress: Progress) -> None:
    """Our entry before `next` is not in that log: go back to where the two may agree.

    The hint is the last index there whose term is not above ours; its term rules out every index of ours with a higher
    term, since terms only go up along a log. So there is at most one probe for each term.
    Source: etcd-io/raft raft.go, stepLeader.
    """
    if raft.debug:
        raft.note_debug(
            f"{raft.name} received MsgAppResp(rejected, hint: (index {message.reject_hint}, term {message.log_term})) "
            f"from {message.from_:x} for index {message.index}"
        )
    hint = message.reject_hint
    if message.log_term:
        hint = raft.log.find_conflict_by_term(hint, message.log_term)[0]
    if progress.maybe_decrease(message.index, hint):
        if raft.debug:
            raft.note_debug(f"{raft.name} decreased progress of {message.from_:x} to [{progress}]")
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        send_append(raft, message.from_, progress)


def _handle_progress(raft: RaftState, member: MemberID, progress: Progress) -> None:
    """A member's log is known to agree further: free its window, commit, send what comes next."""
    if progress.state is ProgressState.REPLICATE:
        progress.inflights.free_to(progress.match)
    elif progress.state is ProgressState.PROBE:
        progress.become_replicate()
    elif progress.match + 1 >= raft.log.first_index():
        # It has a snapshot from which our log goes on; which one does not matter.
        if raft.debug:
            raft.note_debug(
                f"{raft.name} recovered from needing snapshot, resumed sending replication messages "
                f"to {member:x} [{progress}]"
            )
        progress.become_probe()
        progress.become_replicate()

    if maybe_commit(raft):
        release_pending_reads(raft)
        broadcast_append(raft)
    elif member != raft.id and progress.can_bump_commit(raft.log.committed):
        send_append(raft, member, progress)
    if member == raft.id:
        return
    while send_append(raft, member, progress, if_empty=False):
        pass  # as many messages as the window takes now
    if member == raft.transferee and progress.match == raft.log.last_index():
        raft.note(f"{raft.name} sent MsgTimeoutNow to {member:x} after received MsgAppResp")
        send_timeout_now(raft, member)


def handle_heartbeat_response(raft: RaftState, message: Message) -> None:
    """A follower is alive: let a waiting one have an append, and count its confirmation of reads."""
    progress = raft.tracker.progress.get(message.from_)
    if progress is None:
        raft.note_debug(f"{raft.name} no progress available for {message.from_:x}")
        return
    progress.recent_active = True
    progress.flow_paused = False
    if progress.match < raft.log.last_index() or progress.state is ProgressState.PROBE:
        send_append(raft, message.from_, progress)
    if message.context and not raft.config.lease_read:
        handle_acknowledged_heartbeat(raft, message)


def handle_snapshot_status(raft: RaftState, message: Message) -> None:
    """The snapshot to a member was delivered, or was not: probe it, after it answered or with the next heartbeat."""
    progress = raft.tracker.progress.get(message.from_)
    if progress is None or progress.state is not ProgressState.SNAPSHOT:
        return
    if message.reject:
        # Else it would be probed from a snapshot that it does not have.
        progress.pending_snapshot = LogIndex(0)
    progress.become_probe()
    if raft.debug:
        outcome = "failed" if message.reject else "succeeded"
        raft.note_debug(
            f"{raft.name} snapshot {outcome}, resumed sending replication messages to {message.from_:x} [{progress}]"
        )
    progress.flow_paused = True


def handle_unreachable(raft: RaftState, message: Message) -> None:
    """A message to a member was lost: what was sent ahead of it probably too."""
    progress = raft.tracker.progress.get(message.from_)
    if progress is None:
        return
    if progress.state is ProgressState.REPLICATE:
        progress.become_probe()
    if raft.debug:
        raft.note_debug(
            f"{raft.name} failed to send message to {message.from_:x} because it is unreachable [{progress}]"
        )


def send_timeout_now(raft: RaftState, to: MemberID) -> None:
    """Tell the member that is to lead to campaign at once."""
    raft.send(Message(MessageType.TIMEOUT_NOW, to, raft.id, raft.term))
