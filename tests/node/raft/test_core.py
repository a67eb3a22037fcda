"""The surface of RaftCore: what Ready promises, what advance means, and what is refused."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.errors import CoreCorrupt, ProposalDropped
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.size import entries_size_bytes
from etcdops.node.raft.storage import SnapshotTemporarilyUnavailable
from etcdops.node.raft.types import (
    ConfChange,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    NoteLevel,
    Role,
    Snapshot,
    SnapshotMetadata,
)
from tests.node.raft.conf_changes import change_of, encode
from tests.node.raft.lone import Lone, entries, entry
from tests.node.raft.world import group


def new_core(log: MemoryLog | None = None, **settings: object) -> RaftCore:
    """A core of member 1."""
    config = replace(RaftConfig(id=MemberID(1)), **settings)  # type: ignore[arg-type]  # the test names settings
    return RaftCore(config, log or MemoryLog(), random.Random(1))


def one_voter(*terms: int, commit: int = 0, applied: int = 0) -> tuple[MemoryLog, RaftCore]:
    """A group of one, with a log."""
    log = MemoryLog(
        snapshot=Snapshot(SnapshotMetadata(conf_state=ConfState((MemberID(1),)))),
        hard_state=HardState(Term(max(terms, default=0)), commit=LogIndex(commit)),
        entries=entries(*terms),
    )
    return log, new_core(log, applied=LogIndex(applied))


class TestReady:
    """At most one is outstanding."""

    def test_while_one_is_outstanding_there_is_no_other(self) -> None:
        """The driver saves on another thread: meanwhile messages come in and wait."""
        lone = Lone()
        lone.be_leader()
        lone.core.propose(b"first")
        ready = lone.core.ready()
        assert ready is not None
        lone.core.propose(b"second")
        assert not lone.core.has_ready()
        assert lone.core.ready() is None
        lone.log.append(ready.entries)
        lone.core.advance(ready)
        following = lone.core.ready()
        assert following is not None
        assert [held.data for held in following.entries] == [b"second"]

    def test_advance_takes_the_outstanding_one_once(self) -> None:
        """Anything else would let the member count for what it has not saved."""
        lone = Lone()
        lone.core.campaign()
        ready = lone.core.ready()
        assert ready is not None
        with pytest.raises(ValueError, match="once"):
            lone.core.advance(replace(ready))
        lone.core.advance(ready)
        with pytest.raises(ValueError, match="once"):
            lone.core.advance(ready)

    def test_an_idle_core_has_nothing_to_do(self) -> None:
        """has_ready and ready agree."""
        lone = Lone()
        assert not lone.core.has_ready()
        assert lone.core.ready() is None

    def test_the_own_entry_counts_only_after_advance(self) -> None:
        """Raft thesis 3.8: saved before they are counted; a group of one commits right after its own save."""
        lone = Lone(1)
        lone.lead()
        core = lone.core
        core.propose(b"data")
        ready = core.ready()
        assert ready is not None
        before = core.commit_index
        assert [held.index for held in ready.entries] == [before + 1]
        assert not ready.committed_entries
        assert core.commit_index == before
        lone.log.append(ready.entries)
        core.advance(ready)
        assert core.commit_index == before + 1
        following = core.ready()
        assert following is not None
        assert [held.data for held in following.committed_entries] == [b"data"]
        assert not following.must_sync

    def test_votes_and_acknowledgements_wait_for_the_disk(self) -> None:
        """Everything else may leave at once (thesis 10.2.1)."""
        lone = Lone()
        lone.core.step(Message(MessageType.VOTE, MemberID(1), MemberID(2), Term(1)))
        lone.core.step(Message(MessageType.HEARTBEAT, MemberID(1), MemberID(2), Term(1)))
        lone.core.step(Message(MessageType.APP, MemberID(1), MemberID(2), Term(1), entries=entries(1)))
        ready = lone.core.ready()
        assert ready is not None
        assert [message.type for message in ready.messages] == [MessageType.HEARTBEAT_RESP]
        assert [message.type for message in ready.messages_after_save] == [
            MessageType.VOTE_RESP,
            MessageType.APP_RESP,
        ]
        assert ready.must_sync

    def test_what_was_replaced_while_it_was_saved_is_saved_anew(self) -> None:
        """Entries of an old leader are on their way to the disk when a new one replaces them, and then the old one's
        come back. Source: etcd-io/raft rawnode.go, newStorageAppendRespMsg, and the story of its ABA race.
        """
        lone = Lone(5)

        def hear(sender: int, term: int, sent_terms: tuple[int, ...]) -> None:
            sent = entries(*sent_terms)
            lone.core.step(Message(MessageType.APP, MemberID(1), MemberID(sender), Term(term), entries=sent))

        hear(2, 1, (1, 1))
        first = lone.core.ready()
        assert first is not None
        hear(3, 2, (2, 2))
        lone.log.append(first.entries)
        lone.core.advance(first)
        second = lone.core.ready()
        assert second is not None
        assert second.entries == entries(2, 2)
        hear(2, 3, (1, 1, 3))
        # The second save completes: the entries of term 1 are not on the disk, though they were once.
        lone.log.append(second.entries)
        lone.core.advance(second)
        third = lone.core.ready()
        assert third is not None
        assert third.entries == entries(1, 1, 3)
        lone.log.append(third.entries)
        lone.core.advance(third)
        assert lone.whole_log() == entries(1, 1, 3)
        assert lone.core._raft.log.unstable.entries == []

    def test_a_commit_index_alone_needs_no_sync(self) -> None:
        """Term, vote, entries and snapshots do. Source: etcd-io/raft rawnode.go, MustSync."""
        lone = Lone()
        lone.hear(MessageType.APP, 2, term=1, entries=entries(1))
        lone.core.step(Message(MessageType.HEARTBEAT, MemberID(1), MemberID(2), Term(1), commit=LogIndex(1)))
        ready = lone.core.ready()
        assert ready is not None
        assert (ready.hard_state, ready.must_sync) == (HardState(Term(1), MemberID(0), LogIndex(1)), False)

    def test_notes_alone_make_a_ready(self) -> None:
        """A refused vote is worth a line in the log, even when nothing is to be saved or sent."""
        lone = Lone(check_quorum=True)
        lone.be_follower()
        lone.core.step(Message(MessageType.VOTE, MemberID(1), MemberID(3), Term(9)))
        ready = lone.core.ready()
        assert ready is not None
        assert (ready.messages, ready.messages_after_save, ready.entries, ready.hard_state) == ((), (), (), None)
        (note,) = ready.notes
        assert note.startswith("1 [logterm: 0, index: 0, vote: 0] ignored MsgVote from 3 ")
        assert note.level is NoteLevel.INFO

    def test_many_committed_entries_come_in_parts_after_a_restart(self) -> None:
        """None is left out when the bytes run over in the middle. Source: etcd-io/raft rawnode_test.go,
        TestRawNodeCommitPaginationAfterRestart.
        """
        held = [entry(1, index, b"a" * (10 * index % 30)) for index in range(1, 11)]
        log = MemoryLog(
            snapshot=Snapshot(SnapshotMetadata(conf_state=ConfState((MemberID(1), MemberID(2))))),
            hard_state=HardState(Term(1), commit=LogIndex(10)),
            entries=held,
        )
        core = new_core(log, size_max_bytes_committed_per_ready=entries_size_bytes(held[:3]) + 1)
        applied: list[Entry] = []
        while (ready := core.ready()) is not None:
            assert entries_size_bytes(ready.committed_entries) <= entries_size_bytes(held[:3]) + 1
            applied += ready.committed_entries
            core.advance(ready)
        assert applied == held


class TestStart:
    """From nothing, and from what was saved."""

    def test_bootstrap_appends_the_first_members_as_committed_entries(self) -> None:
        """Source: etcd-io/raft bootstrap.go, RawNode.Bootstrap."""
        log = MemoryLog()
        core = new_core(log)
        changes = {member: encode(EntryType.CONF_CHANGE, change_of(f"v{member}")) for member in (1, 2)}
        core.bootstrap([(MemberID(member), data) for member, data in changes.items()])
        ready = core.ready()
        assert ready is not None
        assert ready.hard_state == HardState(Term(1), MemberID(0), LogIndex(2))
        assert ready.entries == ready.committed_entries
        assert [(held.term, held.index, held.type, held.data) for held in ready.entries] == [
            (1, index, EntryType.CONF_CHANGE, changes[index]) for index in (1, 2)
        ]
        for member in (1, 2):
            core.apply_conf_change(change_of(f"v{member}"))
        log.append(ready.entries)
        core.advance(ready)
        assert core.conf_state == ConfState((MemberID(1), MemberID(2)))
        assert core.applied_index == 2
        core.campaign()
        assert core.role is Role.PRE_CANDIDATE

    def test_bootstrap_refuses_a_log_that_has_something(self) -> None:
        """And a group of nobody."""
        _, core = one_voter(1)
        with pytest.raises(ValueError, match="nonempty"):
            core.bootstrap([(MemberID(1), b"")])
        with pytest.raises(ValueError, match="at least one"):
            new_core().bootstrap([])

    def test_applied_entries_do_not_come_again(self) -> None:
        """The state machine is the caller's, and so is knowing where it is."""
        _, core = one_voter(1, 1, 1, commit=3, applied=2)
        ready = core.ready()
        assert ready is not None
        assert [held.index for held in ready.committed_entries] == [3]

    @pytest.mark.parametrize("commit", [4, 99])
    def test_a_commit_index_outside_the_log_is_corruption(self, commit: int) -> None:
        """Source: etcd-io/raft raft.go, loadState: the words are etcd's."""
        with pytest.raises(CoreCorrupt, match=rf"1 state.commit {commit} is out of range \[0, 3\]"):
            one_voter(1, 1, 1, commit=commit)

    def test_an_applied_index_above_the_commit_index_is_corruption(self) -> None:
        """The state machine cannot be ahead of the agreement."""
        with pytest.raises(CoreCorrupt, match=r"applied\(3\) is out of range \[prevApplied\(0\), committed\(2\)\]"):
            one_voter(1, 1, 1, commit=2, applied=3)

    def test_a_configuration_that_cannot_be_is_corruption(self) -> None:
        """Saved state that contradicts itself."""
        state = ConfState((MemberID(1),), learners_next=(MemberID(2),))
        with pytest.raises(CoreCorrupt, match="ConfStates not equivalent"):
            new_core(MemoryLog(snapshot=Snapshot(SnapshotMetadata(conf_state=state))))

    def test_the_first_note_is_etcds(self) -> None:
        """Operators look for it after a restart."""
        log = MemoryLog(
            snapshot=Snapshot(SnapshotMetadata(LogIndex(5), Term(2), ConfState((MemberID(0xA), MemberID(0x1))))),
            hard_state=HardState(Term(3), MemberID(0), LogIndex(6)),
            entries=entries(2, 3, first=6),
        )
        ready = new_core(log, applied=LogIndex(5)).ready()
        assert ready is not None
        assert ready.notes[-1] == "newRaft 1 [peers: [1,a], term: 3, commit: 6, applied: 5, lastindex: 7, lastterm: 3]"


class TestProposals:
    """All of a batch, or none."""

    def test_a_batch_becomes_consecutive_entries_in_one_message(self) -> None:
        """What the driver gathers in one turn of its loop."""
        lone = Lone()
        lone.lead()
        last = lone.core.last_index
        lone.core.propose_batch([b"a", b"b", b"c"])
        sent = lone.work()
        assert [[held.data for held in message.entries] for message in sent] == [[b"a", b"b", b"c"]] * 2
        assert lone.core.last_index == last + 3

    def test_an_empty_batch_is_nothing(self) -> None:
        """Not even for a member that has no leader."""
        lone = Lone()
        lone.core.propose_batch([])
        assert lone.work() == []

    def test_without_a_leader_a_proposal_is_dropped(self) -> None:
        """The proposer hears it at once."""
        with pytest.raises(ProposalDropped, match="no leader at term 0"):
            Lone().core.propose(b"data")

    def test_a_forwarded_change_that_cannot_be_read_becomes_an_empty_entry(self) -> None:
        """etcd's raft panics on it."""
        world = group(2)
        world.elect(1)
        damaged = entry(0, 0, b"\xff\xff")._replace(type=EntryType.CONF_CHANGE)
        world.core(1).step(Message(MessageType.PROP, MemberID(1), MemberID(2), entries=(damaged,)))
        assert any("cannot be decoded" in note for note in world.member(1).take_notes())
        world.settle()
        log = world.member(2).log
        assert log.entries(log.last_index(), LogIndex(log.last_index() + 1), size_max_bytes=0)[0].data == b""
        assert world.core(2).commit_index == log.last_index()

    def test_without_a_decoder_only_an_empty_change_leaves_a_joint_configuration(self) -> None:
        """The core reads no protobuf itself."""
        lone = Lone()
        lone.lead()
        for data, kind in ((b"", EntryType.NORMAL), (b"\x12\x02\x08\x00", EntryType.CONF_CHANGE_V2)):
            proposed = entry(0, 0, data)._replace(type=EntryType.CONF_CHANGE_V2)
            lone.core.step(Message(MessageType.PROP, MemberID(1), MemberID(2), entries=(proposed,)))
            lone.work()
            assert lone.whole_log()[-1].type is kind

    def test_a_change_known_to_the_proposer_is_judged_by_what_it_says(self) -> None:
        """Its data may say the same in another way."""
        lone = Lone()
        lone.lead()
        lone.core.propose_conf_change(EntryType.CONF_CHANGE_V2, b"\x1a\x01x", ConfChange(context=b"x"))
        lone.work()
        assert lone.whole_log()[-1].type is EntryType.NORMAL


class TestSnapshots:
    """Those a leader sends and those it cannot send."""

    def test_a_snapshot_that_is_not_ready_is_asked_for_again(self) -> None:
        """With the next answer to a heartbeat. Source: etcd-io/raft raft_test.go, TestProvideSnap."""
        lone = Lone()
        lone.lead()
        lone.log.create_snapshot(LogIndex(1))
        lone.log.compact(LogIndex(1))
        ready_at = {"asked": 0}
        snapshot = lone.log.snapshot()

        class Slow(MemoryLog):
            def snapshot(self) -> Snapshot:
                ready_at["asked"] += 1
                if ready_at["asked"] == 1:
                    raise SnapshotTemporarilyUnavailable
                return snapshot

        lone.core._raft.log._storage = Slow(snapshot=snapshot)
        progress = lone.core._raft.tracker.progress[MemberID(2)]
        progress.match, progress.next = LogIndex(0), LogIndex(1)
        progress.become_probe()
        assert lone.hear(MessageType.HEARTBEAT_RESP, 2) == []
        (message,) = lone.hear(MessageType.HEARTBEAT_RESP, 2)
        assert (message.type, message.snapshot) == (MessageType.SNAP, snapshot)

    def test_a_snapshot_without_this_member_is_ignored(self) -> None:
        """It would leave it outside of its own configuration."""
        lone = Lone()
        state = ConfState((MemberID(2), MemberID(3)))
        (answer,) = lone.hear(
            MessageType.SNAP, 2, term=2, snapshot=Snapshot(SnapshotMetadata(LogIndex(9), Term(2), state))
        )
        assert (answer.type, answer.index) == (MessageType.APP_RESP, 0)
        assert lone.core.last_index == 0

    def test_a_snapshot_with_an_impossible_configuration_is_ignored(self) -> None:
        """A peer's mistake is noted, not raised."""
        lone = Lone()
        state = ConfState((MemberID(1),), learners=(MemberID(1),))
        lone.core.step(
            Message(
                MessageType.SNAP,
                MemberID(1),
                MemberID(2),
                Term(2),
                snapshot=Snapshot(SnapshotMetadata(LogIndex(9), Term(2), state)),
            )
        )
        ready = lone.core.ready()
        assert ready is not None
        assert any("unable to restore config" in note for note in ready.notes)
        assert ready.snapshot is None

    def test_a_snapshot_of_what_the_log_has_only_moves_the_commit_index(self) -> None:
        """Source: etcd-io/raft raft_test.go, TestRestoreIgnoreSnapshot."""
        lone = Lone(terms=(1, 1, 1))
        state = ConfState((MemberID(1), MemberID(2), MemberID(3)))
        lone.hear(MessageType.SNAP, 2, term=1, snapshot=Snapshot(SnapshotMetadata(LogIndex(2), Term(1), state)))
        assert (lone.core.commit_index, lone.core.last_index) == (2, 3)
        assert [held.index for held in lone.applied] == [1, 2]

    def test_nobody_campaigns_before_its_snapshot_is_installed(self) -> None:
        """Source: etcd-io/raft raft.go, promotable."""
        lone = Lone()
        state = ConfState((MemberID(1), MemberID(2), MemberID(3)))
        snapshot = Snapshot(SnapshotMetadata(LogIndex(9), Term(2), state))
        lone.core.step(Message(MessageType.SNAP, MemberID(1), MemberID(2), Term(2), snapshot=snapshot))
        lone.core.campaign()
        ready = lone.core.ready()
        assert ready is not None
        assert ready.notes[-1] == "1 is unpromotable and can not campaign"
        assert (ready.snapshot, ready.committed_entries) == (snapshot, ())
        lone.log.apply_snapshot(snapshot)
        lone.core.advance(ready)
        assert lone.core.applied_index == 9
        lone.core.campaign()
        assert lone.core.role is Role.CANDIDATE


def test_a_member_with_unapplied_changes_does_not_campaign() -> None:
    """It may not know who its voters are. Source: etcd-io/raft raft_test.go, TestConfChangeCheckBeforeCampaign."""
    late = entry(1, 1, encode(EntryType.CONF_CHANGE, change_of("r3")))._replace(type=EntryType.CONF_CHANGE)
    lone = Lone()
    lone.core.step(Message(MessageType.APP, MemberID(1), MemberID(2), Term(1), entries=(late,), commit=LogIndex(1)))
    lone.core.campaign()
    ready = lone.core.ready()
    assert ready is not None
    assert "1 cannot campaign at term 1 since there are still pending configuration changes to apply" in ready.notes
    lone.log.append(ready.entries)
    lone.core.advance(ready)
    lone.core.campaign()
    assert lone.core.role is Role.CANDIDATE


def test_the_status_shows_what_operators_ask_for() -> None:
    """On the leader with every member, elsewhere without."""
    world = group(3, learners=[3])
    world.elect(1)
    status = world.core(1).status()
    assert (status.id, status.term, status.leader, status.role) == (1, 1, 1, Role.LEADER)
    assert status.commit == status.applied == 1
    assert status.conf_state == ConfState((MemberID(1), MemberID(2)), (MemberID(3),))
    assert [
        (member, seen.match, seen.next, seen.state, seen.is_learner) for member, seen in status.progress.items()
    ] == [
        (1, 1, 2, "StateReplicate", False),
        (2, 1, 2, "StateReplicate", False),
        (3, 1, 2, "StateReplicate", True),
    ]
    assert world.core(2).status().progress == {}
    assert world.core(3).is_learner


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"id": MemberID(0)}, "cannot use none as id"),
        ({"heartbeat_ticks": 0}, "heartbeat tick must be greater than 0"),
        ({"election_timeout_ticks": 1}, "election tick must be greater than heartbeat tick"),
        ({"inflight_messages_max": 0}, "max inflight messages must be greater than 0"),
        ({"inflight_bytes_max": 1}, "max inflight bytes must be >= max message size"),
        ({"lease_read": True, "check_quorum": False}, "check_quorum must be enabled"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], complaint: str) -> None:
    """Source: etcd-io/raft raft.go, Config.validate."""
    with pytest.raises(ValueError, match=complaint):
        replace(RaftConfig(id=MemberID(1)), **settings)  # type: ignore[arg-type]  # the test names settings


def test_waiting_reads_are_bounded() -> None:
    """A member that is asked without end drops what it cannot remember, and says so."""
    lone = Lone()
    lone.lead()
    for number in range(10_001):
        lone.core.read_index(b"%d" % number)
    ready = lone.core.ready()
    assert ready is not None
    assert "1 too many reads wait; dropping index reading msg" in ready.notes
