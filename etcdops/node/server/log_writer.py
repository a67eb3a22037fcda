"""The raft log's durable writes, on the storage thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.ids import LogIndex
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.raft.types import Entry, HardState, Snapshot, SnapshotMetadata
from etcdops.node.server.storage_thread import StorageThread
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.snapshot_copy import verify
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

SLOW_FSYNC_S = 1.0
"""Source: etcd server/storage/wal/wal.go, warnSyncDuration."""


class SnapshotDamaged(EtcdopsError):
    """A database image from another member is not what its message says."""

    code = "snapshot-damaged"


class ThreadedLogWriter:
    """Implements driver.LogWriter. Every job's time is an fsync's time: it feeds
    etcd_disk_wal_fsync_duration_seconds.
    """

    def __init__(
        self,
        raft_log: RaftLog,
        thread: StorageThread,
        metrics: NodeMetrics,
        image_path: Callable[[LogIndex], Path],
        *,
        sync: bool = True,
    ) -> None:
        """Args: image_path says where the image of a snapshot at an index was received; sync False is
        `--unsafe-no-fsync`."""
        self._raft_log = raft_log
        self._thread = thread
        self._metrics = metrics
        self._image_path = image_path
        self._sync = sync

    def append(self, hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]) -> None:
        def job() -> tuple[float, int]:
            started = time.perf_counter()
            self._raft_log.append(hard_state, entries, sync=self._sync)
            return time.perf_counter() - started, self._raft_log.written_bytes

        def finished(found: tuple[float, int]) -> None:
            took_s, self._metrics.wal_written_bytes = found
            self._metrics.wal_fsync_s.observe(took_s)
            if took_s > SLOW_FSYNC_S:
                log.warning(
                    "slow fdatasync", extra=fields(took=f"{took_s:.3f}s", expected_duration=f"{SLOW_FSYNC_S:g}s")
                )
            done()

        self._thread.submit(job, finished)

    def install(self, snapshot: Snapshot, hard_state: HardState, done: Callable[[], None]) -> None:
        metadata = snapshot.metadata
        path = self._image_path(metadata.index)

        def job() -> None:
            found = verify(path)
            if found.consistent_index != metadata.index:
                raise SnapshotDamaged(
                    f"the received image {path} holds index {found.consistent_index}, not {metadata.index}",
                    hint="start this member again: the leader sends another snapshot",
                )
            self._raft_log.reset(metadata, hard_state)

        self._thread.submit(job, lambda _: done())

    def record_snapshot(self, metadata: SnapshotMetadata, keep_after: LogIndex, done: Callable[[], None]) -> None:
        """The store is safe up to `metadata`: drop the log's entries up to and including `keep_after`.

        Nothing to do when the log started over at a received snapshot since that was found out.
        """

        def job() -> float:
            started = time.perf_counter()
            if self._raft_log.snapshot.index <= metadata.index:
                self._raft_log.record_snapshot(metadata, keep_entries_after=keep_after)
            return time.perf_counter() - started

        def finished(took_s: float) -> None:
            self._metrics.snapshot_recorded_s.observe(took_s)
            done()

        self._thread.submit(job, finished)
