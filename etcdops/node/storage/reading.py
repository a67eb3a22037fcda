"""Reads of keys and their history: SQL in one place, for the writer's connection and for background readers alike.

Stored pairs are returned as they are stored and never decoded. A statement is always read to its end: one left open
would hold a read transaction and stop checkpoints.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

import apsw

from etcdops.ids import LeaseID, Revision
from etcdops.snapshot.keyvalue import encode_deleted
from etcdops.snapshot.sqlite_schema import SUB_BITS, SUB_MAX

OPEN_END = b"\x00"
"""As `range_end`: every key from the first one on."""


class EventType(enum.IntEnum):
    """mvccpb.Event.EventType."""

    PUT = 0
    DELETE = 1


class Event(NamedTuple):
    """One change of one key, as a watch shows it."""

    type: EventType
    kv: bytes
    """Encoded mvccpb.KeyValue; of a deletion it has the key and the revision of the deletion."""
    key: bytes
    revision: Revision
    sub: int
    create: bool
    """The put made the key: create_revision == mod_revision."""
    prev: int
    """Where the key's change before this one is stored, 0 for none: what `prev_kv` starts from."""


class CurrentRow(NamedTuple):
    """A key as it is now."""

    kv: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseID


class Found(NamedTuple):
    """Pairs of a range in key order, cut to the limit, and how many there are without it."""

    kvs: list[bytes]
    count: int  # type: ignore[assignment]  # the API's word; it hides tuple.count, which nobody uses
    last_key: bytes | None
    """The key of the last pair, known only when the limit was reached."""


def _for_each_kind(sql: str) -> dict[str, str]:
    """A statement over a range, for each kind of range_end."""
    conditions = {"one": "c.key = ?1", "open": "c.key >= ?1", "closed": "c.key >= ?1 AND c.key < ?2"}
    return {kind: sql.replace("IN RANGE", condition) for kind, condition in conditions.items()}


# CROSS JOIN keeps SQLite from reordering: keys in order first, then each one's newest change.
_NOW = _for_each_kind(
    "SELECT r.kv FROM current c CROSS JOIN revision r ON r.rev = c.rev WHERE IN RANGE AND c.version > 0 ORDER BY c.key"
)
_NOW_LIMIT = _for_each_kind(
    "SELECT c.key, r.kv FROM current c CROSS JOIN revision r ON r.rev = c.rev"
    " WHERE IN RANGE AND c.version > 0 ORDER BY c.key LIMIT ?3"
)
_NOW_COUNT = _for_each_kind("SELECT count(*) FROM current c WHERE IN RANGE AND c.version > 0")
_LONGER = _for_each_kind("SELECT 1 FROM current c WHERE IN RANGE LIMIT 1 OFFSET ?3")
# At an older revision a key either has not changed since (its newest change answers) or its chain is walked.
_THEN = _for_each_kind(
    "SELECT c.key, c.rev, r.kv FROM current c CROSS JOIN revision r ON r.rev = c.rev"
    " WHERE IN RANGE AND (c.version > 0 OR c.rev >= ?4) ORDER BY c.key LIMIT ?3"
)
_THEN_COUNT = _for_each_kind("SELECT count(*) FROM current c WHERE IN RANGE AND c.version > 0 AND c.rev < ?3")
_CHANGED_SINCE = _for_each_kind("SELECT c.rev FROM current c WHERE IN RANGE AND c.rev >= ?3")
_ROW = (
    "SELECT r.kv, c.create_rev, c.rev, c.version, c.lease FROM current c CROSS JOIN revision r ON r.rev = c.rev"
    " WHERE c.key = ? AND c.version > 0"
)
_NEWEST_REV = "SELECT rev FROM current WHERE key = ?"
_CHAIN = (
    "WITH RECURSIVE chain (rev) AS (VALUES (?1) UNION ALL"
    " SELECT r.prev FROM chain CROSS JOIN revision r ON r.rev = chain.rev WHERE chain.rev >= ?2)"
    " SELECT r.kv FROM chain CROSS JOIN revision r ON r.rev = chain.rev WHERE chain.rev < ?2"
)
_EVENTS = "SELECT rev, key, prev, kv FROM revision WHERE rev >= ? AND rev < ? ORDER BY rev LIMIT ?"
_EVENT_SIZES = (
    "SELECT rev, coalesce(length(kv), length(key)) FROM revision WHERE rev >= ? AND rev < ? ORDER BY rev LIMIT ?"
)
_LEASED = "SELECT key, lease FROM current WHERE lease <> 0"
_CHUNK = 1_000
EVENTS_BYTES_MAX = 4 << 20
"""History read at a time for watchers: a thousand values of the largest size would be 1.5 GB."""

_KEY_TAG = 0x0A


def kind_of(range_end: bytes) -> str:
    """Which statement a range needs: `one` key, `open` to the end, or `closed`."""
    if not range_end:
        return "one"
    return "open" if range_end == OPEN_END else "closed"


def after(revision: int) -> int:
    """The stored revision that bounds everything up to and including a main revision from above."""
    return (revision + 1) << SUB_BITS


class KeyReader:
    """Reads on one connection. Raises apsw.Error as SQLite reports it; callers name the file."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.cursor().execute

    def row(self, key: bytes) -> CurrentRow | None:
        """The key as it is now, None when it is not there."""
        rows = list(self._execute(_ROW, (key,)))
        if not rows:
            return None
        kv, create_rev, rev, version, lease = rows[0]
        return CurrentRow(kv, Revision(create_rev >> SUB_BITS), Revision(rev >> SUB_BITS), version, lease)

    def now(self, key: bytes, range_end: bytes, limit: int) -> Found:
        """The newest state of a range; limit <= 0 for none. Without the limit being reached the count is exact."""
        kind = kind_of(range_end)
        if limit <= 0 or kind == "one":
            kvs = [kv for (kv,) in self._execute(_NOW[kind], _bound(kind, key, range_end))]
            return Found(kvs, len(kvs), None)
        rows = list(self._execute(_NOW_LIMIT[kind], (key, range_end, limit)))
        return Found([kv for _, kv in rows], len(rows), rows[-1][0] if len(rows) == limit else None)

    def now_count(self, key: bytes, range_end: bytes) -> int:
        """How many keys the range has now."""
        kind = kind_of(range_end)
        return self._one(_NOW_COUNT[kind], _bound(kind, key, range_end))

    def longer_than(self, key: bytes, range_end: bytes, count: int) -> bool:
        """Whether the range has, or had since the last compaction, more than `count` keys."""
        kind = kind_of(range_end)
        return kind != "one" and bool(list(self._execute(_LONGER[kind], (key, range_end, count))))

    def then(self, key: bytes, range_end: bytes, revision: int, limit: int) -> Found:
        """The range as it was at a main revision >= the compacted one."""
        kind, bound = kind_of(range_end), after(revision)
        chunk = limit if 0 < limit < _CHUNK else _CHUNK
        kvs: list[bytes] = []
        start, last = key, None
        while True:
            rows = list(self._execute(_THEN[kind], (start, range_end, chunk, bound)))
            for found, rev, newest in rows:
                kv = newest if rev < bound else self.before(rev, bound)
                if kv is not None:
                    kvs.append(kv)
                    if len(kvs) == limit:
                        last = found
                        break
            if last is not None or len(rows) < chunk:
                return Found(kvs, len(kvs), last)
            start = rows[-1][0] + b"\x00"

    def then_count(self, key: bytes, range_end: bytes, revision: int) -> int:
        """How many keys the range had at a main revision >= the compacted one."""
        kind, bound = kind_of(range_end), after(revision)
        bindings = (key, range_end, bound)
        changed = [rev for (rev,) in self._execute(_CHANGED_SINCE[kind], bindings)]
        walked = sum(1 for rev in changed if self.before(rev, bound) is not None)
        return self._one(_THEN_COUNT[kind], bindings) + walked

    def before(self, rev: int, bound: int) -> bytes | None:
        """The pair of the newest change below `bound`, on the chain that leads back from the change at `rev`.

        None when that is a deletion or was compacted.
        """
        rows: list[tuple[bytes | None]] = list(self._execute(_CHAIN, (rev, bound)))
        return rows[0][0] if rows else None

    def key_before(self, key: bytes, bound: int) -> bytes | None:
        """The same, from the newest change of a key."""
        rows: list[tuple[int]] = list(self._execute(_NEWEST_REV, (key,)))
        return self.before(rows[0][0], bound) if rows else None

    def events(self, low: int, high: int, limit: int) -> list[Event]:
        """Changes of the main revisions in [low, high): whole revisions, about `limit` changes and EVENTS_BYTES_MAX, at
        least one revision."""
        sizes: list[tuple[int, int]] = list(self._execute(_EVENT_SIZES, (low << SUB_BITS, high << SUB_BITS, limit)))
        total = 0
        for rev, size_bytes in sizes:
            total += size_bytes
            if total > EVENTS_BYTES_MAX:
                high = max(rev >> SUB_BITS, (sizes[0][0] >> SUB_BITS) + 1)
                break
        rows = list(self._execute(_EVENTS, (low << SUB_BITS, high << SUB_BITS, limit + 1)))
        if len(rows) > limit:
            last = rows[-1][0] >> SUB_BITS
            whole = [row for row in rows if row[0] >> SUB_BITS < last]
            if not whole:  # one revision is larger than the limit: it is never split
                whole = list(self._execute(_EVENTS, (last << SUB_BITS, after(last), SUB_MAX + 1)))
            rows = whole
        return [stored_event(*row) for row in rows]

    def leased(self) -> Iterator[tuple[bytes, LeaseID]]:
        """Every key that is attached to a lease, in key order."""
        rows: list[tuple[bytes, LeaseID]] = list(self._execute(_LEASED))
        return iter(rows)

    def _one(self, sql: str, bindings: tuple[bytes | int, ...]) -> int:
        rows: list[tuple[int]] = list(self._execute(sql, bindings))
        return rows[0][0]


def _bound(kind: str, key: bytes, range_end: bytes) -> tuple[bytes, ...]:
    return (key, range_end) if kind == "closed" else (key,)


def stored_event(rev: int, key: bytes, prev: int, kv: bytes | None) -> Event:
    """An event from a row of `revision`."""
    revision = Revision(rev >> SUB_BITS)
    if kv is None:
        return Event(EventType.DELETE, encode_deleted(key, revision), key, revision, rev & SUB_MAX, False, prev)
    return Event(EventType.PUT, kv, key, revision, rev & SUB_MAX, _created_by_itself(kv), prev)


def _created_by_itself(kv: bytes) -> bool:
    """Whether create_revision equals mod_revision: the two varints that follow the key, compared as bytes."""
    at = size = shift = 0
    if kv[0] == _KEY_TAG:
        while True:
            at += 1
            size |= (kv[at] & 0x7F) << shift
            shift += 7
            if kv[at] < 0x80:
                break
        at += 1 + size
    start = end = at + 1  # after the tag of create_revision
    while kv[end] >= 0x80:
        end += 1
    end += 1
    return kv[start:end] == kv[end + 1 : end + 1 + end - start]  # after the tag of mod_revision
