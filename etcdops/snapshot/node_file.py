"""The bundled node's snapshot: its `state.db` as one SQLite file, read as etcd's buckets.

So hashes and counts mean the same for both engines, and a file of one can be written as the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, cast
from urllib.parse import quote

import apsw

from etcdops.errors import SnapshotCorrupt
from etcdops.proto import etcdserverpb_pb2, leasepb_pb2
from etcdops.snapshot import buckets, keyvalue, sqlite_schema
from etcdops.snapshot.facts import SnapshotFormat
from etcdops.snapshot.records import encode_revision
from etcdops.snapshot.sqlite_schema import FileKind, Meta, to_unsigned

_VALUE_SIZE_MAX = 256 << 20
Item = tuple[bytes, bytes]


class _View(NamedTuple):
    """How the rows of a table are an etcd bucket: the query in the bucket's order, and a row's item (None = none)."""

    query: str
    item: Callable[..., Item | None]


class NodeSnapshot:
    """Implements `file.SnapshotFile` for a `state.db` that stands alone (its write-ahead log is not read)."""

    format = SnapshotFormat.NODE

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading():
            # Immutable: no lock, no write-ahead log, no file made beside it.
            uri = f"file:{quote(str(path.absolute()))}?immutable=1"
            self._connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            with self._reading():
                self._harden()
                problem = sqlite_schema.schema_problem(self._connection, FileKind.STATE)
            if problem:
                raise SnapshotCorrupt(
                    f"{path} is not a snapshot of a node: {problem}", hint="name a file of `etcdops snapshot save`"
                )
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> NodeSnapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def size_bytes(self) -> int:
        with self._reading():
            pages, size = self._connection.pragma("page_count"), self._connection.pragma("page_size")
        return int(str(pages)) * int(str(size))

    @property
    def bucket_names(self) -> Sequence[bytes]:
        return sorted(_VIEWS)

    def items(self, bucket: bytes) -> Iterator[Item]:
        view = _VIEWS.get(bucket)
        if view is None:
            return
        rows = iter(self._rows(view.query))
        for row in rows:
            try:
                item = view.item(*row)
            except (ValueError, TypeError, AttributeError, OverflowError) as error:
                raise self._corrupt(f"a row of {bucket.decode()!r} cannot be decoded") from error
            if item is not None:
                yield item

    def check(self) -> None:
        """SQLite's own check (which also holds the columns to their types), then history against index."""
        with self._reading():
            (verdict,) = next(self._connection.execute("PRAGMA integrity_check(1)"))
        if verdict != "ok":
            raise self._corrupt(str(verdict))
        newest = self._check_history()
        rows = self._rows("SELECT key, rev, create_rev, version, lease FROM current")
        for key, rev, create_rev, version, lease in cast("Iterator[tuple[bytes, int, int, int, int]]", rows):
            if newest.pop(key, None) != (rev, create_rev >> sqlite_schema.SUB_BITS, version, lease):
                raise self._corrupt(f"its index and its history differ about {key[:40]!r}")
        if newest:
            raise self._corrupt(f"its index lacks {next(iter(newest))[:40]!r}")

    def _check_history(self) -> dict[bytes, tuple[int, int, int, int]]:
        """Every change follows the one before it; the newest of each key as its index row should be."""
        newest: dict[bytes, tuple[int, int, int, int]] = {}
        rows = self._rows("SELECT rev, key, prev, kv FROM revision ORDER BY rev")
        for rev, key, previous, kv in cast("Iterator[tuple[int, bytes, int, bytes | None]]", rows):
            before = newest.get(key)
            if before is not None and previous != before[0]:
                raise self._corrupt(f"the change {rev} of {key[:40]!r} follows {previous}, not {before[0]}")
            if not kv:
                newest[key] = (rev, 0, 0, 0)
                continue
            try:
                pair = keyvalue.decode(kv)
            except ValueError as error:
                raise self._corrupt(f"the change {rev} of {key[:40]!r} cannot be decoded") from error
            if pair.key != key:
                raise self._corrupt(f"the change {rev} of {key[:40]!r} holds another key")
            newest[key] = (rev, pair.create_revision, pair.version, pair.lease)
        return newest

    def _harden(self) -> None:
        """Whatever the file says, nothing in it runs, and no value is larger than a member would store."""
        connection = self._connection
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, _VALUE_SIZE_MAX)
        connection.pragma("cell_size_check", True)
        connection.pragma("mmap_size", 0)

    def _rows(self, query: str) -> Iterator[tuple[apsw.SQLiteValue, ...]]:
        with self._reading():
            yield from self._connection.execute(query)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise self._corrupt(str(error)) from error

    def _corrupt(self, what: str) -> SnapshotCorrupt:
        return SnapshotCorrupt(
            f"{self.path} is damaged: {what}", hint="use another snapshot; this one must not be restored"
        )


def _key_item(rev: int, key: bytes, kv: bytes | None) -> Item:
    main, sub = sqlite_schema.decode_revision(rev)
    deleted = kv is None
    return encode_revision(main, sub, tombstone=deleted), keyvalue.encode_key(key) if kv is None else kv


def _meta_item(name: str, value: apsw.SQLiteValue) -> Item | None:
    if name not in _META_NAMES:
        return None
    if not isinstance(value, int):
        raise ValueError(f"{name} is not a number")
    etcd_name, width = _META_NAMES[name]
    return etcd_name, value.to_bytes(8, "big") if width == 8 else encode_revision(value)


def _lease_item(lease: int, ttl: int, remaining: int) -> Item:
    value = leasepb_pb2.Lease(ID=lease, TTL=ttl, RemainingTTL=remaining)
    return to_unsigned(lease).to_bytes(8, "big"), value.SerializeToString()


def _alarm_item(member: int, kind: int) -> Item:
    alarm = etcdserverpb_pb2.AlarmMember(memberID=to_unsigned(member))
    alarm.alarm = kind  # type: ignore[assignment]  # an open enum: a newer member may know more alarms
    return alarm.SerializeToString(), b""


def _auth_item(name: str, value: apsw.SQLiteValue) -> Item:
    if isinstance(value, int):
        wide = 1 if name == buckets.AUTH_ENABLED.decode() else 8
        return name.encode(), value.to_bytes(wide, "big")
    return name.encode(), value if isinstance(value, bytes) else str(value).encode()


_META_NAMES = {
    Meta.CONSISTENT_INDEX: (buckets.CONSISTENT_INDEX, 8),
    Meta.FINISHED_COMPACTION: (buckets.FINISHED_COMPACT, 17),
    Meta.SCHEDULED_COMPACTION: (buckets.SCHEDULED_COMPACT, 17),
    Meta.TERM: (buckets.TERM, 8),
}
_VIEWS = {
    buckets.ALARM: _View("SELECT member, type FROM alarm ORDER BY member, type", _alarm_item),
    buckets.AUTH: _View("SELECT name, value FROM auth ORDER BY name", _auth_item),
    buckets.AUTH_ROLES: _View("SELECT name, value FROM auth_role ORDER BY name", lambda name, value: (name, value)),
    buckets.AUTH_USERS: _View("SELECT name, value FROM auth_user ORDER BY name", lambda name, value: (name, value)),
    buckets.CLUSTER: _View(
        f"SELECT value FROM meta WHERE name = '{Meta.CLUSTER_VERSION}'",  # noqa: S608 - our own constant
        lambda version: (buckets.CLUSTER_VERSION, version.encode()),
    ),
    buckets.KEY: _View("SELECT rev, key, kv FROM revision ORDER BY rev", _key_item),
    # Negative IDs are the upper half of etcd's unsigned ones.
    buckets.LEASE: _View("SELECT id, ttl, remaining_ttl FROM lease ORDER BY id < 0, id", _lease_item),
    buckets.MEMBERS: _View(
        "SELECT id, attributes FROM member ORDER BY printf('%x', id)",
        lambda member, attributes: (format(to_unsigned(member), "x").encode(), attributes.encode()),
    ),
    buckets.MEMBERS_REMOVED: _View(
        "SELECT id FROM member_removed ORDER BY printf('%x', id)",
        lambda member: (format(to_unsigned(member), "x").encode(), b"removed"),
    ),
    buckets.META: _View("SELECT name, value FROM meta ORDER BY name", _meta_item),
}
