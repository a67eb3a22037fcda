"""The physical half of a compaction: removing old revisions in small steps, with room for everybody else between.

The logical half (reads below the revision fail) is part of applying the entry. An interrupted run goes on at the next
start, and does not change any answer while it lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etcdops.node.storage.errors import NoSpace, StorageFailed

ROWS_PER_STEP = 1000
PAUSE_S = 0.01
"""Source: etcd server/mvcc/kvstore.go, defaultCompactBatchLimit and defaultCompactSleepInterval."""

FULL_DISK_PAUSE_S = 1.0

CallLater = Callable[[float, Callable[[], None]], object]
"""The loop's timer: run a function after some seconds."""


class CompactingMvcc(Protocol):
    def compact_step(self, rows_max: int) -> bool: ...


class CompactingState(Protocol):
    """What is needed from the state: steps of a compaction, and a commit that makes its end permanent."""

    @property
    def mvcc(self) -> CompactingMvcc: ...
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
        self._running = False
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
            self._call_later(0.0, self._step)

    def when_done(self, done: Callable[[], None]) -> None:
        """Call `done` once nothing is left to remove; at once when nothing is."""
        if self._running:
            self._waiting.append(done)
        else:
            done()

    def _step(self) -> None:
        try:
            finished = self._state.mvcc.compact_step(self.rows_per_step)
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
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done()
