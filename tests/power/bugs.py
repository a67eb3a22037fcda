"""Mistakes with fsync that the replay must find: each leaves one of them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from etcdops.ids import LogIndex
from etcdops.node.peer import snapshot_file
from etcdops.node.raft.types import Entry, HardState
from etcdops.node.server import data_dir
from etcdops.node.storage import database, snapshot_copy
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.snapshot.sqlite_schema import FileKind, Meta

Change = tuple[object, str, object]
"""What is replaced: its owner, its name, and by what."""


def _raft_log_not_synced() -> list[Change]:
    """Entries are acknowledged when they are written, not when they are on the disk."""
    append = RaftLog.append

    def unsynced(log: RaftLog, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool) -> None:
        append(log, hard_state, entries, sync=False)

    return [(RaftLog, "append", unsynced)]


def _folder_not_synced() -> list[Change]:
    """Folders and files are made and renamed, and nobody syncs the folder above."""

    return [
        *((module, "sync_folder", _nothing) for module in (data_dir, database, snapshot_copy)),
        (snapshot_file, "sync_folder", _nothing),
    ]


def _log_cut_without_checkpoint() -> list[Change]:
    """The raft log is cut where the store is, not where the store is on the disk."""

    def checkpoint(store: StateStore) -> LogIndex:
        reader = database.open_database(store.path, FileKind.STATE, database.Mode.READER)
        try:
            found = list(reader.execute("SELECT value FROM meta WHERE name = ?", (Meta.CONSISTENT_INDEX,)))
            return LogIndex(found[0][0] if found else 0)
        finally:
            reader.close()

    return [(StateStore, "checkpoint", checkpoint)]


def _image_not_synced() -> list[Change]:
    """A received image gets its name, and then the place of the store, before it is on the disk."""

    def unsynced(file: BinaryIO) -> None:
        file.flush()

    return [(snapshot_file, "sync", unsynced), (snapshot_copy, "_sync", _nothing)]


def _new_files_not_synced() -> list[Change]:
    """The first files of a member are made without a sync of what is in them."""
    return [(database, "fsync_each_commit", lambda connection: connection.pragma("synchronous", "OFF"))]


def _nothing(path: Path) -> None:
    """In the place of an fsync."""


BUGS: dict[str, Callable[[], list[Change]]] = {
    "raft-log-not-synced": _raft_log_not_synced,
    "folder-not-synced": _folder_not_synced,
    "log-cut-without-checkpoint": _log_cut_without_checkpoint,
    "image-not-synced": _image_not_synced,
    "new-files-not-synced": _new_files_not_synced,
}


def plant(name: str) -> None:
    """Put a mistake into this process. "none" is none."""
    for owner, attribute, replacement in BUGS[name]() if name != "none" else []:
        setattr(owner, attribute, replacement)
