"""The physical half of a compaction: removing old revisions in small steps, with room for everybody else between.

The logical half (reads below the revision fail) is part of applying the entry. An interrupted run goes on at the next
start, and does not change any answer while it lasts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter, time
from typing import Protocol

from etcdops.ids import Revision
from etcdops.node.histogram import Histogram, exponential
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.storage.hash_kv import HashKV
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

ROWS_PER_STEP = 1000
PAUSE_S = 0.01
"""Source: etcd server/mvcc/kvstore.go, defaultCompactBatchLimit and defaultCompactSleepInterval."""

FULL_DISK_PAUSE_S = 1.0

CallLater = Callable[[float, Callable[[], None]], object]
"""The loop's timer: run a function after some seconds."""


@dataclass(slots=True)
class CompactionStats:
    """What compactions have done since the start."""

    keys: int = 0
    """Old revisions that were removed."""
    last_at: float = 0.0
    """Unix seconds of the end of the last one; 0 = none yet."""
    steps_ms: Histogram = field(default_factory=lambda: exponential(1.0, 13))
    """How long everybody else had to wait each time."""
    runs_ms: Histogram = field(default_factory=lambda: exponential(100.0, 14))


class CompactingMvcc(Protocol):
    @property
    def compact_revision(self) -> Revision: ...
    @property
    def compacted_changes(self) -> int: ...
    @property
    def compaction_hashes(self) -> list[HashKV]: ...
    def compact_step(self, rows_max: int) -> bool: ...


class CompactingState(Protocol):
    """What is needed from the state: steps of a compaction, and a commit that makes its end permanent."""

    @property
    def mvcc(self) -> CompactingMvcc: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def size_in_use_bytes(self) -> int: ...
    def commit(self) -> None: ...


class Compactor:
    """Runs the steps of whatever compaction is scheduled."""

    def __init__(
        self, state: CompactingState, call_later: CallLater, on_failure: Callable[[StorageFailed], None]
    ) -> None:
        """`on_failure` hears of a broken disk, once; the member must stop. A full one is waited for."""
        self._state = state
        self._call_later = call_later
        self._on_failure = on_failure
        self.rows_per_step = ROWS_PER_STEP
        self.pause_s = PAUSE_S
        self.stats = CompactionStats()
        self._started_ms = 0.0
        self._running = False
        self._stopped = False
        self._waiting: list[Callable[[], None]] = []

    def use(self, state: CompactingState) -> None:
        """From now on `state` is the member's."""
        self._state = state

    @property
    def running(self) -> bool:
        return self._running

    def start(self) -> None:
        """A compaction was scheduled, or may have been interrupted before this start."""
        if not self._running:
            self._running = True
            self._started_ms = _now_ms()
            self._call_later(0.0, self._step)

    def stop(self) -> None:
        """The state is about to be closed: what is left is done after the next start. Nobody who waits is called."""
        self._stopped = True

    def when_done(self, done: Callable[[], None]) -> None:
        """Call `done` once nothing is left to remove; at once when nothing is."""
        if self._running:
            self._waiting.append(done)
        else:
            done()

    def _step(self) -> None:
        if self._stopped:
            return
        mvcc, stats = self._state.mvcc, self.stats
        removed, started_ms = mvcc.compacted_changes, _now_ms()
        try:
            finished = mvcc.compact_step(self.rows_per_step)
            stats.keys += mvcc.compacted_changes - removed
            stats.steps_ms.observe(_now_ms() - started_ms)
            if finished:
                self._state.commit()
        except NoSpace:
            self._call_later(FULL_DISK_PAUSE_S, self._step)
            return
        except StorageFailed as error:
            self._on_failure(error)
            return
        if not finished:
            self._call_later(self.pause_s, self._step)
            return
        self._running = False
        stats.runs_ms.observe(_now_ms() - self._started_ms)
        stats.last_at = time()
        self._tell_end()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done()

    def _tell_end(self) -> None:
        """Source: etcd server/storage/mvcc/kvstore_compaction.go, scheduleCompaction."""
        state, mvcc = self._state, self._state.mvcc
        taken = {"hash": hashes[-1].hash} if (hashes := mvcc.compaction_hashes) else {}
        log.info(
            "finished scheduled compaction",
            extra=fields(
                taken,
                compact_revision=mvcc.compact_revision,
                took=timedelta(milliseconds=_now_ms() - self._started_ms),
                current_db_size_bytes=state.size_bytes,
                current_db_size_in_use_bytes=state.size_in_use_bytes,
            ),
        )


def _now_ms() -> float:
    return perf_counter() * 1000
