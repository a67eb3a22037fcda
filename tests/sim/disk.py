"""Simulated disks: real SQLite files on a memory file system, under a VFS that knows what was not synced yet.

Every file keeps what it held before each write since its last fsync. A process that is killed leaves the files as they
are (the page cache survives, until a later loss of power); a loss of power takes back some of those writes, in part, as
the seed says. names.py does the same for what the files are called.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from tests.sim.names import Names

VFS_NAME = "etcdops-sim"
_unlink = os.unlink  # os's own are replaced while a simulation runs
SECTOR_BYTES = 512


@dataclass(slots=True)
class _Write:
    offset: int
    new: bytes | None
    """None: the file was cut at `offset`."""
    old: bytes
    """What was there, as far as the file reached."""


@dataclass(slots=True)
class _Inode:
    size: int
    unsynced: list[_Write] = field(default_factory=list)


class PowerLost(apsw.IOError):
    """The disk does nothing any more."""


class SimDisk:
    """The disk of one member: everything below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inodes: dict[int, _Inode] = {}
        self.names = Names(root)
        self._synced: set[int] = set()
        """Files written past SQLite whose content is durable."""
        self.dead = False
        self.full = False
        self.operations = 0
        self.dies_in: int | None = None
        """After so many more operations the power fails, in the middle of whatever is being done."""
        self.died: Callable[[], None] = lambda: None

    def operation(self) -> None:
        """One write, cut or sync begins. Raises: PowerLost."""
        self.operations += 1
        if self.dies_in is not None and not self.dead:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.dead = True
                self.died()
        if self.dead:
            raise PowerLost("the power is gone")

    def inode(self, path: str | Path) -> _Inode:
        """What is opened past or through SQLite; content that was written past it and never synced may be lost."""
        found = os.stat(path)
        inode = self.inodes.get(found.st_ino)
        if inode is None:
            inode = self.inodes[found.st_ino] = _Inode(found.st_size)
            if found.st_size and found.st_ino not in self._synced:
                inode.unsynced.append(_Write(0, Path(path).read_bytes(), b""))
        return inode

    def synced(self, number: int) -> None:
        """An fsync of that inode."""
        self.operation()
        if number in self.inodes:
            self.inodes[number].unsynced.clear()
        else:
            self._synced.add(number)

    def move(self, source: str, target: str) -> None:
        """See os.replace."""
        self._named()
        self.names.move(source, target)

    def delete(self, name: str) -> None:
        """See os.unlink."""
        self._named()
        self.names.delete(name)
        _unlink(name)

    def _named(self) -> None:
        try:
            self.operation()
        except PowerLost as error:
            raise OSError(errno.EIO, "the power is gone") from error

    def settle(self) -> None:
        """Everything reaches the disk, as it does some time after the last write."""
        for inode in self.inodes.values():
            inode.unsynced.clear()
        self._synced.update(path.stat().st_ino for path in self._files())
        self.names.settle()

    def cut_power(self, draw: random.Random, *, lose: str) -> int:
        """Take back unsynced writes; returns how many are lost. The files must be closed.

        Args: lose is "nothing" (the process was killed only), "all", "tail" (from some write on) or "some" (any of
            them); with the last two one write of each file may be torn.
        """
        lost = 0
        if lose != "nothing":
            lost = self.names.lose(draw, lose)
            for path in self._files():
                lost += self._cut_file(path, draw, lose)
            self.inodes.clear()
            self.settle()
        self.dead = False
        self.dies_in = None
        return lost

    def _files(self) -> list[Path]:
        return [path for path in sorted(self.root.rglob("*")) if path.is_file()]

    def _cut_file(self, path: Path, draw: random.Random, lose: str) -> int:
        if path.name.endswith("-shm"):
            _unlink(path)
            return 0
        found = path.stat()
        inode = self.inodes.get(found.st_ino)
        if inode is not None:
            return _take_back(path, inode, draw, lose) if inode.unsynced else 0
        if found.st_ino in self._synced:
            return 0
        os.truncate(path, draw.randrange(found.st_size + 1))
        return 1


def _take_back(path: Path, inode: _Inode, draw: random.Random, lose: str) -> int:
    writes = inode.unsynced
    kept = _survivors(len(writes), draw, lose)
    torn = draw.choice(kept) if kept and lose != "all" and draw.random() < 0.5 else -1
    with path.open("r+b") as file:
        for write in reversed(writes):
            _undo(file.fileno(), write)
        for number in kept:
            write = writes[number]
            if write.new is None:
                os.ftruncate(file.fileno(), write.offset)
            elif number == torn:
                os.pwrite(file.fileno(), write.new[: draw.randrange(0, len(write.new) + 1, SECTOR_BYTES)], write.offset)
            else:
                os.pwrite(file.fileno(), write.new, write.offset)
    inode.unsynced = []
    return len(writes) - len(kept) + (torn >= 0)


def _survivors(count: int, draw: random.Random, lose: str) -> list[int]:
    if lose == "all":
        return []
    if lose == "tail":
        return list(range(draw.randrange(count + 1)))
    return [number for number in range(count) if draw.random() < 0.5]


def _undo(descriptor: int, write: _Write) -> None:
    if write.new is None:
        os.pwrite(descriptor, write.old, write.offset)
        return
    end = write.offset + len(write.new)
    os.pwrite(descriptor, write.old, write.offset)
    if len(write.old) < len(write.new) and os.fstat(descriptor).st_size <= end:
        # It had made the file longer.
        os.ftruncate(descriptor, write.offset + len(write.old))


_SYNCED_WITH_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


class _File(apsw.VFSFile):
    def __init__(self, base: str, name: str | apsw.URIFilename | None, flags: list[int], disk: SimDisk | None) -> None:
        if disk is not None and disk.dead:
            raise PowerLost("the power is gone")
        # The first sync of a journal syncs its directory. Source: SQLite's os_unix.c, UNIXFILE_DIRSYNC.
        first_sync = bool(flags[0] & _SYNCED_WITH_FOLDER and flags[0] & apsw.SQLITE_OPEN_CREATE)
        super().__init__(base, name, flags)
        self._disk = disk
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._folder = os.path.dirname(text) if first_sync and text else None
        self._inode = disk.inode(text) if disk is not None and text else None

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        disk, inode = self._disk, self._inode
        if disk is None or inode is None:
            super().xWrite(data, offset)
            return
        disk.operation()
        end = offset + len(data)
        if disk.full and end > inode.size:
            raise apsw.FullError("the disk is full")
        old = super().xRead(min(len(data), inode.size - offset), offset) if offset < inode.size else b""
        inode.unsynced.append(_Write(offset, bytes(data), old))
        super().xWrite(data, offset)
        if end > inode.size:
            inode.size = end

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        disk, inode = self._disk, self._inode
        if disk is not None and inode is not None:
            disk.operation()
            old = super().xRead(inode.size - newsize, newsize) if newsize < inode.size else b""
            inode.unsynced.append(_Write(newsize, None, old))
            inode.size = newsize
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        disk, inode = self._disk, self._inode
        if disk is not None and inode is not None:
            disk.operation()
            inode.unsynced.clear()
            if self._folder is not None:
                disk.names.sync(self._folder)
                self._folder = None
        else:
            super().xSync(flags)


class Disks(apsw.VFS):
    """The VFS: every database opened while it is installed is on the simulated disk of its folder."""

    def __init__(self) -> None:
        self._base = apsw.vfs_names()[0]
        super().__init__(VFS_NAME, self._base, makedefault=True)
        self._disks: dict[str, SimDisk] = {}
        self._system = os.fsync, os.rename, os.replace, os.unlink, os.remove
        # Files are synced, moved and deleted past SQLite too.
        os.fsync = self._sync_descriptor  # type: ignore[assignment]  # descriptors only
        os.rename = os.replace = self._move  # type: ignore[assignment]  # as pathlib calls them
        os.unlink = os.remove = self._delete  # type: ignore[assignment]  # as above

    def add(self, root: Path) -> SimDisk:
        """A disk for everything below `root`, whose last part names it."""
        disk = SimDisk(root)
        self._disks[os.fspath(root) + os.sep] = disk
        return disk

    def remove(self) -> None:
        """The machine's own files again."""
        os.fsync, os.rename, os.replace, os.unlink, os.remove = self._system
        apsw.set_default_vfs(self._base)
        self.unregister()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802 - SQLite's name
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _File(self._base, name, flags, self._disk_of(text or ""))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        disk = self._disk_of(filename)
        if disk is not None:
            disk.operation()
            disk.names.delete(filename)
        super().xDelete(filename, syncdir)
        if disk is not None and syncdir:
            disk.names.sync(os.path.dirname(filename))

    def _disk_of(self, path: str) -> SimDisk | None:
        for prefix, disk in self._disks.items():
            if path.startswith(prefix):
                return disk
        return None

    def _sync_descriptor(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        disk = self._disk_of(os.readlink(f"/proc/self/fd/{descriptor}") + os.sep)
        if disk is None:
            return
        if stat.S_ISDIR(found.st_mode):
            disk.operation()
            disk.names.sync(os.readlink(f"/proc/self/fd/{descriptor}"))
        else:
            disk.synced(found.st_ino)

    def _move(self, source: str | Path, target: str | Path) -> None:
        disk = self._disk_of(os.fspath(target))
        if disk is None:
            self._system[1](source, target)
        else:
            disk.move(os.fspath(source), os.fspath(target))

    def _delete(self, path: str | Path, *, dir_fd: int | None = None) -> None:
        disk = self._disk_of(os.fspath(path)) if dir_fd is None else None
        if disk is None:
            self._system[3](path, dir_fd=dir_fd)
        else:
            disk.delete(os.fspath(path))
