"""The raft log on disk, read as the core reads its log: for tools, and to hold it to the same contract."""

from __future__ import annotations

from etcdops.ids import LogIndex, Term
from etcdops.node.raft.size import count_within
from etcdops.node.raft.storage import Compacted, Unavailable
from etcdops.node.raft.types import ConfState, Entry, HardState, Snapshot
from etcdops.node.storage.raft_log import RaftLog


class StoredLog:
    """Implements raft.storage.LogStorage by reading a RaftLog anew for every question: right, and slow."""

    def __init__(self, raft_log: RaftLog) -> None:
        self._log = raft_log

    def initial_state(self) -> tuple[HardState, ConfState]:
        """See LogStorage."""
        return self._log.hard_state, self._log.snapshot.conf_state

    def first_index(self) -> LogIndex:
        """See LogStorage."""
        return self._log.first_index

    def last_index(self) -> LogIndex:
        """See LogStorage."""
        return self._log.last_index

    def term(self, index: LogIndex) -> Term:
        """See LogStorage."""
        loaded = self._log.load()
        if index < loaded.base_index:
            raise Compacted(f"entry {index} was dropped; the first is {loaded.base_index + 1}")
        if index == loaded.base_index:
            return loaded.base_term
        if index > self._log.last_index:
            raise Unavailable(f"entry {index} is not there yet; the last is {self._log.last_index}")
        return loaded.entries[index - loaded.base_index - 1].term

    def entries(self, low: LogIndex, high: LogIndex, *, size_max_bytes: int) -> list[Entry]:
        """See LogStorage."""
        if low < self._log.first_index:
            raise Compacted(f"entry {low} was dropped; the first is {self._log.first_index}")
        if high > self._log.last_index + 1:
            raise Unavailable(f"entry {high - 1} is not there yet; the last is {self._log.last_index}")
        loaded = self._log.load()
        found = loaded.entries[low - loaded.base_index - 1 : high - loaded.base_index - 1]
        return found[: count_within(found, size_max_bytes)]

    def snapshot(self) -> Snapshot:
        """See LogStorage."""
        return Snapshot(self._log.snapshot)
