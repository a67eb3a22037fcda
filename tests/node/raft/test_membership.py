"""Members come and go while the group works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.confchange import Changer
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.errors import ConfChangeRefused
from etcdops.node.raft.types import (
    ConfState,
    EntryType,
    Message,
    MessageType,
    Role,
    Snapshot,
    SnapshotMetadata,
)
from tests.node.raft.conf_changes import change_of
from tests.node.raft.lone import Lone
from tests.node.raft.world import group


def test_removing_a_member_commits_what_waited_for_it() -> None:
    """Source: etcd-io/raft raft_test.go, TestCommitAfterRemoveNode."""
    lone = Lone(2)
    lone.lead()
    lone.core.propose_conf_change(EntryType.CONF_CHANGE, b"r2", change_of("r2"))
    removal = lone.core.last_index
    lone.core.propose(b"waits")
    lone.work()
    lone.hear(MessageType.APP_RESP, 2, index=removal)
    assert lone.core.commit_index == removal
    lone.core.apply_conf_change(change_of("r2"))
    lone.work()
    assert lone.core.commit_index == removal + 1
    assert lone.applied[-1].data == b"waits"


def test_a_transfer_to_a_member_that_goes_is_given_up() -> None:
    """Source: etcd-io/raft raft_test.go, TestLeaderTransferRemoveNode and TestLeaderTransferDemoteNode."""
    for text in ("r3", "l3"):
        world = group(3)
        world.elect(1)
        world.settle()
        core = world.core(1)
        core.transfer_leader(MemberID(3))
        assert core.transferee == 3
        core.apply_conf_change(change_of(text))
        assert core.transferee == 0


def test_a_joint_configuration_is_not_left_during_a_transfer() -> None:
    """It is after the transfer failed, with the next entry applied. Source: etcd-io/raft raft.go, appliedTo."""
    lone = Lone(3)
    lone.lead()
    lone.core.propose_conf_change(EntryType.CONF_CHANGE_V2, b"v4 r3", change_of("v4 r3"))
    lone.work()
    lone.core.step(_acknowledge(lone, 2))
    ready = lone.core.ready()
    assert ready is not None
    lone.core.apply_conf_change(change_of("v4 r3"))
    lone.core.transfer_leader(MemberID(2))
    lone.core.advance(ready)
    assert lone.core.conf_state.auto_leave
    assert lone.whole_log()[-1] == ready.committed_entries[-1]

    for _ in range(10):
        lone.core.tick()  # the transfer fails
    lone.core.propose(b"something")
    lone.work()
    for peer in (2, 4):
        lone.core.step(_acknowledge(lone, peer))
    lone.work()
    assert (lone.whole_log()[-1].type, lone.whole_log()[-1].data) == (EntryType.CONF_CHANGE_V2, b"")


def _acknowledge(lone: Lone, peer: int) -> Message:
    kind, term, last = MessageType.APP_RESP, lone.core.term, lone.core.last_index
    return Message(kind, MemberID(1), MemberID(peer), term, index=last)


def test_a_new_leader_makes_no_change_before_it_has_applied_what_it_found() -> None:
    """There may be a change among it. Source: etcd-io/raft raft_test.go, TestNewLeaderPendingConfig."""
    lone = Lone(terms=(1,))
    appends = lone.be_leader()
    lone.core.propose_conf_change(EntryType.CONF_CHANGE, b"too early", change_of("v4"))
    lone.accept(lone.accept([*appends, *lone.work()]))
    assert lone.whole_log()[-1].type is EntryType.NORMAL
    lone.core.propose_conf_change(EntryType.CONF_CHANGE, b"v4", change_of("v4"))
    lone.work()
    assert lone.whole_log()[-1].type is EntryType.CONF_CHANGE


def test_a_new_member_does_not_depose_the_leader_by_its_silence() -> None:
    """It counts as heard at first. Source: etcd-io/raft raft_test.go, TestAddNodeCheckQuorum."""
    lone = Lone(1, check_quorum=True)
    lone.lead()
    lone.core.apply_conf_change(change_of("v2"))
    roles: list[Role] = []
    for _ in range(2):
        for _ in range(10):
            lone.core.tick()
        roles.append(lone.core.role)
    assert roles == [Role.LEADER, Role.FOLLOWER]


def test_a_refused_change_changes_nothing() -> None:
    """Neither configuration nor progress."""
    lone = Lone(3)
    lone.lead()
    before = lone.core.status()
    with pytest.raises(ConfChangeRefused, match="more than one voter"):
        Changer(lone.core._raft.tracker, lone.core.last_index).simple(change_of("r2 v4").changes)
    with pytest.raises(ConfChangeRefused, match="can't leave"):
        lone.core.apply_conf_change(change_of(""))
    assert lone.core.status() == before


@pytest.mark.parametrize(
    ("index", "committed"),
    [(1, 2), (2, 2)],
)
def test_an_old_snapshot_is_answered_with_what_is_committed(index: int, committed: int) -> None:
    """So that the leader knows where to go on."""
    lone = Lone(terms=(1, 1, 1), hard_state=(1, 0, committed))
    state = ConfState((MemberID(1), MemberID(2), MemberID(3)))
    snapshot = Snapshot(SnapshotMetadata(LogIndex(index), Term(1), state))
    (answer,) = lone.hear(MessageType.SNAP, 2, term=1, snapshot=snapshot)
    assert (answer.type, answer.index, answer.reject) == (MessageType.APP_RESP, committed, False)
    assert lone.core.last_index == 3


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Message(MessageType.HEARTBEAT, MemberID(9), MemberID(2), Term(1)), "it is addressed to 9"),
        (
            Message(
                MessageType.SNAP,
                MemberID(1),
                MemberID(2),
                Term(1),
                snapshot=Snapshot(SnapshotMetadata(LogIndex(1), Term(1))),
            ),
            "its snapshot has no voters",
        ),
        (
            Message(
                MessageType.SNAP,
                MemberID(1),
                MemberID(2),
                Term(1),
                snapshot=Snapshot(SnapshotMetadata(LogIndex(1), Term(2), ConfState((MemberID(1),)))),
            ),
            "the term of its snapshot is above its own, or 0",
        ),
    ],
)
def test_a_message_that_makes_no_sense_is_noted(message: Message, complaint: str) -> None:
    """The rest of them are in scripts/hostile_messages.txt."""
    lone = Lone()
    lone.core.step(message)
    ready = lone.core.ready()
    assert ready is not None
    assert [note.endswith(complaint) for note in ready.notes] == [True]
    assert lone.core.term == 0


def test_answers_of_a_removed_member_are_only_noted_for_debugging() -> None:
    """They are usual after a removal."""
    world = group(3, settings=lambda config: replace(config, debug_notes=False))
    world.elect(1)
    world.member(1).propose_change("r3", EntryType.CONF_CHANGE)
    world.settle()
    world.core(1).step(Message(MessageType.APP_RESP, MemberID(1), MemberID(3), Term(1), index=LogIndex(1)))
    assert not world.core(1).has_ready()


def test_many_members_are_kept_apart_by_their_ids() -> None:
    """IDs are 64 bits and print in hex, as etcd's do."""
    ids = (MemberID(0x8E9E05C52164694D), MemberID(0x91BC3C398FB3C146), MemberID(0xFD422379FDA50E48))
    world = group(1)
    world.members.clear()
    metadata = SnapshotMetadata(conf_state=ConfState(ids))
    for member in ids:
        world.add(RaftConfig(id=member, pre_vote=False), Snapshot(metadata))
    world.members[ids[0]].core.campaign()
    notes = [*world.members[ids[0]].take_notes()]
    assert notes[-3] == "8e9e05c52164694d became candidate at term 1"
    world.settle()
    assert world.members[ids[2]].core.leader == ids[0]
