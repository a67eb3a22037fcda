"""Messages, entries and Readys as etcd prints them: for notes, logs and golden files.

Source: etcd-io/raft util.go, DescribeMessage and its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from etcdops.ids import NO_MEMBER, MemberID
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeTransition,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Ready,
    Role,
    Snapshot,
)

EntryFormatter = Callable[[Entry], str]

MESSAGE_NAMES = {
    MessageType.HUP: "MsgHup",
    MessageType.BEAT: "MsgBeat",
    MessageType.PROP: "MsgProp",
    MessageType.APP: "MsgApp",
    MessageType.APP_RESP: "MsgAppResp",
    MessageType.VOTE: "MsgVote",
    MessageType.VOTE_RESP: "MsgVoteResp",
    MessageType.SNAP: "MsgSnap",
    MessageType.HEARTBEAT: "MsgHeartbeat",
    MessageType.HEARTBEAT_RESP: "MsgHeartbeatResp",
    MessageType.UNREACHABLE: "MsgUnreachable",
    MessageType.SNAP_STATUS: "MsgSnapStatus",
    MessageType.CHECK_QUORUM: "MsgCheckQuorum",
    MessageType.TRANSFER_LEADER: "MsgTransferLeader",
    MessageType.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageType.READ_INDEX: "MsgReadIndex",
    MessageType.READ_INDEX_RESP: "MsgReadIndexResp",
    MessageType.PRE_VOTE: "MsgPreVote",
    MessageType.PRE_VOTE_RESP: "MsgPreVoteResp",
    MessageType.FORGET_LEADER: "MsgForgetLeader",
}

ROLE_NAMES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}

_ENTRY_NAMES = {
    EntryType.NORMAL: "EntryNormal",
    EntryType.CONF_CHANGE: "EntryConfChange",
    EntryType.CONF_CHANGE_V2: "EntryConfChangeV2",
}

_TRANSITION_NAMES = {
    ConfChangeTransition.AUTO: "ConfChangeTransitionAuto",
    ConfChangeTransition.JOINT_IMPLICIT: "ConfChangeTransitionJointImplicit",
    ConfChangeTransition.JOINT_EXPLICIT: "ConfChangeTransitionJointExplicit",
}

_CHANGE_NAMES = {
    ConfChangeType.ADD_NODE: "ConfChangeAddNode",
    ConfChangeType.REMOVE_NODE: "ConfChangeRemoveNode",
    ConfChangeType.UPDATE_NODE: "ConfChangeUpdateNode",
    ConfChangeType.ADD_LEARNER_NODE: "ConfChangeAddLearnerNode",
}


def describe_change(change: ConfChange) -> str:
    """One line for a configuration change, as in etcd's "ignoring conf change" message."""
    parts = [f"transition:{_TRANSITION_NAMES[change.transition]}"]
    parts += [f"changes:{{type:{_CHANGE_NAMES[one.type]} node_id:{one.node_id}}}" for one in change.changes]
    if change.context:
        parts.append(f"context:{_quoted(change.context)}")
    return " ".join(parts)


def describe_conf_state(state: ConfState) -> str:
    """Who is in a configuration."""
    return (
        f"Voters:{_plain(state.voters)} VotersOutgoing:{_plain(state.voters_outgoing)} "
        f"Learners:{_plain(state.learners)} LearnersNext:{_plain(state.learners_next)} "
        f"AutoLeave:{str(state.auto_leave).lower()}"
    )


def describe_snapshot(snapshot: Snapshot) -> str:
    """Which point of the log a snapshot stands for."""
    metadata = snapshot.metadata
    return f"Index:{metadata.index} Term:{metadata.term} ConfState:{describe_conf_state(metadata.conf_state)}"


def describe_data(entry: Entry) -> str:
    """The data of an entry, quoted: the formatter when nothing better is known."""
    return _quoted(entry.data)


def describe_entry(entry: Entry, data_text: EntryFormatter = describe_data) -> str:
    """One entry: term/index, type and data."""
    text = data_text(entry)
    return f"{entry.term}/{entry.index} {_ENTRY_NAMES[entry.type]}" + (f" {text}" if text else "")


def describe_message(message: Message, data_text: EntryFormatter = describe_data) -> str:
    """One message, on one line unless it has several entries or a snapshot."""
    parts = [
        f"{_member(message.from_)}->{_member(message.to)} {MESSAGE_NAMES[message.type]} "
        f"Term:{message.term} Log:{message.log_term}/{message.index}"
    ]
    if message.reject:
        parts.append(f"Rejected (Hint: {message.reject_hint})")
    if message.commit:
        parts.append(f"Commit:{message.commit}")
    if message.vote:
        parts.append(f"Vote:{message.vote}")
    if message.context:
        parts.append(f"Context:{_quoted(message.context)}")
    if len(message.entries) == 1:
        parts.append(f"Entries:[{describe_entry(message.entries[0], data_text)}]")
    elif message.entries:
        shown = "".join(f"\n  {describe_entry(entry, data_text)}" for entry in message.entries)
        parts.append(f"Entries:[{shown}\n]")
    text = " ".join(parts)
    if message.snapshot is not None and message.snapshot.metadata.index:
        text += f"\n  Snapshot: {describe_snapshot(message.snapshot)}"
    return text


def describe_hard_state(state: HardState) -> str:
    """Term, vote and commit index."""
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def describe_ready(ready: Ready, data_text: EntryFormatter = describe_data) -> str:
    """A Ready, one line for each thing to do, in order; the notes are left out."""
    lines = [f"Ready MustSync={str(ready.must_sync).lower()}:"]
    if ready.soft_state is not None:
        lines.append(f"Lead:{ready.soft_state.leader} State:{ROLE_NAMES[ready.soft_state.role]}")
    if ready.hard_state is not None:
        lines.append(f"HardState {describe_hard_state(ready.hard_state)}")
    lines += [f"ReadState Index:{read.index} Context:{_quoted(read.context)}" for read in ready.read_states]
    if ready.entries:
        lines += ["Entries:", *(describe_entry(entry, data_text) for entry in ready.entries)]
    if ready.snapshot is not None:
        lines.append(f"Snapshot {describe_snapshot(ready.snapshot)}")
    if ready.messages:
        lines += ["Messages:", *(describe_message(message, data_text) for message in ready.messages)]
    if ready.messages_after_save:
        lines += [
            "MessagesAfterSave:",
            *(describe_message(message, data_text) for message in ready.messages_after_save),
        ]
    if ready.committed_entries:
        lines += ["CommittedEntries:", *(describe_entry(entry, data_text) for entry in ready.committed_entries)]
    return "\n".join(lines)


def _member(member: MemberID) -> str:
    return "None" if member == NO_MEMBER else f"{member:x}"


def _plain(members: Iterable[MemberID]) -> str:
    return "[" + " ".join(map(str, members)) + "]"


def _quoted(data: bytes) -> str:
    text = data.decode("utf-8", "backslashreplace")
    return '"' + "".join(char if char.isprintable() and char not in '"\\' else _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    return "\\" + char if char in '"\\' else char.encode("unicode_escape").decode()
