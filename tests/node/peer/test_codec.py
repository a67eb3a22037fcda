"""raftpb bytes: equal to etcd's, lossless, and hard to fool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.peer import codec
from etcdops.node.peer.codec import ConfChangeRequest, MalformedMessage
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
from tests.node.peer import strategies


@given(strategies.messages)
def test_any_message_survives_the_way_over_the_wire(message: Message) -> None:
    """Every field of every kind of message."""
    assert codec.decode_message(codec.encode_message(message)) == message


@given(strategies.entries)
def test_any_entry_survives_the_way_over_the_wire(entry: Entry) -> None:
    """Every field of every kind of entry."""
    assert codec.decode_entry(codec.encode_entry(entry)) == entry


@given(st.integers(0, (1 << 64) - 1), strategies.singles, strategies.datas)
def test_any_simple_change_survives_the_log(request_id: int, single: ConfChangeSingle, context: bytes) -> None:
    """raftpb.ConfChange."""
    change = ConfChange((single,), context=context)
    data = codec.encode_conf_change(request_id, change)
    assert codec.decode_conf_change(EntryType.CONF_CHANGE, data) == ConfChangeRequest(request_id, change)


@given(strategies.conf_changes)
def test_any_joint_change_survives_the_log(change: ConfChange) -> None:
    """raftpb.ConfChangeV2."""
    data = codec.encode_conf_change_v2(change)
    assert codec.decode_conf_change(EntryType.CONF_CHANGE_V2, data) == ConfChangeRequest(0, change)


def test_zero_fields_are_written_as_gogo_writes_them() -> None:
    """A link heartbeat of etcd 3.5: every scalar, and the empty snapshot with its empty configuration."""
    expected = "0808 1000 1800 2000 2800 3000 4000 4a0a12080a0228001000 1800 5000 5800"
    assert codec.encode_message(Message(MessageType.HEARTBEAT)) == bytes.fromhex(expected)


def test_a_snapshot_is_written_with_its_configuration() -> None:
    """Lists of IDs are not packed, and auto_leave is always there: proto2 as etcd has it."""
    state = ConfState(voters=(MemberID(1), MemberID(300)), learners=(MemberID(3),))
    message = Message(MessageType.SNAP, snapshot=Snapshot(SnapshotMetadata(LogIndex(9), Term(2), state), b"v2"))
    expected = "4a15 0a027632 120f 0a09 0801 08ac02 1003 2800 1009 1802"
    assert bytes.fromhex(expected).hex() in codec.encode_message(message).hex()


def test_members_of_3_6_are_understood() -> None:
    """They leave the empty snapshot out and write `vote`, zero or not."""
    message = codec.decode_message(bytes.fromhex("0808 1001 1802 2003 2800 3000 4005 5000 5800 6800"))
    assert message == Message(
        MessageType.HEARTBEAT, to=MemberID(1), from_=MemberID(2), term=Term(3), commit=LogIndex(5)
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("1001", id="no type"),
        pytest.param("0863", id="unknown type"),
        pytest.param("0813", id="type of raft's own storage threads"),
        pytest.param("0803 3a04 1001 1801", id="entry without type"),
        pytest.param("0803 3a06 0807 1001 1801", id="unknown type of entry"),
        pytest.param("0803 3a7f", id="cut off"),
        pytest.param("ffffffff", id="no protobuf"),
    ],
)
def test_what_is_no_message_is_refused(data: str) -> None:
    """Protobuf alone would read an unknown kind as kind 0."""
    with pytest.raises(MalformedMessage):
        codec.decode_message(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(EntryType.CONF_CHANGE, "", id="no type"),
        pytest.param(EntryType.CONF_CHANGE, "1009 1801", id="unknown type"),
        pytest.param(EntryType.CONF_CHANGE, "12ff", id="no protobuf"),
        pytest.param(EntryType.CONF_CHANGE_V2, "1202 1001", id="change without type"),
        pytest.param(EntryType.CONF_CHANGE_V2, "12ff", id="no protobuf, joint"),
    ],
)
def test_what_is_no_configuration_change_is_refused(kind: EntryType, data: str) -> None:
    """A change that cannot be understood must not be taken for adding member 0."""
    with pytest.raises(MalformedMessage):
        codec.decode_conf_change(kind, bytes.fromhex(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    """No other exception, whatever a peer sends."""
    try:
        codec.encode_message(codec.decode_message(data))
    except MalformedMessage:
        pass


def test_leaving_a_joint_configuration_is_the_empty_change() -> None:
    """Raft proposes it as an entry without data. Source: etcd-io/raft raft.go, appliedTo."""
    assert codec.encode_conf_change_v2(ConfChange()) == b""
    explicit = ConfChange(transition=ConfChangeTransition.JOINT_EXPLICIT)
    assert codec.decode_conf_change(EntryType.CONF_CHANGE_V2, b"").change == ConfChange()
    assert codec.encode_conf_change_v2(explicit) == b"\x08\x02"


def test_a_change_of_etcds_own_is_written_alike() -> None:
    """ID, type, member, context, in the order of their numbers."""
    change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_LEARNER_NODE, MemberID(300)),), context=b"{}")
    assert codec.encode_conf_change(7, change).hex() == "0807100318ac0222027b7d"
