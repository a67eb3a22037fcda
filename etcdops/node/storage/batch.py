"""The open transaction of the state: many applied entries, one commit, and no loss when that commit fails.

SQLite rolls a whole transaction back when the disk is full. The entries in it were acknowledged, so reads must go on
seeing them: the batch remembers its statements and runs them again in a new transaction, and the commit can be tried
later. The raft log has the entries too, so a crash in between loses nothing either.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from etcdops.node.storage.database import failure
from etcdops.node.storage.errors import NoSpace, StorageFailed

_STATEMENT_BYTES = 200
"""What a statement and its pages cost besides its values."""

Bindings = tuple[int | str | bytes | None, ...]


HELD_BYTES_MAX = 256 << 20
"""What may wait for a disk that is full, before the member ends: it applies what the others agree on without end."""


class Batch:
    """Every write to a state goes through here. The transaction begins with the first write after a commit."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._cursor = connection.cursor()
        self._execute = self._cursor.execute
        self._written: list[tuple[str, Bindings | list[Bindings]]] = []
        self._held_bytes: int | None = None
        """Of what is remembered, counted since a commit failed; None while commits succeed."""

    def __len__(self) -> int:
        """Statements since the last commit; 0 = nothing to commit."""
        return len(self._written)

    def write(self, sql: str, bindings: Bindings) -> None:
        """Run one statement that returns nothing. Raises: StorageFailed, and then the statement had no effect."""
        if self._held_bytes is not None:
            self._hold(_size(bindings))
        try:
            if not self._written:
                self._execute("BEGIN IMMEDIATE")
            self._execute(sql, bindings)
        except apsw.Error as error:
            raise self._recovered(error, "writing") from error
        self._written.append((sql, bindings))

    def write_many(self, sql: str, rows: list[Bindings]) -> None:
        """Run one statement for each of `rows`, which belong to the batch from now on. Raises: as `write`."""
        if not rows:
            return
        if self._held_bytes is not None:
            self._hold(sum(map(_size, rows)))
        try:
            if not self._written:
                self._execute("BEGIN IMMEDIATE")
            self._cursor.executemany(sql, rows)
        except apsw.Error as error:
            raise self._recovered(error, "writing", partly=True) from error
        self._written.append((sql, rows))

    def mark(self) -> int:
        """A point to `rewind` to; it is good until the next commit."""
        return len(self._written)

    def rewind(self, mark: int) -> None:
        """Undo everything written since `mark`. Raises: StorageFailed, and then the connection is closed."""
        if mark == len(self._written) and self._connection.in_transaction == bool(mark):
            return
        del self._written[mark:]
        self._again()

    def commit(self) -> bool:
        """End the transaction, without fsync; False when there was none.

        Raises: StorageFailed, NoSpace - the transaction stays open.
        """
        if not self._written:
            return False
        try:
            self._execute("COMMIT")
        except apsw.Error as error:
            if self._held_bytes is None:
                self._held_bytes = sum(
                    sum(map(_size, bindings)) if isinstance(bindings, list) else _size(bindings)
                    for _, bindings in self._written
                )
            raise self._recovered(error, "committing") from error
        self._written = []
        self._held_bytes = None
        return True

    def _hold(self, size_bytes: int) -> None:
        """Room for one more in memory, while the disk takes nothing. Raises: NoSpace - there is none."""
        assert self._held_bytes is not None
        self._held_bytes += size_bytes
        if self._held_bytes > HELD_BYTES_MAX:
            raise NoSpace(
                f"{self._path}: no space left for too long: {self._held_bytes >> 20} MiB of changes wait in memory",
                cause="commits have failed since the disk became full; the raft log has everything",
                hint="free space on this file system, then start the member again: nothing acknowledged was lost",
            )

    def _recovered(self, error: apsw.Error, doing: str, *, partly: bool = False) -> StorageFailed:
        """The error to raise, after making sure that what was written before still stands, and nothing else."""
        if partly or self._connection.in_transaction != bool(self._written):
            self._again()
        return failure(error, self._path, doing)

    def _again(self) -> None:
        """Start over and run all remembered statements: they changed memory only, so this needs no disk space."""
        try:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            if not self._written:
                return
            self._execute("BEGIN IMMEDIATE")
            for sql, bindings in self._written:
                if isinstance(bindings, list):
                    self._cursor.executemany(sql, bindings)
                else:
                    self._execute(sql, bindings)
        except apsw.Error as error:
            self._connection.close(True)  # reading on would show a past that was already answered from
            raise failure(error, self._path, "repeating the open transaction") from error


def _size(bindings: Bindings) -> int:
    """Bytes of memory, about."""
    return _STATEMENT_BYTES + sum(len(value) for value in bindings if isinstance(value, bytes | str))
