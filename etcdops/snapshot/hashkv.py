"""HashKV computed from a file: the number a server answers for the same history, whichever engine wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import crc32c

from etcdops.errors import UsageError
from etcdops.snapshot.buckets import read_facts
from etcdops.snapshot.file import SnapshotFile, records
from etcdops.snapshot.records import Record, encode_revision


@dataclass(frozen=True, slots=True)
class OfflineHashKV:
    """`hash` covers all revisions <= `revision`; two stores are comparable at equal revision and compact revision."""

    hash: int
    revision: int
    compact_revision: int


def hash_kv(file: SnapshotFile, revision: int = 0) -> OfflineHashKV:
    """HashKV of a snapshot at a revision, 0 for its newest.

    Two passes over the records; memory grows with the number of keys, not with their values.

    Raises: UsageError - the revision is compacted or not in the file yet.
    """
    compacted = read_facts(file).compact_revision
    newest, last = newest_records(records(file), revision or None)
    current = max(last, compacted, 1)
    revision = revision or current
    if revision < compacted or revision > current:
        raise UsageError(
            f"revision {revision} is not in {file.path}", hint=f"it holds revisions {max(compacted, 1)} to {current}"
        )
    return _hash(records(file), newest, revision, compacted)


def hash_kv_when_bumped(file: SnapshotFile, revision: int, *, marked: bool) -> OfflineHashKV:
    """HashKV that members restored from this snapshot and raised to `revision` (all of it compacted) answer there.

    Args: marked - the jump left an empty record at `revision`, as etcd's tools and our rewrite do.
    """

    def restored() -> Iterable[Record]:
        yield from records(file)
        if marked:
            yield Record(revision, 0, False, b"")

    newest, _ = newest_records(restored())
    return _hash(restored(), newest, revision, revision)


def newest_records(
    history: Iterable[Record], revision: int | None = None
) -> tuple[dict[bytes, tuple[int, int] | None], int]:
    """Where the newest record <= `revision` of every key is, None for a deleted key; and the last main revision."""
    newest: dict[bytes, tuple[int, int] | None] = {}
    last = 0
    for record in history:
        last = record.main
        if revision is not None and record.main > revision:
            continue
        newest[record.parsed().key] = None if record.tombstone else (record.main, record.sub)
    return newest, last


class KVHasher:
    """HashKV, fed record by record in their order.

    Args: keep - where the newest record of every living key at `revision` is.
    Source: etcd server/storage/mvcc/hash.go, kvHasher; index.go, treeIndex.Keep (at the *requested* revision).
    """

    def __init__(self, keep: Set[tuple[int, int]], revision: int, compacted: int) -> None:
        self._keep = keep
        self._revision = revision
        self._compacted = compacted
        self._checksum = crc32c.crc32c(b"key")

    def feed(self, record: Record) -> None:
        if record.main > self._revision:
            return
        if record.main <= self._compacted and self._keep and (record.main, record.sub) not in self._keep:
            return
        if record.main == self._compacted and record.tombstone:
            return  # etcd up to 3.5.15 dropped it in the compaction, later ones keep it: neither may count it
        key = encode_revision(record.main, record.sub, tombstone=record.tombstone)
        self._checksum = crc32c.crc32c(record.kv, crc32c.crc32c(key, self._checksum))

    @property
    def result(self) -> OfflineHashKV:
        return OfflineHashKV(self._checksum, self._revision, self._compacted)


def _hash(
    history: Iterable[Record], newest: Mapping[bytes, tuple[int, int] | None], revision: int, compacted: int
) -> OfflineHashKV:
    hasher = KVHasher(places(newest), revision, compacted)
    for record in history:
        hasher.feed(record)
    return hasher.result


def places(newest: Mapping[bytes, tuple[int, int] | None]) -> set[tuple[int, int]]:
    """Where the records of living keys are."""
    return {place for place in newest.values() if place is not None}
