"""Lines that a terminal broke at its width, put together again: a log that was copied from a screen or a PDF.

Of such a log no line is longer than the screen was wide, and what follows a line that is as long as that has no head of
its own, no time and no program. A JSON object that ends in the middle goes on in such lines too, whatever their width,
if with them it is whole. The first lines tell whether a log is of that kind; any other passes untouched.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from etcdops.diagnosis.reading import Block, Damaged

LOOKED_AT_LINES = 2000
_LOOKED_AT_BYTES = 1 << 20
_NARROWEST, _WIDEST = 60, 500
_USUAL = frozenset({80, 100, 120, 132, 160, 200, 240})
"""A width at which a single line was broken is believed when it is one of these."""
_PIECES_MAX = 1000
_LENGTH_MAX = 64 << 10
"""Of a line put together, in pieces and characters: what etcd writes in one is far less."""
_TRIES_MAX = 20
_OBJECT_WITHIN = 300
_LINES_AT_ONCE = 1000

_CLOCK = r"\d\d:\d\d(?::\d\d|$)"
_BEGINNINGS = (
    rf"\d{{4}}[-/]\d\d[-/]\d\d[T ]{_CLOCK}",
    rf"[A-Z][a-z]{{2}}\s+\d+ {_CLOCK}",
    rf"\d{{1,2}}月\s*\d+ {_CLOCK}",
    rf"[IWEF]\d{{4}} {_CLOCK}",
    _CLOCK,
    r"(?:<\d+>|raft|\[etcd\] |WARNING: |INFO: |ERROR: )\s*(?:\d|[A-Z][a-z]{2} )",
    r"(?:\[pod/|)[\w.@/-]+\]?\s*\| ",
    r"[A-Z]{4}\[[\dT]",
    r'time="|ts=',
    r'\{ ?"(?:level|ts|log|MESSAGE|time|caller|msg)"',
    r"[\w.-]+\[\d+\]: ",
    r"\([\w-]+\) \(\d+\): ",
    r"(?:ok|changed|fatal|failed): \[",
    r"(?:\d{1,3}\.){3}\d{1,3}: ",
    r"\d+\.\d+(?:e\+\d+)?\s+(?:\{|[a-z]+\s)",
    r"\[[A-Z]+\]\[\d+\] |(?:[a-z]+\.)+\w+Exception: ",
    r"panic: |fatal error: |goroutine \d+ \[",
    r"> |[|+][-= ]",
)
_HEAD = re.compile(rf"\s*(?:{'|'.join(_BEGINNINGS)})")
"""How a line of a log begins, or one that continues none."""
_ROW = re.compile(r"\s*[|+][-= ]")


class Wrap(NamedTuple):
    """How a log was broken: at `width` columns; 0: only objects are known to have been."""

    width: int


def wrap_of(lines: Sequence[str]) -> Wrap | None:
    """How the log that begins with these lines was broken; None when it was not."""
    lines = [line.rstrip("\r\n") for line in lines[:LOOKED_AT_LINES]]
    width = _width(lines)
    if width or any(_opens_object(line) and _closed_by(lines[at:]) for at, line in enumerate(lines)):
        return Wrap(width)
    return None


def _width(lines: Sequence[str]) -> int:
    """The columns that lines were broken at; 0 when they were not."""
    columns = [_columns(line) for line in lines]
    widest = max(columns, default=0)
    if not _NARROWEST <= widest <= _WIDEST:
        return 0
    broken, fitting, going_on = 0, 0, False
    for at, line in enumerate(lines[:-1]):
        full = columns[at] == widest and (going_on or at == 0 or _starts(line))
        going_on = full and _may_continue(lines[at + 1])
        broken += going_on
        fitting += full and not going_on
    return widest if broken > fitting and (broken > 1 or widest in _USUAL) else 0


def _starts(line: str) -> bool:
    return _HEAD.match(line) is not None and not _ROW.match(line)


def _columns(line: str) -> int:
    """Letters of Chinese and Japanese take two."""
    return len(line) if line.isascii() else sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line)


def _may_continue(line: str) -> bool:
    return bool(line.strip()) and not _HEAD.match(line)


def _opens_object(line: str) -> bool:
    return '{"' in line[:_OBJECT_WITHIN] and not line.rstrip().endswith("}")


def _closed_by(lines: Sequence[str]) -> int:
    """How many lines make the object that the first of them opens whole; 0 when none do."""
    length, tried = 0, 0
    for pieces, line in enumerate(lines[:_PIECES_MAX], 1):
        length += len(line)
        if pieces > 1 and (length > _LENGTH_MAX or tried == _TRIES_MAX or not _may_continue(line)):
            return 0
        if line.rstrip().endswith("}"):
            tried += 1
            if _is_whole("".join(lines[:pieces])):
                return pieces
    return 0


def _is_whole(text: str) -> bool:
    try:
        json.loads(text[text.index('{"') :])
    except ValueError:
        return False
    return True


def rejoined(lines: Iterable[str], wrap: Wrap) -> Iterator[str]:
    """The lines with those put together that were one; what was put to another is "", so that numbers stay."""
    pieces: list[str] = []
    for line in lines:
        if pieces and not _goes_on(pieces, line, wrap.width):
            yield from _together(pieces, wrap.width)
            pieces = []
        pieces.append(line)
    yield from _together(pieces, wrap.width)


def _goes_on(pieces: list[str], line: str, width: int) -> bool:
    """Whether `line` may belong to the line of which these are the first pieces."""
    if len(pieces) >= _PIECES_MAX or not _may_continue(line) or _ROW.match(pieces[0]):
        return False
    return _full(pieces[-1], width) or (_opens_object(pieces[0]) and not pieces[-1].rstrip().endswith("}"))


def _full(piece: str, width: int) -> bool:
    """A blank at the edge of the screen is not copied."""
    return bool(width) and width - 1 <= _columns(piece) <= width


def _together(pieces: list[str], width: int) -> Iterator[str]:
    """One line and the places of the others; those that the width did not break only if they make an object whole."""
    by_width = 1
    while by_width < len(pieces) and _full(pieces[by_width - 1], width):
        by_width += 1
    many = len(pieces)
    if by_width < many and not _is_whole("".join(pieces)):
        many = by_width
    if pieces:
        text = "".join(
            piece + " " * (bool(width) and _columns(piece) == width - 1 and at < many - 1)
            for at, piece in enumerate(pieces[:many])
        )
        yield text[:_LENGTH_MAX]
        yield from [""] * (many - 1)
        yield from pieces[many:]


def is_broken(lines: Iterable[bytes]) -> bool:
    """Whether the log that begins with these lines is to be put together."""
    return wrap_of([_text(line) for line in islice(lines, LOOKED_AT_LINES)]) is not None


def unbroken(blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks of lines as reading.py gives them, put together where a terminal broke them.

    Raises: Damaged - after everything that could be read.
    """
    rest = iter(blocks)
    damaged: list[Damaged] = []
    looked_at = list(_beginning(rest, damaged))
    first = chain.from_iterable(block.lines for block in looked_at)
    wrap = wrap_of([_text(line) for line in islice(first, LOOKED_AT_LINES)])
    if wrap is None:
        yield from looked_at
        yield from rest
    else:
        lines = rejoined(_lines(chain(looked_at, rest), damaged), wrap)
        while some := [line.encode(errors="surrogateescape") + b"\n" for line in islice(lines, _LINES_AT_ONCE)]:
            yield Block(b"".join(some), some)
    for error in damaged:
        raise error


def _beginning(blocks: Iterator[Block], damaged: list[Damaged]) -> Iterator[Block]:
    """As many blocks as have the lines that tell what kind of log it is: a pipe gives few at a time."""
    lines, size = 0, 0
    try:
        for block in blocks:
            yield block
            lines, size = lines + len(block.lines), size + len(block.text)
            if lines >= LOOKED_AT_LINES or size >= _LOOKED_AT_BYTES:
                return
    except Damaged as error:
        damaged.append(error)


def _text(line: bytes) -> str:
    return line.decode(errors="surrogateescape").rstrip("\r\n")


def _lines(blocks: Iterable[Block], damaged: list[Damaged]) -> Iterator[str]:
    try:
        for block in blocks:
            yield from map(_text, block.lines)
    except Damaged as error:
        damaged.append(error)
