"""The log in memory: what the core reads while SQLite keeps the durable copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etcdops.ids import LogIndex, Term
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.size import count_within
from etcdops.node.raft.storage import Compacted, SnapshotOutOfDate, Unavailable
from etcdops.node.raft.types import ConfState, Entry, HardState, Snapshot, SnapshotMetadata


class MemoryLog:
    """A LogStorage over a list, with the writes that keep it in step with the durable log.

    Ownership: entries are immutable and shared; every list given out is the caller's own.
    Source: etcd-io/raft storage.go, MemoryStorage.
    """

    __slots__ = ("_conf_state", "_entries", "_hard_state", "_offset", "_offset_term", "_snapshot")

    def __init__(
        self,
        *,
        hard_state: HardState = HardState(),  # noqa: B008 - an immutable value
        snapshot: Snapshot = Snapshot(),  # noqa: B008 - an immutable value
        entries: Iterable[Entry] = (),
        conf_state: ConfState | None = None,
    ) -> None:
        """What was loaded from the durable log: `entries` follow the snapshot without a gap.

        Args: conf_state - the configuration as of the applied index, where that is after the snapshot; None: the
        snapshot's.
        """
        self._conf_state = snapshot.metadata.conf_state if conf_state is None else conf_state
        self._hard_state = hard_state
        self._snapshot = snapshot
        # Invariant: _entries[i].index == _offset + 1 + i; _offset is the index before the first readable entry.
        self._offset = snapshot.metadata.index
        self._offset_term = snapshot.metadata.term
        self._entries: list[Entry] = []
        self.append(list(entries))

    def initial_state(self) -> tuple[HardState, ConfState]:
        """See LogStorage."""
        return self._hard_state, self._conf_state

    def first_index(self) -> LogIndex:
        """See LogStorage."""
        return LogIndex(self._offset + 1)

    def last_index(self) -> LogIndex:
        """See LogStorage."""
        return LogIndex(self._offset + len(self._entries))

    def term(self, index: LogIndex) -> Term:
        """See LogStorage."""
        position = index - self._offset - 1
        if position >= 0:
            try:
                return self._entries[position].term
            except IndexError:
                raise Unavailable(f"index {index} is after the last index {self.last_index()}") from None
        if position == -1:
            return self._offset_term
        raise Compacted(f"index {index} is before the first index {self.first_index()}")

    def entries(self, low: LogIndex, high: LogIndex, *, size_max_bytes: int) -> list[Entry]:
        """See LogStorage."""
        if low <= self._offset:
            raise Compacted(f"index {low} is before the first index {self.first_index()}")
        if high > self.last_index() + 1:
            raise Unavailable(f"index {high - 1} is after the last index {self.last_index()}")
        start = self._offset + 1
        found = self._entries[low - start : high - start]
        count = count_within(found, size_max_bytes)
        return found if count == len(found) else found[:count]

    def snapshot(self) -> Snapshot:
        """See LogStorage; a memory log has its snapshot at once."""
        return self._snapshot

    def set_hard_state(self, hard_state: HardState) -> None:
        """What `initial_state` returns from now on."""
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Add `entries`, replacing whatever is at the first one's index and after it.

        Entries that are already compacted are skipped.
        Raises: CoreCorrupt when they would leave a gap after the last index.
        """
        if not entries:
            return
        position = entries[0].index - self._offset - 1
        if position < 0:
            entries = entries[-position:]
            position = 0
            if not entries:
                return
        if position > len(self._entries):
            raise CoreCorrupt(f"missing log entry [last: {self.last_index()}, append at: {entries[0].index}]")
        self._entries[position:] = entries

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Start over from a snapshot that a leader sent: the log becomes empty at its index.

        Raises: SnapshotOutOfDate when this log has one at or after that index.
        """
        held = self._snapshot.metadata.index
        if held and held >= snapshot.metadata.index:
            raise SnapshotOutOfDate(f"the snapshot at index {snapshot.metadata.index} is not newer than {held}")
        self._snapshot = snapshot
        self._conf_state = snapshot.metadata.conf_state
        self._offset = snapshot.metadata.index
        self._offset_term = snapshot.metadata.term
        self._entries = []

    def create_snapshot(self, index: LogIndex, conf_state: ConfState | None = None, data: bytes = b"") -> Snapshot:
        """Record that the state machine was saved at `index`; the entries stay until `compact`.

        Args: conf_state - the configuration at that index; None keeps that of the previous snapshot.
        Raises: SnapshotOutOfDate when a newer one is held, Unavailable when `index` is after the last entry.
        """
        held = self._snapshot.metadata
        if index <= held.index:
            raise SnapshotOutOfDate(f"the snapshot at index {index} is not newer than {held.index}")
        metadata = SnapshotMetadata(index, self.term(index), held.conf_state if conf_state is None else conf_state)
        self._snapshot = Snapshot(metadata, data)
        if conf_state is not None:
            self._conf_state = conf_state
        return self._snapshot

    def compact(self, index: LogIndex) -> None:
        """Drop the entries up to and including `index`, which the caller has applied and has a snapshot for.

        Raises: Compacted when that already happened, Unavailable when `index` is after the last entry.
        """
        if index <= self._offset:
            raise Compacted(f"index {index} is before the first index {self.first_index()}")
        self._offset_term = self.term(index)
        self._entries = self._entries[index - self._offset :]
        self._offset = index
