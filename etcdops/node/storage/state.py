"""state.db: everything a member knows, in one file and one open transaction.

    event loop          one connection that writes; reads on it see the open transaction
    background thread   `checkpoint`, `write_snapshot`, `StateReader`: connections of their own, which see what was
                        committed; call `commit` on the loop first when the newest state matters

`mark_applied` and the data of the entry land in the same SQLite transaction, so a crash neither skips nor repeats an
entry. Commits do not fsync: after a loss of power the raft log replays what was not checkpointed, therefore the raft
log may only be shortened up to what `checkpoint` returned.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

from etcdops.errors import StartRefused
from etcdops.ids import LogIndex, Term
from etcdops.node.raft.types import ConfState
from etcdops.node.storage import snapshot_copy
from etcdops.node.storage.batch import Batch
from etcdops.node.storage.database import Mode, create_database, failure, log_of, no_waiting, open_database, refusal
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.storage.log_rows import decode_conf_state, encode_conf_state
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.snapshot_copy import OnChunk, SnapshotInfo
from etcdops.node.storage.tables import AlarmTable, AuthTable, LeaseTable, MemberTable, ValueTable
from etcdops.snapshot.sqlite_schema import FileKind, Meta

WAL_BYTES_MAX = 128 << 20
"""Above this the first commit after a checkpoint brings the rest onto the disk itself, so that the write-ahead log can
start over. Under steady writes no other thread finds a moment in which nothing is new."""


class _Checkpoint(NamedTuple):
    synced: LogIndex
    """The last entry that survives a loss of power."""

    moved_all: bool
    """Nothing is only in the write-ahead log."""


class StateStore:
    """The state of a member. Methods belong to the event loop's thread unless they say otherwise."""

    def __init__(self, connection: apsw.Connection, path: Path, *, keep_hashes: bool) -> None:
        self.path = path
        self._connection = connection
        self._batch = Batch(connection, path)
        self.meta = ValueTable(connection, self._batch, "meta")
        self.leases = LeaseTable(connection, self._batch)
        self.alarms = AlarmTable(connection, self._batch)
        self.members = MemberTable(connection, self._batch)
        self.auth = AuthTable(connection, self._batch)
        self.auth_meta = ValueTable(connection, self._batch, "auth")
        self.mvcc = Mvcc(connection, self._batch, path, keep_hashes=keep_hashes)
        self._index = LogIndex(self.meta.number(Meta.CONSISTENT_INDEX))
        self._term = Term(self.meta.number(Meta.TERM))
        self._marked = self._sealed = False
        self._measure()
        self._checkpoints = threading.Lock()
        self._checkpoint_error: StorageFailed | None = None
        self._log_is_long = False  # set by the checkpointing thread, cleared by the loop

    @classmethod
    def open(cls, path: Path, *, create: bool, keep_hashes: bool = True) -> StateStore:
        """Open a member's state; with `create` an empty one is made first, and must not exist.

        An interrupted compaction goes on with `mvcc.compact_step`.
        Args: keep_hashes - hash the keys before each compaction (costs one pass over them) for the corruption check.
        Raises: StartRefused - missing, damaged, in use, read-only, of another version or program; left untouched.
        """
        if create:
            create_database(path, FileKind.STATE, lambda connection: None)
        snapshot_copy.remove_leftovers(path)
        connection = open_database(path, FileKind.STATE, Mode.STATE_WRITER)
        try:
            return cls(connection, path, keep_hashes=keep_hashes)
        except apsw.Error as error:
            connection.close(True)
            raise refusal(error, path, FileKind.STATE) from error

    # --- the open transaction ---

    @property
    def consistent_index(self) -> LogIndex:
        """The last raft entry whose effects are in here, committed or not."""
        return self._index

    @property
    def consistent_term(self) -> Term:
        """The term of that entry."""
        return self._term

    def mark_applied(self, index: LogIndex, term: Term) -> None:
        """An entry was applied: from the next commit on it is not applied again. Call it for every entry, in order."""
        self._index, self._term, self._marked = index, term, True

    @property
    def conf_state(self) -> ConfState | None:
        """The raft configuration as of the consistent index; None before `keep_conf_state` was ever called."""
        text = self.meta.get(Meta.CONF_STATE)
        return None if text is None else decode_conf_state(str(text))

    def keep_conf_state(self, conf_state: ConfState) -> None:
        """An applied entry changed the raft configuration: kept in the transaction of that entry."""
        self.meta.put(Meta.CONF_STATE, encode_conf_state(conf_state))

    @property
    def pending(self) -> int:
        """How much waits for a commit: statements, about two a put. 0 = nothing was written."""
        return len(self._batch) + self._marked

    def commit(self) -> None:
        """End the open transaction. No fsync; the time is that of writing the changed pages to the page cache.

        Raises: NoSpace - the disk is full; the transaction stays open, reads go on, call again later.
            StorageFailed - the same, but the disk is at fault: stop the member; or the store is sealed.
        """
        if self._sealed:
            raise StorageFailed(f"{self.path}: nothing is committed any more", hint="the member is ending: see its log")
        if self._marked:
            self.meta.put(Meta.CONSISTENT_INDEX, self._index)
            self.meta.put(Meta.TERM, self._term)
        if self._batch.commit():
            self._measure()
        self._marked = False
        if self._log_is_long:
            self._log_is_long = False
            self._start_log_over()

    def seal(self) -> None:
        """Commit nothing any more, because an entry may be half applied: half of it would stay, and all of it would be
        applied again after a restart. Reads go on until `abandon`."""
        self._sealed = True

    def close(self) -> None:
        """Commit and close. Raises: StorageFailed - not committed, but closed."""
        try:
            self.commit()
        finally:
            self._connection.close(True)

    def abandon(self) -> None:
        """Close without committing, as a crash would: what was not committed comes again from the raft log."""
        try:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        except apsw.ConnectionClosedError:
            return
        self._connection.close(True)

    # --- background threads ---

    def checkpoint(self) -> LogIndex:
        """Bring what was committed onto the disk; returns the last entry that now survives a loss of power.

        For a background thread. Waits for fsync; writers go on meanwhile.
        Raises: NoSpace - it may be tried again. StorageFailed - and again at every later call: after a failed fsync
            nothing is known about the disk.
        """
        return self._checkpointed(lambda: None).synced

    def write_snapshot(self, path: Path, on_chunk: OnChunk | None = None) -> SnapshotInfo:
        """Write a consistent image of what was committed to a new file, while others go on writing.

        For a background thread. The file appears when it is complete; it is a state.db on its own. It is not synced:
        images are sent to somebody, who does that.
        Args: on_chunk hears of each piece once it is in `snapshot_copy.unfinished(path)`; what it raises ends the copy.
        Raises: StorageFailed, NoSpace - nothing is left behind.
        """
        return snapshot_copy.write(self.path, path, lambda begin: self._checkpointed(begin).moved_all, on_chunk)

    @staticmethod
    def install(snapshot: Path, state: Path) -> SnapshotInfo:
        """Make a snapshot file the state of a member whose store is closed. It is moved, not copied.

        Atomic: after a crash there is the whole old state or the whole new one.
        Raises: StartRefused - the file is damaged or no state, or the old state is still in use.
        """
        return snapshot_copy.install(snapshot, state)

    @staticmethod
    def check_image(snapshot: Path) -> SnapshotInfo:
        """What a received file holds, after its structure was checked; reads all of it.

        Raises: StartRefused - it is damaged, or no state of this version.
        """
        return snapshot_copy.verify(snapshot)

    @staticmethod
    def remove(state: Path) -> None:
        """Delete a state that was made but never used."""
        snapshot_copy.remove(state)

    # --- size ---

    @property
    def size_bytes(self) -> int:
        """The size of the file as of the last commit (etcd's dbSize): only `defragment` makes it smaller."""
        return self._size_bytes

    @property
    def size_in_use_bytes(self) -> int:
        """The same without the pages that are free to be used again (etcd's dbSizeInUse)."""
        return self._size_in_use_bytes

    def defragment(self) -> None:
        """Rewrite the file without its free pages. Blocks the member, and needs room for a copy beside the file.

        A crash in the middle leaves the old file as it was.
        Raises: NoSpace, StorageFailed - the same, and the store goes on.
        """
        self.commit()
        snapshot_copy.defragment(self._connection, self.path)
        self._measure()

    def _measure(self) -> None:
        """Sizes are asked for with every proposal, so they are measured once for each commit."""
        pages, free, page_size = (
            int(str(self._connection.pragma(name))) for name in ("page_count", "freelist_count", "page_size")
        )
        self._size_bytes = pages * page_size
        self._size_in_use_bytes = (pages - free) * page_size

    def _checkpointed(self, begin: Callable[[], None]) -> _Checkpoint:
        """Checkpoint, and remember it if the disk broke. `begin` is called right before the log is moved."""
        with self._checkpoints:
            if self._checkpoint_error is not None:
                raise self._checkpoint_error
            try:
                return self._checkpoint(begin)
            except (apsw.Error, OSError) as error:
                raise self._failed_for_good(error) from error

    def _checkpoint(self, begin: Callable[[], None]) -> _Checkpoint:
        connection = open_database(self.path, FileKind.STATE, Mode.STATE_CHECKPOINTER)
        try:
            rows: list[tuple[int]] = list(
                connection.execute("SELECT value FROM meta WHERE name = ?", (Meta.CONSISTENT_INDEX,))
            )
            wal = log_of(self.path)
            _sync_file(wal)  # the checkpoint itself skips this when a reader keeps it from moving anything
            begin()
            frames, moved = _move_log(connection)
            is_long = wal.exists() and wal.stat().st_size > WAL_BYTES_MAX
            if is_long:
                _move_log(connection)  # what came meanwhile: the loop is left with the pages of a commit or two
            self._log_is_long = is_long
            return _Checkpoint(LogIndex(rows[0][0] if rows else 0), moved_all=frames == moved >= 0)
        except StartRefused as refused:
            raise apsw.CantOpenError(str(refused)) from refused
        finally:
            connection.close()

    def _start_log_over(self) -> None:
        """Checkpoint what little is new since the last one. Not now if somebody reads from the log or checkpoints."""
        try:
            with no_waiting(self._connection):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            return
        except apsw.Error as error:
            raise self._failed_for_good(error) from error

    def _failed_for_good(self, error: apsw.Error | OSError) -> StorageFailed:
        """For good, unless the disk was only full: then nothing was synced, and everything is in the log as before."""
        cause = error if isinstance(error, apsw.Error) else apsw.IOError(str(error))
        failed = failure(cause, self.path, "checkpointing")
        if not isinstance(failed, NoSpace):
            self._checkpoint_error = failed
        return failed


def _move_log(connection: apsw.Connection) -> tuple[int, int]:
    """Frames in the write-ahead log, and how many of them are in the file. None when the loop starts it over now."""
    try:
        return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except apsw.BusyError:
        return -1, -1  # everything was synced where it was


def _sync_file(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # nothing was written since the last clean close
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
