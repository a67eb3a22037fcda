"""The end of the log that is not known to be on stable storage yet."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.ids import LogIndex, Term
from etcdops.node.raft.types import Entry, Snapshot


class Unstable:
    """Entries, and at most one snapshot, between being accepted and being reported as saved.

    Invariants: entries[i].index == offset + i; offset <= offset_in_progress; entries before offset_in_progress were
    handed out in a Ready and are being saved. `offset` may be at or below the last index of stable storage: saving
    then replaces what is there.
    Source: etcd-io/raft log_unstable.go.
    """

    __slots__ = ("entries", "offset", "offset_in_progress", "snapshot", "snapshot_in_progress")

    def __init__(self, offset: LogIndex) -> None:
        """Nothing is unstable; the next entry has index `offset`."""
        self.entries: list[Entry] = []
        self.offset = offset
        self.offset_in_progress = offset
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False

    def next_entries(self) -> tuple[Entry, ...]:
        """What is to be saved and was not handed out yet."""
        return tuple(self.entries[self.offset_in_progress - self.offset :])

    def next_snapshot(self) -> Snapshot | None:
        """The snapshot to be saved, unless it was handed out already."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_in_progress(self) -> None:
        """Everything was handed out."""
        self.offset_in_progress = LogIndex(self.offset + len(self.entries))
        self.snapshot_in_progress = self.snapshot is not None

    def stable_to(self, index: LogIndex, term: Term) -> None:
        """Everything up to this entry is saved, unless it was replaced by another one meanwhile."""
        position = index - self.offset
        if 0 <= position < len(self.entries) and self.entries[position].term == term:
            del self.entries[: position + 1]
            self.offset = LogIndex(index + 1)
            self.offset_in_progress = max(self.offset_in_progress, self.offset)

    def stable_snapshot_to(self, index: LogIndex) -> None:
        """The snapshot at `index` is saved."""
        if self.snapshot is not None and self.snapshot.metadata.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Start over after `snapshot`."""
        self.offset = LogIndex(snapshot.metadata.index + 1)
        self.offset_in_progress = self.offset
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def truncate_and_append(self, entries: Sequence[Entry]) -> str:
        """Add `entries`, dropping what was at the first one's index and after it.

        Returns: what was dropped, in etcd's words; empty when nothing was.
        """
        first = entries[0].index
        position = first - self.offset
        if position == len(self.entries):
            self.entries.extend(entries)
            return ""
        if position <= 0:
            self.entries = list(entries)
            self.offset = first
            self.offset_in_progress = first
            return f"replace the unstable entries from index {first}"
        self.entries[position:] = entries
        self.offset_in_progress = min(self.offset_in_progress, first)
        return f"truncate the unstable entries before index {first}"
