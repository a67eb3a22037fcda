"""The SHA-256 etcd appends to a snapshot, and the size rule by which a snapshot shows that it has one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from etcdops.errors import SnapshotCorrupt

CHECKSUM_SIZE = hashlib.sha256().digest_size
_CHUNK_SIZE = 1 << 20


def has_checksum(size_bytes: int) -> bool:
    """Whether a file of this size ends in a checksum: databases are whole pages, and a page is a multiple of 512.

    Source: etcd etcdutl/snapshot/v3_snapshot.go, hasChecksum.
    """
    return size_bytes % 512 == CHECKSUM_SIZE


def database_size(path: Path) -> int:
    """Bytes of the file without its checksum, if it has one."""
    size = path.stat().st_size
    return size - CHECKSUM_SIZE if has_checksum(size) else size


def sha256_of(path: Path, *, size_bytes: int | None = None) -> bytes:
    """SHA-256 of the first `size_bytes` of a file, of all of it by default."""
    digest = hashlib.sha256()
    left = path.stat().st_size if size_bytes is None else size_bytes
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(_CHUNK_SIZE, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.digest()


def verify_checksum(path: Path) -> tuple[bytes, bool]:
    """Compare the checksum a snapshot carries with its content.

    Returns: SHA-256 of the database part; whether the file carries one (a copy of a data directory's file does not).
    Raises: SnapshotCorrupt - it carries one and it is wrong.
    """
    size = path.stat().st_size
    computed = sha256_of(path, size_bytes=database_size(path))
    if not has_checksum(size):
        return computed, False
    with path.open("rb") as file:
        file.seek(-CHECKSUM_SIZE, os.SEEK_END)
        carried = file.read(CHECKSUM_SIZE)
    if carried != computed:
        raise SnapshotCorrupt(
            f"{path} is damaged: its content has SHA-256 {computed.hex()}, it says {carried.hex()}",
            cause="it was cut short or changed after it was taken",
            hint="use another copy or another snapshot",
        )
    return computed, True


def append_checksum(path: Path) -> bytes:
    """Append the SHA-256 of the file's content to it, synced; returns it."""
    digest = sha256_of(path)
    with path.open("ab") as file:
        file.write(digest)
        sync(file)
    return digest


def sync(file: BinaryIO) -> None:
    """Push a file's content to the disk."""
    file.flush()
    os.fsync(file.fileno())
