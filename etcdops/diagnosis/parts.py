"""A big file read by several processes: part by part, and the parts' logs put together in their order.

A part begins with a line that has a time, so that it needs nothing of what stands before it, and the log of a part is
the log of a file of its own. Which process read which part changes nothing. The other processes are Python's own
interpreter with this module; each is asked for one part after the other, and when one fails, its part is read here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from etcdops.diagnosis.collect import Collector, SourceLog
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.reading import Damaged, blocks
from etcdops.diagnosis.sieve import Sieve
from etcdops.diagnosis.window import Window

PART_SIZE = 64 << 20
LEAST_SIZE = 72 << 20
"""Of a smaller file most is read before another process is up."""
_LAST_PARTS, _LEAST_SHARE = 8, 4
"""Parts get shorter towards the end, down to a quarter, so that all processes end at about the same time. What is known
of lines is counted anew in each part, which costs as much as reading a megabyte."""
_HELPERS_MAX = 2
"""Each holds some 40 MB."""
_LINES_ASKED = 500
"""Lines after a cut that are asked for a time."""
_LOOKED_FOR_END = 4096
"""Bytes within which the end of the line at a block's end is looked for; a longer line comes in two pieces."""
_QUIT_S = 5.0


class Part(NamedTuple):
    """Bytes [start, end) of a file: whole lines."""

    start: int
    end: int


def pays(size: int | None) -> bool:
    """Whether a file of that size is read sooner by several."""
    return size is not None and size >= LEAST_SIZE and _cores() > 1 and sys.platform != "win32" and bool(sys.executable)


def helpers_at_most() -> int:
    """How many other processes there are at most, on this machine."""
    return min(_HELPERS_MAX, max(1, _cores() - 1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_parts(
    name: str,
    path: Path,
    window: Window,
    parts: list[Part],
    told: Callable[[int], None],
    *,
    helpers_max: int = _HELPERS_MAX,
) -> SourceLog:
    """The log of a file. `told` is called with the bytes read so far. Raises: OSError."""
    todo, done = deque(enumerate(parts)), dict[int, SourceLog]()
    whole, merged, read = SourceLog(name), 0, 0
    reader = PartReader(name, path, window)
    with contextlib.ExitStack() as stack:
        helpers = [
            stack.enter_context(contextlib.closing(_Helper(name, path, window)))
            for _ in range(min(helpers_max, helpers_at_most()))
        ]
        while todo or any(helper.busy for helper in helpers):
            if todo:
                number, part = todo.popleft()
                for step in reader.read(part, whole.events_left):
                    read += step + _serve(helpers, todo, done, whole.events_left)
                    told(read)
                done[number] = reader.log
            else:
                _wait(helpers)
                read += _serve(helpers, todo, done, whole.events_left)
            while merged in done:
                whole.absorb(done.pop(merged))
                merged += 1
    told(parts[-1].end)
    return whole


def _serve(helpers: list[_Helper], todo: deque[tuple[int, Part]], done: dict[int, SourceLog], events: int) -> int:
    """Take what the other processes have, and give them more. Returns: the bytes they have read.

    `events`: how many are still wanted of parts that are begun now.
    """
    read = 0
    for helper in helpers:
        if helper.busy and helper.ready():
            number, part = helper.busy
            log = helper.take()
            if log is None:
                todo.appendleft((number, part))
            else:
                done[number] = log
                read += part.end - part.start
        if helper.up and not helper.busy and todo:
            helper.ask(*todo.popleft(), events)
    return read


def _wait(helpers: list[_Helper]) -> None:
    """Until one of those at work answers, or ended."""
    at_work = [helper for helper in helpers if helper.busy]
    if all(helper.up for helper in at_work):
        select.select([helper.answers for helper in at_work], [], [])


def cut(path: Path, size: int, part_size: int = PART_SIZE) -> list[Part]:
    """The parts of a file, each at most a line's length past `part_size`."""
    starts, least = [0], max(1, part_size // _LEAST_SHARE)
    with path.open("rb") as file:
        while starts[-1] + least < size:
            left = size - starts[-1]
            start = _line_with_time(file, starts[-1] + min(part_size, max(least, left // _LAST_PARTS)))
            if start >= size:
                break
            starts.append(start)
    return [Part(start, end) for start, end in zip(starts, [*starts[1:], size], strict=True)]


def _line_with_time(file: BinaryIO, at: int) -> int:
    file.seek(at - 1)
    file.readline()
    at = begin = file.tell()
    for line in (file.readline() for _ in range(_LINES_ASKED)):
        if not line or parse_line(line[:4096].decode("utf-8", "replace")).time is not None:
            return at
        at += len(line)
    return begin


class PartReader:
    """Reads parts of one file; what it learned of one helps with the next."""

    def __init__(self, name: str, path: Path, window: Window) -> None:
        self._name = name
        self._path = path
        self._collector = Collector()
        self._sieve = Sieve(name, self._collector, window.holds if window.limited else None)
        self.log = self._collector.source(name)

    def read(self, part: Part, events: int) -> Iterator[int]:
        """Read it into `log`, a new one, with at most so many events; yields the bytes of each step."""
        self._collector.sources.clear()
        self.log = self._collector.source(self._name)
        self.log.events_kept = events
        self._sieve.forget()
        with self._path.open("rb", buffering=0) as file:
            file.seek(part.start)
            before = part.start
            try:
                for block in blocks(cast(BinaryIO, _Upto(file, part.end - part.start)), self._name):
                    self._sieve.block(block)
                    yield file.tell() - before
                    before = file.tell()
            except Damaged as error:
                self.log.damage = str(error)
        self._sieve.finish()
        self.log.lines = self._sieve.lines


class _Upto:
    """So many bytes of a file, read up to ends of lines: a line in two pieces must be put together, with its block."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self._left = left

    def read(self, size: int) -> bytes:
        if size < self._left:
            size += os.pread(self._file.fileno(), _LOOKED_FOR_END, self._file.tell() + size).find(b"\n") + 1
        chunk = self._file.read(min(size, self._left))
        self._left -= len(chunk)
        return chunk


class _Helper:
    """Another process."""

    def __init__(self, name: str, path: Path, window: Window) -> None:
        self.busy: tuple[int, Part] | None = None
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [sys.executable, "-m", "etcdops.diagnosis.parts"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._asks, self.answers = process, process.stdin, process.stdout
        self.up = self._send((name, path, window))

    def _send(self, message: object) -> bool:
        try:
            pickle.dump(message, self._asks)
            self._asks.flush()
        except OSError:
            self.up = False
            return False
        return True

    def ask(self, number: int, part: Part, events: int) -> None:
        self.busy = (number, part)
        self._send((part, events))

    def ready(self) -> bool:
        """Whether it answers, or ended."""
        return not self.up or bool(select.select([self.answers], [], [], 0)[0])

    def take(self) -> SourceLog | None:
        """The log of the part it was asked for; None when it failed."""
        self.busy = None
        try:
            return cast(SourceLog, pickle.load(self.answers))  # noqa: S301 - our own process, just started
        except (EOFError, OSError, pickle.UnpicklingError):
            self.up = False
            return None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._process.wait(_QUIT_S)


def main() -> None:
    """Be another process: parts are asked for on standard input, and told on standard output."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        reader = PartReader(*pickle.load(asked))  # noqa: S301 - from the process that started this one
        while True:
            part, events = pickle.load(asked)  # noqa: S301
            for _ in reader.read(part, events):
                pass
            pickle.dump(reader.log, answers)
            answers.flush()
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
