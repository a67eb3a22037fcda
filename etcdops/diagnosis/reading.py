"""Where logs come from: files, compressed or not, folders of them, standard input. In blocks of whole lines."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from etcdops.diagnosis.wide import LOOKED_AT_BYTES, Narrowed, wide_encoding
from etcdops.errors import UsageError

BLOCK_SIZE = 512 << 10
_LINE_MAX = 8 << 20
"""A line longer than that is cut: no log has one, a binary file may."""
STDIN = "-"
_WHOLE = "is the file whole?"
_ZSTD_WINDOW_MAX = 128 << 20
"""As zstd's own default: files made with `--long=28` and more need more memory than a log is worth."""
_ZSTD_STEP = 32 << 10
"""Packed bytes unpacked at a time: a megabyte or so of a log."""
FILES_MAX = 10_000

_GZIP, _XZ, _ZSTD, _BZIP = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh"
_PACKED = (_GZIP, _XZ, _ZSTD, _BZIP)


@dataclass(frozen=True, slots=True)
class Source:
    """One log: `name` is how findings call it; `size` is in bytes on disk, None for a pipe."""

    name: str
    path: Path | None
    size: int | None


def find_sources(names: list[str]) -> list[Source]:
    """The logs `names` mean: a file is itself, a folder the readable files in it (not hidden ones), `-` is stdin.

    Raises: UsageError - nothing is there, or it cannot be read.
    """
    found: list[Source] = []
    for name in names:
        if name == STDIN:
            found.append(Source("stdin", None, None))
            continue
        path = Path(name)
        if path.is_dir():
            inside = [_source(file) for file in _files_of(path)]
            if not inside:
                raise UsageError(f"{name} holds no log", hint="give the folder or the files that etcd's logs are in")
            found += inside
        elif path.exists():
            if path.is_file() and _is_data(path):
                raise UsageError(
                    f"{name} is no text", hint="name the log that etcd writes, not its data or its program"
                )
            found.append(_source(path))
        else:
            raise UsageError(f"{name} does not exist", hint="give a file, a folder, or - for standard input")
    if len(found) > FILES_MAX:
        raise UsageError(
            f"{len(found)} files are more than {FILES_MAX}", hint="name the folder that holds only etcd's logs"
        )
    return found


def _source(path: Path) -> Source:
    # A pipe, as in `etcdops diagnose <(journalctl -u etcd)`, has no size.
    size = path.stat().st_size if path.is_file() else None
    return Source(str(path), path, size)


def _files_of(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent) / name
            if not name.startswith(".") and path.is_file() and _is_log(path):
                yield path


def _is_log(path: Path) -> bool:
    """Text, or something compressed. A data directory beside the logs is full of files that are neither."""
    start = _start(path)
    return start.startswith(_PACKED) or (bool(start) and (b"\x00" not in start or bool(wide_encoding(start))))


def _is_data(path: Path) -> bool:
    """A database or a program. NULs alone do not make it one: a log may have them after a loss of power."""
    start = _start(path)
    controls = sum(byte < 0x20 and byte not in b"\x00\t\n\v\f\r\x1b" for byte in start)
    return b"\x00" in start and controls > len(start) / 100 and not start.startswith(_PACKED)


def _start(path: Path) -> bytes:
    """Nothing of a file that cannot be read: that is told when it is."""
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def is_plain(source: Source) -> bool:
    """Whether it is a file that is not compressed. Raises: UsageError - it cannot be opened."""
    with opened(source) as (stream, beneath):
        return stream is beneath


@contextmanager
def opened(source: Source) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The source's text as a stream, and the stream beneath it, whose position tells the progress.

    Raises: UsageError - it cannot be opened, or its compression is unknown here.
    """
    if source.path is None:
        pipe = sys.stdin.buffer
        yield (
            _decoded(source.name, pipe.peek(LOOKED_AT_BYTES) if isinstance(pipe, io.BufferedReader) else b"", pipe),
            pipe,
        )
        return
    try:
        file = source.path.open("rb", buffering=0 if source.size else -1)
    except OSError as error:
        raise UsageError(
            f"{source.name} cannot be read: {error.strerror}", hint="check its path and permissions"
        ) from error
    with file:
        raw: BinaryIO = file
        # A pipe cannot be looked into and then read from its start.
        start = raw.read(LOOKED_AT_BYTES) if source.size else b""
        if source.size:
            raw.seek(0)
        yield _decoded(source.name, start, raw), raw


def _decoded(name: str, start: bytes, raw: BinaryIO) -> BinaryIO:
    if start.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if start.startswith(_XZ):
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if start.startswith(_BZIP):
        return cast(BinaryIO, bz2.BZ2File(raw))
    if start.startswith(_ZSTD):
        return _zstandard(name, raw)
    encoding = wide_encoding(start)
    return cast(BinaryIO, Narrowed(raw, encoding)) if encoding else raw


class _Zstandard:
    """Frames of zstd, one after another. Memory is bounded by what a frame needs (`zstd --long` asks for more)."""

    def __init__(self, raw: BinaryIO) -> None:
        import zstandard  # not before it is needed: few logs are

        self._raw = raw
        self._new = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj
        self._damaged = zstandard.ZstdError
        self._frame = self._new()
        self._begun = False

    def read(self, _: int) -> bytes:
        """The next bytes, b"" after the last. Raises: EOFError - a frame is cut; OSError - it is damaged."""
        while True:
            packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._begun = self._new(), False
            packed = packed or self._raw.read(_ZSTD_STEP)
            if not packed and not self._begun:
                return b""
            if not packed:
                raise EOFError("compressed data ends in the middle")
            self._begun = True
            try:
                found = self._frame.decompress(packed)
            except self._damaged as error:
                raise OSError(str(error)) from error
            if found:
                return found


def _zstandard(name: str, raw: BinaryIO) -> BinaryIO:
    try:
        return cast(BinaryIO, _Zstandard(raw))
    except ImportError as error:
        raise UsageError(
            f"{name} is compressed with zstd, which this Python cannot read",
            hint=f"pip install zstandard, or: zstdcat {name} | etcdops diagnose -",
        ) from error


class Damaged(Exception):
    """What could be read of a log was read; the rest of it cannot be."""


class Block(NamedTuple):
    """Whole lines, each with its newline (the last of all, or one that was cut, may have none)."""

    text: bytes
    lines: list[bytes]


def blocks(stream: BinaryIO, name: str) -> Iterator[Block]:
    """The lines of a log, in blocks.

    Raises: UsageError - compressed data that cannot be read at all; Damaged - after everything that can be read.
    """
    rest = b""
    any_yet = False
    broken = ""
    # read1 gives what is there: of a cut archive all that can be unpacked, of a pipe all that has come.
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    while True:
        try:
            chunk = read(BLOCK_SIZE)
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            if not any_yet:
                hint = f"zstd --long=31 -dc {name} | etcdops diagnose -" if "memory" in str(error) else _WHOLE
                raise UsageError(f"{name} cannot be read: {error}", hint=hint) from error
            broken, chunk = str(error), b""
        if not chunk:
            break
        any_yet = True
        # Looks for newlines with memchr, as split() does not.
        text = rest + chunk if rest else chunk
        lines = io.BytesIO(text).readlines()
        rest = b"" if text.endswith(b"\n") or len(lines[-1]) > _LINE_MAX else lines.pop()
        if lines:
            yield Block(text[: len(text) - len(rest)], lines)
    if rest:
        yield Block(rest, [rest])
    if broken:
        raise Damaged(broken)
