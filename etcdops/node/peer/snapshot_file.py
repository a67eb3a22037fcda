"""The file in which a received database arrives: complete and on disk under its name, or not there at all.

Source: etcd server/etcdserver/api/snap/db.go, SaveDBFrom.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path
from time import perf_counter
from typing import BinaryIO, cast

from etcdops.files import sync_folder
from etcdops.ids import LogIndex
from etcdops.node.peer.status import SavedImages
from etcdops.snapshot.checksum import sync

_PORTION_BYTES = 1024 * 1024


def received_path(folder: Path, index: LogIndex) -> Path:
    """Where the database of the snapshot at `index` is saved when it arrives."""
    return folder / f"{index:016x}.snap.db"


async def save_database(
    chunks: AsyncIterator[bytes], folder: Path, index: LogIndex, executor: Executor, saved: SavedImages
) -> int:
    """Write `chunks` to `received_path(folder, index)` and return how many bytes they were.

    A file that is already there under that name is kept: the same index is the same state. Whatever `chunks` raises
    leaves nothing behind. `executor` does the writing and must have one thread, so that a file is closed only after
    its last write. Raises: OSError - it cannot be written.
    """
    loop = asyncio.get_running_loop()
    file = _create_temporary(folder)
    size, complete = 0, False
    started = perf_counter()
    try:
        portion = bytearray()
        async for chunk in chunks:
            portion += chunk
            size += len(chunk)
            if len(portion) >= _PORTION_BYTES:
                await loop.run_in_executor(executor, file.write, portion)
                portion = bytearray()
        fsync_s = await loop.run_in_executor(executor, _complete, file, bytes(portion), received_path(folder, index))
        complete = True
        saved.fsyncs_s.observe(fsync_s)
        saved.saves_s.observe(perf_counter() - started)
    finally:
        if not complete:
            executor.submit(_discard, file)
    return size


def _create_temporary(folder: Path) -> BinaryIO:
    # Making an empty file takes microseconds, and here it cannot be cut off between being made and being known.
    return cast(BinaryIO, tempfile.NamedTemporaryFile(dir=folder, prefix="tmp", delete=False))


def _complete(file: BinaryIO, rest: bytes, path: Path) -> float:
    """Returns: how long the fsync took."""
    file.write(rest)
    started = perf_counter()
    sync(file)
    fsync_s = perf_counter() - started
    file.close()
    if path.exists():
        os.unlink(file.name)
    else:
        os.replace(file.name, path)
        sync_folder(path.parent)
    return fsync_s


def _discard(file: BinaryIO) -> None:
    try:
        file.close()
    except OSError:
        pass  # the disk that could not take the data cannot take its rest either
    Path(file.name).unlink(missing_ok=True)
