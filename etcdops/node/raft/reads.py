"""Linearizable reads without log entries: ReadIndex (Raft thesis 6.4)."""

from __future__ import annotations

from etcdops.ids import NO_MEMBER, LogIndex
from etcdops.node.raft.heartbeats import broadcast_heartbeat
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Message, MessageType, NoteLevel, ReadState

READS_WAITING_MAX = 10_000
"""More reads than this are dropped; whoever asked asks again. A driver batches its reads into very few."""


def handle_read_index(raft: RaftState, message: Message) -> None:
    """A leader is asked up to where a read must have applied.

    It answers only after it committed something in its term: before that it may not know of entries that an earlier
    leader committed. That holds for a single voter too, which after a restart may have acknowledged more than its saved
    commit index says (etcd-io/raft answers there at once).
    Source: etcd-io/raft raft.go, stepLeader.
    """
    if len(raft.pending_reads) + len(raft.read_only) >= READS_WAITING_MAX:
        raft.note(f"{raft.name} too many reads wait; dropping index reading msg", NoteLevel.WARNING)
    elif not committed_in_term(raft):
        raft.pending_reads.append(message)
    else:
        _confirm(raft, message)


def release_pending_reads(raft: RaftState) -> None:
    """The commit index moved: reads that waited for the first commit of the term can go on."""
    if raft.pending_reads and committed_in_term(raft):
        waiting, raft.pending_reads = raft.pending_reads, []
        for message in waiting:
            _confirm(raft, message)


def handle_acknowledged_heartbeat(raft: RaftState, message: Message) -> None:
    """A heartbeat with a context came back: answer the reads that a quorum has confirmed by now."""
    raft.read_only.acknowledge(message.from_, message.context)
    for request, commit in raft.read_only.advance(raft.tracker.config.voters):
        _answer(raft, request, commit)


def forward_read_index(raft: RaftState, message: Message) -> None:
    """A follower passes the question on."""
    if raft.leader == NO_MEMBER:
        raft.note(f"{raft.name} no leader at term {raft.term}; dropping index reading msg")
        return
    raft.send(message._replace(to=raft.leader, from_=message.from_ or raft.id))


def handle_read_index_response(raft: RaftState, message: Message) -> None:
    """The leader answered a question that this member passed on."""
    raft.read_states.append(ReadState(message.index, message.entries[0].data))


def committed_in_term(raft: RaftState) -> bool:
    """Whether the newest committed entry is of this leader's term."""
    return raft.log.term_or_zero(raft.log.committed) == raft.term


def _confirm(raft: RaftState, message: Message) -> None:
    commit = raft.log.committed
    if raft.tracker.is_singleton or raft.config.lease_read:
        _answer(raft, message, commit)
        return
    raft.read_only.add(message, commit)
    raft.read_only.acknowledge(raft.id, raft.read_only.heartbeat_context())
    broadcast_heartbeat(raft)


def _answer(raft: RaftState, request: Message, commit: LogIndex) -> None:
    if request.from_ in (NO_MEMBER, raft.id):
        raft.read_states.append(ReadState(commit, request.entries[0].data))
        return
    raft.send(
        Message(MessageType.READ_INDEX_RESP, request.from_, raft.id, raft.term, index=commit, entries=request.entries)
    )
