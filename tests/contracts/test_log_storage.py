"""Every Raft log passes the checks of log_storage.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from etcdops.ids import ClusterID, LogIndex, MemberID
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.storage import Compacted, SnapshotOutOfDate
from etcdops.node.raft.types import ConfState, Entry, HardState, Snapshot, SnapshotMetadata
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.stored_log import StoredLog
from tests.contracts.log_storage import CHECKS, Check, Opened, WritableLog


class OpenedMemoryLog:
    """A log in memory."""

    def __init__(self, _folder: Path) -> None:
        self.log: WritableLog = MemoryLog()

    def reopened(self) -> WritableLog:
        """Memory has nothing to open again."""
        return self.log


class WritableStoredLog(StoredLog):
    """The SQLite log with the writes of the one in memory."""

    def __init__(self, raft_log: RaftLog) -> None:
        super().__init__(raft_log)
        self.raft_log = raft_log

    def append(self, entries: Sequence[Entry]) -> None:
        self.raft_log.append(None, entries, sync=True)

    def set_hard_state(self, hard_state: HardState) -> None:
        self.raft_log.append(hard_state, [], sync=True)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        if snapshot.metadata.index <= self.raft_log.snapshot.index:
            raise SnapshotOutOfDate
        self.raft_log.reset(snapshot.metadata, self.raft_log.hard_state)

    def create_snapshot(self, index: LogIndex, conf_state: ConfState | None, data: bytes) -> Snapshot:
        if index <= self.raft_log.snapshot.index:
            raise SnapshotOutOfDate
        kept = conf_state if conf_state is not None else self.raft_log.snapshot.conf_state
        metadata = SnapshotMetadata(index, self.term(index), kept)
        self.raft_log.record_snapshot(metadata, keep_entries_after=LogIndex(0))
        return Snapshot(metadata, data)

    def compact(self, index: LogIndex) -> None:
        if index < self.first_index():
            raise Compacted
        self.raft_log.record_snapshot(self.raft_log.snapshot, keep_entries_after=index)


class OpenedStoredLog:
    """A log on disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "wal.db"
        self._log = WritableStoredLog(RaftLog.create(self._path, member_id=MemberID(1), cluster_id=ClusterID(2)))
        self.log: WritableLog = self._log

    def reopened(self) -> WritableLog:
        """Through the disk."""
        self._log.raft_log.close()
        self._log = WritableStoredLog(RaftLog.open(self._path))
        self.log = self._log
        return self.log


# One factory for each implementation; it gets an empty folder.
IMPLEMENTATIONS: dict[str, Callable[[Path], Opened]] = {
    "memory": OpenedMemoryLog,
    "sqlite": OpenedStoredLog,
}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    return IMPLEMENTATIONS[request.param](tmp_path)


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_log(check: Check, opened: Opened) -> None:
    """Source: etcd-io/raft storage.go, Storage and MemoryStorage."""
    check(opened)
