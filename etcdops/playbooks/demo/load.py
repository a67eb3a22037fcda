"""Put a directory tree into a cluster, one key a file, many puts in flight at a time."""

from __future__ import annotations

import asyncio
import os
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.client.client import Client
from etcdops.errors import UsageError

PREFIX = b"/tree/"
IN_FLIGHT_MAX = 64
"""Puts under way at once: enough to fill a group commit, few enough to stay far below any limit of a member."""
VALUE_SIZE_MAX = 1_500_000
"""A little less than etcd's `--max-request-bytes` (1.5 MiB), which counts the key and the request's own bytes too."""
_SKIPPED_FOLDERS = frozenset({"__pycache__", "site-packages", ".git"})


@dataclass(frozen=True, slots=True)
class Tree:
    """Files to load, by their path below `root`."""

    root: Path
    files: tuple[Path, ...]
    skipped: tuple[Path, ...]
    """Too large for one request."""

    @property
    def keys(self) -> Iterator[bytes]:
        return (key_of(path) for path in self.files)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was put."""

    keys: int
    size_bytes: int


def key_of(path: Path) -> bytes:
    """A file name may be any bytes; so may a key."""
    return PREFIX + os.fsencode(path.as_posix())


def find_tree(root: Path | None) -> Tree:
    """All files of a directory; by default the sources of Python's standard library.

    Raises: UsageError - there is no such directory, or nothing in it.
    """
    suffix = ".py" if root is None else ""
    root = root or Path(sysconfig.get_paths()["stdlib"])
    if not root.is_dir():
        raise UsageError(f"{root} is not a directory", hint="name one with files in it: --data DIR")
    files: list[Path] = []
    skipped: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not name.endswith(suffix):
                continue
            (files if path.stat().st_size <= VALUE_SIZE_MAX else skipped).append(path.relative_to(root))
    if not files:
        raise UsageError(f"{root} holds no file that fits into a key", hint="name another one: --data DIR")
    return Tree(root, tuple(files), tuple(skipped))


async def load_tree(
    client: Client, tree: Tree, order: Sequence[Path], progress: Callable[[int, int], None], *, timeout_s: float
) -> Loaded:
    """Put every file. Args: order - the files of the tree in the order to put them.

    Raises: what a put raises; the others under way are cancelled.
    """
    waiting = iter(order)
    done = size = 0

    async def worker() -> None:
        nonlocal done, size
        for path in waiting:
            value = _read(tree.root / path)
            await client.kv.put(key_of(path), value, timeout=timeout_s)
            done += 1
            size += len(value)
            progress(done, len(order))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT_MAX):
                group.create_task(worker())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return Loaded(done, size)


def _read(path: Path) -> bytes:
    return path.read_bytes()
