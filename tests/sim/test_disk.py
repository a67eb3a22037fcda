"""The simulated disk itself, and what the storage layer must do about a real one like it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from etcdops.files import sync_folder
from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.node.raft.types import Entry, EntryType
from etcdops.node.storage.raft_log import RaftLog
from etcdops.snapshot.checksum import sync
from tests.sim.disk import Disks, PowerLost, SimDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SimDisk]:
    disks = Disks()
    root = tmp_path / "m0"
    root.mkdir()
    try:
        yield disks.add(root)
    finally:
        disks.remove()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        sync(file)


def _cut(disk: SimDisk, lose: str = "all") -> None:
    disk.cut_power(random.Random(1), lose=lose)


def test_a_log_that_was_read_after_a_kill_survives_a_loss_of_power(disk: SimDisk) -> None:
    """Goal: raft counts on what it has read; a killed process may have left it in the page cache only."""
    path = disk.root / "wal.db"
    log = RaftLog.create(path, member_id=MemberID(1), cluster_id=ClusterID(2))
    log.append(None, [Entry(Term(1), LogIndex(1), EntryType.NORMAL, b"first")], sync=True)
    log.append(None, [Entry(Term(1), LogIndex(2), EntryType.NORMAL, b"unsynced")], sync=False)
    log._connection.close(True)  # killed before the fsync
    _cut(disk, "nothing")

    read = RaftLog.open(path)
    assert read.last_index == 2
    disk.dead = True
    with pytest.raises(PowerLost):
        disk.operation()
    read._connection.close(True)
    _cut(disk)

    assert RaftLog.open(path).last_index == 2


def test_names_are_lost_until_their_folder_is_synced(disk: SimDisk) -> None:
    """Source: rename(2) and fsync(2): the directory's entry needs an fsync of its own."""
    old, new = disk.root / "file", disk.root / "file.new"
    _write(old, b"old")
    sync_folder(disk.root)
    _write(new, b"new")
    new.replace(old)
    _cut(disk)
    assert old.read_bytes() == b"old"
    assert not new.exists()

    _write(new, b"new")
    new.replace(old)
    sync_folder(disk.root)
    old.unlink()
    _cut(disk)
    assert old.read_bytes() == b"new"


def test_content_that_was_not_synced_is_lost_under_a_name_that_was(disk: SimDisk) -> None:
    """Source: the zero-length files of ext4 after a crash: replace without fsync."""
    path = disk.root / "file"
    path.write_bytes(b"x" * 4096)
    sync_folder(disk.root)
    _cut(disk)
    assert path.stat().st_size < 4096


def test_content_that_was_not_synced_is_lost_also_when_sqlite_has_read_it(disk: SimDisk) -> None:
    """Goal: an image that was received without an fsync does not become durable by being opened."""
    path = disk.root / "image.db"
    with apsw.Connection(os.fspath(disk.root / "made.db")) as made:
        made.execute("CREATE TABLE t (x)")
    path.write_bytes((disk.root / "made.db").read_bytes())
    sync_folder(disk.root)
    reader = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)
    list(reader.execute("SELECT * FROM t"))
    reader.close()
    _cut(disk)
    assert path.stat().st_size == 0


def test_what_was_done_to_a_lost_file_is_lost_with_it_or_keeps_it(disk: SimDisk) -> None:
    """Goal: whatever is lost, the names fit together: a file is under its old name or its new one."""
    for seed in range(30):
        first, second = disk.root / f"a{seed}", disk.root / f"b{seed}"
        _write(first, b"1")
        os.replace(first, second)
        disk.cut_power(random.Random(seed), lose="some")
        assert first.exists() + second.exists() <= 1
