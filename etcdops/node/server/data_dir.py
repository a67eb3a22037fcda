"""The member's directory on disk: where each file is, who may use it, and what must never be in it.

<data-dir>/member/LOCK              held while a process uses the directory
<data-dir>/member/state.db          the store: keys, leases, members, consistent index
<data-dir>/member/wal.db            the raft log (in --wal-dir when that is given)
<data-dir>/member/snap/             database images on their way in from, or out to, other members
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from etcdops.errors import StartRefused
from etcdops.ids import LogIndex
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.storage.database import sync_directory

_DIRECTORY_MODE = 0o700

_WORDS_FOR_ETCD = b"This is the data directory of the bundled node of etcdops, not of etcd.\n"


class DataDir:
    """A locked data directory. Made by `open`; `close` gives the lock back."""

    def __init__(self, root: Path, wal_dir: Path | None, lock: int) -> None:
        self.root = root
        self.member = root / "member"
        self.state = self.member / "state.db"
        self.wal = (wal_dir or self.member) / "wal.db"
        self.snapshots = self.member / "images"
        self._lock = lock

    @classmethod
    def open(cls, root: Path, wal_dir: Path | None = None) -> DataDir:
        """Make the directory if there is none, and lock it.

        Raises: StartRefused when another process uses it, when it belongs to another program, when others may read it,
            or when the disk is read-only or full.
        """
        member = root / "member"
        try:
            for directory in (root, *((wal_dir,) if wal_dir else ()), member, member / "snap", member / "images"):
                _make_private(directory)
            _refuse_etcd_files(root)
            lock = _lock(member / "LOCK")
            _stop_etcd(member / "snap" / "db")
        except OSError as error:
            raise _refusal(error, root) from error
        return cls(root, wal_dir, lock)

    def is_new(self) -> bool:
        """No member ever lived here."""
        return not self.wal.exists() and not self.state.exists()

    def release_images(self, index: int) -> None:
        """Delete received images of up to `index`: the store is there already, whoever sent them.

        Source: etcd server/etcdserver/api/snap/snapshotter.go, ReleaseSnapDBs.
        """
        newest = received_path(self.snapshots, LogIndex(index))
        for path in self.snapshots.glob(f"*{''.join(newest.suffixes)}"):
            if path.name <= newest.name:
                path.unlink(missing_ok=True)

    def remove_leftovers(self, *, keep: Path | None = None) -> list[Path]:
        """Delete images that no start can need any more: unfinished transfers, and all but `keep`. Returns them."""
        removed = []
        for path in sorted(self.snapshots.iterdir()):
            if path != keep and path.is_file():
                path.unlink()
                removed.append(path)
        return removed

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _make_private(directory: Path) -> None:
    if not directory.exists():
        # Synced from the top down: what is in a directory survives a loss of power only if the directory does.
        if not directory.parent.exists():
            _make_private(directory.parent)
        directory.mkdir(mode=_DIRECTORY_MODE)
        sync_directory(directory.parent)
        return
    if not directory.is_dir():
        raise StartRefused(
            f"{directory} is not a directory",
            hint="name another --data-dir, or move that file away",
        )
    mode = stat.S_IMODE(directory.stat().st_mode)
    # CVE-2020-15113: a directory that others can read or write is not a place for a database.
    if mode & 0o077:
        raise StartRefused(
            f"the data directory {directory} may be read or written by others (mode {mode:04o})",
            hint=f"chmod 700 {directory}",
        )


def _stop_etcd(path: Path) -> None:
    """Not synced: after a loss of power it may be gone, or hold anything of that size, and is written again."""
    if not path.exists() or path.read_bytes() != _WORDS_FOR_ETCD:
        path.write_bytes(_WORDS_FOR_ETCD)


def _refuse_etcd_files(root: Path) -> None:
    for foreign in (root / "member" / "wal", root / "member" / "snap" / "db"):
        if foreign.exists() and not _is_ours(foreign):
            raise StartRefused(
                f"{root} is the data directory of an etcd member, which keeps its data in another format",
                cause=f"{foreign} is there",
                hint="start etcd on it, or take a snapshot of that cluster and restore it into a new directory",
            )


def _is_ours(path: Path) -> bool:
    """A file too small for a database of etcd's, which has four pages at least, whatever a loss of power made of it."""
    return path.is_file() and path.stat().st_size <= len(_WORDS_FOR_ETCD)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StartRefused(
            f"another process{f' (pid {holder})' if holder else ''} is using the data directory {path.parent.parent}",
            hint="stop it first, or name another --data-dir; two members never share one",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _refusal(error: OSError, root: Path) -> StartRefused:
    path = error.filename or root
    hints = {
        errno.EROFS: "the file system is read-only: look at `dmesg` for disk errors, then remount it",
        errno.ENOSPC: "the disk is full: free some space (`df -h`), nothing was written",
        errno.EDQUOT: "the disk quota is used up: free some space, nothing was written",
        errno.EACCES: f"run the member as the owner of {root}, or give it that directory",
        errno.EPERM: f"run the member as the owner of {root}, or give it that directory",
    }
    return StartRefused(
        f"cannot use the data directory {root}: {error.strerror}: {path}",
        hint=hints.get(error.errno or 0, "name another --data-dir"),
    )
