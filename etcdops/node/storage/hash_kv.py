"""HashKV: the number every member gives for the same keys and history, and etcd's number for it too.

CRC-32C over the name of etcd's bucket and every change up to a revision, each as etcd stores it. Changes at or below
the compacted revision count only if a compaction at the *asked* revision would keep them, so the number does not
depend on how far a compaction has come. Worked in steps, because a store may have millions of changes.

Source: etcd server/storage/mvcc/hash.go, kvHasher.WriteKeyValue; key_index.go, keyIndex.keep.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import apsw
import crc32c

from etcdops.ids import Revision
from etcdops.node.storage.reading import KeyReader, after
from etcdops.snapshot.keyvalue import encode_key
from etcdops.snapshot.sqlite_schema import SUB_BITS, SUB_MAX

_BUCKET = b"key"
_CHANGES = (
    "SELECT rev, kv, CASE WHEN kv IS NULL THEN key END FROM revision WHERE rev >= ? AND rev < ? ORDER BY rev LIMIT ?"
)
_PREVIOUS = "SELECT rev, prev FROM revision WHERE rev >= ? AND rev < ? ORDER BY rev LIMIT ?"
_UNCHANGED_SINCE = "SELECT 1 FROM current WHERE version > 0 AND rev < ? LIMIT 1"
_CHANGED_AT = "SELECT 1 FROM revision WHERE rev >= ? AND rev < ? LIMIT 1"
_CHANGED_SINCE = "SELECT rev FROM current WHERE rev >= ?"


_Row = tuple[int, bytes | None, bytes | None]
"""Where a change is, and the pair of a put or the key of a deletion."""


class HashKV(NamedTuple):
    """A hash of the keys up to `revision`, and the compacted revision it was computed under."""

    hash: int
    compact_revision: Revision
    revision: Revision


def hash_kv_steps(
    connection: apsw.Connection,
    revision: Revision,
    compacted: Revision,
    finished: Revision,
    rows_max: int,
    *,
    compacting: bool = False,
) -> Generator[None, None, HashKV]:
    """Compute a hash, pausing after every `rows_max` rows. Between the steps others may write and compact no further
    than `compacted`.

    Args: compacted <= revision; finished is the last compaction whose work was done, <= compacted; compacting - the
        hash is that of a compaction to `revision`, for which etcd counts deletions at it as kept.
    """
    bound = after(revision)
    superseded = yield from _superseded(connection, after(finished), bound, after(compacted), rows_max)
    kept = _anything_alive(connection, bound) if superseded else True
    if compacting and not kept:
        kept = bool(list(connection.execute(_CHANGED_AT, (revision << SUB_BITS, bound))))
    if not kept:
        # Nothing would be kept, and then etcd skips nothing: what counts is what a finished compaction leaves.
        superseded = yield from _superseded(connection, after(finished), after(compacted), after(compacted), rows_max)
    checksum = crc32c.crc32c(_BUCKET)
    start = 0
    while True:
        rows: list[_Row] = list(connection.execute(_CHANGES, (start, bound, rows_max)))
        checksum = crc32c.crc32c(b"".join(_fed(rows, superseded, after(compacted))), checksum)
        if len(rows) < rows_max:
            return HashKV(checksum, compacted, revision)
        start = rows[-1][0] + 1
        yield


def finish(steps: Generator[None, None, HashKV]) -> HashKV:
    """Run a computation to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: HashKV = done.value
            return result


def _fed(rows: list[_Row], superseded: set[int], compact_bound: int) -> list[bytes]:
    """The bytes of the rows that count: etcd's key of the change, then its value."""
    parts: list[bytes] = []
    for rev, kv, deleted in rows:
        old = rev < compact_bound
        if kv is not None:
            if not old or rev not in superseded:
                parts.append(_stored_key(rev))
                parts.append(kv)
        elif deleted is not None and not old:
            parts.append(_stored_key(rev) + b"t" + encode_key(deleted))
    return parts


def _stored_key(rev: int) -> bytes:
    return (rev >> SUB_BITS).to_bytes(8, "big") + b"_" + (rev & SUB_MAX).to_bytes(8, "big")


def _superseded(
    connection: apsw.Connection, low: int, high: int, compact_bound: int, rows_max: int
) -> Generator[None, None, set[int]]:
    """Changes below `compact_bound` that a change in [low, high) replaced."""
    found: set[int] = set()
    while True:
        rows: list[tuple[int, int]] = list(connection.execute(_PREVIOUS, (low, high, rows_max)))
        found.update(prev for _, prev in rows if 0 < prev < compact_bound)
        if len(rows) < rows_max:
            return found
        low = rows[-1][0] + 1
        yield


def _anything_alive(connection: apsw.Connection, bound: int) -> bool:
    """Whether any key exists in the state that `bound` closes."""
    if list(connection.execute(_UNCHANGED_SINCE, (bound,))):
        return True
    reader = KeyReader(connection)
    changed: list[tuple[int]] = list(connection.execute(_CHANGED_SINCE, (bound,)))
    return any(reader.before(rev, bound) is not None for (rev,) in changed)
