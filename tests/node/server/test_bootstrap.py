"""What a member starts from when its files are not as a clean stop leaves them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.node.config import Config, load_config
from etcdops.node.member.member import Member
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.peer.codec import decode_conf_change, encode_conf_change
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
)
from etcdops.node.server.bootstrap import Boot, boot, first_entries
from etcdops.node.server.data_dir import DataDir
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore

CLUSTER = ClusterID(7)
MEMBERS = [Member(MemberID(number), (f"http://127.0.0.1:{2380 + number}",), f"m{number}") for number in (1, 2, 3)]
SURVIVOR = MEMBERS[0].id


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDir]:
    """Of member 1: its log says that 1, 2 and 3 joined; its store has seen 1 and 2 join."""
    made = DataDir.open(tmp_path / "data")
    applied = ConfState(voters=(MEMBERS[0].id, MEMBERS[1].id))
    state = StateStore.open(made.state, create=True)
    MemberRegistry(CLUSTER, state.members).bootstrap(MEMBERS[:2])
    state.keep_conf_state(applied)
    state.mark_applied(LogIndex(2), Term(1))
    state.close()
    RaftLog.create(
        made.wal,
        member_id=SURVIVOR,
        cluster_id=CLUSTER,
        hard_state=HardState(Term(1), commit=LogIndex(3)),
        entries=first_entries(MEMBERS),
    ).close()
    yield made
    made.close()


def _close(started: Boot) -> None:
    started.raft_log.close()
    started.state.close()


def _config(directory: DataDir, *flags: str) -> Config:
    return load_config(["--data-dir", str(directory.root), *flags], {})


async def test_a_forced_new_cluster_has_nobody_else_in_it(directory: DataDir) -> None:
    """Nor a member whose addition is committed, but not applied here: it would be half of the quorum, and absent.

    Source: etcd server/etcdserver/raft.go, getIDs.
    """
    started = await boot(_config(directory, "--force-new-cluster"), directory)
    appended = started.memory.entries(LogIndex(4), LogIndex(started.memory.last_index() + 1), size_max_bytes=1 << 20)
    changes = [decode_conf_change(entry.type, entry.data).change.changes[0] for entry in appended]
    assert {(change.type, change.node_id) for change in changes} == {
        (ConfChangeType.REMOVE_NODE, MEMBERS[1].id),
        (ConfChangeType.REMOVE_NODE, MEMBERS[2].id),
    }
    _close(started)


async def test_a_new_cluster_can_be_forced_again_after_a_crash(directory: DataDir) -> None:
    """Before anything was applied: the removals are in the log already, and asking for them again changes nothing."""
    _close(await boot(_config(directory, "--force-new-cluster"), directory))
    started = await boot(_config(directory), directory)
    assert (started.memory.initial_state()[0].commit, started.memory.last_index()) == (5, 5)
    _close(started)
    _close(await boot(_config(directory, "--force-new-cluster"), directory))


async def test_forcing_a_new_cluster_again_keeps_what_the_first_one_acknowledged(directory: DataDir) -> None:
    """A survivor alone in its cluster commits what it has written; that it is committed it notes later, unsynced."""
    _close(await boot(_config(directory, "--force-new-cluster"), directory))
    raft_log = RaftLog.open(directory.wal)
    written = [Entry(Term(2), LogIndex(index), EntryType.NORMAL, b"acknowledged") for index in (6, 7)]
    raft_log.append(HardState(Term(2), SURVIVOR, LogIndex(5)), written, sync=True)
    raft_log.close()
    started = await boot(_config(directory, "--force-new-cluster"), directory)
    assert started.memory.entries(LogIndex(6), LogIndex(8), size_max_bytes=1 << 20) == written
    assert started.memory.initial_state()[0].commit >= 7
    _close(started)


async def test_forcing_a_new_cluster_discards_what_needed_a_second_voter(directory: DataDir) -> None:
    """Source: etcd server/etcdserver/bootstrap.go, bootstrapRawNodeFromWAL: uncommitted entries are discarded."""
    _close(await boot(_config(directory, "--force-new-cluster"), directory))
    raft_log = RaftLog.open(directory.wal)
    joins = encode_conf_change(0, ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, MemberID(9)),)))
    written = [
        Entry(Term(2), LogIndex(6), EntryType.CONF_CHANGE, joins),
        Entry(Term(2), LogIndex(7), EntryType.NORMAL, b"whether the second voter has it, who knows"),
    ]
    raft_log.append(HardState(Term(2), SURVIVOR, LogIndex(5)), written, sync=True)
    raft_log.close()
    started = await boot(_config(directory, "--force-new-cluster"), directory)
    kept = started.memory.entries(LogIndex(6), LogIndex(started.memory.last_index() + 1), size_max_bytes=1 << 20)
    assert [entry.data for entry in kept[:1]] == [joins]
    assert b"whether the second voter has it, who knows" not in [entry.data for entry in kept]
    gone = [decode_conf_change(entry.type, entry.data).change.changes[0] for entry in kept[1:]]
    assert MemberID(9) in {change.node_id for change in gone if change.type is ConfChangeType.REMOVE_NODE}
    _close(started)


async def test_a_learner_can_be_the_survivor(directory: DataDir) -> None:
    """It becomes a voter before the others go: raft and the member list refuse to be without any."""
    state = StateStore.open(directory.state, create=False)
    learner = dataclasses.replace(MEMBERS[0], is_learner=True)
    MemberRegistry(CLUSTER, state.members).bootstrap([learner, MEMBERS[1]])
    state.keep_conf_state(ConfState(voters=(MEMBERS[1].id,), learners=(SURVIVOR,)))
    state.close()
    started = await boot(_config(directory, "--force-new-cluster"), directory)
    registry = MemberRegistry(CLUSTER, started.state.members)
    registry.recover(started.state.members)
    entries = started.memory.entries(LogIndex(3), LogIndex(started.memory.last_index() + 1), size_max_bytes=1 << 20)
    refused = [registry.apply(decode_conf_change(entry.type, entry.data).change) for entry in entries]
    assert refused == [None] * 4
    assert [member.id for member in registry.voters()] == [SURVIVOR]
    assert registry.learners() == []
    _close(started)
