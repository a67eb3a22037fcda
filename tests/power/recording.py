"""What a process really does to its files, system call by system call, and when its answers leave: recorded by strace.

Nothing in the process helps or knows: SQLite's write-ahead logs, renames, temporary files and fsyncs of folders are all
seen, from every thread. A call that changes files below the recorded folder and is not understood is an error, and
`Disk.differences` compares the end of a recording with the real folder, so that none is missed.

Files mapped into memory would escape; only SQLite's shared memory files (`-shm`) are, whose content means nothing after
a loss of power.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHARED_MEMORY = "-shm"
_STRING_MAX = 1 << 28
_TRACED = (
    "open,openat,openat2,creat,close,lseek,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync,"
    "sync,syncfs,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,truncate,ftruncate,"
    "fallocate,link,linkat,symlink,symlinkat,sendfile,copy_file_range,splice,mmap"
)


def find_strace() -> str | None:
    """strace, where it is installed."""
    return shutil.which("strace")


# What is recorded. Paths are absolute.


@dataclass(frozen=True, slots=True)
class Write:
    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """An fsync of a file or of a folder. `began` is how many events had happened when it was asked for: it says nothing
    about later ones."""

    path: str
    began: int


@dataclass(frozen=True, slots=True)
class Create:
    """A new, empty file."""

    path: str


@dataclass(frozen=True, slots=True)
class MakeFolder:
    path: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A file or an empty folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes for a client, or for another member, left the process: `local` and `remote` are the ports."""

    local: int
    remote: int
    data: bytes


Event = Write | Truncate | Sync | Create | MakeFolder | Remove | Rename | Sent


class NotUnderstood(Exception):
    """A system call that this module would have to know."""


@dataclass
class Recording:
    """What happened below a folder, in order, over the lives of all processes recorded."""

    root: str
    events: list[Event] = field(default_factory=list)
    existing: set[str] = field(default_factory=set)
    """Files there are now: whether an open makes one is not in the call."""

    def know(self, folder: Path) -> None:
        """What is in the root already, before anything is recorded."""
        self.existing |= {f"{self.root}/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}

    def add(self, trace: Path) -> None:
        """Append what strace saw of one process. Raises: NotUnderstood."""
        with trace.open("r", encoding="ascii", errors="strict") as lines:
            _Reader(self).read(lines)


def command(strace: str, trace: Path, program: Sequence[str], *, reads: bool = False) -> list[str]:
    """The command that runs `program` and writes what it does to `trace`.

    Args: reads - trace reads too, without which the place of a write behind a read in the same file is not known; it
        makes long traces, and SQLite needs it not.
    """
    traced = _TRACED + (",read" if reads else "")
    return [
        *(strace, "-f", "--seccomp-bpf", "-yy", "-xx", "-s", str(_STRING_MAX), "-e", "signal=none", "-q"),
        *("-o", str(trace), "-e", f"trace={traced}"),
        *program,
    ]


def record(recording: Recording, program: Sequence[str], trace: Path, *, timeout_s: float, reads: bool = True) -> int:
    """Run a program that ends by itself; its exit status."""
    strace = find_strace()
    assert strace is not None
    done = subprocess.run(
        command(strace, trace, program, reads=reads), capture_output=True, timeout=timeout_s, check=False
    )
    recording.add(trace)
    return done.returncode


_LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESULT = re.compile(r"^(.*)\) += (-?\d+|\?)(?:<((?:\\x[0-9a-f]{2})+)>)?.*$", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)(?:<(.*?)>(\(deleted\))?)?(?:, |$)")
_CONNECTION = re.compile(r"^TCP:\[127\.0\.0\.1:(\d+)->127\.0\.0\.1:(\d+)\]")
_DELETED = "(deleted)"
_ESCAPED = re.compile(r"(?:\\x[0-9a-f]{2})+")


def _plain(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


@dataclass(slots=True)
class _Open:
    offset: int | None
    append: bool


class _Reader:
    """One process's calls, put together from the lines of its threads."""

    def __init__(self, recording: Recording) -> None:
        self._events = recording.events
        self._root = recording.root
        self._existing = recording.existing
        self._begun: dict[str, tuple[str, str, int]] = {}
        self._open: dict[int, _Open] = {}
        self._sizes: dict[str, int] = {}

    def read(self, lines: Iterator[str]) -> None:
        for line in lines:
            match = _LINE.match(line.rstrip("\n"))
            if match is None:
                continue  # "+++ exited with 0 +++"
            thread, resumed, rest, name, arguments = match.groups()
            began = len(self._events)
            if resumed is not None:
                if thread not in self._begun:
                    continue
                name, arguments, began = self._begun.pop(thread)
                arguments += rest
            elif arguments.endswith(_UNFINISHED):
                self._begun[thread] = (name, arguments.removesuffix(_UNFINISHED), began)
                continue
            found = _RESULT.match(arguments)
            if found is None or found[2] in ("?", "-1"):
                continue  # failed, or never came back
            self._call(name, found[1], int(found[2]), found[3], began)

    def _call(self, name: str, arguments: str, result: int, result_path: str | None, began: int) -> None:
        match name:
            case "open" | "openat" | "openat2" | "creat":
                self._opened(arguments, result, result_path)
            case "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "sendto" | "sendmsg":
                self._wrote(name, arguments, result)
            case "read" | "lseek" | "close":
                self._moved(name, arguments, result)
            case "fsync" | "fdatasync":
                _, path = _descriptor(arguments)
                if self._inside(path):
                    self._events.append(Sync(path, began))
            case "ftruncate":
                _, path = _descriptor(arguments)
                if self._inside(path):
                    self._truncate(path, int(arguments.rpartition(", ")[2]))
            case "rename" | "renameat" | "renameat2":
                self._renamed(_paths(arguments))
            case "unlink" | "unlinkat" | "rmdir":
                (path,) = _paths(arguments)
                if self._inside(path):
                    self._existing.discard(path)
                    self._events.append(Remove(path))
            case "mkdir" | "mkdirat":
                (path,) = _paths(arguments)
                if self._inside(path):
                    self._events.append(MakeFolder(path))
            case "mmap":
                if "MAP_SHARED" in arguments and "PROT_WRITE" in arguments:
                    self._only_shared_memory(arguments)
            case "sync" | "syncfs":
                raise NotUnderstood(f"{name} makes everything durable: nothing here should need that")
            case _:
                if self._root in str([_plain(one) for one in _ESCAPED.findall(arguments)]):
                    raise NotUnderstood(f"{name} below {self._root}")

    def _inside(self, path: str) -> bool:
        return (path == self._root or path.startswith(self._root + "/")) and not path.endswith(SHARED_MEMORY)

    def _opened(self, arguments: str, descriptor: int, result_path: str | None) -> None:
        path = _plain(result_path).decode() if result_path else ""
        if not self._inside(path):
            self._open.pop(descriptor, None)
            return
        self._open[descriptor] = _Open(0, "O_APPEND" in arguments)
        if "O_CREAT" in arguments and path not in self._existing:
            self._existing.add(path)
            self._sizes[path] = 0
            self._events.append(Create(path))
        elif "O_TRUNC" in arguments:
            self._truncate(path, 0)

    def _truncate(self, path: str, size: int) -> None:
        self._sizes[path] = size
        self._events.append(Truncate(path, size))

    def _wrote(self, name: str, arguments: str, count: int) -> None:
        descriptor, path = _descriptor(arguments)
        connection = _CONNECTION.match(path)
        if connection is None and not self._inside(path):
            return
        data = b"".join(_plain(part) for part in _STRING.findall(arguments))[:count]
        if connection is not None:
            self._events.append(Sent(int(connection[1]), int(connection[2]), data))
            return
        if path.endswith(_DELETED):
            return  # nobody will find it
        if name == "pwrite64":
            offset = int(arguments.rpartition(", ")[2])
        elif name == "write":
            offset = self._advance(descriptor, path, count)
        else:
            raise NotUnderstood(f"{name} to {path}")
        self._sizes[path] = max(self._sizes.get(path, 0), offset + count)
        self._events.append(Write(path, offset, data))

    def _advance(self, descriptor: int, path: str, count: int) -> int:
        known = self._open.get(descriptor)
        if known is None or (known.offset is None and not known.append):
            raise NotUnderstood(f"a write to {path} at a place that is not known: record with reads=True")
        offset = self._sizes.get(path, 0) if known.append else known.offset
        assert offset is not None
        known.offset = offset + count
        return offset

    def _moved(self, name: str, arguments: str, result: int) -> None:
        descriptor, _ = _descriptor(arguments)
        known = self._open.get(descriptor)
        if known is None:
            return
        if name == "close":
            del self._open[descriptor]
        elif name == "lseek":
            known.offset = result
        elif known.offset is not None:
            known.offset += result

    def _renamed(self, paths: list[str]) -> None:
        source, target = paths
        if not self._inside(source) and not self._inside(target):
            return
        if not self._inside(source) or not self._inside(target):
            raise NotUnderstood(f"a rename across the border: {source} to {target}")
        for old in [one for one in self._existing if one == source or one.startswith(source + "/")]:
            self._existing.discard(old)
            self._existing.add(target + old[len(source) :])
            self._sizes[target + old[len(source) :]] = self._sizes.get(old, 0)
        self._events.append(Rename(source, target))

    def _only_shared_memory(self, arguments: str) -> None:
        for path in re.findall(r"<((?:\\x[0-9a-f]{2})+)>", arguments):
            if self._inside(_plain(path).decode(errors="replace")):
                raise NotUnderstood(f"{_plain(path)!r} is written through memory")


def _descriptor(arguments: str) -> tuple[int, str]:
    """The first argument: its number, and the path or connection behind it."""
    match = _DESCRIPTOR.match(arguments)
    if match is None or match[1] == "AT_FDCWD":
        return -1, ""
    path = _ESCAPED.sub(lambda run: _plain(run[0]).decode(errors="replace"), match[2] or "")
    return int(match[1]), path + (match[3] or "")


def _paths(arguments: str) -> list[str]:
    """Path arguments, made absolute: each is a string, with the folder it is relative to before it or in the call."""
    found = []
    for base, text in re.findall(r'(?:(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})+)>, )?"((?:\\x[0-9a-f]{2})*)"', arguments):
        folder = _plain(base).decode() if base else os.getcwd()
        found.append(os.path.normpath(os.path.join(folder, _plain(text).decode())))
    return found
