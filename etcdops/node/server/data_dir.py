"""The member's directory on disk: where each file is, who may use it, and what must never be in it.

<data-dir>/member/LOCK              held while a process uses the directory
<data-dir>/member/state.db          the store: keys, leases, members, consistent index
<data-dir>/member/wal.db            the raft log (in --wal-dir when that is given)
<data-dir>/member/images/           database images on their way in from, or out to, other members

Folders have mode 0700 and files 0600, whatever the umask (etcd's PrivateDirMode and PrivateFileMode).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from etcdops.errors import StartRefused
from etcdops.files import make_private, sync_folder
from etcdops.ids import LogIndex
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

_DIRECTORY_MODE = 0o700

_WORDS_FOR_ETCD = b"This is the data directory of the bundled node of etcdops, not of etcd.\n"


class DataDir:
    """A locked data directory. Made by `open`; `close` gives the lock back."""

    def __init__(self, root: Path, wal_dir: Path | None, lock: int, made: Sequence[Path] = ()) -> None:
        self.root = root
        self.member = root / "member"
        self.state = self.member / "state.db"
        self.wal = (wal_dir or self.member) / "wal.db"
        self.snapshots = self.member / "images"
        self._lock = lock
        self._made = made

    @classmethod
    def open(cls, root: Path, wal_dir: Path | None = None) -> DataDir:
        """Make the directory if there is none, and lock it.

        Raises: StartRefused when another process uses it, when it belongs to another program, or when the disk is
            read-only or full. What was made until then is removed again.
        """
        member = root / "member"
        made: list[Path] = []
        lock = -1
        try:
            for directory in (root, *((wal_dir,) if wal_dir else ()), member, member / "snap", member / "images"):
                _make_directory(directory, made)
            _refuse_etcd_files(root)
            lock = _lock(member / "LOCK", made)
            _stop_etcd(member / "snap" / "db", made)
        except OSError as error:
            cls(root, wal_dir, lock, made).discard()
            raise _refusal(error, root) from error
        except StartRefused:
            cls(root, wal_dir, lock, made).discard()
            raise
        return cls(root, wal_dir, lock, made)

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

    def discard(self) -> None:
        """Close; and as long as there is no data, remove what `open` made. For a start that is refused: the next one
        may be for another directory, and this one would look like a member's."""
        if self._made and self.is_new():
            for path in reversed(self._made):
                try:
                    path.rmdir() if path.is_dir() else path.unlink()
                except OSError:
                    pass  # somebody put something into it, or the disk is what the start was refused for
        self.close()

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _make_directory(directory: Path, made: list[Path]) -> None:
    if not directory.exists():
        # Synced from the top down: what is in a directory survives a loss of power only if the directory does.
        if not directory.parent.exists():
            _make_directory(directory.parent, made)
        directory.mkdir(mode=_DIRECTORY_MODE)
        made.append(directory)
        sync_folder(directory.parent)
        return
    if not directory.is_dir():
        raise StartRefused(
            f"{directory} is not a directory",
            hint="name another --data-dir, or move that file away",
        )
    mode = directory.stat().st_mode
    # A warning, as in etcd: the mount points of volumes often belong to somebody else. Files are 0600 all the same.
    if stat.S_IMODE(mode) & 0o777 != _DIRECTORY_MODE:
        found = f'directory "{directory}" exist, but the permission is "{stat.filemode(mode)}"'
        wanted = 'The recommended permission is "-rwx------" to prevent possible unprivileged access to the data'
        log.warning("check file permission", extra=fields(error=f"{found}. {wanted}"))


def _stop_etcd(path: Path, made: list[Path]) -> None:
    """Not synced: after a loss of power it may be gone, or hold anything of that size, and is written again."""
    if not path.exists():
        make_private(path)
        made.append(path)
    if path.read_bytes() != _WORDS_FOR_ETCD:
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


def _lock(path: Path, made: list[Path]) -> int:
    existed = path.exists()
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
    if not _is_same(path, descriptor):
        # Its holder was refused to start and removed it while we waited for nobody: try the one that is there now.
        os.close(descriptor)
        return _lock(path, made)
    if not existed:
        made.append(path)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _is_same(path: Path, descriptor: int) -> bool:
    """Whether an open file still has that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
