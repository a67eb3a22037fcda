"""Makes a node's data directory from a node's snapshot: the same keys, under a new identity.

    <data-dir>/member/state.db   the snapshot with the new member list, raft configuration and compaction mark
    <data-dir>/member/wal.db     a raft log that begins after a snapshot at index N of term 1, N = number of members

The members start as etcd's do after `etcdutl snapshot restore`: as if N configuration entries had been applied. A node
finds both files and starts as after any other stop.
Source: etcd etcdutl/snapshot/v3_snapshot.go, v3Manager.Restore.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import crc32c

from etcdops import ids
from etcdops.errors import EtcdopsError, SnapshotCorrupt, UsageError
from etcdops.files import make_private, sync_folder
from etcdops.ids import ClusterID, MemberID
from etcdops.snapshot.checksum import database_size, sync
from etcdops.snapshot.node_file import NodeSnapshot
from etcdops.snapshot.sqlite_schema import FileKind, Meta, create_tables, to_signed

_TERM = 1
_CHUNK_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class InitialMember:
    """A voter of the cluster to be."""

    name: str
    peer_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoredIdentity:
    """Who the restored member is."""

    member_id: MemberID
    cluster_id: ClusterID


def restore_node(
    snapshot: Path,
    data_dir: Path,
    *,
    name: str,
    members: Sequence[InitialMember],
    token: str,
    revision: int = 0,
) -> RestoredIdentity:
    """Make `data_dir` (mode 0700, all of it synced) for the member `name`.

    Args: snapshot was verified by the caller (`inspect_snapshot`); members are all of the new cluster, this one among
        them; token should be fresh, so that no old member fits the new cluster; revision > 0 raises the store to that
        revision and marks everything before as compacted.
    Raises: UsageError - the directory is not empty, the member is not among the members, or the snapshot is beyond
        that revision already; SnapshotCorrupt; EtcdopsError - the disk did not take it.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise UsageError(f"{data_dir} is not empty", hint="move it aside first; nothing is overwritten")
    cluster = {ids.member_id(member.peer_urls, token): member for member in members}
    own = next((number for number, member in cluster.items() if member.name == name), None)
    if own is None or len(cluster) != len(members):
        raise UsageError(
            f"{name} is not among the members, or two of them have the same peer URLs",
            hint="check --name and --initial-cluster",
        )
    identity = RestoredIdentity(own, ids.cluster_id(cluster))
    folder = data_dir / "member"
    try:
        for made in (data_dir, folder):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
            made.chmod(0o700)
        _copy_database(snapshot, folder / "state.db")
        _rewrite_state(folder / "state.db", cluster, revision)
        _create_raft_log(folder / "wal.db", identity, sorted(cluster))
        sync_folder(folder)
        sync_folder(data_dir)
        sync_folder(data_dir.parent)
    except OSError as error:
        raise EtcdopsError(
            f"cannot restore into {data_dir}: {error.strerror}",
            hint="choose another --data-dir, or mend that file system; nothing else was touched",
        ) from error
    except apsw.Error as error:
        raise EtcdopsError(f"cannot restore into {data_dir}: SQLite: {error}") from error
    return identity


def _copy_database(snapshot: Path, target: Path) -> None:
    """The snapshot without its checksum."""
    with NodeSnapshot(snapshot):
        pass  # it is a state of a node, with no SQL of its own in it
    left = database_size(snapshot)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with snapshot.open("rb") as source, os.fdopen(descriptor, "wb") as file:
        while left > 0:
            chunk = source.read(min(_CHUNK_SIZE, left))
            if not chunk:
                raise SnapshotCorrupt(f"{snapshot} was cut short while it was read")
            file.write(chunk)
            left -= len(chunk)
        sync(file)


def _rewrite_state(path: Path, cluster: dict[MemberID, InitialMember], revision: int) -> None:
    connection = apsw.Connection(str(path))
    try:
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.pragma("synchronous", "FULL")
        with connection:
            _replace_members(connection, cluster)
            meta: dict[str, int | str] = {
                Meta.CONSISTENT_INDEX: len(cluster),
                Meta.TERM: _TERM,
                Meta.CONF_STATE: encode_conf_state(sorted(cluster)),
            }
            if revision:
                _require_below(connection, revision)
                # Scheduled, not done: the member itself forgets the old revisions when it starts.
                meta[Meta.SCHEDULED_COMPACTION] = revision
            connection.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", meta.items())
    finally:
        connection.close()


def _replace_members(connection: apsw.Connection, cluster: dict[MemberID, InitialMember]) -> None:
    """Source: etcd server/storage/schema/membership.go, TrimMembershipFromBackend."""
    connection.execute("DELETE FROM member")
    connection.execute("DELETE FROM member_removed")
    for number, member in cluster.items():
        attributes = {"id": number, "peerURLs": sorted(member.peer_urls), "name": member.name}
        connection.execute(
            "INSERT INTO member (id, attributes) VALUES (?, ?)",
            (to_signed(number), json.dumps(attributes, separators=(",", ":"))),
        )


def _require_below(connection: apsw.Connection, revision: int) -> None:
    (last,) = next(connection.execute("SELECT coalesce(max(rev), 0) >> 23 FROM revision"))
    (compacted,) = next(
        connection.execute(
            "SELECT coalesce(max(value), 0) FROM meta WHERE name IN (?, ?)",
            (Meta.SCHEDULED_COMPACTION, Meta.FINISHED_COMPACTION),
        )
    )
    reached = max(int(last), int(compacted))
    if revision <= reached:
        raise UsageError(f"cannot raise the revision of the snapshot to {revision}: it is at {reached}")


def _create_raft_log(path: Path, identity: RestoredIdentity, voters: Sequence[MemberID]) -> None:
    """In write-ahead mode, with its `-wal` beside it: a node takes a log without that for a damaged one.

    The tables come first, so that the file itself says whose it is; the rows are in the `-wal`.
    """
    make_private(path)
    connection = apsw.Connection(str(path))
    try:
        connection.pragma("locking_mode", "EXCLUSIVE")
        connection.pragma("synchronous", "FULL")
        with connection:
            create_tables(connection, FileKind.RAFT_LOG)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("journal_mode", "WAL")
        index, vote = len(voters), to_signed(voters[0])
        own = (to_signed(identity.member_id), to_signed(identity.cluster_id))
        rows: dict[str, tuple[int | str, ...]] = {
            "identity": own,
            "hard_state": (_TERM, vote, index),
            "snapshot": (index, _TERM, encode_conf_state(voters)),
            "base": (index, _TERM, 0),
        }
        with connection:
            for table, columns in rows.items():
                places = ", ".join("?" for _ in columns)
                connection.execute(
                    f"INSERT INTO {table} VALUES (1, {places}, ?)",  # noqa: S608 - the names are those above
                    (*columns, row_crc(*columns)),
                )
    finally:
        connection.close()


def row_crc(*columns: int | str) -> int:
    """The checksum of a row of the raft log: as `node/storage/log_rows.py:row_crc`, which a test holds this one to."""
    return crc32c.crc32c(json.dumps(columns).encode())


def encode_conf_state(voters: Sequence[MemberID]) -> str:
    """A configuration of voters only: as `node/storage/log_rows.py:encode_conf_state`, which a test holds it to."""
    state = {"voters": list(voters), "learners": [], "voters_outgoing": [], "learners_next": [], "auto_leave": False}
    return json.dumps(state, sort_keys=True)
