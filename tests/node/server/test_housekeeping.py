"""What a member does by the clock, and what it does when that fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etcdops.ids import Revision
from etcdops.node.api.errors import COMPACTED, TIMEOUT, EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_COMPACTION
from etcdops.node.server.auto_compaction import PeriodicCompactor
from etcdops.node.server.housekeeping import COMMIT_EVERY_S, COMMIT_STATEMENTS_MAX, VERSIONS_EVERY_S, Housekeeping
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.proto import etcdserverpb_pb2 as pb


class _Store:
    """A store that commits, or does not."""

    def __init__(self) -> None:
        self.pending = 0
        self.commits = 0
        self.failure: StorageFailed | None = None

    def commit(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.commits += 1
        self.pending = 0


class _Member:
    """Housekeeping with everything it asks for."""

    def __init__(self, compactor: PeriodicCompactor | None = None) -> None:
        self.store = _Store()
        self.now = 0.0
        self.leading = False
        self.cluster_version_known = True
        self.revision = Revision(1)
        self.versions_asked = 0
        self.failures: list[BaseException] = []
        self.compactions: list[tuple[int, Callable[[Outcome], None]]] = []
        self.housekeeping = Housekeeping(
            store=lambda: self.store,
            propose=self._propose,
            revision=lambda: self.revision,
            is_leading=lambda: self.leading,
            ask_versions=self._ask_versions,
            cluster_version_known=lambda: self.cluster_version_known,
            compactor=compactor,
            storage_failed=self.failures.append,
            metrics=NodeMetrics(),
            monotonic=lambda: self.now,
        )

    def _propose(self, field: int, request: bytes, done: Callable[[Outcome], None]) -> None:
        assert field == FIELD_COMPACTION
        self.compactions.append((pb.CompactionRequest.FromString(request).revision, done))

    def _ask_versions(self) -> None:
        self.versions_asked += 1

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.housekeeping.tick(self.now)


@pytest.fixture
def member() -> _Member:
    return _Member()


def test_what_was_written_is_committed_ten_times_a_second(member: _Member) -> None:
    """Not more often, and not when nothing was written."""
    for _ in range(20):
        member.tick(COMMIT_EVERY_S / 4)
    assert member.store.commits == 0
    for _ in range(20):
        member.store.pending += 1
        member.tick(COMMIT_EVERY_S / 4)
    assert 5 <= member.store.commits <= 6


def test_a_large_batch_is_committed_at_once(member: _Member) -> None:
    """The open transaction is held in memory."""
    member.store.pending = 1
    member.tick(0.01)
    member.store.pending = COMMIT_STATEMENTS_MAX
    member.tick(0.001)
    assert member.store.commits == 2


def test_a_full_disk_is_tried_again_and_a_broken_one_ends_the_member(member: _Member) -> None:
    """What is not committed stays in the open transaction, and in the raft log."""
    member.store.pending = 5
    member.store.failure = NoSpace("full", hint="free some")
    for _ in range(10):
        member.tick(COMMIT_EVERY_S)
    assert (member.failures, member.store.pending) == ([], 5)
    member.store.failure = None
    member.tick(COMMIT_EVERY_S)
    assert member.store.commits == 1
    member.store.pending = 1
    member.store.failure = broken = StorageFailed("broken")
    member.tick(COMMIT_EVERY_S)
    assert member.failures == [broken]


def test_only_the_leader_asks_the_others_for_their_versions(member: _Member) -> None:
    """Every five seconds; at every tick as long as the cluster has none."""
    for _ in range(100):
        member.tick(VERSIONS_EVERY_S / 10)
    assert member.versions_asked == 0
    member.leading = True
    for _ in range(100):
        member.tick(VERSIONS_EVERY_S / 10)
    assert 9 <= member.versions_asked <= 11
    member.cluster_version_known = False
    before = member.versions_asked
    for _ in range(10):
        member.tick(0.1)
    assert member.versions_asked == before + 10


@pytest.mark.parametrize(
    ("error", "again"), [(None, False), (COMPACTED, False), (TIMEOUT, True)], ids=["done", "by-others", "failed"]
)
def test_automatic_compaction_waits_for_its_answer(error: EtcdError | None, again: bool) -> None:
    """One at a time; "already compacted" counts as done, a failure is tried again soon."""
    member = _Member(PeriodicCompactor(100.0, 0.0))
    member.leading = True
    member.revision = Revision(50)
    for _ in range(30):
        member.tick(5.0)
    assert [revision for revision, _ in member.compactions] == [50]
    member.compactions[0][1](Outcome(error=error))
    member.revision = Revision(80)
    for _ in range(6):
        member.tick(5.0)
    assert (len(member.compactions) == 2) is again
