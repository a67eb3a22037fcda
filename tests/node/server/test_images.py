"""Images and cuts: the raft log gives up an entry only when the store that contains it survives a loss of power."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from etcdops.ids import LogIndex
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.types import SnapshotMetadata
from etcdops.node.server.images import CHECKPOINT_EVERY_S, CUT_PAUSE_S, RETRY_S
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.storage.state import StateStore
from tests.fakes.disk import Disk, faulty_disk
from tests.node.server.world import TICK_S, DrivenMember, World

COUNT = 20


@pytest.fixture
def member(tmp_path: Path) -> Iterator[DrivenMember]:
    """The leader of a cluster of one whose log is due for a cut after 20 entries and keeps 5."""
    world = World(tmp_path, 1, snapshot_count=COUNT, catchup_entries=5)
    yield world.elect()
    world.close()


@pytest.fixture
def disk() -> Iterator[Disk]:
    with faulty_disk() as faulty:
        yield faulty


def _write(member: DrivenMember, count: int) -> None:
    for number in range(count):
        member.put(f"key-{number}")
    member.world.settle()


def test_the_log_is_cut_only_behind_a_checkpoint(member: DrivenMember) -> None:
    """While it is under way nothing is dropped, however much is applied."""
    member.background.held = True
    _write(member, 2 * COUNT)
    member.world.tick(3)
    assert len(member.background.waiting) == 1
    assert (member.writer.cuts, member.memory.first_index()) == ([], 1)
    applied_then = member.machine.applied_index
    _write(member, 5)
    member.background.complete()
    member.world.settle()
    assert member.writer.cuts == [applied_then - 5]
    assert member.memory.first_index() == applied_then - 4
    assert member.memory.snapshot().metadata.index == applied_then


def test_received_images_that_came_too_late_go_with_the_next_cut(member: DrivenMember) -> None:
    """Raft ignored them: without this each would stay, as large as the store, until the next start."""
    late, next_one = (received_path(member.directory.snapshots, LogIndex(index)) for index in (7, 5000))
    for path in (late, next_one):
        path.write_bytes(b"image")
    _write(member, 2 * COUNT)
    member.world.tick(3)
    assert member.writer.cuts != []
    assert [path.exists() for path in (late, next_one)] == [False, True]


def test_entries_that_followers_may_still_need_stay(member: DrivenMember) -> None:
    """And a cluster that writes little keeps its whole log."""
    _write(member, COUNT - 5)
    member.world.tick(3)
    assert member.writer.cuts == []
    _write(member, 2 * COUNT)
    member.world.tick(3)
    assert member.memory.last_index() - member.memory.first_index() >= 4


def test_the_store_is_synced_by_the_clock_too(member: DrivenMember, monkeypatch: pytest.MonkeyPatch) -> None:
    """It bounds what a restart after a loss of power applies again. The log stays as it is."""
    synced: list[LogIndex] = []
    checkpoint = StateStore.checkpoint

    def noted(self: StateStore) -> LogIndex:
        synced.append(checkpoint(self))
        return synced[-1]

    monkeypatch.setattr(StateStore, "checkpoint", noted)
    _write(member, 3)
    member.world.tick(int(CHECKPOINT_EVERY_S / TICK_S) + 2)
    assert synced == [member.machine.applied_index]
    assert member.writer.cuts == []


def test_a_checkpoint_that_covers_less_than_was_applied_cuts_nothing(
    member: DrivenMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is what the disk has, not what was asked for."""
    monkeypatch.setattr(StateStore, "checkpoint", lambda self: LogIndex(3))
    _write(member, 2 * COUNT)
    member.world.tick(30)
    assert member.writer.cuts == []


def test_a_full_disk_delays_the_cut(member: DrivenMember, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, only longer; it is tried again, not in every tick."""
    calls: list[float] = []
    checkpoint = StateStore.checkpoint

    def full(self: StateStore) -> LogIndex:
        calls.append(member.world.clock.monotonic())
        raise NoSpace("full")

    monkeypatch.setattr(StateStore, "checkpoint", full)
    _write(member, 2 * COUNT)
    member.world.tick(35)
    assert member.writer.cuts == []
    assert member.storage_failures == []
    assert 3 <= len(calls) <= 4
    assert all(later - earlier >= RETRY_S for earlier, later in pairwise(calls))
    monkeypatch.setattr(StateStore, "checkpoint", checkpoint)
    member.world.tick(15)
    assert len(member.writer.cuts) == 1


def test_a_commit_that_finds_no_room_delays_the_cut_too(member: DrivenMember, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction stays open; the tick that hit it goes on."""
    commit = StateStore.commit

    def full(self: StateStore) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(StateStore, "commit", full)
    _write(member, 2 * COUNT)
    member.world.tick(15)
    assert (member.writer.cuts, member.failures) == ([], [])
    monkeypatch.setattr(StateStore, "commit", commit)
    member.world.tick(15)
    assert len(member.writer.cuts) == 1


def test_a_checkpoint_that_failed_ends_the_member(member: DrivenMember, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync nothing is known about what is on the disk (D-3)."""
    broken = StorageFailed("fsync failed")

    def fail(self: StateStore) -> LogIndex:
        raise broken

    monkeypatch.setattr(StateStore, "checkpoint", fail)
    _write(member, 2 * COUNT)
    member.world.tick(2)
    assert member.storage_failures == [broken]
    assert member.writer.cuts == []


@pytest.mark.slow
def test_the_log_is_not_cut_while_a_member_gets_an_image_and_a_while_after(tmp_path: Path) -> None:
    """It needs the entries that follow its image; cut, it would need one image after the other."""
    world = World(tmp_path, 3, snapshot_count=COUNT, catchup_entries=5)
    leader = world.elect()
    behind = world.followers()[0]
    world.wait_equal()
    behind.crash()
    for _ in range(3 * COUNT):
        leader.put("key")
        world.tick()
    world.tick(3)
    leader.background.held = True
    behind.start()
    world.tick_until(lambda: leader.background.waiting)
    cuts = len(leader.writer.cuts)
    for _ in range(2 * COUNT):
        leader.put("key")
        world.tick()
    leader.background.held = False
    world.tick_until(lambda: behind.states_replaced)
    for _ in range(int(CUT_PAUSE_S / TICK_S) - 50):
        leader.put("key")
        world.tick()
    assert len(leader.writer.cuts) == cuts
    assert behind.states_replaced == 1
    world.tick(60)
    assert len(leader.writer.cuts) == cuts + 1
    world.wait_equal()
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_cut_survives_a_loss_of_power(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """At every cut: a store made of nothing but what was synced has applied all that the log gives up (D-2)."""
    draw = random.Random(seed)
    world = World(tmp_path / "cluster", 1, seed=seed, snapshot_count=COUNT, catchup_entries=5)
    member = world.elect()
    checked = 0
    record = member.writer.record_snapshot

    def checking(metadata: SnapshotMetadata, keep_after: LogIndex, done: Callable[[], None]) -> None:
        nonlocal checked
        checked += 1
        found = tmp_path / f"after-power-loss-{checked}"
        disk.power_off(member.directory.member, found)
        store = StateStore.open(found / "state.db", create=False)
        assert store.consistent_index >= metadata.index > keep_after
        store.close()
        record(metadata, keep_after, done)

    monkeypatch.setattr(member.writer, "record_snapshot", checking)
    for _ in range(150):
        for _ in range(draw.randrange(6)):
            member.put(f"key-{draw.randrange(30)}", "x" * draw.randrange(2000))
        if draw.randrange(3) == 0:
            member.state.commit()
        member.background.held = draw.randrange(3) == 0
        world.tick()
    assert checked >= 5
    world.close()
