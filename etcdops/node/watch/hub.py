"""The watch hub: from what the store did to who wants to know.

A watcher is *synced* when it has seen everything up to the newest revision: it hears of the next change from
`notify`. All others are *unsynced*: their events are read from the store's history, a bounded slice per turn of the
event loop. A synced watcher whose stream is full becomes unsynced at the revision it missed, so nothing is ever
lost, repeated or out of order; and a slow client costs the store's history, not memory.

The changes of one turn of the loop are told together, in the next turn or before whatever else asks the hub for
something: watchers of the same range then share one encoded list of events, and each gets one message, not one a
change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from etcdops.ids import Revision
from etcdops.node.storage.reading import Event
from etcdops.node.watch.watcher import Watcher, WatcherGroup

EVENTS_PER_SLICE = 1000
"""How much history one turn of the loop reads; a revision is never split. Source: etcd's watchBatchMaxRevs."""


PENDING_BYTES_MAX = 512 * 1024
"""Of values and keys that wait to be told. With the largest transaction behind it a message stays below the 4 MiB that
gRPC's clients take unless they are told otherwise."""

PENDING_EVENTS_MAX = 1000


class History(Protocol):
    """What the hub needs from the store."""

    @property
    def revision(self) -> Revision: ...
    @property
    def compact_revision(self) -> Revision: ...
    def events(self, low: Revision, high: Revision, *, limit: int) -> list[Event]: ...


class WatchHub:
    """All watchers of one member."""

    def __init__(self, history: History, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`call_soon` runs a function in the next turn of the event loop."""
        self._history = history
        self._call_soon = call_soon
        self._synced = WatcherGroup()
        self._unsynced = WatcherGroup()
        self._notified = history.revision
        # Events up to `_notified` that synced watchers were not told yet. Invariant: `flush` waits in the loop then.
        self._pending: list[Event] = []
        self._pending_bytes = 0
        # Invariant: True iff `_run_slice` is waiting in the loop.
        self._scheduled = False

    @property
    def revision(self) -> Revision:
        """Of the store, now."""
        return self._history.revision

    @property
    def watchers_count(self) -> int:
        return len(self._synced) + len(self._unsynced)

    @property
    def slow_watchers_count(self) -> int:
        """Those behind the newest revision."""
        return len(self._unsynced)

    def add(self, watcher: Watcher, start_revision: Revision) -> None:
        """Start watching from `start_revision` (>= 0; above the current one = not before it is reached).

        History is delivered from the next turn of the loop on, so the caller can answer "created" first.
        """
        self.flush()
        watcher.min_revision = start_revision
        if start_revision > self._history.revision:
            watcher.synced = True
            self._synced.add(watcher)
        else:
            watcher.synced = False
            self._unsynced.add(watcher)
            self._schedule()

    def remove(self, watcher: Watcher) -> None:
        """Stop a watcher; unknown ones (cancelled by a compaction) are ignored."""
        self.flush()
        if watcher in self._synced:
            self._synced.remove(watcher)
        elif watcher in self._unsynced:
            self._unsynced.remove(watcher)

    def notify(self, revision: Revision, events: Sequence[Event]) -> None:
        """The store has just reached `revision` with `events`. Called once per revision, in order."""
        self._notified = revision
        if not len(self._synced):
            return
        if not self._pending:
            self._call_soon(self.flush)
        self._pending += events
        self._pending_bytes += sum(len(event.kv) for event in events)
        if self._pending_bytes > PENDING_BYTES_MAX or len(self._pending) > PENDING_EVENTS_MAX:
            self.flush()

    def flush(self) -> None:
        """Tell synced watchers what `notify` was called with."""
        if not self._pending:
            return
        events, self._pending, self._pending_bytes = self._pending, [], 0
        covered = self._notified
        for watcher, wanted in self._synced.matching(events).items():
            since = watcher.min_revision
            if wanted[0].revision < since:
                wanted = [event for event in wanted if event.revision >= since]
                if not wanted:
                    continue
            if watcher not in self._synced:
                continue  # its stream ended while another one was told
            if watcher.stream.writable:
                watcher.min_revision = Revision(covered + 1)
                watcher.stream.deliver(watcher, covered, wanted)
            else:
                watcher.min_revision = wanted[0].revision
                self._desync(watcher)

    def _desync(self, watcher: Watcher) -> None:
        self._synced.remove(watcher)
        watcher.synced = False
        self._unsynced.add(watcher)

    def restored(self, history: History) -> None:
        """The store was replaced by a snapshot from the leader: everybody reads on from what they last saw."""
        self._history = history
        if self._pending:
            # The new store has them as well, and is where previous values are looked up from now on.
            self._notified = Revision(self._pending[0].revision - 1)
            self._pending, self._pending_bytes = [], 0
        for watcher in self._synced.watchers():
            watcher.min_revision = max(watcher.min_revision, Revision(self._notified + 1))
            self._desync(watcher)
        self._notified = history.revision
        self._schedule()

    def is_caught_up(self, watcher: Watcher) -> bool:
        """It has seen everything up to the current revision: a progress message would be true."""
        self.flush()
        return watcher.synced and watcher.min_revision <= self._history.revision + 1

    def stream_writable(self) -> None:
        """A stream that was full can take more."""
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and len(self._unsynced):
            self._scheduled = True
            self._call_soon(self._run_slice)

    def _run_slice(self) -> None:
        self._scheduled = False
        if self.catch_up():
            self._schedule()

    def catch_up(self, events_max: int = EVENTS_PER_SLICE) -> bool:
        """One slice of history to the unsynced watchers whose streams can take it.

        The one waiting longest decides where the slice starts, whoever needs the same stretch comes along.
        Returns: whether somebody could take more right away.
        """
        self.flush()
        self._cancel_compacted()
        ready = [watcher for watcher in self._unsynced.watchers() if watcher.stream.writable]
        if not ready:
            return False
        current = self._history.revision
        low = ready[0].min_revision
        events: list[Event] = []
        if low <= current:
            events = self._history.events(max(low, Revision(1)), Revision(current + 1), limit=events_max)
        # A slice may end early; only an empty one proves that there is nothing more.
        covered = events[-1].revision if events else current
        wanted = self._unsynced.matching(events)
        for watcher in ready:
            if low <= watcher.min_revision <= max(covered, low) and watcher.stream.writable:
                self._advance(watcher, covered, wanted.get(watcher, ()), current)
        return any(watcher.stream.writable for watcher in self._unsynced.watchers())

    def _advance(self, watcher: Watcher, covered: Revision, wanted: Sequence[Event], current: Revision) -> None:
        """Bring one watcher to `covered`, delivering what it has not seen of `wanted`."""
        since = watcher.min_revision
        if since <= covered:
            watcher.min_revision = Revision(covered + 1)
        self._unsynced.remove(watcher)
        if watcher.min_revision > current:
            watcher.synced = True
            self._synced.add(watcher)
        else:
            self._unsynced.add(watcher)  # At the end: the next slice starts with somebody else.
        if wanted and wanted[0].revision < since:
            wanted = [event for event in wanted if event.revision >= since]
        if wanted:
            watcher.stream.deliver(watcher, covered, wanted)

    def _cancel_compacted(self) -> None:
        compact_revision = self._history.compact_revision
        for watcher in self._unsynced.watchers():
            if watcher.min_revision < compact_revision and watcher.stream.writable:
                self._unsynced.remove(watcher)
                watcher.stream.compacted(watcher, compact_revision)
