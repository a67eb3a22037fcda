"""Proposals: appended by the leader, passed on by followers, dropped when there is nobody to take them."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.ids import NO_MEMBER, LogIndex, Term
from etcdops.node.raft.describe import describe_change
from etcdops.node.raft.errors import ProposalDropped
from etcdops.node.raft.leadership import EMPTY_ENTRY
from etcdops.node.raft.replication import append_entries, broadcast_append
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType, Entry, EntryType, Message, MessageType

_UNREAD_CHANGE = ConfChange((ConfChangeSingle(ConfChangeType.UPDATE_NODE, NO_MEMBER),))
"""Stands for a change that nobody here can read: it names somebody, so it does not leave a joint configuration."""


def proposal(raft: RaftState, entry_type: EntryType, datas: Sequence[bytes]) -> Message:
    """The message with which this member proposes something to itself."""
    term, index = Term(0), LogIndex(0)
    entries = tuple([Entry(term, index, entry_type, data) for data in datas])
    return Message(MessageType.PROP, from_=raft.id, entries=entries)


def handle_proposal(raft: RaftState, message: Message) -> None:
    """A leader appends the entries and sends them out. Raises: ProposalDropped, with none of them appended.

    Source: etcd-io/raft raft.go, stepLeader.
    """
    append_proposal(raft, message.entries, None)


def append_proposal(raft: RaftState, entries: Sequence[Entry], known: ConfChange | None) -> None:
    """Like `handle_proposal`. Args: known - what the configuration change among `entries` says, if somebody knows."""
    if raft.id not in raft.tracker.progress:
        raise ProposalDropped(f"{raft.name} was removed from the configuration")
    if raft.transferee != NO_MEMBER:
        text = f"transfer leadership to {raft.transferee:x} is in progress; dropping proposal"
        raft.note_debug(f"{raft.name} [term {raft.term}] {text}")
        raise ProposalDropped(text)
    if any(entry.type is not EntryType.NORMAL for entry in entries):
        entries = [
            entry if entry.type is EntryType.NORMAL else _admit(raft, entry, position, known)
            for position, entry in enumerate(entries, 1)
        ]
    if not append_entries(raft, entries):
        raise ProposalDropped("too much is not committed yet")
    broadcast_append(raft)


def _admit(raft: RaftState, entry: Entry, position: int, known: ConfChange | None) -> Entry:
    """The configuration change itself, or an empty entry when it cannot be made now.

    Only one may be pending, so that old and new majorities always overlap (thesis 4.1).
    """
    change = known if known is not None else _decode(raft, entry)
    if change is None:
        raft.note(f"{raft.name} ignoring conf change that cannot be decoded at config {raft.tracker.config}")
        return EMPTY_ENTRY
    joint = raft.tracker.config.voters.is_joint
    leaves = not change.changes
    problem = ""
    if raft.pending_conf_index > raft.log.applied:
        problem = f"possible unapplied conf change at index {raft.pending_conf_index} (applied to {raft.log.applied})"
    elif joint and not leaves:
        problem = "must transition out of joint config first"
    elif leaves and not joint:
        problem = "not in joint state; refusing empty conf change"
    if problem and raft.config.validate_conf_changes:
        raft.note(
            f"{raft.name} ignoring conf change {describe_change(change)} at config {raft.tracker.config}: {problem}"
        )
        return EMPTY_ENTRY
    raft.pending_conf_index = LogIndex(raft.log.last_index() + position)
    return entry


def _decode(raft: RaftState, entry: Entry) -> ConfChange | None:
    if raft.config.conf_change_decoder is not None:
        return raft.config.conf_change_decoder(entry)
    if entry.type is EntryType.CONF_CHANGE_V2 and not entry.data:
        return ConfChange()
    return _UNREAD_CHANGE


def forward_proposal(raft: RaftState, message: Message) -> None:
    """A follower passes proposals on. Raises: ProposalDropped when it knows no leader, or may not."""
    if raft.leader == NO_MEMBER:
        drop_proposal(raft, message)
    if raft.config.disable_proposal_forwarding:
        text = f"not forwarding to leader {raft.leader:x} at term {raft.term}; dropping proposal"
        raft.note(f"{raft.name} {text}")
        raise ProposalDropped(text)
    raft.send(message._replace(to=raft.leader, from_=message.from_ or raft.id))


def drop_proposal(raft: RaftState, _message: Message) -> None:
    """Nobody leads. Raises: ProposalDropped."""
    text = f"no leader at term {raft.term}; dropping proposal"
    raft.note(f"{raft.name} {text}")
    raise ProposalDropped(text)
