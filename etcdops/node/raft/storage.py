"""The log as the core reads it. Reads are synchronous and quick: the tail since the last snapshot stays in memory.

`MemoryLog` is what runs; the SQLite log is its durable copy and passes the same contract tests (tests/contracts).
"""

from __future__ import annotations

from typing import Protocol

from etcdops.ids import LogIndex, Term
from etcdops.node.raft.types import ConfState, Entry, HardState, Snapshot


class LogError(Exception):
    """Why a part of the log cannot be read."""


class Compacted(LogError):
    """The entry is older than the snapshot: it is gone, send the snapshot instead."""


class Unavailable(LogError):
    """The entry is not in the log yet."""


class SnapshotTemporarilyUnavailable(LogError):
    """A snapshot is being made; ask again later."""


class SnapshotOutOfDate(LogError):
    """The log already holds a snapshot at or after this index."""


class LogStorage(Protocol):
    """What the core needs of a stable log. Indexes are dense: [first_index, last_index].

    The entry before `first_index` is known by term only (it is the snapshot's last one).
    Source: etcd-io/raft storage.go, Storage.
    """

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What was saved last; both empty for a log that was never written."""

    def first_index(self) -> LogIndex:
        """The first index whose entry can be read: snapshot index + 1."""

    def last_index(self) -> LogIndex:
        """The last index in the log; first_index() - 1 when no entry is held."""

    def term(self, index: LogIndex) -> Term:
        """The term of the entry at `index`, for index in [first_index() - 1, last_index()].

        Raises: Compacted below that range, Unavailable above it.
        """

    def entries(self, low: LogIndex, high: LogIndex, *, size_max_bytes: int) -> list[Entry]:
        """Entries in [low, high), cut to `size_max_bytes` of encoded size but never to nothing.

        Raises: Compacted when low < first_index(), Unavailable when high > last_index() + 1.
        """

    def snapshot(self) -> Snapshot:
        """The newest snapshot. Raises: SnapshotTemporarilyUnavailable."""
