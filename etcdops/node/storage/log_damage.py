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
from typing import BinaryIO, Final

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

    Args: valid_frames as SQLite counts them after it opened the database.
    """
    with log.open("rb") as file:
        fields = _HEADER.unpack(file.read(_HEADER.size))
        page_size = 65536 if fields[2] == 1 else fields[2]
        size = _FRAME.size + page_size
        first = at = _HEADER.size + valid_frames * size
        synced_at = -1
        while True:
            file.seek(at)
            raw = file.read(_FRAME.size)
            if len(raw) < _FRAME.size:
                return ""
            _, commit, *salts = _FRAME.unpack(raw)[:4]
            mark = _commit_mark(file, at, page_size) if at == first else 0
            if mark or tuple(salts) == fields[4:6]:
                if synced_at >= 0:
                    return (
                        f"{log} is damaged at byte {first}: what was written and synced up to byte {at} is unreadable"
                    )
                if mark or commit:
                    synced_at = at
            at += size


def _commit_mark(file: BinaryIO, at: int, page_size: int) -> int:
    """The database's pages after the transaction that the first bad frame ends; 0 when that is not known.

    It is, when only its salts are bad or a bit of this mark: the checksum, which leaves salts out, goes on from that of
    the last good frame. What an earlier round of the log left there does not.
    """
    file.seek(0)
    header = _HEADER.unpack(file.read(_HEADER.size))
    before = header[6:8]
    if at > _HEADER.size:
        file.seek(at - _FRAME.size - page_size)
        before = _FRAME.unpack(file.read(_FRAME.size))[4:6]
    file.seek(at)
    raw, page = file.read(_FRAME.size), file.read(page_size)
    if len(page) < page_size:
        return 0
    number, commit, _, _, *expected = _FRAME.unpack(raw)
    for mark in (commit,) if commit else (1 << bit for bit in range(32)):
        data = struct.pack(">2I", number, mark) + page
        if _checksum(data, big=header[0] == _MAGIC_BIG, start=before) == tuple(expected):
            return mark
    return 0


def _checksum(data: bytes, *, big: bool, start: tuple[int, ...] = (0, 0)) -> tuple[int, int]:
    one, two = start
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & _U32
        two = (two + second + one) & _U32
    return one, two
