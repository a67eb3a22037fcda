"""A snapshot file of either engine, behind one protocol, told apart by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from etcdops.errors import SnapshotCorrupt, UsageError
from etcdops.snapshot.facts import SnapshotFacts, SnapshotFormat
from etcdops.snapshot.records import Record

_SQLITE_MAGIC = b"SQLite format 3\x00"


class SnapshotFile(Protocol):
    """An open snapshot, read only. What it yields was checked; SnapshotCorrupt is all that can go wrong."""

    path: Path
    format: SnapshotFormat

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def size_bytes(self) -> int:
        """Size of the database, without unused space at the end and without the checksum."""

    def check(self) -> None:
        """Check the whole structure: pages, order of keys, free space, tables."""

    def records(self) -> Iterator[Record]:
        """Every record of the store in the order of (main, sub)."""

    def facts(self) -> SnapshotFacts:
        """Everything but the keys."""

    def status_hash(self) -> tuple[int, int]:
        """(CRC-32C over everything in the file, number of entries it covers)."""


def open_snapshot(path: Path) -> SnapshotFile:
    """Open a snapshot of either engine.

    Raises: UsageError - there is no such file; SnapshotCorrupt - it is neither, or damaged where it begins.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="name a file written by `etcdops snapshot save`"
        ) from error
    if not start:
        raise SnapshotCorrupt(f"{path} is empty", hint="use another snapshot")
    if start == _SQLITE_MAGIC:
        from etcdops.snapshot.node_file import NodeSnapshot

        return NodeSnapshot(path)
    from etcdops.snapshot.etcd_file import EtcdSnapshot

    return EtcdSnapshot(path)
