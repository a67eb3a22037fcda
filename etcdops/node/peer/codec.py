"""Raft's values to and from raftpb bytes, as etcd 3.4 and 3.5 write them.

etcd generates this code with gogo/protobuf and non-nullable fields, so every scalar is on the wire even when it is
zero, and so is the empty snapshot of every message: here each field is set, zero or not. Bytes are never set when
empty, as etcd's senders hold nil there. Members of 3.6 leave the empty snapshot out and add `vote`; both are read.
"""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    Snapshot,
    SnapshotMetadata,
)
from etcdops.proto import raftpb_pb2 as pb


class MalformedMessage(ValueError):
    """Bytes from a peer or from the log that are not what raftpb says they should be."""


class ConfChangeRequest(NamedTuple):
    """A configuration change and the ID under which its proposer waits for it (0: nobody does)."""

    request_id: int
    change: ConfChange


def encode_message(message: Message) -> bytes:
    """The bytes of raftpb.Message for `message`. Source: etcd raft/raftpb/raft.pb.go, Message.Marshal."""
    wire = pb.Message(
        type=_MESSAGE_WIRE[message.type],
        to=message.to,
        term=message.term,
        logTerm=message.log_term,
        index=message.index,
        commit=message.commit,
        snapshot=_EMPTY_SNAPSHOT if message.snapshot is None else _wire_snapshot(message.snapshot),
        reject=message.reject,
        rejectHint=message.reject_hint,
        context=message.context or None,
        vote=message.vote or None,
    )
    setattr(wire, "from", message.from_)
    if message.entries:
        add = wire.entries.add
        for term, index, kind, data in message.entries:
            add(Type=_ENTRY_WIRE[kind], Term=term, Index=index, Data=data or None)
    return wire.SerializeToString()


def decode_message(data: bytes) -> Message:
    """The message in `data`. An empty snapshot (index 0) reads as None. Raises: MalformedMessage."""
    try:
        wire = pb.Message.FromString(data)
    except DecodeError as error:
        raise MalformedMessage(f"not a raft message: {error}") from error
    kind = _MESSAGE_TYPES.get(wire.type) if wire.HasField("type") else None
    if kind is None:
        raise MalformedMessage("a raft message without a known type")
    snapshot = _decode_snapshot(wire.snapshot) if wire.HasField("snapshot") else None
    return Message(
        type=kind,
        to=MemberID(wire.to),
        from_=MemberID(getattr(wire, "from")),
        term=Term(wire.term),
        log_term=Term(wire.logTerm),
        index=LogIndex(wire.index),
        entries=tuple([_entry(entry) for entry in wire.entries]),
        commit=LogIndex(wire.commit),
        vote=MemberID(wire.vote),
        snapshot=snapshot,
        reject=wire.reject,
        reject_hint=LogIndex(wire.rejectHint),
        context=wire.context,
    )


def encode_entry(entry: Entry) -> bytes:
    """The bytes of raftpb.Entry for `entry`. Source: etcd raft/raftpb/raft.pb.go, Entry.Marshal."""
    term, index, kind, data = entry
    return pb.Entry(Type=_ENTRY_WIRE[kind], Term=term, Index=index, Data=data or None).SerializeToString()


def decode_entry(data: bytes) -> Entry:
    """The log entry in `data`. Raises: MalformedMessage."""
    try:
        return _entry(pb.Entry.FromString(data))
    except DecodeError as error:
        raise MalformedMessage(f"not a log entry: {error}") from error


def encode_conf_change(request_id: int, change: ConfChange) -> bytes:
    """The bytes of raftpb.ConfChange, the data of an EntryType.CONF_CHANGE entry.

    Args: request_id >= 0 identifies the waiting proposer; `change` has exactly one element and the AUTO transition.
    """
    (single,) = change.changes
    return pb.ConfChange(
        id=request_id,
        type=pb.ConfChangeType.ValueType(single.type),
        node_id=single.node_id,
        context=change.context or None,
    ).SerializeToString()


def encode_conf_change_v2(change: ConfChange) -> bytes:
    """The bytes of raftpb.ConfChangeV2, the data of an EntryType.CONF_CHANGE_V2 entry.

    Leaving a joint configuration is b"", which is what raft itself proposes for it.
    """
    if change == ConfChange():
        return b""
    return pb.ConfChangeV2(
        transition=pb.ConfChangeTransition.ValueType(change.transition),
        changes=[
            pb.ConfChangeSingle(type=pb.ConfChangeType.ValueType(single.type), node_id=single.node_id)
            for single in change.changes
        ],
        context=change.context or None,
    ).SerializeToString()


def decode_conf_change(kind: EntryType, data: bytes) -> ConfChangeRequest:
    """The configuration change in the data of an entry of type `kind`. Raises: MalformedMessage."""
    try:
        if kind is EntryType.CONF_CHANGE:
            old = pb.ConfChange.FromString(data)
            return ConfChangeRequest(old.id, ConfChange((_single(old),), context=old.context))
        new = pb.ConfChangeV2.FromString(data)
    except DecodeError as error:
        raise MalformedMessage(f"not a configuration change: {error}") from error
    singles = tuple(map(_single, new.changes))
    return ConfChangeRequest(0, ConfChange(singles, ConfChangeTransition(new.transition), new.context))


_MESSAGE_TYPES = {int(kind): kind for kind in MessageType}
_MESSAGE_WIRE = {kind: pb.MessageType.ValueType(kind) for kind in MessageType}
_ENTRY_TYPES = {int(kind): kind for kind in EntryType}
_ENTRY_WIRE = {kind: pb.EntryType.ValueType(kind) for kind in EntryType}
_EMPTY_SNAPSHOT = pb.Snapshot(
    metadata=pb.SnapshotMetadata(conf_state=pb.ConfState(auto_leave=False), index=0, term=0),
)


# Protobuf keeps an unknown enum value apart and reads the field as 0: a kind of entry or change that we cannot apply
# would be taken for one that we can. Every etcd writes these fields, so an absent one is refused.


def _entry(wire: pb.Entry) -> Entry:
    if not wire.HasField("Type"):
        raise MalformedMessage("a log entry without a known type")
    return Entry(Term(wire.Term), LogIndex(wire.Index), _ENTRY_TYPES[wire.Type], wire.Data)


def _single(wire: pb.ConfChange | pb.ConfChangeSingle) -> ConfChangeSingle:
    if not wire.HasField("type"):
        raise MalformedMessage("a configuration change without a known type")
    return ConfChangeSingle(ConfChangeType(wire.type), MemberID(wire.node_id))


def _wire_snapshot(snapshot: Snapshot) -> pb.Snapshot:
    index, term, state = snapshot.metadata
    conf_state = pb.ConfState(
        voters=state.voters,
        learners=state.learners,
        voters_outgoing=state.voters_outgoing,
        learners_next=state.learners_next,
        auto_leave=state.auto_leave,
    )
    metadata = pb.SnapshotMetadata(conf_state=conf_state, index=index, term=term)
    return pb.Snapshot(data=snapshot.data or None, metadata=metadata)


def _decode_snapshot(wire: pb.Snapshot) -> Snapshot | None:
    metadata = wire.metadata
    if not metadata.index and not wire.data:
        return None
    state = metadata.conf_state
    conf_state = ConfState(
        voters=tuple(map(MemberID, state.voters)),
        learners=tuple(map(MemberID, state.learners)),
        voters_outgoing=tuple(map(MemberID, state.voters_outgoing)),
        learners_next=tuple(map(MemberID, state.learners_next)),
        auto_leave=state.auto_leave,
    )
    return Snapshot(SnapshotMetadata(LogIndex(metadata.index), Term(metadata.term), conf_state), wire.data)
