"""Logs of members as files on this machine, bounded, so that the diagnosis reads them as it reads any other log."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from etcdops.diagnosis.reading import Source
from etcdops.doctor.gather.logs import LINES_MAX, Logged, LogPlace, lines_of, log_places
from etcdops.remote.pool import Open, Outcome, on_all
from etcdops.remote.session import Session

LOG_MAX_BYTES = 128 << 20
"""Kept of one log, its end; a log of some hundred thousand lines is half of that."""
LAST_LINES = 1_000
"""Taken of a log without a line in its window: the last words of a member that is long gone."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of the logs is wanted. Unix times; None: from its beginning, to its end."""

    since: float | None = None
    until: float | None = None
    lines: int = LINES_MAX


@dataclass(frozen=True, slots=True)
class FetchedLog:
    """A log, or its part, as a file of its own."""

    place: LogPlace
    path: Path
    lines: int
    is_cut: bool = False
    """There are more lines in the span; the oldest are missing."""
    is_older: bool = False
    """No line lay in the span: these are the last ones before it."""

    @property
    def source(self) -> Source:
        """For the diagnosis."""
        return Source(self.place.name, self.path, self.path.stat().st_size)


async def fetch_logs(
    connect: Open, members: Sequence[Logged], span: Span, folder: Path
) -> list[Outcome[Logged, tuple[FetchedLog, ...]]]:
    """Every member's logs into `folder`, which is there and for nobody else; in the order of `members`.

    A member whose log cannot be had is an outcome with its error and hides no other. `connect` shares its sessions.
    """
    numbers = itertools.count(1)

    async def one(logged: Logged) -> tuple[FetchedLog, ...]:
        session = await connect(logged.host)
        places = await log_places(session, logged)
        return tuple([await _fetch(session, place, span, folder / f"{next(numbers)}.log") for place in places])

    return await on_all(members, one)


async def _fetch(session: Session, place: LogPlace, span: Span, path: Path) -> FetchedLog:
    lines, is_cut = await _save(lines_of(session, place, since=span.since, until=span.until, lines=span.lines), path)
    if lines or span.since is None:
        return FetchedLog(place, path, lines, is_cut or lines >= span.lines)
    lines, _ = await _save(lines_of(session, place, until=span.until, lines=LAST_LINES), path)
    return FetchedLog(place, path, lines, is_older=lines > 0)


async def _save(lines: AsyncGenerator[str, None], path: Path) -> tuple[int, bool]:
    """(lines that came, whether the oldest were dropped) of what is at `path` then."""
    with _Ring(path) as ring:
        async with aclosing(lines) as found:
            async for line in found:
                ring.add(line.encode() + b"\n")
    return ring.lines, ring.is_cut


class _Ring:
    """A file that keeps the last of what is written to it: two halves, the older one is dropped when both are full."""

    def __init__(self, path: Path, size_max: int = LOG_MAX_BYTES) -> None:
        self._path, self._older = path, path.with_suffix(".older")
        self._half_bytes = size_max // 2
        self._size = 0
        self._counts = [0, 0]
        self.is_cut = False
        self._file: BinaryIO = path.open("wb")

    @property
    def lines(self) -> int:
        return sum(self._counts)

    def add(self, data: bytes) -> None:
        if self._size + len(data) > self._half_bytes and self._size:
            self._file.close()
            self.is_cut = self.is_cut or self._older.exists()
            self._path.replace(self._older)
            self._file = self._path.open("wb")
            self._counts, self._size = [self._counts[1], 0], 0
        self._file.write(data)
        self._size += len(data)
        self._counts[1] += 1

    def __enter__(self) -> _Ring:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._older.exists():
            with self._older.open("ab") as whole, self._path.open("rb") as end:
                shutil.copyfileobj(end, whole)
            self._older.replace(self._path)
