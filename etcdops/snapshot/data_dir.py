"""How far a stopped member had come, read from its data directory without changing a byte of it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import apsw

from etcdops.errors import SnapshotCorrupt
from etcdops.ids import ClusterID, LogIndex, MemberID
from etcdops.snapshot import etcd_wal, sqlite_schema
from etcdops.snapshot.bbolt_reader import BboltFile
from etcdops.snapshot.buckets import KEY, read_facts
from etcdops.snapshot.facts import SnapshotFormat
from etcdops.snapshot.records import decode_revision


@dataclass(frozen=True, slots=True)
class DataDirFacts:
    """What a data directory proves. The revision is a range: the log may hold writes that were never applied."""

    path: Path
    format: SnapshotFormat
    member_id: MemberID
    cluster_id: ClusterID
    revision: int
    """Applied, and so certainly reached."""
    revision_max: int
    """If every entry of the log is a committed write."""
    last_index: LogIndex


def inspect_data_dir(path: Path) -> DataDirFacts | None:
    """What a stopped member's directory says; None when there is no member in it.

    Raises: SnapshotCorrupt - there is one, and it cannot be read; OSError.
    """
    member = path / "member"
    # In this order: a node keeps a word for etcd where etcd keeps its database.
    if (member / "state.db").is_file():
        return _inspect_node(path, member)
    if (member / "snap" / "db").is_file():
        return _inspect_etcd(path, member)
    return None


def _inspect_etcd(path: Path, member: Path) -> DataDirFacts:
    with BboltFile(member / "snap" / "db") as file:
        facts = read_facts(file)
        last = 0
        for key, _ in file.items(KEY):
            last = decode_revision(key)[0]
    revision = max(last, facts.compact_revision, 1)
    wal = etcd_wal.read_wal(member / "wal", after=facts.consistent_index)
    return DataDirFacts(
        path,
        SnapshotFormat.ETCD,
        wal.member_id,
        wal.cluster_id,
        revision,
        revision + wal.changes_after,
        wal.last_index,
    )


def _inspect_node(path: Path, member: Path) -> DataDirFacts:
    """Both databases may have a write-ahead log of SQLite's own, which only a writer can read: copies are opened."""
    with tempfile.TemporaryDirectory(prefix="etcdops-inspect-") as folder:
        for name in ("state.db", "state.db-wal", "wal.db", "wal.db-wal"):
            if (member / name).is_file():
                shutil.copyfile(member / name, Path(folder) / name)
        try:
            return _read_node(path, Path(folder))
        except apsw.Error as error:
            raise SnapshotCorrupt(f"{member} cannot be read: {error}") from error


def _read_node(path: Path, folder: Path) -> DataDirFacts:
    state, log = apsw.Connection(str(folder / "state.db")), apsw.Connection(str(folder / "wal.db"))
    try:
        (last,) = next(state.execute("SELECT coalesce(max(rev), 0) FROM revision"))
        meta = dict(state.execute("SELECT name, value FROM meta"))
        (member_id, cluster_id) = next(log.execute("SELECT member_id, cluster_id FROM identity"))
        applied = int(meta.get(sqlite_schema.Meta.CONSISTENT_INDEX, 0))
        ((tail, last_index),) = log.execute(
            'SELECT count(*) FILTER (WHERE type = 0 AND length(data) > 0), coalesce(max("index"), 0)'
            ' FROM entry WHERE "index" > ?',
            (applied,),
        )
    finally:
        state.close()
        log.close()
    compacted = max(
        int(meta.get(name, 0))
        for name in (sqlite_schema.Meta.SCHEDULED_COMPACTION, sqlite_schema.Meta.FINISHED_COMPACTION)
    )
    revision = max(last >> sqlite_schema.SUB_BITS, compacted, 1)
    return DataDirFacts(
        path,
        SnapshotFormat.NODE,
        MemberID(sqlite_schema.to_unsigned(member_id)),
        ClusterID(sqlite_schema.to_unsigned(cluster_id)),
        revision,
        revision + tail,
        LogIndex(max(last_index, applied)),
    )
