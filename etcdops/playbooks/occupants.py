"""Who holds what belongs to a member: which process listens on its ports or has its data directory locked.

Linux tells through /proc. Of processes of other users it tells less: then a number may be missing, never the fact.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from etcdops.playbooks.cluster_file import MemberSpec
from etcdops.playbooks.ports import is_listening

_COMMAND_SHOWN_MAX = 90
_PROC = Path("/proc")
_LISTEN = "0A"
"""Source: Linux include/net/tcp_states.h, TCP_LISTEN, as /proc/net/tcp shows it."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """A process that holds something of a member, as far as it can be known."""

    holds: tuple[str, ...]
    """What it holds: "listens on URL", "has PATH locked"."""
    pid: int = 0
    """0 = the process belongs to another user, and only that it is there can be seen."""
    command: str = ""
    unit: str = ""
    """Its systemd service, such as `etcd.service`; "" = none."""
    parent: str = ""
    """Who started it and still runs, such as `supervisord (pid 17)`; "" = nobody, or not known."""

    @property
    def label(self) -> str:
        """The process in words: its number, its service, its command."""
        if not self.pid:
            return "a process of another user"
        said = f"pid {self.pid}" + (f", {self.unit}" if self.unit else "")
        return f"{said}: {self.command}" if self.command else said

    @property
    def remedy(self) -> str:
        """How to end it so that it does not come back."""
        if self.unit:
            return f"systemctl disable --now {self.unit}"
        if not self.pid:
            what = "; ".join(self.holds)
            return f"stop what {what}: `sudo ss -ltnp` and `sudo fuser -v` name it"
        if self.parent:
            return f"stop it where {self.parent} started it, so that it does not come back; else kill {self.pid}"
        return f"kill {self.pid}"


def occupants_of(spec: MemberSpec) -> tuple[Occupant, ...]:
    """The processes that hold a port or the data of a member which does not run as far as etcdops knows."""
    holding: dict[int, list[str]] = {}
    for url in (spec.client_url, spec.peer_url):
        if is_listening(url):
            holding.setdefault(_listener(url), []).append(f"listens on {url}")
    for path in lock_files(spec):
        if not is_lockable(path):
            holding.setdefault(_locker(path), []).append(f"has {path} locked")
    return tuple(_describe(pid, tuple(holds)) for pid, holds in sorted(holding.items()))


def lock_files(spec: MemberSpec) -> tuple[Path, ...]:
    """The files a running member of either engine holds a lock on; those that exist."""
    member = spec.data_dir / "member"
    return tuple(path for path in (member / "snap" / "db", member / "LOCK") if path.is_file())


def is_lockable(path: Path) -> bool:
    """Whether nobody holds the lock a running member holds. Source: etcd client/pkg/fileutil/lock_flock.go; bbolt."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _describe(pid: int, holds: tuple[str, ...]) -> Occupant:
    if not pid:
        return Occupant(holds)
    return Occupant(holds, pid, _command(pid), _unit(pid), _parent(pid))


def _listener(url: str) -> int:
    """The process that listens on a URL's port, 0 when it cannot be seen.

    Source: Linux proc_net(5): local address, state and inode are fields 1, 3 and 9.
    """
    port = f"{urlsplit(url).port or 80:04X}"
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in _read(_PROC / "net" / table).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN and fields[1].endswith(f":{port}"):
                sockets.add(f"socket:[{fields[9]}]")
    return next((pid for pid, target in _open_files() if target in sockets), 0)


def _locker(path: Path) -> int:
    """The process that has a file locked, 0 when it cannot be seen.

    Source: Linux proc_locks(5): process and MAJOR:MINOR:INODE are fields 4 and 5. Where the device's numbers there are
    not those of stat (overlay, btrfs), a process that has the file open is as good.
    """
    about = path.stat()
    wanted = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
    for line in _read(_PROC / "locks").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[5] == wanted and int(fields[4]) > 0:
            return int(fields[4])
    target = str(path.resolve())
    return next((pid for pid, opened in _open_files() if opened == target), 0)


def _open_files() -> Iterator[tuple[int, str]]:
    """(process, what it has open) of all processes that may be looked into."""
    for folder in _PROC.glob("[0-9]*/fd"):
        try:
            names = os.listdir(folder)
        except OSError:
            continue  # it ended, or it belongs to another user
        for name in names:
            try:
                yield int(folder.parent.name), os.readlink(folder / name)
            except OSError:
                continue


def _command(pid: int) -> str:
    words = _read(_PROC / str(pid) / "cmdline").rstrip("\0").split("\0")
    line = shlex.join(words) if words != [""] else ""
    return line if len(line) <= _COMMAND_SHOWN_MAX else f"{line[: _COMMAND_SHOWN_MAX - 1]}…"


def _unit(pid: int) -> str:
    """Source: Linux cgroups(7): the last field of a line is the path; systemd names a service's group after it."""
    for line in _read(_PROC / str(pid) / "cgroup").splitlines():
        for name in reversed(line.rpartition(":")[2].split("/")):
            # user@1000.service holds a whole session: whoever typed the command is no supervisor of it.
            if name.endswith(".service") and not name.startswith("user@"):
                return name
    return ""


def _parent(pid: int) -> str:
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    parent = int(fields[1]) if len(fields) > 1 else 0
    if parent in (0, 1, os.getpid()):
        return ""
    name = _read(_PROC / str(parent) / "comm").strip()
    return f"{name} (pid {parent})" if name else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
