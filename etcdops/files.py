"""Files that are there as a whole or not at all, whatever happens in between."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

_UNFINISHED = ".restoring"


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make or replace a file: written beside it with its final permissions, synced, renamed, folder synced.

    A reader sees the old content or the new one. Raises: OSError - nothing was changed.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the process's umask must not decide
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def fill_directory(path: Path, fill: Callable[[Path], object]) -> None:
    """Make a directory whose content is there as a whole or not at all, also after a loss of power.

    Made under another name beside it; where `path` is a mount point, which cannot be renamed, inside it. What an
    attempt that was cut off has left there is removed first.
    Args: path does not exist, or is empty; fill makes the directory it is given, and what is in it.
    Raises: OSError; what `fill` raises - nothing has the name.
    """
    unfinished = unfinished_directory(path)
    make_folder(unfinished.parent, mode=0o777)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        fill(unfinished)
        sync_tree(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if unfinished.parent != path:
        unfinished.rename(path)
        sync_folder(path.parent)
        return
    for entry in list(unfinished.iterdir()):
        entry.rename(path / entry.name)
    sync_folder(path)
    unfinished.rmdir()


def unfinished_directory(path: Path) -> Path:
    """Where `fill_directory` works until it is done."""
    if path.is_mount():
        return path / _UNFINISHED
    return path.with_name(path.name + _UNFINISHED)


def is_vacant(path: Path) -> bool:
    """Whether a directory may be made here: there is none, or it holds nothing but a leftover of `fill_directory`."""
    return not path.exists() or all(entry == unfinished_directory(path) for entry in path.iterdir())


def make_folder(path: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and those above it, where there is none; `mode` is that of the last one, less the umask.

    Synced from the top down: what is in a folder survives a loss of power only if the folder does. Raises: OSError.
    """
    if path.is_dir():
        return
    if not path.parent.exists():
        make_folder(path.parent, mode=0o777)
    path.mkdir(mode=mode, exist_ok=True)
    sync_folder(path.parent)


def sync_tree(path: Path) -> None:
    """Push a folder and everything below it to the disk, whoever wrote it."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            _sync_path(Path(folder) / name)
        sync_folder(Path(folder))


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, whatever the umask: other people's data goes into it.

    SQLite gives all files of a database the mode of its first one. Raises: OSError - it exists, or cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def sync_folder(path: Path) -> None:
    """Push a folder's entries to the disk, without which a rename may be lost with the power."""
    _sync_path(path, os.O_DIRECTORY)


def _sync_path(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
