"""The driver: what is saved, sent, applied and answered, and in which order.

The order is the whole point: an answer before a save is a lost write after the next power cut.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.api.errors import LEADER_CHANGED, STOPPED, TIMEOUT
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.types import (
    ConfChangeType,
    Entry,
    EntryType,
    Message,
    MessageType,
    Role,
)
from etcdops.node.storage.errors import StorageFailed
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.node.server.world import Answers, DrivenMember, World, new_member

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(size: int = 3, **options: int) -> World:
        world = World(tmp_path / str(len(made)), size, **options)
        made.append(world)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture
def alone(make_world: MakeWorld) -> DrivenMember:
    """The leader of a cluster of one."""
    return make_world(1).elect()


# Saving.


def test_proposals_of_one_turn_are_one_append_and_the_next_ones_wait_for_its_save(alone: DrivenMember) -> None:
    """Group commit: while the disk is busy requests gather, and share the next fsync."""
    alone.writer.held = True
    first = [alone.put(f"first-{number}") for number in range(3)]
    alone.world.settle()
    second = [alone.put(f"second-{number}") for number in range(4)]
    alone.world.settle()
    third = alone.put("third")
    alone.world.settle()
    assert [len(save.entries) for save in alone.writer.waiting] == [3]
    alone.writer.complete()
    alone.world.settle()
    assert [len(save.entries) for save in alone.writer.waiting] == [5]
    alone.writer.complete()
    alone.world.settle()
    assert [answers.revision for answers in [*first, *second, third]] == list(range(2, 10))
    assert alone.writer.batches[-2:] == [3, 5]


def test_a_member_of_one_answers_only_after_its_save(alone: DrivenMember) -> None:
    """etcd up to 3.5.4 did not, and lost acknowledged writes (#14370, K05)."""
    alone.writer.held = True
    answers = alone.put("key")
    alone.world.tick(20)
    assert not answers.answered
    assert alone.live_keys() == []
    alone.writer.complete()
    alone.world.settle()
    assert answers.revision == 2


def test_a_write_that_was_not_saved_is_gone_after_a_crash_and_was_never_answered(alone: DrivenMember) -> None:
    """The other half of the promise: nothing unacknowledged has to survive."""
    world = alone.world
    saved = alone.put("saved")
    world.settle()
    alone.writer.held = True
    lost = alone.put("lost")
    world.settle()
    alone.crash()
    alone.start()
    world.elect()
    assert saved.revision == 2
    assert lost.error == STOPPED
    assert alone.live_keys() == ["saved"]


def test_a_leader_sends_before_its_own_save(make_world: MakeWorld) -> None:
    """Raft thesis 10.2.1: its disk and those of the followers work at the same time."""
    world = make_world()
    leader = world.elect()
    leader.writer.held = True
    answers = leader.put("key")
    world.tick(3)
    assert all(follower.live_keys() == [] for follower in world.followers())
    assert {follower.memory.last_index() for follower in world.followers()} == {leader.memory.last_index() + 1}
    assert not answers.answered
    leader.writer.complete()
    leader.writer.held = False
    world.tick_until(lambda: answers.answered)
    assert answers.revision == 2


def test_a_follower_acknowledges_only_what_is_on_its_disk(make_world: MakeWorld) -> None:
    """With both followers' disks stuck nothing commits; with one of them free it does (K01)."""
    world = make_world()
    leader = world.elect()
    one, other = world.followers()
    one.writer.held = other.writer.held = True
    answers = leader.put("key")
    world.tick(5)
    assert not answers.answered
    assert leader.core.commit_index < leader.core.last_index
    assert len(one.writer.waiting) == 1
    one.writer.held = False
    world.tick_until(lambda: answers.answered)
    assert answers.revision == 2
    assert other.live_keys() == []


def test_a_vote_is_sent_only_after_it_was_saved(make_world: MakeWorld) -> None:
    """Raft 5.2: a member that forgets its vote may vote twice in one term."""
    world = make_world()
    leader = world.elect()
    for follower in world.followers():
        follower.writer.held = True
    leader.crash()
    world.tick(60)
    assert not any(member.is_leader for member in world.followers())
    term = max(member.core.term for member in world.followers())
    assert term > 2, "nobody campaigned"
    for follower in world.followers():
        follower.writer.held = False
    assert world.elect() in world.members


def test_entries_saved_earlier_are_applied_while_the_disk_is_busy(make_world: MakeWorld) -> None:
    """A slow fsync delays the next write, not the answer to the last one."""
    world = make_world()
    leader = world.elect()
    first = leader.put("first")
    world.settle()
    world.network.tick()
    world.settle()
    world.network.tick()
    # The followers' answers are here, and the leader has not looked at them yet.
    leader.writer.held = True
    second = leader.put("second")
    world.settle()
    assert first.revision == 2
    assert not second.answered
    assert [len(save.entries) for save in leader.writer.waiting] == [1]


def test_a_candidate_asks_for_votes_only_after_its_term_was_saved(make_world: MakeWorld) -> None:
    """After a crash it would ask in the same term again, and count the votes that its lost entries had won."""
    world = make_world()
    leader = world.elect()
    world.wait_equal()
    leader.crash()
    candidate, voter = world.followers()
    voted_in = voter.core.term
    candidate.writer.held = True
    candidate.driver.process(Message(MessageType.TIMEOUT_NOW, candidate.id, leader.id, voted_in))
    for _ in range(3):
        world.settle()
        world.network.tick()
    assert candidate.core.role is Role.CANDIDATE
    assert candidate.writer.waiting
    assert voter.core.term == voted_in
    candidate.writer.held = False
    world.tick_until(lambda: voter.core.leader == candidate.id, ticks_max=6)


def test_entries_that_replace_saved_ones_are_not_applied_before_they_are_saved(make_world: MakeWorld) -> None:
    """A follower's log ends with entries that nobody agreed on; the next leader's come in their place, committed
    already. Power lost now, with them in the store, would leave a store that contradicts its log."""
    world = make_world()
    leader = world.elect()
    world.wait_equal()
    follower, other = world.followers()
    world.network.partition([follower.id], [leader.id, other.id])
    last, term = follower.core.last_index, follower.core.term

    def entries(of: Term) -> tuple[Entry, ...]:
        return tuple(Entry(of, LogIndex(last + offset), EntryType.NORMAL, b"") for offset in (1, 2, 3))

    append = Message(MessageType.APP, follower.id, leader.id, term, term, last, commit=last, entries=entries(term))
    follower.driver.process(append)
    world.settle()
    assert follower.memory.last_index() == last + 3
    follower.writer.held = True
    newer = Term(term + 1)
    follower.driver.process(
        append._replace(from_=other.id, term=newer, entries=entries(newer)[:2], commit=LogIndex(last + 2))
    )
    world.settle()
    assert len(follower.writer.waiting) == 1
    assert follower.machine.applied_index == last
    follower.writer.complete()
    world.settle()
    assert follower.machine.applied_index == last + 2


def test_a_moved_commit_index_alone_is_not_written(make_world: MakeWorld) -> None:
    """Losing it costs a question to the leader, writing it would cost an fsync for every batch."""
    world = make_world()
    leader = world.elect()
    follower = world.followers()[0]
    world.wait_equal()
    before = len(follower.writer.batches)
    leader.put("key")
    world.wait_equal()
    assert len(follower.writer.batches) == before + 1
    assert follower.live_keys() == ["key"]


def test_a_commit_index_that_moved_is_written_with_the_next_entries(make_world: MakeWorld) -> None:
    """A leader learns it from answers, between its writes. After a loss of power the log has to say, at least to the
    entry before the last, what is committed: the configuration is what committed entries made it.
    Source: etcd server/storage/wal/wal.go, Save: the state is written with every Ready, and synced with the next one.
    """
    for world in (make_world(1), make_world()):
        leader = world.elect()
        leader.put("first")
        world.wait_equal()
        committed = leader.core.commit_index
        leader.writer.held = True
        leader.put("second")
        leader.world.settle()
        (save,) = leader.writer.waiting
        assert save.hard_state is not None
        assert save.hard_state.commit == committed


def test_a_change_of_members_is_known_to_be_committed_after_a_loss_of_power(make_world: MakeWorld) -> None:
    """Who was removed is gone and gives no vote: the others must not need it, also when nothing was written since.
    Found by tests/sim, seed 6003516 of commit 4828475; etcd syncs no commit index by itself.
    """
    world = make_world(2)
    leader = world.elect()
    (other,) = (member for member in world.members if member is not leader)
    assert leader.change(ConfChangeType.REMOVE_NODE, other.id)
    world.tick_until(lambda: list(leader.core.conf_state.voters) == [leader.id])
    other.crash()
    leader.crash()
    leader.start()
    world.elect()
    assert leader.is_leader


def test_a_change_of_members_is_applied_when_the_next_one_may_come(alone: DrivenMember) -> None:
    """Whoever is answered may send the next one at once, and a core that was not told of the first refuses it."""
    learner = new_member(7)
    alone.writer.held = True
    assert alone.change(ConfChangeType.ADD_LEARNER_NODE, learner.id, learner.to_json())
    alone.world.settle()
    alone.writer.complete()
    alone.world.settle()
    (save,) = alone.writer.waiting
    assert save.entries == ()
    assert save.hard_state is not None
    assert save.hard_state.commit == alone.core.commit_index
    assert alone.recovered.members.get(learner.id) is None
    alone.writer.complete()
    assert alone.recovered.members.get(learner.id) is not None
    assert alone.change(ConfChangeType.REMOVE_NODE, learner.id)
    alone.writer.held = False
    alone.world.settle()
    assert alone.is_removed(learner.id)


def test_a_leader_that_is_removed_leads_until_the_others_know(make_world: MakeWorld) -> None:
    """It ends a second later, and its vote with it: who has not heard by then would need it for the next leader.
    Found by tests/sim, seed 7013430 of commit 4712b72. Source: etcd sets no StepDownOnRemoval.
    """
    world = make_world(2)
    leader = world.elect()
    (other,) = world.followers()
    world.wait_equal()
    assert leader.change(ConfChangeType.REMOVE_NODE, leader.id)
    world.tick_until(lambda: list(leader.core.conf_state.voters) == [other.id])
    world.network.cut(leader.id, other.id)
    world.tick(2)
    assert len(other.core.conf_state.voters) == 2
    world.network.heal()
    world.tick(6)
    assert list(other.core.conf_state.voters) == [other.id]


def test_a_restarted_member_applies_again_only_what_its_store_lost(make_world: MakeWorld) -> None:
    """The store was not committed: the log has everything (K02, K03)."""
    world = make_world(1)
    member = world.elect()
    for number in range(5):
        member.put(f"committed-{number}")
    world.settle()
    member.state.commit()
    for number in range(5):
        member.put(f"open-{number}")
    world.settle()
    revision, index = member.state.mvcc.revision, member.machine.applied_index
    member.crash()
    member.start()
    assert member.machine.applied_index < index
    world.elect()
    assert member.state.mvcc.revision == revision
    assert len(member.live_keys()) == 10


def test_a_long_backlog_leaves_room_for_other_work(make_world: MakeWorld) -> None:
    """Applying what gathered while a member was away must not keep heartbeats and clients waiting."""
    world = make_world(1)
    member = world.elect()
    for batch in range(20):
        for number in range(20):
            member.put(f"{batch}-{number}", "x" * 4096)
        world.settle()
    member.crash()
    member.start()
    world.tick_until(lambda: member.is_leader)
    longest, before = 0, len(member.live_keys())
    while world.turns.run() or member.settle():
        longest, before = max(longest, len(member.live_keys()) - before), len(member.live_keys())
    assert len(member.live_keys()) == 400
    assert longest < 400


# Members together.


def test_a_proposal_on_a_follower_is_answered_there(make_world: MakeWorld) -> None:
    """Forwarded to the leader, answered by whoever was asked, with the same revision everywhere."""
    world = make_world()
    world.elect()
    follower = world.followers()[0]
    answers = follower.put("key", "value")
    world.tick_until(lambda: answers.answered)
    assert answers.revision == 2
    world.wait_equal()
    assert {tuple(member.live_keys()) for member in world.members} == {("key",)}


def test_a_proposal_without_a_leader_waits_for_one(make_world: MakeWorld) -> None:
    """As in etcd, where Propose blocks until there is a leader, or the time is over."""
    world = make_world()
    early = world.members[0].put("early")
    world.elect()
    world.tick_until(lambda: early.answered)
    assert early.revision == 2


def test_a_proposal_without_a_quorum_ends_with_a_timeout(make_world: MakeWorld) -> None:
    """Bounded: the client hears of it after the request's time."""
    world = make_world()
    leader = world.elect()
    for follower in world.followers():
        follower.crash()
    answers = leader.put("key")
    world.tick(int(7.0 / 0.1) + 5)
    assert answers.error == TIMEOUT


def test_proposals_during_a_leader_transfer_are_taken_by_the_new_leader(make_world: MakeWorld) -> None:
    """The old leader drops them, so trying again is safe; nobody is told to come back later."""
    world = make_world()
    leader = world.elect()
    heir = world.followers()[0]
    leader.put("before")
    world.wait_equal()
    leader.driver.transfer_leader(heir.id)
    world.settle()
    answers = leader.put("meanwhile")
    world.tick_until(lambda: answers.answered)
    assert answers.error is None
    assert heir.is_leader
    assert heir.live_keys() == ["before", "meanwhile"]


def test_every_member_tells_of_the_change_of_leaders(make_world: MakeWorld) -> None:
    """Leases are extended when the new leader has applied everything before its term, not earlier."""
    world = make_world()
    first = world.elect()
    assert first.terms_began == 1
    first.crash()
    second = world.elect()
    assert second.terms_began == 1
    assert [state.role for state in second.roles if state.role is Role.LEADER] == [Role.LEADER]


# Reads.


def test_a_linearizable_read_sees_every_write_that_was_answered_before_it(make_world: MakeWorld) -> None:
    """On the leader and on followers that have not heard of the commit yet (Raft thesis 6.4)."""
    world = make_world()
    leader = world.elect()
    for round_ in range(5):
        written = leader.put(f"key-{round_}")
        world.tick_until(partial(_answered, [written]))
        reads = [(member, member.read()) for member in world.members]
        world.tick_until(partial(_answered, [answers for _, answers in reads]))
        for member, answers in reads:
            assert answers.error is None
            assert f"key-{round_}" in member.live_keys()


def test_a_read_on_a_leader_without_contact_is_never_answered_from_its_store(make_world: MakeWorld) -> None:
    """The others may have elected somebody else and moved on: it fails when the leader notices (#20418)."""
    world = make_world()
    leader = world.elect()
    world.network.partition([leader.id], [follower.id for follower in world.followers()])
    answers = leader.read()
    world.tick_until(lambda: answers.answered)
    assert answers.error == LEADER_CHANGED
    assert not leader.is_leader


def test_a_read_waits_until_the_index_is_applied(make_world: MakeWorld) -> None:
    """A follower whose disk is slow knows the index before it may apply it."""
    world = make_world()
    leader = world.elect()
    slow = world.followers()[0]
    slow.writer.held = True
    written = leader.put("key")
    world.tick_until(lambda: written.answered)
    answers = slow.read()
    world.tick(10)
    assert not answers.answered
    slow.writer.held = False
    world.tick_until(lambda: answers.answered)
    assert answers.error is None
    assert slow.live_keys() == ["key"]


# Snapshots.


@pytest.mark.slow
def test_a_member_behind_the_cut_log_becomes_the_leaders_image(make_world: MakeWorld) -> None:
    """Its own store is replaced, the log starts over, and it goes on as before, also after a restart."""
    world = make_world(snapshot_count=20, catchup_entries=5)
    leader = world.elect()
    behind = world.followers()[0]
    leader.put("old", "value")
    world.wait_equal()
    behind.crash()
    for number in range(60):
        leader.put(f"key-{number:02}")
        world.tick()
    world.tick_until(lambda: leader.memory.first_index() > behind.memory.last_index() + 1)
    behind.start()
    world.wait_equal()
    assert behind.states_replaced == 1
    assert len(behind.live_keys()) == 61
    leader.put("after", "the image")
    world.wait_equal()
    behind.crash()
    behind.start()
    world.wait_equal()
    assert len(behind.live_keys()) == 62
    assert list(behind.directory.snapshots.iterdir()) == []
    assert list(leader.directory.snapshots.iterdir()) == []


@pytest.mark.slow
def test_nothing_is_applied_or_answered_while_an_image_is_being_installed(make_world: MakeWorld) -> None:
    """The disk takes its time to check the image: the member's own reads wait, and then see all of it."""
    world = make_world(snapshot_count=20, catchup_entries=5)
    leader = world.elect()
    behind = world.followers()[0]
    world.wait_equal()
    behind.crash()
    for number in range(60):
        leader.put(f"key-{number:02}")
        world.tick()
    behind.start()
    behind.writer.held = True
    world.tick_until(lambda: any(save.snapshot for save in behind.writer.waiting))
    read = behind.read()
    world.tick(10)
    assert not read.answered
    assert behind.live_keys() == []
    behind.writer.held = False
    world.tick_until(lambda: read.answered)
    assert (read.error, len(behind.live_keys())) == (None, 60)


@pytest.mark.slow
def test_a_read_that_waits_for_what_an_image_brings_is_answered_with_it(make_world: MakeWorld) -> None:
    """Nothing need be written after the image for that."""
    world = make_world(snapshot_count=20, catchup_entries=5)
    leader = world.elect()
    behind = world.followers()[0]
    world.wait_equal()
    behind.crash()
    for number in range(60):
        leader.put(f"key-{number:02}")
        world.tick()
    behind.start()
    behind.writer.held = True
    world.tick_until(lambda: any(save.snapshot for save in behind.writer.waiting))
    read = behind.read()
    world.turns.run()
    behind.driver.reads.start_round(world.clock.monotonic())
    (context,) = behind.driver.reads._round.contexts if behind.driver.reads._round else (b"",)
    (save,) = [save for save in behind.writer.waiting if save.snapshot]
    assert save.snapshot is not None
    behind.driver.reads.confirmed(save.snapshot.metadata.index, context, behind.machine.applied_index)
    assert not read.answered
    behind.writer.held = False
    world.settle()
    assert read.answered
    assert read.error is None


@pytest.mark.slow
def test_a_crash_before_the_log_starts_over_leaves_the_member_as_it_was(make_world: MakeWorld) -> None:
    """The image has arrived, the log has not been reset: it is sent again."""
    world = make_world(snapshot_count=20, catchup_entries=5)
    leader = world.elect()
    behind = world.followers()[0]
    leader.put("old")
    world.wait_equal()
    behind.crash()
    for number in range(60):
        leader.put(f"key-{number:02}")
        world.tick()
    behind.start()
    behind.writer.held = True
    world.tick_until(lambda: any(save.snapshot for save in behind.writer.waiting))
    behind.crash()
    behind.start()
    world.wait_equal()
    assert len(behind.live_keys()) == 61


@pytest.mark.slow
def test_an_image_that_cannot_be_made_is_reported_and_tried_again(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every SNAP message gets one report; without it the member would never be sent anything again."""
    world = make_world(snapshot_count=20, catchup_entries=5)
    leader = world.elect()
    behind = world.followers()[0]
    world.wait_equal()
    behind.crash()
    for number in range(60):
        leader.put(f"key-{number:02}")
        world.tick()
    failures = iter([StorageFailed("no"), StorageFailed("no")])
    real = type(leader.state).write_snapshot

    def write(*arguments: object) -> object:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return real(*arguments)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(type(leader.state), "write_snapshot", write)
    behind.start()
    world.wait_equal()
    assert next(failures, None) is None
    assert len(behind.live_keys()) == 60


# What must never stop a member, and what must.


@pytest.mark.slow
def test_entries_of_any_bytes_are_applied_by_all_members_alike(make_world: MakeWorld) -> None:
    """One poison entry would stop every member, forever: 3.4 has two such. Configuration entries too (F-3)."""
    world = make_world()
    leader = world.elect()
    draw = random.Random(20)
    kinds = list(EntryType)
    for number in range(300):
        data = draw.randbytes(draw.randrange(0, 40)) if number % 3 else bytes([draw.randrange(256)] * 3)
        kind = kinds[draw.randrange(len(kinds))]
        entry_count = leader.core.last_index
        entry = Entry(Term(0), LogIndex(0), kind, data)
        message = Message(MessageType.PROP, to=leader.id, from_=world.followers()[0].id, entries=(entry,))
        leader.driver.process(message)
        world.tick(2)
        assert leader.core.last_index == entry_count + 1
    answers = leader.put("still", "alive")
    world.tick_until(lambda: answers.answered)
    assert answers.revision == leader.state.mvcc.revision
    world.wait_equal()
    assert [member.failures for member in world.members] == [[], [], []]
    assert len(leader.core.conf_state.voters) == 3


def test_removing_the_last_voter_is_refused_by_everybody(alone: DrivenMember) -> None:
    """etcd panics at "removed all voters", again at every start."""
    assert alone.change(ConfChangeType.REMOVE_NODE, alone.id)
    alone.world.tick(10)
    assert alone.failures == []
    answers = alone.put("still", "alive")
    alone.world.settle()
    assert answers.revision == 2


def test_a_member_can_be_added_as_a_learner_promoted_and_removed(make_world: MakeWorld) -> None:
    """Raft and the registry agree at every step, and the next change is taken."""
    world = make_world()
    leader = world.elect()
    learner = new_member(1)
    for kind, context, voters, learners in (
        (ConfChangeType.ADD_LEARNER_NODE, learner.to_json(), 3, 1),
        (ConfChangeType.REMOVE_NODE, b"", 3, 0),
    ):
        assert leader.change(kind, learner.id, context)
        world.wait_equal()
        world.tick(3)
        for member in world.members:
            assert len(member.core.conf_state.voters) == voters
            assert len(member.core.conf_state.learners) == learners
    assert leader.is_removed(learner.id)


def test_a_change_that_everybody_refuses_does_not_block_the_next_one(make_world: MakeWorld) -> None:
    """Raft allows one configuration change at a time: a refused one must count as done."""
    world = make_world()
    leader = world.elect()
    assert leader.change(ConfChangeType.REMOVE_NODE, MemberID(0xDEAD))
    world.wait_equal()
    world.tick(3)
    (refused,) = leader.changes[-1:]
    assert refused[1] is not None
    addition = new_member(1)
    assert leader.change(ConfChangeType.ADD_LEARNER_NODE, addition.id, addition.to_json())
    world.wait_equal()
    world.tick(3)
    assert leader.core.conf_state.learners == (addition.id,)


def test_a_disk_that_fails_while_applying_stops_the_member(
    alone: DrivenMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is acknowledged any more, everybody is answered, and the reason is told once (D-3)."""
    broken = StorageFailed("the disk broke")

    def apply(entry: object) -> object:
        raise broken

    monkeypatch.setattr(alone.recovered.applier, "apply", apply)
    waiting, read = alone.put("key"), alone.read()
    alone.world.settle()
    later, late_read = alone.put("later"), alone.read()
    alone.world.tick(20)
    assert alone.failures == [broken]
    assert [answers.error for answers in (waiting, later, late_read)] == [STOPPED] * 3
    assert read.answered


def test_a_log_that_lacks_what_it_acknowledged_stops_the_member_with_etcds_words(make_world: MakeWorld) -> None:
    """A member that runs on an older copy of its data must not go on as if nothing had happened (K06)."""
    world = make_world()
    leader = world.elect()
    follower = world.followers()[0]
    world.wait_equal()
    beyond = LogIndex(follower.core.last_index + 1000)
    heartbeat = Message(
        MessageType.HEARTBEAT, to=follower.id, from_=leader.id, term=Term(leader.core.term), commit=beyond
    )
    follower.driver.process(heartbeat)
    world.tick(5)
    (failure,) = follower.failures
    assert isinstance(failure, CoreCorrupt)
    assert str(failure) == (
        f"tocommit({beyond}) is out of range [lastIndex({beyond - 1000})]. "
        "Was the raft log corrupted, truncated, or lost?"
    )
    assert follower.put("key") is not None
    sent = world.network.in_flight
    follower.driver.tick()
    world.settle()
    assert world.network.in_flight == sent, "a stopped member says nothing"


def test_an_error_of_our_own_stops_the_member_instead_of_silencing_it(
    alone: DrivenMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ready that is half done would never be advanced: the member would look alive and do nothing."""

    def advance(ready: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(alone.core, "advance", advance)
    answers = alone.put("key")
    alone.world.tick(5)
    assert [type(failure) for failure in alone.failures] == [KeyError]
    assert answers.answered


def test_a_stopped_member_refuses_at_once(alone: DrivenMember) -> None:
    """Nobody waits for a timeout that cannot end otherwise."""
    alone.driver.stop()
    answers, read = alone.put("key"), alone.read()
    assert not alone.change(ConfChangeType.REMOVE_NODE, alone.id)
    alone.world.settle()
    assert (answers.error, read.error) == (STOPPED, STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_crashes_and_slow_disks_lose_nothing_that_was_answered(make_world: MakeWorld, seed: int) -> None:
    """Members crash, restart, get cut off and have stuck disks, at random: every answered write is there at its
    revision, none is there twice, and all members are equal (K01, K04)."""
    world = make_world(seed=seed, snapshot_count=30, catchup_entries=10)
    draw = random.Random(seed)
    pending: list[tuple[str, Answers]] = []
    world.elect()
    for step in range(400):
        _misfortune(world, draw)
        running = [member for member in world.members if member.running]
        if running:
            member = draw.choice(running)
            key = f"key-{step:04}"
            pending.append((key, member.put(key, "x" * draw.randrange(50))))
        world.tick()
    world.network.heal()
    for member in world.members:
        member.writer.held = False
        if not member.running:
            member.start()
    world.elect()
    world.tick(80)
    world.wait_equal()
    answered = [(key, answers.revision) for key, answers in pending if answers.error is None]
    keys = world.members[0].live_keys()
    assert len(answered) > 40
    assert len(set(keys)) == len(keys)
    assert {key for key, _ in answered} <= set(keys)
    revisions = _revisions(world.members[0])
    assert [(key, revisions[key]) for key, _ in answered] == answered
    assert all(member.failures == [] for member in world.members)


def _answered(all_answers: Sequence[Answers]) -> bool:
    return all(answers.answered for answers in all_answers)


def _misfortune(world: World, draw: random.Random) -> None:
    member = draw.choice(world.members)
    match draw.randrange(12):
        case 0 if member.running:
            member.crash()
        case 1 | 2 | 3 if not member.running:
            member.start()
        case 4:
            member.writer.held = True
        case 5 | 6:
            member.writer.held = False
        case 7:
            others = [other.id for other in world.members if other is not member]
            world.network.partition([member.id], others)
        case 8 | 9:
            world.network.heal()


def _revisions(member: DrivenMember) -> dict[str, int]:
    found = [mvccpb.KeyValue.FromString(stored) for stored in member.state.mvcc.range(b"\0", b"\0").kvs]
    assert all(one.version == 1 for one in found)
    return {one.key.decode(): one.mod_revision for one in found}
