"""Finding damage in the raft log's files that SQLite passes over in silence.

SQLite takes a missing, empty or unreadable write-ahead log for a clean shutdown, and everything behind a bad frame for
a transaction that was cut off by a crash. For the raft log both would lose acknowledged entries, so:

- the `-wal` file is made together with the database and never removed: without it, or without a valid header, the
  log's end is lost;
- frames are written one transaction at a time, each is on disk before the next one, and what a crash leaves of one is
  cut off at the next start. So behind a bad frame there may be the rest of one transaction, and nothing after it.

What no file can tell by itself is that its end is missing, be it one transaction or kilobytes: it looks like the end
of a write that a crash interrupted, and is taken for one, as in etcd, which reads a record that the end of the last
file cuts off, or one with a sector of zeros, as torn (io.ErrUnexpectedEOF) and truncates the file there, logging
"repaired WAL". A member whose store has applied more than what is left is refused all the same (bootstrap._compare).
Sources: https://www.sqlite.org/fileformat2.html, section 4 (the WAL file format); etcd server/wal (3.6:
server/storage/wal): decoder.go, decodeRecord and isTornEntry; wal.go, ReadAll; repair.go, Repair.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, checkpoint number, salt 1 and 2, checksum 1 and 2
_FRAME: Final = struct.Struct(">6I")  # page number, database pages after a commit or 0, salt 1 and 2, checksum 1 and 2
WAL_HEADER_BYTES: Final = _HEADER.size
FRAME_HEADER_BYTES: Final = _FRAME.size
_MAGIC_LITTLE: Final = 0x377F0682
_MAGIC_BIG: Final = 0x377F0683
_U32: Final = 0xFFFF_FFFF


def header_problem(log: Path) -> str:
    """Why a write-ahead log cannot be used at all; empty when its header is whole."""
    try:
        with log.open("rb") as file:
            raw = file.read(_HEADER.size)
    except FileNotFoundError:
        return f"{log} is missing"
    if len(raw) < _HEADER.size:
        return f"{log} is cut short: {len(raw)} bytes"
    fields = _HEADER.unpack(raw)
    if fields[0] not in (_MAGIC_LITTLE, _MAGIC_BIG):
        return f"{log} is overwritten: it does not begin as a write-ahead log of SQLite"
    if _checksum(raw[:24], big=fields[0] == _MAGIC_BIG) != fields[6:8]:
        return f"{log} is damaged: the checksum of its header is wrong"
    return ""


def tail_problem(log: Path, valid_frames: int) -> str:
    """Whether acknowledged transactions lie behind the frames that SQLite accepts.

    Args: valid_frames as SQLite counts them after it opened the database: up to the last commit.
    """
    with log.open("rb") as file:
        header = _HEADER.unpack(file.read(_HEADER.size))
        size = _FRAME.size + (65536 if header[2] == 1 else header[2])
        first = _HEADER.size + valid_frames * size
        before = header[6:8]
        if valid_frames:
            file.seek(first - size)
            before = _FRAME.unpack(file.read(_FRAME.size))[4:6]
        sums = _Checksums(header[0] == _MAGIC_BIG, before)
        file.seek(first)
        synced_at = -1
        at = first
        while len(frame := file.read(size)) >= _FRAME.size:
            ours = _FRAME.unpack_from(frame)[2:4] == header[4:6]
            mark = sums.commit_mark(frame, ours)
            if (ours or mark) and synced_at >= 0:
                return f"{log} is damaged at byte {first}: what was written and synced up to byte {at} is unreadable"
            if mark:
                synced_at = at
            at += size
    return ""


class _Checksums:
    """Those of frames in a row. Each goes on from the one before it, and leaves out its frame's salts."""

    def __init__(self, big: bool, before: tuple[int, ...]) -> None:
        self._big = big
        self._before: tuple[int, ...] | None = before
        """None behind the first bad frame."""

    def commit_mark(self, frame: bytes, ours: bool) -> int:
        """The database's pages after the transaction that this frame ends, else 0.

        In the first bad frame it is believed only if the rest is whole: then the salts are bad, or one bit of the mark.
        What an earlier round of the log left there is not whole. Args: ours: its salts are this round's.
        """
        number, mark, _, _, *written = _FRAME.unpack_from(frame)
        before, self._before = self._before, None
        if before is not None:
            marks = (mark,) if mark else (0, *(1 << bit for bit in range(32)))
            for each in marks:
                data = struct.pack(">2I", number, each) + frame[_FRAME.size :]
                if len(data) % 8 == 0 and _checksum(data, big=self._big, start=before) == tuple(written):
                    if ours and each == mark:
                        self._before = tuple(written)
                    return each
        return mark if ours else 0


def _checksum(data: bytes, *, big: bool, start: tuple[int, ...] = (0, 0)) -> tuple[int, int]:
    one, two = start
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & _U32
        two = (two + second + one) & _U32
    return one, two
