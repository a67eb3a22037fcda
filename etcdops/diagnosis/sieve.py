"""Which lines of a log are worth understanding. Most are not, and a gigabyte of them must pass in seconds.

Understanding a line costs some ten microseconds, skipping it a tenth of one. So lines are told apart by their *shape*:
the bytes without digits and hexadecimal letters, for zap's JSON the first bytes of the message and of the error. Lines
of a shape that matched nothing so often are skipped; of a shape that matched alike often enough, only the last in each
block is understood, and stands for the others. Lines of shapes never seen are always understood. Counts stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.frame import parse_line

Take = Callable[[Entry, int], bool]
"""Takes in an entry that stands for so many lines; answers whether any rule cares for it line by line."""

_DIGITS = b"0123456789abcdef"
_MESSAGE = b'"msg":"'
_ERROR = b'"error":"'
_KEY_LENGTH = 24
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
        self.waiting: tuple[int, bytes] = (0, b"")


class Sieve:
    """Sifts the blocks of one source; `take` gets what is worth it, in order within each block and shape."""

    def __init__(self, source: str, take: Callable[[Entry, int], str]) -> None:
        self._source = source
        self._take = take
        self._keys: dict[bytes, _Shape] = {}
        self._shapes: dict[bytes, _Shape] = {}
        self._touched: dict[int, _Shape] = {}
        self.lines = 0

    def block(self, block: bytes) -> None:
        """Take in whole lines, separated by newlines, without the last one's newline."""
        pieces = block.split(_MESSAGE)
        newlines = block.count(b"\n")
        if len(pieces) == newlines + 2 and pieces[0].find(b"\n") < 0:
            self._messages(pieces)
        else:
            for number, line in enumerate(block.split(b"\n"), self.lines + 1):
                self._line(number, line)
        self.lines += newlines + 1
        self._flush()

    def _messages(self, pieces: list[bytes]) -> None:
        """Lines that all have one zap message: the piece after each `"msg":"` begins with it."""
        keys = self._keys
        base = self.lines
        for at in [at for at, piece in enumerate(pieces) if keys.get(piece[:_KEY_LENGTH], True)]:
            if at:
                self._message(pieces, at, base + at)

    def _message(self, pieces: list[bytes], at: int, number: int) -> None:
        piece = pieces[at]
        key = piece[:_KEY_LENGTH]
        if key.startswith(b"trace["):
            return  # requests that are traced carry a number in front and say nothing that others do not
        error = piece.find(_ERROR)
        name = key if error < 0 else key + piece[error + 9 : error + 129].translate(None, _DIGITS)
        shape = self._shape(name)
        if shape.noise:
            if error < 0 and b"\n" in piece[_KEY_LENGTH:]:
                self._remember_noise(key)
            return
        if shape.hits < shape.limit:
            self._understand(shape, number, _whole_line(pieces, at))
        else:
            shape.pending += 1
            shape.waiting = (number, _whole_line(pieces, at)) if shape.pending == 1 else (number, piece)
            self._touched[id(shape)] = shape
            shape.waiting = (number, _whole_line(pieces, at))

    def _remember_noise(self, key: bytes) -> None:
        if len(self._keys) >= _SHAPES_MAX:
            self._keys.clear()
        self._keys[key] = False  # type: ignore[assignment]

    def _line(self, number: int, line: bytes) -> None:
        """Any line: plain, framed, or JSON of another kind."""
        if not line:
            return
        request = line.find(b' request "')
        if request >= 0:
            name = line[:request].translate(None, _DIGITS) + line[-_TAIL:].translate(None, _DIGITS)
        elif len(line) > _HEAD + _TAIL:
            name = (line[:_HEAD] + line[-_TAIL:]).translate(None, _DIGITS) + self._middle(line)
        else:
            name = line.translate(None, _DIGITS)
        shape = self._shape(name)
        if shape.noise:
            return
        if shape.hits < shape.limit:
            self._understand(shape, number, line)
        else:
            shape.pending += 1
            shape.waiting = (number, line)
            self._touched[id(shape)] = shape

    @staticmethod
    def _middle(line: bytes) -> bytes:
        """The start of the message and of the error of a long JSON line."""
        at, error = line.find(b"msg"), line.find(b"error")
        return line[at : at + 60].translate(None, _DIGITS) + (
            line[error : error + 120].translate(None, _DIGITS) if error >= 0 else b""
        )

    def _shape(self, name: bytes) -> _Shape:
        shape = self._shapes.get(name)
        if shape is None:
            if len(self._shapes) >= _SHAPES_MAX:
                self._flush()
                self._shapes.clear()
            shape = self._shapes[name] = _Shape()
        return shape

    def _understand(self, shape: _Shape, number: int, line: bytes, count: int = 1) -> None:
        entry = parse_line(line[:_LINE_MAX].decode("utf-8", "replace"), self._source, number)
        verdict = self._take(entry, count)
        if verdict == "":
            shape.misses += 1
            if shape.misses >= _MISSES_MAX and not shape.hits:
                shape.noise = True
            return
        shape.hits += 1
        if verdict == "ordered":
            shape.limit = _ORDERED_MAX

    def _flush(self) -> None:
        """Understand the last line of each shape that was only counted in this block."""
        touched = sorted(self._touched.values(), key=lambda shape: shape.waiting[0])
        self._touched.clear()
        for shape in touched:
            count, shape.pending = shape.pending, 0
            number, line = shape.waiting
            self._understand(shape, number, line, count)


def _whole_line(pieces: list[bytes], at: int) -> bytes:
    before, after = pieces[at - 1], pieces[at]
    end = after.find(b"\n")
    return before[before.rfind(b"\n") + 1 :] + _MESSAGE + (after if end < 0 else after[:end])


def sift(source: str, blocks: Iterable[bytes], take: Callable[[Entry, int], str]) -> Iterator[int]:
    """Sift all blocks of one source; yields the number of lines after each."""
    sieve = Sieve(source, take)
    for block in blocks:
        sieve.block(block)
        yield sieve.lines
