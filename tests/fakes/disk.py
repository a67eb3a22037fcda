"""Disks that fail: an SQLite VFS that is full, read-only or faulty on command, and that can lose its power."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

_VFS_NAME = "etcdops-faulty"


class Disk:
    """What the disk does from now on. `fail_writes` and `fail_syncs` are the error to raise, None = work.

    `power_off` writes what survives a loss of power: of each file the content at its last fsync.
    """

    def __init__(self) -> None:
        self.fail_writes: type[apsw.Error] | None = None
        self.fail_writes_after = 0
        self.fail_syncs: type[apsw.Error] | None = None
        self.only: str = ""
        self.syncs = 0
        self._synced: dict[int, bytes] = {}  # by inode: a rename keeps it

    def before_write(self, path: Path) -> None:
        if self.fail_writes is None or not path.name.endswith(self.only):
            return
        if self.fail_writes_after > 0:
            self.fail_writes_after -= 1
            return
        raise self.fail_writes("injected")

    def before_sync(self, path: Path) -> None:
        self.syncs += 1
        if self.fail_syncs is not None and path.name.endswith(self.only):
            raise self.fail_syncs("injected")

    def synced(self, path: Path) -> None:
        """A file reached the disk as it is now."""
        if path.exists():
            self._synced[path.stat().st_ino] = path.read_bytes()

    def power_off(self, source: Path, target: Path) -> None:
        """A copy of the folder `source` as it is found when the power is back."""
        target.mkdir()
        for path in source.iterdir():
            content = self._synced.get(path.stat().st_ino)
            if content is not None:
                (target / path.name).write_bytes(content)

    def process_killed(self, source: Path, target: Path) -> None:
        """A copy of the folder as a killed process leaves it: everything written is there."""
        target.mkdir()
        for path in source.iterdir():
            if not path.name.endswith("-shm"):
                shutil.copy(path, target)


class _File(apsw.VFSFile):
    def __init__(self, base: str, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        super().__init__(base, name, flags)
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._path = Path(text or "temporary")
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.before_write(self._path)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.before_sync(self._path)
        super().xSync(flags)
        self._disk.synced(self._path)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk, base: str) -> None:
        super().__init__(_VFS_NAME, base, makedefault=True)
        self._disk, self._base = disk, base

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802 - SQLite's name
        return _File(self._base, name, flags, self._disk)


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """Every database opened inside is on this disk."""
    before = apsw.vfs_names()[0]
    disk = Disk()
    vfs = _Vfs(disk, before)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(before)
        vfs.unregister()
