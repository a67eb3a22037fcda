"""A snapshot file of either engine, behind one protocol, told apart by its first bytes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import crc32c

from etcdops.errors import SnapshotCorrupt, UsageError
from etcdops.snapshot import buckets, strange
from etcdops.snapshot.facts import SnapshotFormat
from etcdops.snapshot.records import Record, decode_revision

_SQLITE_MAGIC = b"SQLite format 3\x00"
_PACKERS = {
    b"\x1f\x8b": "gunzip",
    b"\xfd7zXZ\x00": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"BZh": "bunzip2",
    b"\x04\x22\x4d\x18": "unlz4",
}
"""By the first bytes of what they unpack. A bbolt file begins with the number of its first page, which is 0."""


class SnapshotFile(Protocol):
    """An open snapshot, read only, seen as etcd's buckets whatever its format (see `buckets`).

    What it yields was checked; SnapshotCorrupt is all that can go wrong.
    """

    path: Path
    format: SnapshotFormat

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def size_bytes(self) -> int:
        """Size of the database, without unused space at the end and without the checksum."""

    @property
    def bucket_names(self) -> Sequence[bytes]:
        """Names of the buckets, ascending."""

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket in key order; nothing when there is no such bucket."""

    def check(self) -> None:
        """Check the whole structure: pages, order of keys, free space, tables."""


def records(file: SnapshotFile) -> Iterator[Record]:
    """Every record of the store in the order of (main, sub)."""
    for key, value in file.items(buckets.KEY):
        yield Record(*decode_revision(key), value)


def status_hash(file: SnapshotFile) -> tuple[int, int]:
    """(CRC-32C over the whole content, number of entries it covers).

    Source: etcd etcdutl/snapshot/v3_snapshot.go, v3Manager.Status.
    """
    checksum, count = 0, 0
    for bucket in file.bucket_names:
        checksum = crc32c.crc32c(bucket, checksum)
        for key, value in file.items(bucket):
            checksum = crc32c.crc32c(value, crc32c.crc32c(key, checksum))
            count += 1
    return checksum, count


def open_snapshot(path: Path) -> SnapshotFile:
    """Open a snapshot of either engine.

    Raises: UsageError - there is no such file, or it is compressed; NotASnapshot - it is of neither engine;
        SnapshotCorrupt - it is damaged where it begins.
    """
    try:
        with path.open("rb") as file:
            start = file.read(strange.READ_BYTES)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="name a file written by `etcdops snapshot save`"
        ) from error
    if not start:
        raise SnapshotCorrupt(f"{path} is empty", hint="use another snapshot")
    for magic, program in _PACKERS.items():
        if start.startswith(magic):
            raise UsageError(f"{path} is compressed", hint=f"unpack it first: {program} -k {shlex.quote(str(path))}")
    if start.startswith(_SQLITE_MAGIC):
        from etcdops.snapshot.node_file import NodeSnapshot

        return NodeSnapshot(path)
    strange.require_snapshot(path, start)
    from etcdops.snapshot.etcd_file import EtcdSnapshot

    return EtcdSnapshot(path)
