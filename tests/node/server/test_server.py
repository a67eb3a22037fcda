"""One member in this process, without others: what becomes of it when its disk fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.ids import LeaseID, LogIndex, Revision, Term
from etcdops.node.api.errors import TOO_MANY_REQUESTS
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_PUT
from etcdops.node.config import load_config
from etcdops.node.server import server as server_module
from etcdops.node.server.bootstrap import boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.server import Server
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.reading import Event
from etcdops.node.storage.state import StateStore
from etcdops.node.watch.watcher import Watcher
from etcdops.proto import etcdserverpb_pb2 as pb

DEADLINE_S = 10.0


class Stream:
    """A watch stream that takes everything."""

    writable = True

    def deliver(self, watcher: Watcher, revision: Revision, events: Sequence[Event]) -> None:
        """Nobody looks at it."""

    def compacted(self, watcher: Watcher, compact_revision: Revision) -> None:
        """It is not."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Never started: no ticks, no sockets."""
    config = load_config(["--data-dir", str(tmp_path / "data")], {})
    directory = DataDir.open(tmp_path / "data")
    made = Server(config, directory, await boot(config, directory), SystemClock())
    yield made
    await made.stop()


async def test_a_member_that_failed_commits_nothing_more(server: Server) -> None:
    """An entry may be half applied: committed, it would be applied again on top of itself after the restart."""
    server.state.mvcc.begin().put(b"half", b"", LeaseID(0))
    server.state.mark_applied(LogIndex(1), Term(1))
    server.failed(StorageFailed("a page could not be read"))
    server._tick(0.0)
    assert server._tick_timer is not None
    with pytest.raises(StorageFailed, match="nothing is committed any more"):
        server.state.commit()
    await server.stop()
    state = StateStore.open(server.state.path, create=False)
    assert (state.consistent_index, state.mvcc.revision) == (0, 1)
    state.close()


async def test_a_compaction_under_way_is_no_failure_of_a_member_that_stops(server: Server) -> None:
    """Goal: what it still had to do waits for the next start (found by a simulated cluster)."""
    loop = asyncio.get_running_loop()
    for revision in range(3):
        txn = server.state.mvcc.begin()
        txn.put(b"key", b"%d" % revision, LeaseID(0))
        txn.end()
    server.state.mvcc.compact(Revision(3))
    server.applier.compactor.start()
    await server.stop()
    after = loop.create_future()
    loop.call_later(0.0, after.set_result, None)
    await after
    assert server.ending is None


async def test_a_member_that_cannot_read_what_watchers_miss_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are served from the loop, where nobody waits for the answer: silence would be a lost event."""
    broken = StorageFailed("a page could not be read")

    def events(low: Revision, high: Revision, *, limit: int) -> list[Event]:
        raise broken

    monkeypatch.setattr(server.state.mvcc, "events", events)
    server.hub.add(Watcher(Stream(), 0, b"key", b""), Revision(1))
    async with asyncio.timeout(DEADLINE_S):
        ending = await server.wait_ended()
    assert ending.error is broken


async def test_proposals_that_wait_are_bounded_in_bytes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a leader they wait for one: as many of the largest size as may wait would be 30 GB."""
    monkeypatch.setattr(server_module, "WAITING_BYTES_MAX", 100)
    answers: list[Outcome] = []
    request = pb.PutRequest(key=b"k", value=bytes(60)).SerializeToString()
    for _ in range(3):
        server.propose(FIELD_PUT, request, answers.append)
    assert [answer.error for answer in answers] == [TOO_MANY_REQUESTS]


async def test_proposals_are_refused_while_applying_is_far_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X14, E23: more than 5,000 entries are committed and not applied. Source: etcd v3_server.go, maxGapBetween..."""
    assert server_module.APPLY_GAP_MAX == 5_000
    gap = server.commit_index - server.applied_index
    answers: list[Outcome] = []
    for allowed in (gap, gap - 1):
        monkeypatch.setattr(server_module, "APPLY_GAP_MAX", allowed)
        server.propose(FIELD_PUT, pb.PutRequest(key=b"k").SerializeToString(), answers.append)
    assert [answer.error for answer in answers] == [TOO_MANY_REQUESTS]


async def test_reads_and_proposals_that_failed_are_counted(server: Server) -> None:
    """etcd_server_proposals_failed_total and ..._slow_read_indexes_total, which alerts look at."""
    server.linearize(lambda error: None)
    server.propose(FIELD_PUT, b"", lambda outcome: None)
    server._driver.reads.start_round(0.0)
    server._driver.proposals.expire(1e9, lambda _: TOO_MANY_REQUESTS)
    server._driver.reads.tick(1e9)
    server._do_what_is_due()
    metrics = server.metrics
    assert (metrics.proposals_failed, metrics.slow_read_indexes, metrics.read_indexes_failed) == (1, 1, 0)
