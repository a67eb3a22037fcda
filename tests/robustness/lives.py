"""Which life each member is in: a small file that the run writes and all its load processes read.

An even number while the process may run, an odd one while it does not. A call that begins and ends with the same even
number was answered by one process: only such calls tell whether revisions of a member go back.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_NUMBER = struct.Struct("<I")


class Lives:
    """`create` makes the file; everybody else opens it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    @classmethod
    def create(cls, path: Path, members: int) -> Lives:
        path.write_bytes(_NUMBER.pack(1) * members)
        return cls(path)

    def of(self, member: int) -> int:
        return int(_NUMBER.unpack_from(self._map, member * _NUMBER.size)[0])

    def turn(self, member: int, *, running: bool) -> None:
        """The process is about to begin, or about to end. Nothing happens when that is known already."""
        now = self.of(member)
        if (now % 2 == 0) != running:
            _NUMBER.pack_into(self._map, member * _NUMBER.size, now + 1)

    def close(self) -> None:
        self._map.close()
