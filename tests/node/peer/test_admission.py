"""What raft never gets to see."""

from __future__ import annotations

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.peer.admission import LOCAL_KINDS, NUMBER_MAX, Admission
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.identity import Identity
from etcdops.node.peer.port import Answer
from etcdops.node.raft.types import Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata
from tests.node.peer.support import ALICE, BOB, CAROL, CLUSTER, FakeRaft, append, heartbeat


@pytest.fixture
def raft() -> FakeRaft:
    return FakeRaft()


@pytest.fixture
def admission(raft: FakeRaft) -> Admission:
    return Admission(Identity(ALICE, CLUSTER, ("http://127.0.0.1:1",), "3.5.21"), raft)


def test_a_message_for_us_goes_to_raft(admission: Admission, raft: FakeRaft) -> None:
    """Nothing about it is changed."""
    message = append(BOB, ALICE, 10, 3)
    assert admission.receive(message) is None
    assert raft.received == [message]


def test_a_removed_member_is_turned_away(admission: Admission, raft: FakeRaft) -> None:
    """Source: etcd server.go, EtcdServer.Process."""
    raft.removed.add(BOB)
    assert admission.receive(heartbeat(BOB, ALICE)) == Answer(403, b"cannot process message from removed member")
    assert not raft.received


def test_a_message_for_another_member_is_turned_away(admission: Admission, raft: FakeRaft) -> None:
    """Without the status from which an etcd would conclude that it was removed."""
    assert admission.receive(heartbeat(BOB, CAROL)) == Answer(412, b"to field mismatch")
    assert not raft.received


@pytest.mark.parametrize("kind", sorted(LOCAL_KINDS))
def test_what_a_member_says_to_itself_is_ignored(admission: Admission, raft: FakeRaft, kind: MessageType) -> None:
    """From the network, HUP would make us campaign. Source: etcd raft/node.go, node.Step."""
    assert admission.receive(Message(kind, to=ALICE, from_=BOB)) is None
    assert not raft.received


def _entries(*positions: tuple[int, int]) -> tuple[Entry, ...]:
    return tuple(Entry(Term(term), LogIndex(index), EntryType.NORMAL, b"") for term, index in positions)


_APP = append(BOB, ALICE, 10, 0)
_SNAP = Message(MessageType.SNAP, to=ALICE, from_=BOB, term=Term(5))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(heartbeat(MemberID(0), ALICE), id="from nobody"),
        pytest.param(heartbeat(BOB, ALICE, term=(1 << 64) - 1), id="a term after which no election can be"),
        pytest.param(heartbeat(BOB, ALICE, commit=NUMBER_MAX + 1), id="commit index"),
        pytest.param(_APP._replace(index=LogIndex(NUMBER_MAX + 1)), id="index"),
        pytest.param(_APP._replace(entries=_entries((5, 12))), id="gap before the entries"),
        pytest.param(_APP._replace(entries=_entries((5, 11), (5, 11))), id="the same entry twice"),
        pytest.param(_APP._replace(entries=_entries((5, 11), (4, 12))), id="terms going back"),
        pytest.param(_APP._replace(entries=_entries((6, 11))), id="an entry of a later term than its sender"),
        pytest.param(Message(MessageType.PROP, to=ALICE, from_=BOB), id="proposal of nothing"),
        pytest.param(Message(MessageType.READ_INDEX, to=ALICE, from_=BOB), id="read without context"),
        pytest.param(_SNAP, id="snapshot without one"),
        pytest.param(_SNAP._replace(snapshot=Snapshot(SnapshotMetadata(LogIndex(5), Term(1)))), id="no database"),
    ],
)
def test_what_no_member_sends_is_malformed(admission: Admission, raft: FakeRaft, message: Message) -> None:
    """Each of these would trip an assertion or poison a term in the core."""
    with pytest.raises(MalformedMessage):
        admission.receive(message)
    assert not raft.received
