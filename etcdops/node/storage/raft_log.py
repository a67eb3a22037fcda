"""wal.db: the raft log, the one file whose loss loses acknowledged writes.

An append is one transaction and one fsync. Everything read back at start is checked: SQLite's own structure, dense
indexes, terms that do not fall, and checksums; damage is named and never repaired by forgetting.

Opened on the loop, then used by the storage thread only. One process, one connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from etcdops.errors import StartRefused
from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.node.raft.storage import SnapshotOutOfDate
from etcdops.node.raft.types import ConfState, Entry, EntryType, HardState, SnapshotMetadata
from etcdops.node.storage.database import (
    DATABASE_HEADER_BYTES,
    Mode,
    create_database,
    failure,
    log_of,
    open_database,
    refusal,
)
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.storage.log_damage import FRAME_HEADER_BYTES, WAL_HEADER_BYTES, header_problem, tail_problem
from etcdops.node.storage.log_rows import decode_conf_state, encode_conf_state, entry_chain, row_crc
from etcdops.snapshot.checksum import sync
from etcdops.snapshot.sqlite_schema import FileKind, to_signed, to_unsigned

_REPLACE_MEMBER: Final = (
    "put back an undamaged copy of both files; or remove this member from the cluster and add it again with an empty"
    " data dir; if it is the only member, restore a snapshot"
)
_SET_HARD_STATE: Final = 'INSERT OR REPLACE INTO hard_state (id, term, vote, "commit", crc) VALUES (1, ?, ?, ?, ?)'
_SET_SNAPSHOT: Final = 'INSERT OR REPLACE INTO snapshot (id, "index", term, conf_state, crc) VALUES (1, ?, ?, ?, ?)'
_SET_BASE: Final = 'INSERT OR REPLACE INTO base (id, "index", term, chain, crc) VALUES (1, ?, ?, ?, ?)'
_SET_IDENTITY: Final = "INSERT INTO identity (id, member_id, cluster_id, crc) VALUES (1, ?, ?, ?)"
_ADD_ENTRY: Final = 'INSERT INTO entry ("index", term, type, data, chain) VALUES (?, ?, ?, ?, ?)'
_DROP_AFTER: Final = 'DELETE FROM entry WHERE "index" > ?'
_DROP_UP_TO: Final = 'DELETE FROM entry WHERE "index" <= ?'
_ENTRIES: Final = 'SELECT "index", term, type, data, chain FROM entry ORDER BY "index"'
_CHAIN_AT: Final = 'SELECT term, chain FROM entry WHERE "index" = ?'

_Value = int | str | bytes


@dataclass(frozen=True, slots=True)
class LoadedLog:
    """What a log holds, checked."""

    hard_state: HardState
    """`commit` may be behind what was committed, and behind the state's consistent index: it waits for other writes."""

    snapshot: SnapshotMetadata
    entries: list[Entry]
    """Dense, from `base_index` + 1. Some of them may be at or below the snapshot's index."""

    base_index: LogIndex
    """The last entry that was dropped."""

    base_term: Term


class RaftLog:
    """The durable copy of the raft log."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._cursor = connection.cursor()
        self._broken: StorageFailed | None = None
        self._checked: list[Entry] | None = None  # read by `open`, until `load` takes it or something is written
        self._hard_state = HardState()
        self._snapshot = SnapshotMetadata()
        self._base = (0, 0, 0)  # index, term, chain
        self._last = (0, 0)  # index, chain
        self._page_bytes = int(str(connection.pragma("page_size"))) + FRAME_HEADER_BYTES

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        member_id: MemberID,
        cluster_id: ClusterID,
        hard_state: HardState = HardState(),  # noqa: B008 - an immutable value
        entries: Sequence[Entry] = (),
    ) -> RaftLog:
        """Make the log of a member, with its first entries (from index 1) already in it: all of it, or no file.

        Raises: StartRefused - it exists, or the disk does not take it.
        """
        stored = (to_signed(member_id), to_signed(cluster_id))

        def fill(connection: apsw.Connection) -> None:
            connection.execute(_SET_IDENTITY, (*stored, row_crc(*stored)))
            connection.execute(_SET_BASE, (0, 0, 0, row_crc(0, 0, 0)))
            if entries:
                log = cls(connection, path)
                log._write_entries(list(entries))
                log._write_hard_state(hard_state)

        create_database(path, FileKind.RAFT_LOG, fill)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> RaftLog:
        """Open a member's log and check all of it.

        Raises: StartRefused - missing, damaged, in use, read-only, of another version or program; left untouched.
        """
        _check_files(path)
        connection = open_database(path, FileKind.RAFT_LOG, Mode.RAFT_LOG)
        log = cls(connection, path)
        try:
            log._check_structure()
            log._checked = log._read()
            log._settle()
        except (apsw.Error, OSError) as error:
            connection.close(True)
            raise refusal(error, path, FileKind.RAFT_LOG) from error
        except BaseException:
            connection.close(True)
            raise
        return log

    def load(self) -> LoadedLog:
        """Everything in the log, read and checked. Raises: StartRefused."""
        entries, self._checked = self._checked, None
        if entries is None:
            try:
                entries = self._read()
            except apsw.Error as error:
                raise refusal(error, self.path, FileKind.RAFT_LOG) from error
        base_index, base_term, _ = self._base
        return LoadedLog(self._hard_state, self._snapshot, entries, LogIndex(base_index), Term(base_term))

    @property
    def member_id(self) -> MemberID:
        """Whose log this is."""
        return self._member_id

    @property
    def cluster_id(self) -> ClusterID:
        """The cluster that member belongs to."""
        return self._cluster_id

    @property
    def first_index(self) -> LogIndex:
        """The first index that is or would be held."""
        return LogIndex(self._base[0] + 1)

    @property
    def last_index(self) -> LogIndex:
        """The last entry held, `first_index` - 1 when there is none. A state whose consistent index is above it proves
        that the end of this log is lost."""
        return LogIndex(self._last[0])

    @property
    def hard_state(self) -> HardState:
        """The one written last."""
        return self._hard_state

    @property
    def snapshot(self) -> SnapshotMetadata:
        """The one recorded last."""
        return self._snapshot

    @property
    def written_bytes(self) -> int:
        """Bytes written to the file since it was opened: whole pages, as SQLite writes them. The storage thread's."""
        pages, _ = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        return pages * self._page_bytes

    # --- writes ---

    def append(self, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool) -> None:
        """Add entries, replacing whatever is at the first one's index and after it; and save the hard state.

        One transaction and one fsync, none when nothing is new.
        Entries that were dropped already are skipped.
        Args: entries are dense and begin at most at last_index + 1; sync False = `--unsafe-no-fsync`.
        Raises: NoSpace - nothing was written, it may be tried again. StorageFailed - nothing may be written or
            acknowledged any more, and every later call says so.
        """
        kept = [entry for entry in entries if entry.index > self._base[0]]
        if hard_state == self._hard_state:
            hard_state = None
        if not kept and hard_state is None:
            return
        assert not kept or kept[0].index <= self._last[0] + 1, f"entry {kept[0].index} leaves a gap: {self._last[0]}"
        last = self._last
        with self._transaction("appending", sync=sync):
            if kept:
                last = self._write_entries(kept)
            if hard_state is not None:
                self._write_hard_state(hard_state)
        self._last = last
        self._hard_state = hard_state or self._hard_state

    def truncate_after(self, index: LogIndex) -> None:
        """Drop the entries above `index`, which must have been agreed on by nobody. Raises: as `append`."""
        if index >= self._last[0]:
            return
        with self._transaction("dropping entries", sync=True):
            last = self._cut_after(index)
        self._last = last

    def record_snapshot(self, metadata: SnapshotMetadata, *, keep_entries_after: LogIndex) -> None:
        """The state is safe up to `metadata.index`: remember that, and drop entries up to `keep_entries_after`.

        Args: keep_entries_after <= metadata.index <= last_index.
        Raises: SnapshotOutOfDate - a newer one is recorded; as `append`.
        """
        if metadata.index < self._snapshot.index:
            raise SnapshotOutOfDate(f"snapshot {metadata.index} is older than {self._snapshot.index}")
        base = self._base
        with self._transaction("recording a snapshot", sync=True):
            self._write_snapshot(metadata)
            if keep_entries_after > base[0]:
                term, chain = self._entry_at(keep_entries_after)
                base = (int(keep_entries_after), term, chain)
                self._write_base(base)
                self._cursor.execute(_DROP_UP_TO, (keep_entries_after,))
        self._snapshot, self._base = metadata, base

    def reset(self, metadata: SnapshotMetadata, hard_state: HardState) -> None:
        """Start over, empty, after a snapshot that the leader sent.

        Raises: SnapshotOutOfDate - a newer one is recorded; as `append`.
        """
        if metadata.index < self._snapshot.index:
            raise SnapshotOutOfDate(f"snapshot {metadata.index} is older than {self._snapshot.index}")
        base = (int(metadata.index), int(metadata.term), 0)
        with self._transaction("starting over at a snapshot", sync=True):
            self._cursor.execute("DELETE FROM entry")
            self._write_snapshot(metadata)
            self._write_base(base)
            self._write_hard_state(hard_state)
        self._snapshot, self._base, self._hard_state = metadata, base, hard_state
        self._last = (base[0], base[2])

    def close(self) -> None:
        """Close. The last append gets a successor on disk, so that from here on no damage to it goes unnoticed."""
        try:
            if self._broken is None:
                with self._transaction("closing", sync=True):
                    self._write_hard_state(self._hard_state)
        except StorageFailed:
            pass  # everything acknowledged is on disk already; only the proof of that is missing
        finally:
            self._connection.close(True)

    def abandon(self) -> None:
        """Close without writing anything: the files stay as they were found."""
        self._connection.close(True)

    # --- inside ---

    @contextmanager
    def _transaction(self, doing: str, *, sync: bool) -> Iterator[None]:
        """All or nothing, with one fsync at its end."""
        if self._broken is not None:
            raise self._broken
        self._checked = None
        try:
            if not sync:
                self._connection.pragma("synchronous", "NORMAL")  # in write-ahead mode: no fsync at a commit
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
                yield
                self._cursor.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._cursor.execute("ROLLBACK")
                if not sync:
                    self._connection.pragma("synchronous", "FULL")
        except apsw.Error as error:
            failed = failure(error, self.path, doing)
            if not isinstance(failed, NoSpace):
                self._broken = failed
            raise failed from error

    def _write_entries(self, entries: list[Entry]) -> tuple[int, int]:
        index, chain = self._last
        if entries[0].index <= index:
            index, chain = self._cut_after(entries[0].index - 1)
        rows: list[tuple[_Value, ...]] = []
        for entry in entries:
            index += 1
            assert entry.index == index, f"entries are not dense: {entry.index} after {index - 1}"
            chain = entry_chain(index, entry.term, entry.type, entry.data, chain)
            rows.append((index, to_signed(entry.term), int(entry.type), entry.data, chain))
        self._cursor.executemany(_ADD_ENTRY, rows)
        return index, chain

    def _cut_after(self, index: int) -> tuple[int, int]:
        _, chain = self._entry_at(index)
        self._cursor.execute(_DROP_AFTER, (index,))
        return index, chain

    def _entry_at(self, index: int) -> tuple[int, int]:
        """Term and chain of an entry, or of the base."""
        if index == self._base[0]:
            return self._base[1], self._base[2]
        rows: list[tuple[int, int]] = list(self._cursor.execute(_CHAIN_AT, (index,)))
        assert rows, f"entry {index} is not in [{self.first_index}, {self.last_index}]"
        return to_unsigned(rows[0][0]), rows[0][1]

    def _write_hard_state(self, state: HardState) -> None:
        stored = (to_signed(state.term), to_signed(state.vote), int(state.commit))
        self._cursor.execute(_SET_HARD_STATE, (*stored, row_crc(*stored)))

    def _write_snapshot(self, metadata: SnapshotMetadata) -> None:
        stored = (int(metadata.index), to_signed(metadata.term), encode_conf_state(metadata.conf_state))
        self._cursor.execute(_SET_SNAPSHOT, (*stored, row_crc(*stored)))

    def _write_base(self, base: tuple[int, int, int]) -> None:
        stored = (base[0], to_signed(base[1]), base[2])
        self._cursor.execute(_SET_BASE, (*stored, row_crc(*stored)))

    # --- reading and checking ---

    def _settle(self) -> None:
        """Make sure of what was found, before raft counts on it.

        What a killed process wrote is there to be read, and may not be on the disk. What a crash left of a last
        transaction is cut off: behind a shorter one, cut off in its turn, it would look like acknowledged writes.
        """
        log = log_of(self.path)
        (frames, _) = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        whole = WAL_HEADER_BYTES + frames * self._page_bytes
        torn = log.stat().st_size > whole
        with log.open("r+b" if torn else "rb") as file:
            if torn:
                file.truncate(whole)
            sync(file)

    def _check_structure(self) -> None:
        rows: list[tuple[str]] = list(self._connection.execute("PRAGMA quick_check(1)"))
        if rows != [("ok",)]:
            raise _damaged(self.path, f"{self.path}: {rows[0][0] if rows else 'no answer from the check'}")
        (frames, _) = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        problem = tail_problem(log_of(self.path), frames)
        if problem:
            raise _damaged(self.path, problem, "acknowledged writes may be in the unreadable part")

    def _read(self) -> list[Entry]:
        try:
            return self._read_all()
        except (ValueError, TypeError, struct.error) as error:
            raise _damaged(self.path, f"{self.path}: a row holds what no member writes", str(error)) from error

    def _read_all(self) -> list[Entry]:
        self._member_id, self._cluster_id = self._read_identity()
        self._hard_state = self._read_hard_state()
        self._snapshot = self._read_snapshot()
        base = self._row("base", 'SELECT "index", term, chain, crc FROM base')
        if base is None:
            raise _damaged(self.path, f"{self.path}: the row of `base` is missing")
        self._base = (int(base[0]), to_unsigned(int(base[1])), int(base[2]))
        entries = self._read_entries()
        if self._snapshot.index > self._last[0] or self._snapshot.index < self._base[0]:
            raise _damaged(
                self.path,
                f"{self.path}: the snapshot at {self._snapshot.index} is outside [{self._base[0]}, {self._last[0]}]",
            )
        return entries

    def _read_identity(self) -> tuple[MemberID, ClusterID]:
        row = self._row("identity", "SELECT member_id, cluster_id, crc FROM identity")
        if row is None:
            raise _damaged(self.path, f"{self.path}: the row of `identity` is missing")
        return MemberID(to_unsigned(int(row[0]))), ClusterID(to_unsigned(int(row[1])))

    def _read_hard_state(self) -> HardState:
        row = self._row("hard_state", 'SELECT term, vote, "commit", crc FROM hard_state')
        if row is None:
            return HardState()
        return HardState(Term(to_unsigned(int(row[0]))), MemberID(to_unsigned(int(row[1]))), LogIndex(int(row[2])))

    def _read_snapshot(self) -> SnapshotMetadata:
        row = self._row("snapshot", 'SELECT "index", term, conf_state, crc FROM snapshot')
        if row is None:
            return SnapshotMetadata()
        conf_state: ConfState = decode_conf_state(str(row[2]))
        return SnapshotMetadata(LogIndex(int(row[0])), Term(to_unsigned(int(row[1]))), conf_state)

    def _row(self, table: str, sql: str) -> tuple[int | str, ...] | None:
        """The one row of a table, without its checksum."""
        rows: list[tuple[int | str, ...]] = list(self._connection.execute(sql))
        if not rows:
            return None
        *columns, crc = rows[0]
        if row_crc(*columns) != crc:
            raise _damaged(self.path, f"{self.path}: the checksum of `{table}` is wrong")
        return tuple(columns)

    def _read_entries(self) -> list[Entry]:
        expected, term_before, chain = self._base
        entries: list[Entry] = []
        for index, signed_term, kind, data, stored in list(self._connection.execute(_ENTRIES)):
            expected += 1
            term = to_unsigned(signed_term)
            chain = entry_chain(index, term, kind, data, chain)
            if index != expected:
                raise _damaged(self.path, f"{self.path}: entry {expected} is missing, the next one is {index}")
            if chain != stored:
                raise _damaged(self.path, f"{self.path}: the checksum of entry {index} is wrong")
            if term < term_before:
                raise _damaged(self.path, f"{self.path}: entry {index} has term {term} after term {term_before}")
            term_before = term
            entries.append(Entry(Term(term), LogIndex(index), EntryType(kind), data))
        self._last = (expected, chain)
        return entries


def _check_files(path: Path) -> None:
    """Refuse a raft log without a readable `-wal` beside it. What else a file may be, open_database says."""
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(DATABASE_HEADER_BYTES)
    if header[68:72] != FileKind.RAFT_LOG.value.to_bytes(4, "big"):
        return
    if header[18:20] != b"\x02\x02":
        raise _damaged(path, f"{path}: its header says that it has no write-ahead log")
    problem = header_problem(log_of(path))
    if problem:
        raise _damaged(path, problem, "the end of the raft log is in that file: acknowledged writes may be lost")


def _damaged(path: Path, problem: str, cause: str = "") -> StartRefused:
    return StartRefused(f"the raft log {path} is damaged: {problem}", cause=cause, hint=_REPLACE_MEMBER)
