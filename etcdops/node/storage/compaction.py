"""Forgetting history in small steps: of each key, only its newest change at or below the compacted revision stays.

A change says which one it replaced (`prev`), so walking the changes between the last compaction and this one finds
everything that goes, without an index of all keys in memory. A deletion is itself dropped by the first compaction
above it; one exactly at the compacted revision stays, for watchers that start there.

    scheduled mark -> hash of what was there -> deletions, step by step -> finished mark

Every step is repeatable, so a run that was interrupted starts again from the finished mark.
Source: etcd server/storage/mvcc/kvstore_compaction.go; key_index.go, keyIndex.compact.
"""

from __future__ import annotations

from collections.abc import Generator

import apsw

from etcdops.ids import Revision
from etcdops.node.storage.batch import Batch, Bindings
from etcdops.node.storage.hash_kv import HashKV, hash_kv_steps
from etcdops.node.storage.reading import after
from etcdops.snapshot.sqlite_schema import NEVER_COMPACTED, SUB_BITS, Meta

HASHES_KEPT = 10
"""Hashes of the newest compactions, as many as etcd keeps."""

_SET_MARK = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_GET_MARK = "SELECT value FROM meta WHERE name = ?"
_CHANGES = (
    "SELECT rev, prev, CASE WHEN kv IS NULL THEN key END FROM revision WHERE rev >= ? AND rev < ? ORDER BY rev LIMIT ?"
)
_FORGET_CHANGE = "DELETE FROM revision WHERE rev = ?"
_FORGET_KEY = "DELETE FROM current WHERE key = ? AND rev = ?"


class Compactor:
    """The marks and the work between them. `scheduled` counts for reads at once, whatever was deleted so far."""

    def __init__(self, connection: apsw.Connection, batch: Batch, *, keep_hashes: bool) -> None:
        self._connection = connection
        self._batch = batch
        self._keep_hashes = keep_hashes
        self.scheduled = read_mark(connection, Meta.SCHEDULED_COMPACTION)
        self.finished = read_mark(connection, Meta.FINISHED_COMPACTION)
        self.scheduled = max(self.scheduled, self.finished)
        self.hashes: list[HashKV] = []
        self.removed = 0
        """Changes that were forgotten since this was made."""
        self._work: Generator[None, None, None] | None = None
        self._rows_max = 0
        if self.pending:
            self._work = self._run(self.finished, hashed=False)

    @property
    def pending(self) -> bool:
        """Some of the work is still to be done."""
        return self.scheduled > self.finished

    def schedule(self, revision: Revision) -> None:
        """Compact to `revision`, which is above `scheduled`. Raises: StorageFailed."""
        previous, complete = self.scheduled, not self.pending
        self._batch.write(_SET_MARK, (Meta.SCHEDULED_COMPACTION, revision))
        self.scheduled = revision
        # A hash that does not cover everything since the last compaction would differ between members. One of
        # revision 0 would answer for "now", which is what a request with revision 0 means.
        self._work = self._run(previous, hashed=complete and self._keep_hashes and revision > 0)

    def step(self, rows_max: int) -> bool:
        """Look at about `rows_max` changes; True when nothing is left to do. Raises: StorageFailed."""
        if self._work is None:
            return True
        self._rows_max = rows_max
        mark = self._batch.mark()
        try:
            next(self._work)
        except StopIteration:
            self._work = None
        except BaseException:
            self._batch.rewind(mark)
            self._work = self._run(self.finished, hashed=False)
            raise
        return self._work is None

    def _run(self, previous: Revision, *, hashed: bool) -> Generator[None, None, None]:
        target = self.scheduled
        if hashed:
            steps = hash_kv_steps(self._connection, target, previous, previous, self._rows_max, compacting=True)
            self._remember((yield from steps))
        # Deletions exactly at the last compaction were kept by it and go now.
        low, high = max(self.finished, 0) << SUB_BITS, after(target)
        while True:
            rows: list[tuple[int, int, bytes | None]] = list(
                self._connection.execute(_CHANGES, (low, high, self._rows_max))
            )
            self._forget(rows, target << SUB_BITS)
            if len(rows) < self._rows_max:
                break
            low = rows[-1][0] + 1
            yield
        self._batch.write(_SET_MARK, (Meta.FINISHED_COMPACTION, target))
        self.finished = target

    def _forget(self, rows: list[tuple[int, int, bytes | None]], tombstones_below: int) -> None:
        changes: list[Bindings] = [(prev,) for _, prev, _ in rows if prev]
        keys: list[Bindings] = []
        for rev, _, deleted_key in rows:
            if deleted_key is not None and rev < tombstones_below:
                changes.append((rev,))
                keys.append((deleted_key, rev))
        self.removed += len(changes)
        self._batch.write_many(_FORGET_CHANGE, changes)
        self._batch.write_many(_FORGET_KEY, keys)

    def _remember(self, found: HashKV) -> None:
        self.hashes = [*self.hashes, found][-HASHES_KEPT:]


def read_mark(connection: apsw.Connection, name: str) -> Revision:
    """A compaction mark of a state; NEVER_COMPACTED when it was never set."""
    rows: list[tuple[int]] = list(connection.execute(_GET_MARK, (name,)))
    return Revision(rows[0][0]) if rows else NEVER_COMPACTED
