"""The keys and their history: every change has a revision, and any revision since the last compaction can be read.

Everything here runs on the event loop's thread and answers from the open transaction, so a read sees what was applied
before it, committed or not. What takes longer than a few milliseconds on a large store (hash_kv, long ranges) has a
twin in `StateReader`, for a background thread.

Source: etcd server/storage/mvcc/kvstore.go, kvstore_txn.go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from etcdops.ids import LeaseID, Revision
from etcdops.node.storage.batch import Batch
from etcdops.node.storage.compaction import Compactor
from etcdops.node.storage.database import failure
from etcdops.node.storage.errors import Compacted, FutureRevision
from etcdops.node.storage.hash_kv import HashKV, finish, hash_kv_steps
from etcdops.node.storage.reading import CurrentRow, Event, EventType, Found, KeyReader, kind_of
from etcdops.node.storage.write_txn import WriteTxn
from etcdops.snapshot.sqlite_schema import FRESH_REVISION, MAIN_MAX, NEVER_COMPACTED, SUB_BITS, encode_revision

_LAST_CHANGE = "SELECT max(rev) FROM revision"
_PAGES_REMEMBERED = 64
_HASH_ROWS = 10_000


class RangeResult(NamedTuple):
    """What a range found."""

    kvs: list[bytes]
    """Encoded mvccpb.KeyValue in key order."""
    count: int  # type: ignore[assignment]  # the API's word; it hides tuple.count, which nobody uses
    """All matches, whatever the limit."""
    revision: Revision
    """The store's current revision, not the one read at."""


class Mvcc:
    """The keys of a state. Made by `StateStore`, which owns the connection and commits."""

    def __init__(self, connection: apsw.Connection, batch: Batch, path: Path, *, keep_hashes: bool = True) -> None:
        self.connection = connection
        self.execute = connection.cursor().execute
        """For reads of the open transaction: one cursor for all, each statement read to its end."""
        self.batch = batch
        self._path = path
        self._reader = KeyReader(connection)
        self._compactor = Compactor(connection, batch, keep_hashes=keep_hashes)
        self._revision = last_revision(connection, self._compactor.scheduled)
        self._open: WriteTxn | None = None
        self._pages: OrderedDict[tuple[bytes, int], tuple[bytes, int]] = OrderedDict()

    @property
    def revision(self) -> Revision:
        """The revision of the last finished transaction; 1 on a fresh store."""
        return self._revision

    @property
    def compact_revision(self) -> Revision:
        """The oldest revision that can be read; -1 before any compaction. It counts from the moment it is scheduled."""
        return self._compactor.scheduled

    # --- reads ---

    def get(self, key: bytes) -> CurrentRow | None:
        """The key as it is now, with the open transaction's writes; None when it is not there."""
        try:
            return self._reader.row(key)
        except apsw.Error as error:
            raise failure(error, self._path, "reading a key") from error

    def range(
        self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        """The pairs of [key, range_end) in key order.

        Args: range_end b"" = the single key, b"\\0" = from `key` on; revision <= 0 = now; limit <= 0 = none.
        Raises: Compacted, FutureRevision; StorageFailed.
        Source: etcd kvstore_txn.go, storeTxnCommon.rangeKeys.
        """
        return self.range_in(self._revision, key, range_end, revision, limit, count_only)

    def range_in(
        self, current: Revision, key: bytes, range_end: bytes, revision: int, limit: int, count_only: bool
    ) -> RangeResult:
        """`range` for a reader to whom the store is at `current`: a transaction sees one revision more than others."""
        if revision > current:
            raise FutureRevision(revision, current)
        if 0 < revision < self._compactor.scheduled:
            raise Compacted(revision, self._compactor.scheduled)
        try:
            if revision <= 0 or revision == current:
                return self._range_now(current, key, range_end, limit, count_only)
            return self._range_then(current, key, range_end, revision, limit, count_only)
        except apsw.Error as error:
            raise failure(error, self._path, "reading a range") from error

    def longer_than(self, key: bytes, range_end: bytes, count: int) -> bool:
        """Whether a range, at any revision, can have more than `count` keys: about 0.05 us for each of them.

        For deciding whether to read it here or with a StateReader. Raises: StorageFailed.
        """
        try:
            return self._reader.longer_than(key, range_end, count)
        except apsw.Error as error:
            raise failure(error, self._path, "measuring a range") from error

    def kv_before(self, key: bytes, revision: int) -> bytes | None:
        """The key's pair just before a main revision (`prev_kv`), None when it had none or it was compacted."""
        if revision - 1 < self._compactor.scheduled:
            return None
        try:
            return self._reader.key_before(key, revision << SUB_BITS)
        except apsw.Error as error:
            raise failure(error, self._path, "reading a previous value") from error

    def prev_kv(self, event: Event) -> bytes | None:
        """`kv_before` of an event's key and revision, from where the event's change points to: cheap at any age."""
        if not event.prev or event.revision - 1 < self._compactor.scheduled:
            return None
        try:
            return self._reader.before(event.prev, event.revision << SUB_BITS)
        except apsw.Error as error:
            raise failure(error, self._path, "reading a previous value") from error

    def events(self, low: Revision, high: Revision, *, limit: int) -> list[Event]:
        """History for watchers: the changes of the revisions [low, high), in order.

        Whole revisions, about `limit` events and 4 MiB but at least one revision: go on at the last event's
        revision + 1.
        Of the compacted revision itself only what its compaction keeps is shown.
        Raises: Compacted - low is below the compacted revision; StorageFailed.
        """
        if low < self._compactor.scheduled:
            raise Compacted(low, self._compactor.scheduled)
        try:
            found = self._reader.events(max(low, 0), high, limit)
        except apsw.Error as error:
            raise failure(error, self._path, "reading events") from error
        if low == self._compactor.scheduled:
            newest = {event.key: event.sub for event in found if event.revision == low}
            found = [event for event in found if event.revision > low or newest[event.key] == event.sub]
        return found

    def leased(self) -> Iterator[tuple[bytes, LeaseID]]:
        """Every key attached to a lease, in key order: for the lessor at start."""
        try:
            return self._reader.leased()
        except apsw.Error as error:
            raise failure(error, self._path, "reading leases of keys") from error

    # --- writes ---

    def begin(self) -> WriteTxn:
        """Start a transaction at the next revision. Raises: RevisionLimit after 2^40 transactions."""
        assert self._open is None, "one write transaction at a time"
        main = Revision(self._revision + 1)
        if main > MAIN_MAX:
            encode_revision(main)
        self._open = WriteTxn(self, main)
        return self._open

    def finish(self, revision: Revision | None) -> None:
        """For WriteTxn only: the open transaction is over, at `revision` if it changed anything."""
        self._open = None
        if revision is not None:
            self._revision = revision

    # --- compaction ---

    def compact(self, revision: int) -> None:
        """Forget what is older than `revision`: at once for readers, on disk by `compact_step`.

        Raises: Compacted - at or below the last one; FutureRevision; StorageFailed.
        Source: etcd kvstore.go, store.updateCompactRev.
        """
        if revision <= self._compactor.scheduled:
            raise Compacted(revision, self._compactor.scheduled)
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        self._compactor.schedule(Revision(revision))

    def compact_step(self, rows_max: int = 1_000) -> bool:
        """Do a little of the scheduled compaction, about a microsecond for each of `rows_max` changes looked at.

        True when nothing is left to do. Interrupted work, also by a crash, starts over and ends the same.
        Raises: StorageFailed - the step was undone and can be tried again.
        """
        try:
            return self._compactor.step(rows_max)
        except apsw.Error as error:
            raise failure(error, self._path, "compacting") from error

    @property
    def compacted_changes(self) -> int:
        """Changes that compactions have removed since the store was opened."""
        return self._compactor.removed

    @property
    def compaction_pending(self) -> bool:
        """`compact_step` has work to do."""
        return self._compactor.pending

    @property
    def compaction_hashes(self) -> list[HashKV]:
        """Hashes taken just before each of the newest compactions (at most 10, oldest first): members compare them."""
        return list(self._compactor.hashes)

    # --- hashes ---

    def hash_kv(self, revision: int = 0) -> HashKV:
        """etcd's HashKV at a revision, 0 for now. Blocks for about a microsecond a change: see StateReader.hash_kv.

        The hash of a recent compaction is answered from memory, also below the compacted revision.
        Raises: Compacted, FutureRevision, StorageFailed.
        Source: etcd hash.go, hashStorage.HashByRev; kvstore.go, store.hashByRev.
        """
        stored = self.stored_hash(revision)
        if stored is not None:
            return stored
        at = hash_revision(revision, self._revision, self._compactor.scheduled)
        try:
            return finish(
                hash_kv_steps(self.connection, at, self._compactor.scheduled, self._compactor.finished, _HASH_ROWS)
            )
        except apsw.Error as error:
            raise failure(error, self._path, "hashing") from error

    def stored_hash(self, revision: int) -> HashKV | None:
        """The hash taken before a recent compaction to exactly this revision."""
        return next((found for found in self._compactor.hashes if found.revision == revision), None)

    # --- inside ---

    def _range_now(self, current: Revision, key: bytes, range_end: bytes, limit: int, count_only: bool) -> RangeResult:
        if count_only:
            return RangeResult([], self._reader.now_count(key, range_end), current)
        found = self._reader.now(key, range_end, limit)
        count = found.count
        if found.last_key is not None:
            count = self._count(found, key, range_end, current, current)
        return RangeResult(found.kvs, count, current)

    def _range_then(
        self, current: Revision, key: bytes, range_end: bytes, revision: int, limit: int, count_only: bool
    ) -> RangeResult:
        if count_only:
            return RangeResult([], self._reader.then_count(key, range_end, revision), current)
        found = self._reader.then(key, range_end, revision, limit)
        count = found.count
        if found.last_key is not None:
            count = self._count(found, key, range_end, current, revision)
        return RangeResult(found.kvs, count, current)

    def _count(self, page: Found, key: bytes, range_end: bytes, current: Revision, revision: int) -> int:
        """All matches of a range that was cut. Whoever reads page after page is not counted for from the start:
        the next page begins right after the last key of this one and has as many fewer."""
        assert page.last_key is not None
        within_txn = current > self._revision
        start, left = self._pages.pop((range_end, revision), (b"", 0))
        if start == key and left and not within_txn:
            count = left
        elif revision == current:
            count = self._reader.now_count(key, range_end)
        else:
            count = self._reader.then_count(key, range_end, revision)
        if count > len(page.kvs) and not within_txn:
            self._pages[range_end, revision] = page.last_key + b"\x00", count - len(page.kvs)
            if len(self._pages) > _PAGES_REMEMBERED:
                self._pages.popitem(last=False)
        return count


def last_revision(connection: apsw.Connection, compacted: Revision) -> Revision:
    """The revision a stored state is at: never below a scheduled compaction, whose own changes may be gone.

    Source: etcd kvstore.go, store.restore.
    """
    rows: list[tuple[int | None]] = list(connection.execute(_LAST_CHANGE))
    return Revision(max((rows[0][0] or 0) >> SUB_BITS, compacted, FRESH_REVISION))


def hash_revision(revision: int, current: Revision, compacted: Revision) -> Revision:
    """The revision a HashKV request means. Raises: Compacted, FutureRevision."""
    if 0 < revision < compacted:
        raise Compacted(revision, compacted)
    if revision > current:
        raise FutureRevision(revision, current)
    return Revision(revision) if revision > 0 else current


__all__ = [
    "NEVER_COMPACTED",
    "CurrentRow",
    "Event",
    "EventType",
    "HashKV",
    "Mvcc",
    "RangeResult",
    "WriteTxn",
    "kind_of",
]
