"""etcd's snapshot, or the `member/snap/db` of a stopped member: a bbolt file with etcd's buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from etcdops.errors import SnapshotCorrupt
from etcdops.snapshot import buckets
from etcdops.snapshot.bbolt_reader import BboltFile
from etcdops.snapshot.checksum import database_size
from etcdops.snapshot.facts import SnapshotFormat


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

    @property
    def bucket_names(self) -> Sequence[bytes]:
        return self._file.bucket_names

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._file.items(bucket)

    def check(self) -> None:
        if buckets.KEY not in self._file.bucket_names:
            raise SnapshotCorrupt(
                f"{self.path} is a bbolt file without etcd's `key` bucket",
                hint="check that this is a file written by a snapshot of etcd",
            )
        self._file.check()
