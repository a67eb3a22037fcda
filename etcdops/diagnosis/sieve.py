"""Which lines of a log are worth understanding. Most are not, and a gigabyte of them must pass in seconds.

Understanding a line costs some ten microseconds, skipping it a tenth of one. So lines are told apart by their *shape*:
the bytes without digits and hexadecimal letters, for zap's JSON the first bytes of the message and of the error. Lines
of a shape that matched nothing so often are skipped; of a shape that matched alike often enough, only the last in each
block is understood, and stands for the others. Lines of shapes never seen are always understood. Counts stay exact.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.frame import parse_line

_DIGITS = b"0123456789abcdef"
_MESSAGE = b'"msg":"'
_ERROR = b'"error":"'
_KEY_LENGTH = 32
_MISSES_MAX = 50
"""Lines of one shape that matched nothing before the shape is taken for noise."""
_ALIKE_MAX = 200
"""Lines of one shape that are understood one by one before blocks of them are."""
_ORDERED_MAX = 5_000
"""The same for lines whose order matters: elections, starts, stops."""
_SHAPES_MAX = 50_000
_LINE_MAX = 16_384
"""What of a line is understood. Longer ones carry stack traces or requests."""
_HEAD, _TAIL = 160, 60


class _Shape:
    """What is known of lines of one shape, and those of this block that were not understood yet."""

    __slots__ = ("hits", "limit", "misses", "noise", "pending", "waiting")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.limit = _ALIKE_MAX
        self.noise = False
        self.pending = 0
        self.waiting = 0  # where in the block the last pending line is: its piece, or its place among the lines


class Sieve:
    """Sifts the blocks of one source; `take` gets what is worth it, in order within each block and shape.

    `take` gets an entry and how many lines it stands for, and answers what the entry was: "" nothing of interest,
    "ordered" interesting line by line, anything else interesting.
    """

    def __init__(self, source: str, take: Callable[[Entry, int], str]) -> None:
        self._source = source
        self._take = take
        self._shapes: dict[bytes, _Shape] = {}
        self._quiet: set[bytes] = set()
        self._touched: list[_Shape] = []
        self.lines = 0

    def block(self, block: bytes) -> None:
        """Take in whole lines, separated by newlines, without the last one's newline."""
        if not block:
            self.lines += 1
            return
        lines = block.count(b"\n") + 1
        pieces = block.split(_MESSAGE)
        # As many messages as lines, and none on a line with another: the usual case, and the fast one.
        if len(pieces) == lines + 1 and b"\n" not in pieces[0] and _all_end_lines(pieces[1:-1]):
            self._messages(pieces)
            self._flush(lambda at: _whole_line(pieces, at))
        else:
            each = block.split(b"\n")
            self._lines(each)
            self._flush(lambda at: each[at - 1])
        self.lines += lines

    def _messages(self, pieces: list[bytes]) -> None:
        """Lines that all have one zap message: the piece after each `"msg":"` begins with it."""
        shapes, quiet = self._shapes, self._quiet
        for at, piece in enumerate(pieces[1:], 1):
            name = piece[:_KEY_LENGTH]
            # Traced requests carry a number in front, so each is a shape of its own; they say nothing others do not.
            if name in quiet or piece.startswith(b"trace["):
                continue
            error = piece.find(_ERROR)
            if error >= 0:
                name += piece[error + 9 : error + 129].translate(None, _DIGITS)
            shape = shapes.get(name) or self._new_shape(name)
            if shape.noise:
                if len(name) <= _KEY_LENGTH:
                    quiet.add(name)
                continue
            if shape.hits < shape.limit:
                self._understand(shape, self.lines + at, _whole_line(pieces, at), 1)
                continue
            if not shape.pending:
                self._touched.append(shape)
            shape.pending += 1
            shape.waiting = at

    def _lines(self, lines: list[bytes]) -> None:
        """Any lines: plain, framed, or JSON of another kind."""
        for at, line in enumerate(lines, 1):
            if not line:
                continue
            name = _shape_of(line)
            shape = self._shapes.get(name) or self._new_shape(name)
            if shape.noise:
                continue
            if shape.hits < shape.limit:
                self._understand(shape, self.lines + at, line, 1)
                continue
            if not shape.pending:
                self._touched.append(shape)
            shape.pending += 1
            shape.waiting = at

    def _new_shape(self, name: bytes) -> _Shape:
        if len(self._shapes) >= _SHAPES_MAX:
            self._shapes.clear()
            self._quiet.clear()
        shape = self._shapes[name] = _Shape()
        return shape

    def _understand(self, shape: _Shape, number: int, line: bytes, count: int) -> None:
        entry = parse_line(line[:_LINE_MAX].decode("utf-8", "replace"), self._source, number)
        verdict = self._take(entry, count)
        if not verdict:
            shape.misses += 1
            shape.noise = shape.misses >= _MISSES_MAX and not shape.hits
            return
        shape.hits += 1
        if verdict == "ordered":
            shape.limit = _ORDERED_MAX

    def _flush(self, line_at: Callable[[int], bytes]) -> None:
        """Understand the last line of each shape that was only counted in this block."""
        for shape in sorted(self._touched, key=lambda shape: shape.waiting):
            count, shape.pending = shape.pending, 0
            self._understand(shape, self.lines + shape.waiting, line_at(shape.waiting), count)
        self._touched.clear()


def _shape_of(line: bytes) -> bytes:
    """The line without what differs among its like; of a long one its start, its end and the start of its error."""
    request = line.find(b' request "')
    if request >= 0:
        return (line[:request] + line[-_TAIL:]).translate(None, _DIGITS)
    if len(line) <= _HEAD + _TAIL:
        return line.translate(None, _DIGITS)
    parts = [line[:_HEAD], line[-_TAIL:]]
    for word in (b"msg", b"error"):
        at = line.find(word, _HEAD)
        if at >= 0:
            parts.append(line[at : at + 120])
    return b" ".join(parts).translate(None, _DIGITS)


def _all_end_lines(pieces: list[bytes]) -> bool:
    """Whether each piece holds a line's end, without a step of Python for each."""
    return all(map(operator.contains, pieces, itertools.repeat(b"\n")))


def _whole_line(pieces: list[bytes], at: int) -> bytes:
    before, after = pieces[at - 1], pieces[at]
    end = after.find(b"\n")
    return before[before.rfind(b"\n") + 1 :] + _MESSAGE + (after if end < 0 else after[:end])
