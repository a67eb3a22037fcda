"""When the leader compacts by itself: `--auto-compaction-mode` and `--auto-compaction-retention`.

Both compactors are asked at every tick and answer with a revision to compact to, or None: time comes in as an argument.
Source: etcd server/etcdserver/api/v3compactor/periodic.go and revision.go.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from etcdops.ids import Revision

_HOUR_S = 3600.0
_RETRY_DIVISOR = 10
_REVISION_INTERVAL_S = 300.0


class AutoCompactor(Protocol):
    """Decides; the driver compacts and reports how it went."""

    def due(self, now: float, revision: Revision, *, leading: bool) -> Revision | None:
        """The revision to compact to now. Args: now is monotonic seconds; revision is the store's current one."""

    def finished(self, now: float, compacted: Revision) -> None:
        """That compaction was done, here or by somebody else ("already compacted" counts). A failed one is not
        reported and is due again later."""


class PeriodicCompactor:
    """Keeps the history of the last `period_s` seconds.

    The revision is sampled ten times per compaction interval (the period, at most an hour), also on followers, so that
    a new leader knows what the revision was a period ago. Nothing is compacted during the first whole period.
    """

    def __init__(self, period_s: float, now: float) -> None:
        self._interval_s = min(period_s, _HOUR_S)
        self._retry_s = self._interval_s / _RETRY_DIVISOR
        self._samples: deque[Revision] = deque(maxlen=int(period_s / self._retry_s) + 1)
        self._wait_s = period_s
        self._last_success = now
        self._last_revision = Revision(0)
        self._next_sample = now

    def due(self, now: float, revision: Revision, *, leading: bool) -> Revision | None:
        if now < self._next_sample:
            return None
        self._next_sample = now + self._retry_s
        self._samples.append(revision)
        oldest = self._samples[0]
        early = now - self._last_success < self._wait_s
        return None if early or not leading or oldest == self._last_revision else oldest

    def finished(self, now: float, compacted: Revision) -> None:
        self._wait_s = self._interval_s
        self._last_success = now
        self._last_revision = compacted


class RevisionCompactor:
    """Keeps the newest `retention` revisions; looks every five minutes."""

    def __init__(self, retention: int, now: float) -> None:
        self._retention = retention
        self._last = Revision(0)
        self._next_look = now + _REVISION_INTERVAL_S

    def due(self, now: float, revision: Revision, *, leading: bool) -> Revision | None:
        if now < self._next_look:
            return None
        self._next_look = now + _REVISION_INTERVAL_S
        target = Revision(revision - self._retention)
        return None if not leading or target <= 0 or target == self._last else target

    def finished(self, now: float, compacted: Revision) -> None:
        self._last = compacted
