"""Rewrites an etcd snapshot so that its revision jumps ahead and everything before is compacted.

A client that watched or cached beyond the snapshot's revision must never see a revision come back with other content:
with the jump its revisions are in the past, and with the compaction mark they are told to be gone. etcdutl from 3.5.10
and etcdctl from 3.4.27 do this themselves (`--bump-revision --mark-compacted`); this is for restores without them.
Source: etcd etcdutl/snapshot/v3_snapshot.go, v3Manager.modifyLatestRevision.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from etcdops.errors import UsageError
from etcdops.snapshot import buckets
from etcdops.snapshot.bbolt_writer import write_bbolt
from etcdops.snapshot.checksum import append_checksum
from etcdops.snapshot.etcd_file import EtcdSnapshot
from etcdops.snapshot.file import records
from etcdops.snapshot.records import encode_revision

Item = tuple[bytes, bytes]


def rewrite_bumped(source: Path, target: Path, *, revision: int) -> None:
    """Write `target`: the snapshot `source` as it would be at `revision`, with everything up to there compacted.

    The content of the keys is copied as it is. `target` (mode 0600) carries a checksum, as a saved snapshot does.

    Raises: UsageError - the snapshot has reached that revision already; SnapshotCorrupt; FileExistsError.
    """
    with EtcdSnapshot(source) as file:
        file.check()
        last = 0
        for record in records(file):
            last = record.main
        if revision <= max(last, buckets.read_facts(file).compact_revision):
            raise UsageError(f"cannot raise the revision of {source} to {revision}: it is at {last}")
        write_bbolt(target, _with_mark(file, revision))
    append_checksum(target)


def _with_mark(file: EtcdSnapshot, revision: int) -> Iterator[tuple[bytes, Iterator[Item]]]:
    for name, items in _with_bucket(((name, file.items(name)) for name in file.bucket_names), buckets.META):
        if name == buckets.KEY:
            # A record without content: it belongs to the empty key, which no request can name.
            yield name, chain(items, [(encode_revision(revision), b"")])
        elif name == buckets.META:
            mark = {buckets.SCHEDULED_COMPACT: encode_revision(revision)}
            yield name, iter(sorted((dict(items) | mark).items()))
        else:
            yield name, items


def _with_bucket(
    existing: Iterator[tuple[bytes, Iterator[Item]]], wanted: bytes
) -> Iterator[tuple[bytes, Iterator[Item]]]:
    """The buckets in order, with an empty one put in when `wanted` is not among them."""
    seen = False
    for name, items in existing:
        if not seen and name > wanted:
            yield wanted, iter(())
        seen = seen or name >= wanted
        yield name, items
    if not seen:
        yield wanted, iter(())
