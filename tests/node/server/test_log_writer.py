"""The raft log's writes on their thread."""

from __future__ import annotations

import asyncio
from pathlib import Path

from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.raft.types import Entry, EntryType, HardState, SnapshotMetadata
from etcdops.node.server.log_writer import ThreadedLogWriter
from etcdops.node.server.storage_thread import StorageThread
from etcdops.node.storage.raft_log import RaftLog

DEADLINE_S = 10.0


async def test_a_cut_that_comes_after_a_received_snapshot_is_dropped(tmp_path: Path) -> None:
    """The store was checkpointed while the image was being checked: the log has started over beyond that already, and
    there is nothing to cut, and no reason to end the member."""
    failures: list[BaseException] = []
    thread = StorageThread(asyncio.get_running_loop(), failures.append)
    raft_log = RaftLog.create(
        tmp_path / "wal.db",
        member_id=MemberID(1),
        cluster_id=ClusterID(1),
        hard_state=HardState(Term(1)),
        entries=[Entry(Term(1), LogIndex(index), EntryType.NORMAL, b"") for index in range(1, 21)],
    )
    writer = ThreadedLogWriter(raft_log, thread, NodeMetrics(), lambda index: tmp_path / "image")
    received = SnapshotMetadata(LogIndex(50), Term(2))
    done = asyncio.Event()
    thread.submit(lambda: raft_log.reset(received, HardState(Term(2), commit=LogIndex(50))), lambda _: None)
    writer.record_snapshot(SnapshotMetadata(LogIndex(20), Term(1)), LogIndex(15), done.set)
    async with asyncio.timeout(DEADLINE_S):
        await done.wait()
    assert thread.stop(DEADLINE_S)
    assert failures == []
    assert raft_log.snapshot == received
    raft_log.close()
