"""Every file of a data directory may be read by its owner only, whoever made it under whatever umask.

Source: etcd client/pkg/fileutil, PrivateFileMode and PrivateDirMode; CVE-2020-15113.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import apsw
import pytest

from etcdops.ids import ClusterID, LeaseID, LogIndex, MemberID, Term
from etcdops.node.server.data_dir import DataDir
from etcdops.node.storage import snapshot_copy
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.snapshot.checksum import append_checksum
from etcdops.snapshot.sqlite_restore import InitialMember, restore_node


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _modes(folder: Path) -> dict[str, str]:
    shown = {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode)) for path in [folder, *folder.rglob("*")]
    }
    return {name: mode for name, mode in shown.items() if mode != ("0o700" if (folder / name).is_dir() else "0o600")}


def _filled(directory: DataDir) -> StateStore:
    state = StateStore.open(directory.state, create=True)
    txn = state.mvcc.begin()
    txn.put(b"key", b"secret", LeaseID(0))
    txn.end()
    state.mark_applied(LogIndex(1), Term(1))
    state.commit()
    return state


def test_the_files_of_a_running_member_are_private(tmp_path: Path) -> None:
    """Also SQLite's own beside the two databases, and an image that is on its way out."""
    directory = DataDir.open(tmp_path / "data")
    state = _filled(directory)
    log = RaftLog.create(directory.wal, member_id=MemberID(1), cluster_id=ClusterID(2))
    state.write_snapshot(directory.snapshots / "image.db")
    assert {path.name for path in directory.member.iterdir()} >= {"state.db-wal", "state.db-shm", "wal.db-wal"}
    assert _modes(directory.root) == {}
    log.close()
    state.close()
    directory.close()


def test_the_copy_of_a_defragmentation_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there for as long as that takes, with everything in it."""
    directory = DataDir.open(tmp_path / "data")
    state = _filled(directory)
    seen: list[dict[str, str]] = []

    def looked(_: apsw.Connection) -> AbstractContextManager[None]:
        seen.append(_modes(directory.root))
        return nullcontext()

    monkeypatch.setattr(snapshot_copy, "no_waiting", looked)
    state.defragment()
    assert seen == [{}]
    state.close()
    directory.close()


def test_a_restored_data_directory_is_private(tmp_path: Path) -> None:
    """Both databases, and the raft log's `-wal`."""
    directory = DataDir.open(tmp_path / "data")
    state = _filled(directory)
    state.write_snapshot(tmp_path / "snapshot.db")
    state.close()
    directory.close()
    append_checksum(tmp_path / "snapshot.db")
    restore_node(
        tmp_path / "snapshot.db",
        tmp_path / "restored",
        name="m1",
        members=[InitialMember("m1", ("http://127.0.0.1:1",))],
        token="token",
    )
    assert (tmp_path / "restored" / "member" / "wal.db-wal").exists()
    assert _modes(tmp_path / "restored") == {}
