"""Heartbeats: how a leader shows that it is there, tells what is committed, and confirms reads."""

from __future__ import annotations

from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Message, MessageType


def broadcast_heartbeat(raft: RaftState) -> None:
    """Send a heartbeat to every other member.

    It carries min(match, committed): a member must not commit what it is not known to have.
    Source: etcd-io/raft raft.go, bcastHeartbeat.
    """
    context = raft.read_only.heartbeat_context()
    committed = raft.log.committed
    for member, progress in raft.tracker.progress.items():
        if member == raft.id:
            continue
        commit = min(progress.match, committed)
        raft.send(Message(MessageType.HEARTBEAT, member, raft.id, raft.term, commit=commit, context=context))
        progress.sent_commit = commit
