"""What is wrong with a message from the network, before it may touch anything.

etcd trusts its peers here and panics, or worse, when it is disappointed. A bad message is only noted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from etcdops.ids import NO_MEMBER
from etcdops.node.raft.read_only import CONTEXT_SIZE_BYTES
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Message, MessageType, Role

Check = Callable[[RaftState, Message], str]

LOCAL = frozenset(
    (
        MessageType.HUP,
        MessageType.BEAT,
        MessageType.UNREACHABLE,
        MessageType.SNAP_STATUS,
        MessageType.CHECK_QUORUM,
        MessageType.FORGET_LEADER,
    )
)
"""What a member says only to itself."""

RESPONSES = frozenset(
    (
        MessageType.APP_RESP,
        MessageType.VOTE_RESP,
        MessageType.HEARTBEAT_RESP,
        MessageType.READ_INDEX_RESP,
        MessageType.PRE_VOTE_RESP,
    )
)
"""Answers, which count only from members of the configuration."""

WITHOUT_TERM = frozenset((MessageType.PROP, MessageType.READ_INDEX))
"""What is passed on to a leader of whatever term."""


def fault(raft: RaftState, message: Message) -> str:
    """Why `message` cannot be taken seriously; empty when it can.

    The term is not compared with ours here, nor is what only our own log could contradict.
    Source: etcd-io/raft rawnode.go, Step; types.go, logSlice.valid.
    """
    kind, sender = message.type, message.from_
    if kind in LOCAL:
        return "members say that only to themselves"
    if message.to not in (NO_MEMBER, raft.id):
        return f"it is addressed to {message.to:x}"
    if kind in WITHOUT_TERM:
        if sender == NO_MEMBER and kind is MessageType.READ_INDEX:
            return "it has no sender"
    elif message.term == 0:
        return "it has no term"
    elif sender == NO_MEMBER or (sender == raft.id and kind is not MessageType.TRANSFER_LEADER):
        return f"its sender cannot be {sender:x}"
    check = _CHECKS.get(kind)
    return check(raft, message) if check is not None else ""


def is_from_stranger(raft: RaftState, message: Message) -> bool:
    """Whether this is an answer from somebody outside the configuration: usual after a member was removed."""
    return message.type in RESPONSES and message.from_ not in raft.tracker.progress


def _append_fault(_raft: RaftState, message: Message) -> str:
    entries = message.entries
    if not entries:
        return ""
    first = message.index + 1
    if [entry.index for entry in entries] != list(range(first, first + len(entries))):
        return f"its entries do not follow index {message.index} without a gap"
    terms = [message.log_term, *[entry.term for entry in entries], message.term]
    if terms != sorted(terms):
        return "the terms of its entries go down, or above its own"
    return ""


def _append_response_fault(raft: RaftState, message: Message) -> str:
    if raft.role is Role.LEADER and message.term == raft.term and message.index > raft.log.last_index():
        return f"it is about index {message.index}, and the log ends at {raft.log.last_index()}"
    return ""


def _heartbeat_response_fault(_raft: RaftState, message: Message) -> str:
    return "" if len(message.context) in (0, CONTEXT_SIZE_BYTES) else "its context is none of ours"


def _proposal_fault(_raft: RaftState, message: Message) -> str:
    return "" if message.entries else "it proposes nothing"


def _read_fault(_raft: RaftState, message: Message) -> str:
    return "" if len(message.entries) == 1 else f"invalid format, entries count: {len(message.entries)}"


def _snapshot_fault(_raft: RaftState, message: Message) -> str:
    snapshot = message.snapshot
    if snapshot is None or not snapshot.metadata.index:
        return "it has no snapshot"
    if not snapshot.metadata.conf_state.voters:
        return "its snapshot has no voters"
    return "" if 0 < snapshot.metadata.term <= message.term else "the term of its snapshot is above its own, or 0"


_CHECKS: Mapping[MessageType, Check] = {
    MessageType.APP: _append_fault,
    MessageType.APP_RESP: _append_response_fault,
    MessageType.HEARTBEAT_RESP: _heartbeat_response_fault,
    MessageType.PROP: _proposal_fault,
    MessageType.READ_INDEX: _read_fault,
    MessageType.READ_INDEX_RESP: _read_fault,
    MessageType.SNAP: _snapshot_fault,
}
