"""How the member opens SQLite: the one home of its pragmas, modes of opening, and what its errors mean.

Threads: a connection belongs to one thread at a time. The raft log has one connection (storage thread), the state has
one that writes (event loop) and short-lived ones that read or checkpoint (background threads).

Never open these files with anything but SQLite while the member runs: closing any other descriptor of a database
drops the locks this process holds on it (POSIX).
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from etcdops.errors import StartRefused
from etcdops.files import make_private, sync_folder
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.snapshot.sqlite_schema import FileKind, create_tables, schema_problem

Pragma = Callable[[apsw.Connection], object]

SQLITE_VERSION_MIN: Final = (3, 51, 3)
"""Older libraries can damage a database whose write-ahead log is reset while another connection reads it."""

DATABASE_HEADER_BYTES: Final = 100
_REPLACE: Final = (
    "put back an undamaged copy; or remove this member from the cluster and add it again with an empty data dir;"
    " if it is the only member, restore a snapshot"
)
_BUSY_TIMEOUT_MS: Final = 10_000
_STATE_CACHE_KIB: Final = 64 * 1024
_STATE_WAL_KEPT_BYTES: Final = 64 * 1024 * 1024
_LOG_CHECKPOINT_PAGES: Final = 4_000


def untrusted_file(connection: apsw.Connection) -> None:
    """A snapshot may come from anywhere: no SQL hidden in it may run, and every page is checked as it is read."""
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.pragma("cell_size_check", True)


def wait_for_locks(connection: apsw.Connection) -> None:
    """A checkpoint holds the write lock for a moment; whoever meets it waits, and gives up in bounded time."""
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)


def temporary_data_in_memory(connection: apsw.Connection) -> None:
    """Sorting must not depend on room in /tmp."""
    connection.pragma("temp_store", "MEMORY")


def write_ahead_log(connection: apsw.Connection) -> None:
    """Readers see a fixed image while the writer goes on, and a commit is one sequential write."""
    mode = connection.pragma("journal_mode", "WAL")
    if mode != "wal":
        raise apsw.CantOpenError(f"SQLite uses journal mode {mode} here: does the file system support locks?")


def fsync_each_commit(connection: apsw.Connection) -> None:
    """The raft log is the truth: what is committed has reached the disk."""
    connection.pragma("synchronous", "FULL")


def fsync_each_checkpoint(connection: apsw.Connection) -> None:
    """The state is replayed from the raft log after a power loss, so only checkpoints wait for the disk."""
    connection.pragma("synchronous", "NORMAL")


def one_process(connection: apsw.Connection) -> None:
    """The raft log has one connection in the world; holding its lock for good also saves the shared-memory file."""
    connection.pragma("locking_mode", "EXCLUSIVE")


def checkpoint_rarely(connection: apsw.Connection) -> None:
    """A checkpoint adds two fsyncs to one append; sixteen megabytes of log between them makes that rare."""
    connection.pragma("wal_autocheckpoint", _LOG_CHECKPOINT_PAGES)


def keep_log_on_close(connection: apsw.Connection) -> None:
    """The log file must always be there, so that a missing one is known to be a loss and not a clean shutdown."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def checkpoint_elsewhere(connection: apsw.Connection) -> None:
    """Checkpoints wait for the disk, so a background thread does them (StateStore.checkpoint), never the event loop."""
    connection.pragma("wal_autocheckpoint", 0)


def batch_in_memory(connection: apsw.Connection) -> None:
    """Changed pages stay in memory until the commit: applying an entry never waits for the disk or finds it full."""
    connection.pragma("cache_spill", False)
    connection.pragma("cache_size", -_STATE_CACHE_KIB)


def bounded_log_file(connection: apsw.Connection) -> None:
    """After a burst the log file shrinks again when it starts over."""
    connection.pragma("journal_size_limit", _STATE_WAL_KEPT_BYTES)


_ALL: Final = (untrusted_file, temporary_data_in_memory)


class Mode(enum.Enum):
    """What a connection is for; its value is the pragmas it gets."""

    RAFT_LOG = (*_ALL, one_process, fsync_each_commit, checkpoint_rarely, keep_log_on_close)
    STATE_WRITER = (
        *_ALL,
        wait_for_locks,
        fsync_each_checkpoint,
        checkpoint_elsewhere,
        batch_in_memory,
        bounded_log_file,
    )
    STATE_CHECKPOINTER = (*_ALL, wait_for_locks, fsync_each_checkpoint, checkpoint_elsewhere, bounded_log_file)
    READER = (*_ALL, wait_for_locks)


_FIRST_TO_OPEN: Final = (Mode.RAFT_LOG, Mode.STATE_WRITER)
"""Modes in which no other connection of this process may be open: only then may the file be read without SQLite."""


def open_database(path: Path, kind: FileKind, mode: Mode) -> apsw.Connection:
    """Open an existing file of the member.

    Raises: StartRefused - the file is missing, locked, unreadable, damaged, read-only though it must be written, or
        something else than a file of this kind and version. It is left as it was found.
    """
    require_sqlite()
    flags = apsw.SQLITE_OPEN_READONLY if mode is Mode.READER else apsw.SQLITE_OPEN_READWRITE
    if not path.exists():
        raise StartRefused(
            f"{path}: the {kind.title} is missing",
            hint="bring the file back, or remove this member from the cluster and add it again with an empty data dir",
        )
    if mode in _FIRST_TO_OPEN:
        _check_writable(path, kind)
        _check_header(path, kind)
    connection: apsw.Connection | None = None
    try:
        connection = apsw.Connection(os.fspath(path), flags=flags)
        for pragma in mode.value:
            pragma(connection)
        problem = schema_problem(connection, kind)
        if problem:
            raise StartRefused(
                f"{path} is not the {kind.title} this version can use: {problem}",
                hint="check --data-dir; a file of a newer version needs that version of etcdops",
            )
        if mode is not Mode.READER:
            if connection.readonly("main"):
                raise apsw.ReadOnlyError("the file or its file system is read-only")
            write_ahead_log(connection)  # only now: it writes, and the file is known to be ours
    except apsw.Error as error:
        _close_quietly(connection)
        raise refusal(error, path, kind) from error
    except StartRefused:
        _close_quietly(connection)
        raise
    return connection


def _check_writable(path: Path, kind: FileKind) -> None:
    """Name a read-only disk or a wrong owner: SQLite would only say that it cannot open something."""
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise StartRefused(
                f"{place}: the {kind.title} is read-only for this process",
                hint="mount the file system writable, and run as the owner of the data directory",
            )


def _check_header(path: Path, kind: FileKind) -> None:
    """Refuse a stranger before SQLite touches it: opening alone may make or fold a write-ahead log."""
    try:
        with path.open("rb") as file:
            header = file.read(DATABASE_HEADER_BYTES)
    except OSError as error:
        raise refusal(error, path, kind) from error
    if header[:16] != b"SQLite format 3\0":
        what = "is empty" if not header.strip(b"\0") else "is not an SQLite database"
        raise StartRefused(f"{path}: the {kind.title} is damaged: the file {what}", hint=_REPLACE)
    if header[68:72] != kind.value.to_bytes(4, "big"):
        stranger = next((other for other in FileKind if header[68:72] == other.value.to_bytes(4, "big")), None)
        owner = f"the {stranger.title}" if stranger else "the SQLite database of another program"
        raise StartRefused(f"{path} is not the {kind.title}: it is {owner}", hint="check --data-dir and --wal-dir")


def create_database(path: Path, kind: FileKind, fill: Callable[[apsw.Connection], None]) -> None:
    """Make an empty file of this kind; it appears under its name only when it is complete and on disk.

    A raft log is in write-ahead mode from the start and never without its `-wal` file.
    Args: fill writes the first rows.
    Raises: StartRefused - the file is there already, or the disk does not take it.
    """
    require_sqlite()
    if path.exists():
        raise StartRefused(f"{path} exists already", hint="choose another --data-dir, or move the old one away")
    unfinished = path.with_name(path.name + ".new")
    try:
        for leftover in (unfinished, log_of(unfinished), log_of(path)):
            leftover.unlink(missing_ok=True)
        make_private(unfinished)
        connection = apsw.Connection(os.fspath(unfinished))
        try:
            one_process(connection)
            fsync_each_commit(connection)
            with connection:
                create_tables(connection, kind)
            if kind is FileKind.RAFT_LOG:
                keep_log_on_close(connection)
                write_ahead_log(connection)
            with connection:
                fill(connection)
        finally:
            connection.close()
        if kind is FileKind.RAFT_LOG:
            log_of(unfinished).replace(log_of(path))
            sync_folder(path.parent)  # the database without it, should only one name get to the disk, is a damaged one
        unfinished.replace(path)
        sync_folder(path.parent)
    except (apsw.Error, OSError) as error:
        for leftover in (unfinished, log_of(unfinished), unfinished.with_name(unfinished.name + "-journal")):
            leftover.unlink(missing_ok=True)
        raise refusal(error, path, kind) from error


@contextmanager
def no_waiting(connection: apsw.Connection) -> Iterator[None]:
    """Whoever holds a lock inside makes the call fail with BusyError at once: for the event loop."""
    connection.set_busy_timeout(0)
    try:
        yield
    finally:
        wait_for_locks(connection)


def log_of(path: Path) -> Path:
    """SQLite's write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def require_sqlite() -> None:
    """Refuse an SQLite library with a known way of losing data. Raises: StartRefused."""
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if found < SQLITE_VERSION_MIN:
        needed = ".".join(map(str, SQLITE_VERSION_MIN))
        raise StartRefused(
            f"SQLite {apsw.sqlite_lib_version()} can damage a database; {needed} or newer is needed",
            hint="pip install --upgrade apsw",
        )


# --- what SQLite's errors mean ---------------------------------------------------------------------------------------


def failure(error: apsw.Error, path: Path, doing: str) -> StorageFailed:
    """A running member's error: NoSpace when the disk is full, else StorageFailed with what to look at."""
    cause = f"SQLite: {error}"
    if _is_full(error):
        return NoSpace(
            f"{path}: no space left while {doing}",
            cause=cause,
            hint="free space on this file system; the member goes on by itself, nothing was lost",
        )
    hint = "look at the kernel's log for disk errors, then restart the member"
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError) or _errno(error) == errno.EROFS:
        hint = "the file system became read-only: see the kernel's log, remount it writable, restart the member"
    elif isinstance(error, apsw.CorruptError | apsw.NotADBError):
        hint = "the file is damaged: remove this member from the cluster and add it again with an empty data dir"
    return StorageFailed(f"{path}: failed while {doing}", cause=cause, hint=hint)


def refusal(error: apsw.Error | OSError, path: Path, kind: FileKind) -> StartRefused:
    """The same at start: what is wrong with which file, and what to do about it."""
    what, hint = "cannot be opened", "look at the path, its owner and the kernel's log"
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        what, hint = "is in use by another process", "stop the other process, or choose another --data-dir"
    elif isinstance(error, apsw.NotADBError):
        what, hint = "is not an SQLite database", _REPLACE
    elif isinstance(error, apsw.CorruptError):
        what, hint = "is damaged", _REPLACE
    elif _is_full(error):
        what, hint = "cannot be written: the disk is full", "free space on this file system and start again"
    elif isinstance(error, apsw.ReadOnlyError) or _errno(error) == errno.EROFS:
        what, hint = "is read-only", "mount the file system writable and check the file's mode and owner"
    elif isinstance(error, apsw.PermissionsError) or _errno(error) in (errno.EACCES, errno.EPERM):
        what, hint = "may not be used by this user", "run as the owner of the data directory"
    return StartRefused(f"{path}: the {kind.title} {what}", cause=str(error), hint=hint)


def _is_full(error: apsw.Error | OSError) -> bool:
    """Also when there is no room for the shared memory beside a database, which SQLite calls an I/O error."""
    if isinstance(error, apsw.FullError) or _errno(error) in (errno.ENOSPC, errno.EDQUOT):
        return True
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE


def _errno(error: apsw.Error | OSError) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    cause = error.__cause__ or error.__context__  # an error raised inside a VFS written in Python
    return cause.errno or 0 if isinstance(cause, OSError) else 0


def _close_quietly(connection: apsw.Connection | None) -> None:
    if connection is not None:
        connection.close(True)
