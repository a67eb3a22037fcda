"""Removing old revisions bit by bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from etcdops.ids import Revision
from etcdops.node.apply.compactor import PAUSE_S, Compactor
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.storage.hash_kv import HashKV


class Store:
    """Says what it is told to say, step by step."""

    def __init__(self, steps: list[bool | StorageFailed]) -> None:
        self._steps = deque(steps)
        self.commits = self.compacted_changes = 0
        self.compact_revision = Revision(7)
        self.compaction_hashes: list[HashKV] = []
        self.size_bytes = self.size_in_use_bytes = 4096

    @property
    def mvcc(self) -> Store:
        return self

    def compact_step(self, rows_max: int) -> bool:
        step = self._steps.popleft()
        if isinstance(step, StorageFailed):
            raise step
        self.compacted_changes += 5
        return step

    def commit(self) -> None:
        self.commits += 1


class Timers:
    def __init__(self) -> None:
        self.waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self.delays: list[float] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.waiting.append((delay_s, callback))

    def run(self) -> None:
        while self.waiting:
            delay_s, callback = self.waiting.popleft()
            self.delays.append(delay_s)
            callback()


def test_steps_have_pauses_and_the_end_is_committed() -> None:
    """C10, C05: whoever waits is called after the commit, once."""
    store, timers = Store([False, False, True]), Timers()
    compactor = Compactor(store, timers.call_later, lambda error: None)
    done: list[int] = []
    compactor.when_done(lambda: done.append(-1))
    compactor.start()
    compactor.start()
    compactor.when_done(lambda: done.append(store.commits))
    assert compactor.running
    timers.run()
    assert (done, timers.delays) == ([-1, 1], [0.0, PAUSE_S, PAUSE_S])
    assert not compactor.running
    stats = compactor.stats
    assert (stats.keys, stats.steps_ms.buckets()[-1][1], stats.runs_ms.buckets()[-1][1]) == (15, 3, 1)
    assert stats.last_at > 0


def test_a_full_disk_is_waited_for() -> None:
    """Nothing is lost: the step is tried again."""
    store, timers = Store([NoSpace("full"), True]), Timers()
    failures: list[StorageFailed] = []
    compactor = Compactor(store, timers.call_later, failures.append)
    compactor.start()
    timers.run()
    assert (failures, store.commits) == ([], 1)


def test_a_broken_disk_is_reported() -> None:
    """The member must stop."""
    broken = StorageFailed("I/O error")
    failures: list[StorageFailed] = []
    timers = Timers()
    compactor = Compactor(Store([broken]), timers.call_later, failures.append)
    compactor.start()
    timers.run()
    assert failures == [broken]


def test_a_compaction_ends_with_its_member() -> None:
    """Goal: a step that comes due after the state was closed must not be taken for a failure of the disk."""
    store, timers = Store([False, True]), Timers()
    failures: list[StorageFailed] = []
    compactor = Compactor(store, timers.call_later, failures.append)
    compactor.start()
    _, first = timers.waiting.popleft()
    first()
    compactor.stop()
    timers.run()
    assert (store.compacted_changes, store.commits, failures) == (5, 0, [])


def test_the_end_is_logged_as_by_etcd(caplog: pytest.LogCaptureFixture) -> None:
    """Operators look for this line after a compaction."""
    store, timers = Store([False, True]), Timers()
    store.compaction_hashes = [HashKV(5, Revision(3), Revision(7))]
    with caplog.at_level("INFO"):
        Compactor(store, timers.call_later, lambda error: None).start()
        timers.run()
    (line,) = caplog.records
    assert line.message == "finished scheduled compaction"
    told = vars(line)["zap_fields"]
    assert (told["compact-revision"], told["hash"], told["current-db-size-bytes"]) == (7, 5, 4096)
