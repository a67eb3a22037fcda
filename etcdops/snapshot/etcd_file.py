"""etcd's snapshot, or the `member/snap/db` of a stopped member: a bbolt file with etcd's buckets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import crc32c

from etcdops.errors import SnapshotCorrupt
from etcdops.snapshot import etcd_buckets
from etcdops.snapshot.bbolt_reader import BboltFile
from etcdops.snapshot.checksum import database_size
from etcdops.snapshot.facts import SnapshotFacts, SnapshotFormat
from etcdops.snapshot.records import Record, decode_revision


class EtcdSnapshot:
    """Implements `file.SnapshotFile` for etcd's format."""

    format = SnapshotFormat.ETCD

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = BboltFile(path, size_bytes=database_size(path))

    def __enter__(self) -> EtcdSnapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    def check(self) -> None:
        if etcd_buckets.KEY not in self._file.bucket_names:
            raise SnapshotCorrupt(
                f"{self.path} is a bbolt file without etcd's `key` bucket",
                hint="check that this is a file written by a snapshot of etcd",
            )
        self._file.check()

    def records(self) -> Iterator[Record]:
        for key, value in self._file.items(etcd_buckets.KEY):
            yield Record(*decode_revision(key), value)

    def facts(self) -> SnapshotFacts:
        return etcd_buckets.read_facts(self._file)

    def status_hash(self) -> tuple[int, int]:
        """Source: etcd etcdutl/snapshot/v3_snapshot.go, v3Manager.Status."""
        checksum, count = 0, 0
        for bucket in self._file.bucket_names:
            checksum = crc32c.crc32c(bucket, checksum)
            for key, value in self._file.items(bucket):
                checksum = crc32c.crc32c(value, crc32c.crc32c(key, checksum))
                count += 1
        return checksum, count

    def buckets(self) -> Iterator[tuple[bytes, Iterator[tuple[bytes, bytes]]]]:
        """Every bucket with its items, both ascending: what a rewrite copies."""
        for name in self._file.bucket_names:
            yield name, self._file.items(name)
