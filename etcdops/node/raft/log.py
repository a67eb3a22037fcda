"""The whole log as the core sees it: what is on stable storage, followed by what is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etcdops.ids import LogIndex, Term
from etcdops.node.raft.config import NO_LIMIT
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.size import count_within, entries_size_bytes
from etcdops.node.raft.storage import Compacted, LogError, LogStorage, Unavailable
from etcdops.node.raft.types import Entry, EntryType, Snapshot
from etcdops.node.raft.unstable import Unstable


class LogView:
    """Dense indexes [first_index, last_index], of which those up to `committed` never change again.

    Invariant: applied <= applying <= committed <= last_index.
    Source: etcd-io/raft log.go, raftLog.
    """

    __slots__ = ("_committed_size_max_bytes", "_note", "_storage", "applied", "applying", "committed", "unstable")

    def __init__(self, storage: LogStorage, committed_size_max_bytes: int, note: Callable[[str], None]) -> None:
        """A view of `storage` in which only what is compacted counts as committed and applied.

        Args: committed_size_max_bytes bounds what `next_committed` returns; note gets one line for each surprise.
        """
        self._storage = storage
        self._committed_size_max_bytes = committed_size_max_bytes
        self._note = note
        before_first = LogIndex(storage.first_index() - 1)
        self.committed = before_first
        # Handed out to be applied, but maybe not applied yet.
        self.applying = before_first
        self.applied = before_first
        self.unstable = Unstable(LogIndex(storage.last_index() + 1))

    def __str__(self) -> str:
        """As etcd prints it."""
        unstable = self.unstable
        return (
            f"committed={self.committed}, applied={self.applied}, applying={self.applying}, "
            f"unstable.offset={unstable.offset}, unstable.offsetInProgress={unstable.offset_in_progress}, "
            f"len(unstable.Entries)={len(unstable.entries)}"
        )

    def first_index(self) -> LogIndex:
        """The first index whose entry can be read."""
        if self.unstable.snapshot is not None:
            return LogIndex(self.unstable.snapshot.metadata.index + 1)
        return self._storage.first_index()

    def last_index(self) -> LogIndex:
        """The last index, or that of the snapshot when there is no entry after it."""
        return LogIndex(self.unstable.offset + len(self.unstable.entries) - 1)

    def last_entry_id(self) -> tuple[Term, LogIndex]:
        """Term and index of the last entry: what elections compare."""
        index = self.last_index()
        try:
            return self.term(index), index
        except LogError as error:
            raise CoreCorrupt(f"unexpected error when getting the last term at {index}: {error}") from error

    def term(self, index: LogIndex) -> Term:
        """The term of the entry at `index`, for index in [first_index() - 1, last_index()].

        Raises: Compacted below that range, Unavailable above it.
        """
        unstable = self.unstable
        position = index - unstable.offset
        if position >= 0:
            if position < len(unstable.entries):
                return unstable.entries[position].term
            raise Unavailable(f"index {index} is after the last index {self.last_index()}")
        snapshot = unstable.snapshot
        if snapshot is None:
            return self._storage.term(index)
        if index == snapshot.metadata.index:
            return snapshot.metadata.term
        raise Compacted(f"index {index} is before the snapshot at {snapshot.metadata.index}")

    def term_or_zero(self, index: LogIndex) -> Term:
        """The term at `index`, 0 when it is not known."""
        try:
            return self.term(index)
        except LogError:
            return Term(0)

    def match_term(self, index: LogIndex, term: Term) -> bool:
        """Whether this log has an entry of `term` at `index`."""
        try:
            return self.term(index) == term
        except LogError:
            return False

    def is_up_to_date(self, term: Term, index: LogIndex) -> bool:
        """Whether a log that ends with this entry has everything ours has, as far as an election can tell (5.4.1)."""
        return (term, index) >= self.last_entry_id()

    def slice(self, low: LogIndex, high: LogIndex, size_max_bytes: int) -> tuple[Entry, ...]:
        """Entries in [low, high), cut to `size_max_bytes` of encoded size but never to nothing.

        Raises: Compacted when low < first_index(); CoreCorrupt when stable storage lost what it had.
        """
        offset = self.unstable.offset
        if low >= offset:
            found = self.unstable.entries[low - offset : high - offset]
            return tuple(found[: count_within(found, size_max_bytes)])
        if low < self.first_index():
            raise Compacted(f"index {low} is before the first index {self.first_index()}")
        cut = min(high, offset)
        try:
            stable = self._storage.entries(low, cut, size_max_bytes=size_max_bytes)
        except Unavailable as error:
            raise CoreCorrupt(f"entries[{low}:{cut}) is unavailable from storage") from error
        if high <= offset or len(stable) < cut - low:
            return tuple(stable)
        rest = self.unstable.entries[: high - offset]
        room = size_max_bytes - entries_size_bytes(stable)
        count = count_within(rest, room)
        if count == 1 and entries_size_bytes(rest[:1]) > room:
            count = 0
        return (*stable, *rest[:count])

    def entries_from(self, low: LogIndex, size_max_bytes: int) -> tuple[Entry, ...]:
        """Entries from `low` to the end, cut to size. Raises: Compacted."""
        high = LogIndex(self.unstable.offset + len(self.unstable.entries))
        return self.slice(low, high, size_max_bytes) if low < high else ()

    def append(self, entries: Sequence[Entry]) -> None:
        """Add `entries`, replacing what is at the first one's index and after it.

        Raises: CoreCorrupt when that would replace something committed.
        """
        after = entries[0].index - 1
        if after < self.committed:
            raise CoreCorrupt(f"after({after}) is out of range [committed({self.committed})]")
        dropped = self.unstable.truncate_and_append(entries)
        if dropped:
            self._note(dropped)

    def maybe_append(
        self, previous: LogIndex, previous_term: Term, entries: Sequence[Entry], committed: LogIndex
    ) -> LogIndex | None:
        """Take what a leader sent, if it fits after our entry at `previous`.

        Returns: the index of the last entry sent, None when our log has another entry at `previous`, or none.
        Raises: CoreCorrupt when the leader contradicts something committed.
        """
        if not self.match_term(previous, previous_term):
            return None
        last_new = LogIndex(previous + len(entries))
        new = self._after_agreement(entries)
        if new:
            if new[0].index <= self.committed:
                raise CoreCorrupt(self._conflict_text(new[0].index))
            self.append(new)
        self.commit_to(min(committed, last_new))
        return last_new

    def _after_agreement(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The part of `entries` that this log does not have yet, from the first difference on."""
        last = self.last_index()
        for position, entry in enumerate(entries):
            if entry.index > last:
                return entries[position:] if position else entries
            if not self.match_term(entry.index, entry.term):
                self._note(
                    f"found conflict at index {entry.index} "
                    f"[existing term: {self.term_or_zero(entry.index)}, conflicting term: {entry.term}]"
                )
                return entries[position:]
        return ()

    def check_committed(self, previous: LogIndex, previous_term: Term, entries: Sequence[Entry]) -> None:
        """A leader sent what is, at least in part, committed here: then it is the same, or one of the logs is broken.

        etcd-io/raft acknowledges such a message unseen. Two halves of a cluster that were forced apart would then
        follow one another with different data.
        Raises: CoreCorrupt.
        """
        terms = {previous: previous_term, **{entry.index: entry.term for entry in entries}}
        first = self.first_index() - 1
        for index, term in terms.items():
            if first <= index <= self.committed and not self.match_term(index, term):
                raise CoreCorrupt(self._conflict_text(index))

    def _conflict_text(self, index: LogIndex) -> str:
        return (
            f"entry {index} conflict with committed entry [committed({self.committed})]. "
            "Was the raft log corrupted, truncated, or lost?"
        )

    def find_conflict_by_term(self, index: LogIndex, term: Term) -> tuple[LogIndex, Term]:
        """Where this log may agree with another one of which only one entry (index, term) is known.

        Returns: the highest index at or below `index` whose term is not above `term`, with that term; term 0 when the
        search runs into what is compacted or not there. Terms only go up along a log, so everything between cannot
        match: a search by terms needs one message per term instead of one per entry.
        Source: etcd-io/raft log.go, findConflictByTerm.
        """
        while index > 0:
            try:
                ours = self.term(index)
            except LogError:
                return index, Term(0)
            if ours <= term:
                return index, ours
            index = LogIndex(index - 1)
        return LogIndex(0), Term(0)

    def maybe_commit(self, index: LogIndex, term: Term) -> bool:
        """Commit up to `index` when that is news and the entry there is of `term` (5.4.2)."""
        if term and index > self.committed and self.match_term(index, term):
            self.commit_to(index)
            return True
        return False

    def commit_to(self, index: LogIndex) -> None:
        """Raise the commit index to `index`; it never goes down.

        Raises: CoreCorrupt when the log ends before it: what this member once acknowledged is gone.
        """
        if index > self.committed:
            if index > self.last_index():
                raise CoreCorrupt(
                    f"tocommit({index}) is out of range [lastIndex({self.last_index()})]. "
                    "Was the raft log corrupted, truncated, or lost?"
                )
            self.committed = index

    def has_next_unstable(self) -> bool:
        """Whether something is to be saved that was not handed out yet."""
        unstable = self.unstable
        return unstable.offset_in_progress < unstable.offset + len(unstable.entries) or (
            unstable.snapshot is not None and not unstable.snapshot_in_progress
        )

    def has_next_committed(self) -> bool:
        """Whether `next_committed` has something."""
        return self.applying < self.committed and self.unstable.snapshot is None

    def next_committed(self) -> tuple[Entry, ...]:
        """Committed entries that were not handed out, cut to size. None while a snapshot waits to be applied.

        They may still be unstable: a Ready saves them before it lets them be applied.
        """
        if not self.has_next_committed():
            return ()
        return self._committed_after(self.applying, self._committed_size_max_bytes)

    def accept_ready(self, committed_entries: Sequence[Entry]) -> None:
        """Everything unstable was handed out to be saved, and these entries to be applied."""
        self.unstable.accept_in_progress()
        if committed_entries:
            self.applying = committed_entries[-1].index

    def applied_to(self, index: LogIndex) -> None:
        """The state machine has everything up to `index`. Raises: CoreCorrupt outside [applied, committed]."""
        if not self.applied <= index <= self.committed:
            raise CoreCorrupt(
                f"applied({index}) is out of range [prevApplied({self.applied}), committed({self.committed})]"
            )
        self.applied = index
        self.applying = max(self.applying, index)

    def has_unapplied_conf_change(self) -> bool:
        """Whether a configuration change is committed that this member has not applied."""
        return any(entry.type is not EntryType.NORMAL for entry in self._committed_after(self.applied, NO_LIMIT))

    def _committed_after(self, index: LogIndex, size_max_bytes: int) -> tuple[Entry, ...]:
        if index >= self.committed:
            return ()
        try:
            return self.slice(LogIndex(index + 1), LogIndex(self.committed + 1), size_max_bytes)
        except Compacted as error:
            raise CoreCorrupt(f"unexpected error when getting unapplied entries ({error})") from error

    def snapshot(self) -> Snapshot:
        """The newest snapshot. Raises: SnapshotTemporarilyUnavailable."""
        return self.unstable.snapshot or self._storage.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the whole log by `snapshot`, which is committed."""
        metadata = snapshot.metadata
        self._note(f"log [{self}] starts to restore snapshot [index: {metadata.index}, term: {metadata.term}]")
        self.committed = metadata.index
        self.unstable.restore(snapshot)
