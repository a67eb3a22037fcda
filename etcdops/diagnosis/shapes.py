"""What lines have in common. Lines of one *shape* match the same rules, and lines of one *outline* are of one shape.

The outline of a line is the line without its numbers. Its shape is without what clients wrote into it, too: that costs
more, and is made where outlines do not repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from io import BytesIO

_DIGITS = b"0123456789"
_LETTERS = bytes(ord("a") if byte in b"bcdef" else byte for byte in range(256))
"""With `_DIGITS` left out, the bytes' form of `match.SHAPE`."""
_REQUEST, _ERROR = b'"request":"', b'","error":"'
LINE_MAX = 16_384
"""What of a line is understood. Longer ones carry stack traces or requests."""
_SHAPE_LENGTH_MAX = 500

_OUTLINE_LENGTH_MAX = 2_000
_OUTLINES_MAX, _OUTLINES_BYTES_MAX = 20_000, 8 << 20
_NEW_SHARE = 4
"""When every fourth line has a new outline, they do not repeat, and learning them is no use."""
_STRANGE_SHARE = 2
_TRIALS, _PAUSE = 3, 15
"""Blocks with half of their lines unknown before outlines are not made any more, and blocks until they are again."""

Taker = Callable[[int], None]
"""Takes in the line at an index of the block."""


class Outlines:
    """Which lines are known by their outlines, and who takes them in."""

    def __init__(self) -> None:
        self.takers: dict[bytes, Taker | None] = {}
        """None: nobody; such lines mean nothing."""
        self._bytes = 0
        self._trials = _TRIALS
        self._pause = 0

    def of(self, lines: Sequence[bytes]) -> list[bytes] | None:
        """One for each line; None while they are no use."""
        if self._pause:
            self._pause -= 1
            return None
        return _outlines(_joined(lines))

    def worth_learning(self, outlines: Sequence[bytes], strange: Sequence[int], many: int) -> dict[bytes, int]:
        """The outlines of strange lines, each with the index of one of them. `many`: lines, the known ones too."""
        self._trials = _TRIALS if len(strange) * _STRANGE_SHARE <= many else self._trials - 1
        if self._trials < 0:
            self._trials, self._pause = 0, _PAUSE
        found = dict(zip(outlines, strange, strict=True))
        if len(found) * _NEW_SHARE > many:
            return {}
        return {outline: index for outline, index in found.items() if len(outline) <= _OUTLINE_LENGTH_MAX}

    def learn(self, outline: bytes, taker: Taker | None) -> None:
        """Lines like that are for `taker` from now on."""
        self._bytes += len(outline)
        if len(self.takers) >= _OUTLINES_MAX or self._bytes > _OUTLINES_BYTES_MAX:
            self.takers.clear()
            self._bytes = len(outline)
        self.takers[outline] = taker

    def release(self) -> None:
        """Nobody takes lines in any more; what means nothing is still known."""
        self.takers = {outline: None for outline, taker in self.takers.items() if taker is None}
        self._bytes = sum(map(len, self.takers))


def shapes_of(lines: Sequence[bytes], *, zaps: bool = False) -> list[bytes]:
    """Lines without numbers and requests: lines of equal shape match equal rules. `zaps`: they are JSON."""
    # One step for all lines at a time is quicker than all steps for each line.
    text = _joined(lines)
    if zaps:
        text = _without_requests(text)
    elif b"request" in text:
        text = _joined([_without_request(line) if b"request" in line else line for line in lines])
    names = _outlines(text)
    if max(map(len, names), default=0) > _SHAPE_LENGTH_MAX:
        names = [name if len(name) <= _SHAPE_LENGTH_MAX else _digest(name[:LINE_MAX]) for name in names]
    return names


def caller_at(line: bytes) -> int:
    """Where zap's call site begins; -1 in a line without."""
    at = line.find(b'","caller":"', 0, 400)
    logger = line.find(b'","logger":"', 0, 400)
    return at if logger < 0 or at < 0 else min(at, logger)


def _joined(lines: Sequence[bytes]) -> bytes:
    text = b"".join(lines)
    # The last line of a log may end without, and would be none if it is nothing but numbers.
    return text if not lines or text.endswith(b"\n") else text + b"\n"


def _outlines(text: bytes) -> list[bytes]:
    return BytesIO(text.translate(_LETTERS, _DIGITS)).readlines()


def _without_requests(text: bytes) -> bytes:
    """What `_without_request` leaves of lines of JSON, in which a quote inside a request is never bare."""
    rest, *pieces = text.split(b'"request')
    kept = [rest]
    for piece in pieces:
        if piece.startswith((b'":"', b' content":"')):
            end = piece.find(b"\n")
            error = piece.find(_ERROR, 0, end if end >= 0 else len(piece))
            if error >= 0:
                kept.append(piece[error:])
            elif end >= 0:
                kept.append(piece[end:])
        else:
            kept += (b'"request', piece)
    return b"".join(kept)


def _without_request(line: bytes) -> bytes:
    """A line without the request and what was answered, in which clients may write any words."""
    begin = line.find(_REQUEST)
    if begin < 0:
        begin = line.find(b'"request content":"')
    if begin >= 0:
        error = line.find(_ERROR, begin)
        return line[:begin] + (line[error:] if error >= 0 else b"\n")
    begin, end = line.find(b' request "'), line.rfind(b'" with re')
    return line[: begin + 10] + line[end:] if 0 <= begin < end else line


def _digest(name: bytes) -> bytes:
    return blake2b(name, digest_size=16).digest()
