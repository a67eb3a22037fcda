"""The console's ports to real logs: files of this machine, and members on the hosts of an inventory."""

from __future__ import annotations

import asyncio
import gzip
import lzma
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from etcdops.diagnosis.names import short_names
from etcdops.diagnosis.reading import Source, opened
from etcdops.doctor.gather import logs as hosts
from etcdops.errors import EtcdopsError
from etcdops.remote.pool import Open, Sessions
from etcdops.tui.log_feed import LogPiece, LogPieces, LogSource, LogTrouble

POLL_S = 0.25
"""How often files are looked at. They have no other way to tell that they grew which works everywhere."""
CHUNK_BYTES = 256 * 1024
_LINE_BYTES_TYPICAL = 512
"""How far from its end a file is read for its last lines; what that brings is cut to their number."""
_AHEAD_MAX = 64
"""Pieces of all logs that wait for their reader."""
_PACKED = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh")


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of this machine. It need not be there yet."""

    name: str
    path: Path


def named_files(paths: Sequence[Path]) -> list[LogFile]:
    """The files under names that are as short as they can be: `m1` of `m1.log`, with folders only where needed."""
    files = [path.absolute() for path in paths]
    return [LogFile(name, path) for name, path in zip(short_names([str(file) for file in files]), files, strict=True)]


class FileLogs:
    """Files as they grow, also when they are rotated or not there yet; compressed ones are read once."""

    reason = ""

    def __init__(self, files: Sequence[LogFile], *, poll_s: float = POLL_S) -> None:
        self._files = files
        self._poll_s = poll_s

    def sources(self) -> Sequence[LogSource]:
        return [LogSource(file.name, str(file.path)) for file in self._files]

    @asynccontextmanager
    async def following(self, *, lines: int) -> AsyncIterator[LogPieces]:
        queue: asyncio.Queue[LogPiece | LogTrouble] = asyncio.Queue(_AHEAD_MAX)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(file, lines, queue)) for file in self._files]
            async with aclosing(_taken(queue)) as pieces:
                try:
                    yield pieces
                finally:
                    for task in tasks:
                        task.cancel()

    async def _follow(self, file: LogFile, lines: int, queue: asyncio.Queue[LogPiece | LogTrouble]) -> None:
        tail = FileTail(file.path, lines)
        said = ""
        try:
            while True:
                try:
                    found = await asyncio.to_thread(tail.read)
                    said = ""
                except (OSError, EtcdopsError) as error:
                    found = []
                    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
                    if why != said:
                        step = f"check that {file.path} is there and may be read; it is tried again"
                        await queue.put(LogTrouble(file.name, f"{file.path}: {why}", step))
                    said = why
                if found:
                    await queue.put(LogPiece(file.name, found))
                else:
                    await asyncio.sleep(self._poll_s)
        finally:
            tail.close()


async def _taken(queue: asyncio.Queue[LogPiece | LogTrouble]) -> AsyncGenerator[LogPiece | LogTrouble, None]:
    while True:
        yield await queue.get()


class FileTail:
    """A file read on from where it was left. Follows the name: a file that takes its place is read from its start.

    `close` may come from another thread than the one that reads just then; whoever is the last closes the file.
    """

    def __init__(self, path: Path, lines: int) -> None:
        self._path = path
        self._lines = lines
        self._file: BinaryIO | None = None
        self._identity = (0, 0)
        self._begun = b""
        self._first = True
        self._packed = False
        self._reading = threading.Lock()
        self._ended = False

    def read(self) -> list[str]:
        """The next lines, at most about CHUNK_BYTES; at first the last ones. Nothing = nothing new.

        Raises: OSError - there is no such file, or it cannot be read; UsageError - its compression is unknown here.
        """
        try:
            with self._reading:
                return [] if self._packed or self._ended else self._next()
        finally:
            if self._ended:
                self.close()

    def close(self) -> None:
        self._ended = True
        if self._reading.acquire(blocking=False):
            try:
                self._shut()
            finally:
                self._reading.release()

    def _next(self) -> list[str]:
        if self._file is None:
            return self._open()
        found = self._more()
        if not found and self._replaced():
            self._shut()
            return self._open()
        return found

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> list[str]:
        file = self._path.open("rb")
        start = file.read(6)
        if start.startswith(_PACKED):
            self._packed = True
            file.close()
            source = Source(str(self._path), self._path, self._path.stat().st_size)
            with opened(source) as (stream, _):
                return _decoded(_last(stream, self._lines))
        self._file, self._begun = file, b""
        stat = os.fstat(file.fileno())
        self._identity = (stat.st_dev, stat.st_ino)
        first, self._first = self._first, False
        wanted = self._lines * _LINE_BYTES_TYPICAL
        if not first or stat.st_size <= wanted:
            file.seek(0)
            return self._more()
        file.seek(stat.st_size - wanted)
        # What follows a place in the middle of a line begins with the rest of it.
        return _decoded(file.read(wanted).rpartition(b"\n")[0].split(b"\n")[1:])[-self._lines :]

    def _more(self) -> list[str]:
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # it was emptied in place
            self._begun = b""
        data = self._begun + self._file.read(CHUNK_BYTES)
        whole, newline, rest = data.rpartition(b"\n")
        if not newline and len(rest) >= CHUNK_BYTES:
            whole, newline, rest = rest, b"\n", b""  # no line is that long; a binary file may be
        self._begun = rest
        return _decoded(whole.split(b"\n")) if newline else []

    def _replaced(self) -> bool:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return False  # between two files: what was open is still the newest there is
        return (stat.st_dev, stat.st_ino) != self._identity


def _last(stream: BinaryIO, lines: int) -> list[bytes]:
    """Of an archive that was cut, the last lines before the cut."""
    kept: deque[bytes] = deque(maxlen=lines)
    try:
        kept.extend(line.rstrip(b"\r\n") for line in stream)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        if not kept:
            raise OSError(f"cannot be unpacked: {error}") from error
    return list(kept)


def _decoded(lines: Sequence[bytes]) -> list[str]:
    return [line.decode("utf-8", "replace") for line in lines if line.strip()]


class HostLogs:
    """The members of an inventory's cluster, on their hosts. `connecting` logs in, and never asks anything."""

    reason = ""

    def __init__(self, members: Sequence[hosts.Logged], connecting: Callable[[], AbstractContextManager[Open]]) -> None:
        self._members = members
        self._connecting = connecting

    def sources(self) -> Sequence[LogSource]:
        return [LogSource(place.name, place.described) for place in map(hosts.LogPlace, self._members)]

    @asynccontextmanager
    async def following(self, *, lines: int) -> AsyncIterator[LogPieces]:
        with self._connecting() as connect:
            sessions = Sessions(connect)
            try:
                async with hosts.following(sessions.open, self._members, lines=lines) as events:
                    yield _told(events)
            finally:
                await sessions.close()


async def _told(events: AsyncIterator[hosts.LogLine | hosts.LogTrouble]) -> LogPieces:
    async for event in events:
        if isinstance(event, hosts.LogTrouble):
            error = event.error
            why = f"{error.message}: {error.cause}" if error.cause else error.message
            yield LogTrouble(event.member, why, error.hint)
        else:
            yield LogPiece(event.place.name, (event.text,))
