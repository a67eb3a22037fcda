"""Whole-file work on a state: images taken while it is written to, putting one in place, defragmentation.

An image is the bytes of the file itself, read while others write. SQLite's rules for its write-ahead log (sqlite.org,
"WAL-mode File Format") make that safe: nothing newer than what an open reader sees gets into the file. So a reader
begins, a checkpoint follows, and if that reports all of the log as moved, the file is what the reader sees, and stays
so until the reader ends. If it could not move all, because an older reader or a new commit was in the way, and it is
still so after some attempts, SQLite copies page by page, which costs eight times the CPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

from etcdops.errors import StartRefused
from etcdops.files import make_private, sync_folder
from etcdops.ids import LogIndex, Revision, Term
from etcdops.node.raft.types import ConfState
from etcdops.node.storage.compaction import read_mark
from etcdops.node.storage.database import (
    DATABASE_HEADER_BYTES,
    Mode,
    failure,
    log_of,
    no_waiting,
    open_database,
    refusal,
)
from etcdops.node.storage.log_rows import decode_conf_state
from etcdops.node.storage.mvcc import last_revision
from etcdops.snapshot.sqlite_schema import FileKind, Meta

_CHUNK_BYTES = 1024 * 1024
_PAGES_A_STEP = 1_024
_ATTEMPTS = 5
_UNFINISHED = ".part"
_DEFRAGMENTED = ".defrag"

_NO_LOG = b"\x01\x01"
"""Bytes 18 and 19 of a database that has no write-ahead log: one file, readable from a read-only place."""

OnChunk = Callable[[bytes, int], None]
"""Hears of each piece of an image, in order, after it was written: (the piece, the size of the whole image)."""

Checkpoint = Callable[[Callable[[], None]], bool]
"""Calls its argument, then at once checkpoints. Returns: whether all of the write-ahead log is in the file now."""


class SnapshotInfo(NamedTuple):
    """What an image of a state holds."""

    revision: Revision
    compact_revision: Revision
    consistent_index: LogIndex
    consistent_term: Term
    conf_state: ConfState | None
    """The raft configuration as of `consistent_index`, None when it was never written."""
    size_bytes: int


def unfinished(target: Path) -> Path:
    """Where an image grows until it is complete."""
    return target.with_name(target.name + _UNFINISHED)


def write(state: Path, target: Path, checkpoint: Checkpoint, on_chunk: OnChunk | None) -> SnapshotInfo:
    """See StateStore.write_snapshot. One read transaction is held for the whole copy, so it is of one moment."""
    growing = unfinished(target)
    try:
        source = open_database(state, FileKind.STATE, Mode.READER)
        try:
            in_file = _fix_moment(source, checkpoint)
            info = read_info(source)
            growing.unlink(missing_ok=True)
            make_private(growing)
            if in_file and _is_whole(source, info):
                _copy_file(source, growing, info.size_bytes, on_chunk)
            else:
                _copy_pages(source, growing)
                if on_chunk is not None:
                    _read_again(growing, info.size_bytes, on_chunk)
        finally:
            source.close(True)
        growing.replace(target)
    except (apsw.Error, OSError, StartRefused) as error:
        raise failure(_as_sqlite(error), target, "writing a snapshot") from error
    finally:
        growing.unlink(missing_ok=True)
    return info


def install(snapshot: Path, state: Path) -> SnapshotInfo:
    """See StateStore.install."""
    info = verify(snapshot)
    _fold(state)
    try:
        _sync(snapshot)
        snapshot.replace(state)
        sync_folder(state.parent)
        sync_folder(snapshot.parent)
    except OSError as error:
        raise refusal(error, state, FileKind.STATE) from error
    return info


def verify(snapshot: Path) -> SnapshotInfo:
    """What a snapshot file holds, after SQLite checked its structure. Raises: StartRefused - damaged or no state."""
    connection = open_database(snapshot, FileKind.STATE, Mode.READER)
    try:
        rows: list[tuple[str]] = list(connection.execute("PRAGMA quick_check(1)"))
        if rows != [("ok",)]:
            raise apsw.CorruptError(rows[0][0] if rows else "no answer from the check")
        return read_info(connection)
    except apsw.Error as error:
        raise refusal(error, snapshot, FileKind.STATE) from error
    finally:
        connection.close(True)


def remove(state: Path) -> None:
    """Delete a state that was never used, its write-ahead log last: alone that is nothing, the database would be."""
    for path in (state, log_of(state), state.with_name(state.name + "-shm")):
        path.unlink(missing_ok=True)
    sync_folder(state.parent)


def defragment(connection: apsw.Connection, path: Path) -> None:
    """See StateStore.defragment. The compact copy is made beside the file, then written back in one transaction.

    As VACUUM does it, but VACUUM puts its copy under /tmp, which may be small.
    """
    compact = path.with_name(path.name + _DEFRAGMENTED)
    try:
        try:
            _rewrite_compact(connection, compact)
        except BaseException:
            with contextlib.suppress(OSError):  # why it failed is told; the copy goes at the next start
                compact.unlink(missing_ok=True)
            raise
        compact.unlink()
    except (apsw.Error, OSError) as error:
        raise failure(_as_sqlite(error), path, "defragmenting") from error


def _rewrite_compact(connection: apsw.Connection, compact: Path) -> None:
    compact.unlink(missing_ok=True)
    make_private(compact)
    connection.execute("VACUUM INTO ?", (os.fspath(compact),))
    source = apsw.Connection(os.fspath(compact), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        with connection.backup("main", source, "main") as backup:
            backup.step(-1)
    finally:
        source.close(True)
    try:
        with no_waiting(connection):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        pass  # a snapshot is being written: the file shrinks with a later checkpoint


def remove_leftovers(state: Path) -> None:
    """Delete what a crash in the middle of `defragment` left. Raises: StartRefused - it cannot be deleted."""
    for leftover in state.parent.glob(f"{state.name}{_DEFRAGMENTED}*"):
        try:
            leftover.unlink(missing_ok=True)
        except OSError as error:
            raise refusal(error, leftover, FileKind.STATE) from error


def read_info(connection: apsw.Connection) -> SnapshotInfo:
    """What the state behind a connection holds."""
    compacted = max(read_mark(connection, Meta.SCHEDULED_COMPACTION), read_mark(connection, Meta.FINISHED_COMPACTION))
    meta: dict[str, int] = dict(list(connection.execute("SELECT name, value FROM meta")))
    conf_state = meta.get(Meta.CONF_STATE)
    sizes = [connection.pragma("page_count"), connection.pragma("page_size")]
    return SnapshotInfo(
        revision=last_revision(connection, compacted),
        compact_revision=compacted,
        consistent_index=LogIndex(meta.get(Meta.CONSISTENT_INDEX, 0)),
        consistent_term=Term(meta.get(Meta.TERM, 0)),
        conf_state=decode_conf_state(str(conf_state)) if conf_state is not None else None,
        size_bytes=int(str(sizes[0])) * int(str(sizes[1])),
    )


def _fix_moment(source: apsw.Connection, checkpoint: Checkpoint) -> bool:
    """Begin to read, at a moment that is all in the file if possible. Returns: whether it is."""

    def begin() -> None:
        source.execute("BEGIN")
        list(source.execute("SELECT 1 FROM meta LIMIT 1"))  # the first read fixes the moment

    for _ in range(_ATTEMPTS):
        if checkpoint(begin):
            return True
        source.execute("ROLLBACK")
    begin()
    return False


def _is_whole(source: apsw.Connection, info: SnapshotInfo) -> bool:
    """The file's own header says what the reader sees: its size in pages, and that this number is to be believed."""
    _, header = source.read("main", 0, 0, DATABASE_HEADER_BYTES)
    page_size = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    return header[24:28] == header[92:96] and pages * (65_536 if page_size == 1 else page_size) == info.size_bytes


def _copy_file(source: apsw.Connection, target: Path, size: int, on_chunk: OnChunk | None) -> None:
    """Never synced: the image is sent away and deleted, and a sync of so much would keep the raft log's waiting."""
    with target.open("wb") as image:
        for at in range(0, size, _CHUNK_BYTES):
            # Through SQLite: closing a file descriptor of our own would drop the locks of all connections (POSIX).
            whole, chunk = source.read("main", 0, at, min(_CHUNK_BYTES, size - at))
            if not whole:
                raise apsw.CorruptError(f"the file ends before byte {at + len(chunk)} of {size}")
            if at == 0:
                chunk = chunk[:18] + _NO_LOG + chunk[20:]
            image.write(chunk)
            if on_chunk is not None:
                image.flush()
                on_chunk(chunk, size)


def _copy_pages(source: apsw.Connection, target: Path) -> None:
    image = apsw.Connection(os.fspath(target))
    try:
        image.pragma("synchronous", "OFF")
        with image.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(_PAGES_A_STEP)
        image.pragma("journal_mode", "DELETE")
    finally:
        image.close(True)


def _read_again(image: Path, size: int, on_chunk: OnChunk) -> None:
    with image.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            on_chunk(chunk, size)


def _fold(state: Path) -> None:
    """Bring an old state into its one file, so that replacing that file replaces all of it.

    A write-ahead log left beside the new file would be taken for its own.
    """
    log = log_of(state)
    if not state.exists():
        log.unlink(missing_ok=True)
        return
    try:
        old = open_database(state, FileKind.STATE, Mode.STATE_WRITER)
    except StartRefused:
        if not log.exists():
            return  # damaged, and about to be replaced
        raise
    try:
        old.pragma("locking_mode", "EXCLUSIVE")
        old.pragma("journal_mode", "DELETE")
    except apsw.Error as error:
        raise refusal(error, state, FileKind.STATE) from error
    finally:
        old.close(True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_sqlite(error: Exception) -> apsw.Error:
    """An error of the file system, in SQLite's words."""
    if isinstance(error, apsw.Error):
        return error
    found = apsw.IOError(str(error))
    found.__cause__ = error
    return found
