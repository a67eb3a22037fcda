"""Snapshot files where backups are kept on this machine. Looked at from outside: their age and size."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from etcdops.doctor.observation import BackupSeen
from etcdops.errors import UsageError

SUFFIXES = (".db", ".snapshot", ".snap", ".zst", ".gz", ".xz")
"""What names of backups usually end with; parts of one that is just being written do not."""


def find_backups(folders: Iterable[Path]) -> tuple[BackupSeen, ...]:
    """The newest first. Raises: UsageError - a folder cannot be read."""
    found = []
    for folder in folders:
        try:
            paths = [path for path in folder.iterdir() if path.name.endswith(SUFFIXES)]
            told = [(path, path.stat()) for path in paths]
        except OSError as error:
            raise UsageError(f"the backups in {folder} cannot be read", cause=error.strerror or str(error)) from error
        found += [BackupSeen(str(path), s.st_mtime, s.st_size) for path, s in told if stat.S_ISREG(s.st_mode)]
    return tuple(sorted(found, key=lambda one: (-one.taken_at, one.where)))
