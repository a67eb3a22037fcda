"""Logs in UTF-16, as PowerShell's `>` and Notepad write them: read as everybody else's.

They are known by their zeros: every character of a log takes two bytes, of which one is zero, always on the same side.
A mark at the start (U+FEFF) alone proves nothing, and may be missing.
"""

from __future__ import annotations

import codecs
from typing import BinaryIO

LOOKED_AT_BYTES = 512
"""How much of a start tells."""
_LEAST_BYTES = 16
_ZEROS, _STRAY_ZEROS = 0.7, 0.1
"""Shares: names and messages may be in any script; and after a loss of power a log may begin with zeros alone."""


def wide_encoding(start: bytes) -> str:
    """The name of the encoding, empty where each character of a log is one byte. `start`: LOOKED_AT_BYTES or more."""
    start = start[: len(start) // 2 * 2]
    if len(start) < _LEAST_BYTES:
        return ""
    zeros = [start[side::2].count(0) / (len(start) / 2) for side in (0, 1)]
    for name, zero, other in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if zeros[zero] >= _ZEROS and zeros[other] <= _STRAY_ZEROS:
            return name
    return ""


class Narrowed:
    """A stream of UTF-16 as one of UTF-8."""

    def __init__(self, raw: BinaryIO, encoding: str) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def read(self, size: int) -> bytes:
        """What up to `size` bytes beneath hold; b"" at the end."""
        while chunk := self._raw.read(size):
            text = self._decoder.decode(chunk).removeprefix("\ufeff")
            if text:
                return text.encode("utf-8", "replace")
        return self._decoder.decode(b"", final=True).encode("utf-8", "replace")
