"""Reads of a state from a background thread, all of one moment, while the event loop goes on writing."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import apsw

from etcdops.errors import StartRefused
from etcdops.ids import Revision
from etcdops.node.storage.compaction import read_mark
from etcdops.node.storage.database import Mode, failure, open_database
from etcdops.node.storage.errors import Compacted, FutureRevision
from etcdops.node.storage.hash_kv import HashKV, finish, hash_kv_steps
from etcdops.node.storage.mvcc import RangeResult, hash_revision, last_revision
from etcdops.node.storage.reading import KeyReader
from etcdops.snapshot.sqlite_schema import FileKind, Meta

_HASH_ROWS = 10_000


class StateReader:
    """A fixed image of what was committed when it was opened. Use it in one thread, and briefly: while it is open,
    the write-ahead log cannot start over.

    For what must see the newest writes, call StateStore.commit on the loop before.
    """

    def __init__(self, path: Path) -> None:
        """Open and fix the image. Raises: StorageFailed."""
        self._path = path
        try:
            self._connection = open_database(path, FileKind.STATE, Mode.READER)
        except StartRefused as error:
            raise failure(apsw.CantOpenError(str(error)), path, "opening it for reading") from error
        self._connection.execute("BEGIN")
        self._finished = read_mark(self._connection, Meta.FINISHED_COMPACTION)
        self.compact_revision: Revision = max(read_mark(self._connection, Meta.SCHEDULED_COMPACTION), self._finished)
        self.revision: Revision = last_revision(self._connection, self.compact_revision)
        self._reader = KeyReader(self._connection)

    def __enter__(self) -> StateReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the image."""
        self._connection.close(True)

    def range(self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0) -> RangeResult:
        """As Mvcc.range. Raises: Compacted, FutureRevision, StorageFailed."""
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if 0 < revision < self.compact_revision:
            raise Compacted(revision, self.compact_revision)
        now = revision <= 0 or revision == self.revision
        try:
            found = self._reader.now(key, range_end, limit) if now else None
            found = found or self._reader.then(key, range_end, revision, limit)
            count = found.count
            if found.last_key is not None:
                reader = self._reader
                count = reader.now_count(key, range_end) if now else reader.then_count(key, range_end, revision)
        except apsw.Error as error:
            raise failure(error, self._path, "reading a range") from error
        return RangeResult(found.kvs, count, self.revision)

    def hash_kv(self, revision: int = 0) -> HashKV:
        """As Mvcc.hash_kv, but for the hashes kept in memory: ask Mvcc.stored_hash for those first.

        Raises: Compacted, FutureRevision, StorageFailed.
        """
        at = hash_revision(revision, self.revision, self.compact_revision)
        try:
            return finish(hash_kv_steps(self._connection, at, self.compact_revision, self._finished, _HASH_ROWS))
        except apsw.Error as error:
            raise failure(error, self._path, "hashing") from error
