"""Text as the screens show it: spans with a tone, measured and cut by terminal cells, safe for any bytes.

Tones are meanings, not colours; `etcdops.tui.paint` turns them into styles. All text that comes from a cluster passes
`clean` or `printable_bytes`, so that control characters, invalid UTF-8 and width tricks reach no terminal.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len

from etcdops.wording import words_of


class Tone(enum.Enum):
    """What a piece of text means; never the only carrier of that meaning."""

    PLAIN = enum.auto()
    STRONG = enum.auto()
    DIM = enum.auto()
    LABEL = enum.auto()
    TITLE = enum.auto()
    KEY = enum.auto()
    ACCENT = enum.auto()
    OK = enum.auto()
    WARN = enum.auto()
    FAIL = enum.auto()
    UNKNOWN = enum.auto()
    FRAME = enum.auto()
    FRAME_FOCUSED = enum.auto()
    FILLED = enum.auto()
    EMPTY = enum.auto()
    MATCH = enum.auto()
    """What a search found in a text."""
    MEMBER_1 = enum.auto()
    MEMBER_2 = enum.auto()
    MEMBER_3 = enum.auto()
    MEMBER_4 = enum.auto()
    MEMBER_5 = enum.auto()
    """Names of members side by side: only to tell them apart, none means more than another."""


class Align(enum.Enum):
    """Where text stands in its column."""

    LEFT = enum.auto()
    RIGHT = enum.auto()


class Span(NamedTuple):
    """Text with one meaning."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]
"""One row of a screen, from left to right."""

ELLIPSIS = "…"

_UNSTEADY = re.compile(
    "[\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U0001f1e6-\U0001f1ff\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]"
)
"""Characters whose width depends on their neighbours: variation selectors, skin tones, flags, conjoining jamo."""

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNESCAPES = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([\\nrt]))")


def line(*parts: Span | str) -> Line:
    """A line of spans; bare strings are plain text."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def plain(spans: Iterable[Span]) -> str:
    """The text of a line without its tones."""
    return "".join(span.text for span in spans)


def width(text: str) -> int:
    """Terminal cells `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def line_width(spans: Iterable[Span]) -> int:
    """Terminal cells a line takes."""
    return sum(width(span.text) for span in spans)


def clean(text: str) -> str:
    """`text` with every character that is no steady, visible part of a line written as an escape.

    The result has no control, format, private or unassigned character and its width is the sum of its characters'.
    A backslash stays itself: use `printable_bytes` where the text must be read back.
    """
    if text.isprintable() and (text.isascii() or not _unsteady(text)):
        return text
    return "".join(char if _is_steady(char) else _escape_char(char) for char in text)


def printable_bytes(data: bytes) -> str:
    """Any bytes as one visible line that `parse_printable` turns back into the same bytes.

    UTF-8 shows as text; what is not valid or not visible shows as `\\xNN`, a backslash as two.
    """
    text = data.decode("utf-8", "surrogateescape")
    if "\\" not in text and text.isprintable() and (text.isascii() or not _unsteady(text)):
        return text
    return "".join(
        char if char != "\\" and _is_steady(char) else _ESCAPES.get(char) or _escape_bytes(char) for char in text
    )


def parse_printable(text: str) -> bytes:
    """The bytes somebody typed, with the escapes of `printable_bytes`; other backslashes stand for themselves."""
    data = bytearray()
    position = 0
    for match in _ESCAPE.finditer(text):
        data += text[position : match.start()].encode("utf-8", "surrogatepass")
        number, letter = match.groups()
        data += bytes([int(number, 16)]) if number else _UNESCAPES[letter].encode()
        position = match.end()
    return bytes(data + text[position:].encode("utf-8", "surrogatepass"))


def clip(text: str, cells: int) -> str:
    """`text`, ending in an ellipsis where it takes more than `cells` cells."""
    if width(text) <= cells:
        return text
    return "" if cells <= 0 else cut(text, cells - 1) + ELLIPSIS


def clip_words(text: str, cells: int) -> str:
    """Like `clip`, but without half words unless they are long: for sentences."""
    if width(text) <= cells:
        return text
    head, whole = cut(text, cells - 1), ""
    for gap, word in words_of(text):
        if width(f"{whole}{gap}{word}") > cells - 1:
            break
        whole += f"{gap}{word}"
    head = whole if len(whole) > len(head) // 2 else head
    return head.rstrip(" ,;:，；：、") + ELLIPSIS if cells > 0 else ""


def clip_middle(text: str, cells: int) -> str:
    """Like `clip` with the ellipsis inside: for names that differ at the end."""
    if width(text) <= cells:
        return text
    if cells < 8:
        return clip(text, cells)
    tail = cut(text[::-1], cells // 2)[::-1]
    return cut(text, cells - 1 - width(tail)) + ELLIPSIS + tail


def cut(text: str, cells: int) -> str:
    """The longest beginning of `text` that takes at most `cells` cells."""
    if text.isascii():
        return text[: max(0, cells)]
    taken = 0
    for index, char in enumerate(text):
        taken += cell_len(char)
        if taken > cells:
            return text[:index]
    return text


def fit(text: str, cells: int, align: Align = Align.LEFT) -> str:
    """`text` clipped or padded to exactly `cells` cells."""
    shown = clip(text, cells)
    padding = " " * (cells - width(shown))
    return shown + padding if align is Align.LEFT else padding + shown


def fit_line(spans: Line, cells: int) -> Line:
    """A line clipped or padded to exactly `cells` cells."""
    taken = line_width(spans)
    if taken == cells:
        return spans
    if taken < cells:
        return (*spans, Span(" " * (cells - taken)))
    kept: list[Span] = []
    left = cells
    for span in spans:
        if width(span.text) >= left:
            rest = line_width(spans[len(kept) + 1 :])
            shown = (
                clip(span.text, left) if width(span.text) > left or not rest else cut(span.text, left - 1) + ELLIPSIS
            )
            return fit_exact((*kept, Span(shown, span.tone)), cells)
        kept.append(span)
        left -= width(span.text)
    return fit_exact(tuple(kept), cells)


def fit_exact(spans: Line, cells: int) -> Line:
    """A line that may be short by the half of a wide character, padded to `cells`."""
    missing = cells - line_width(spans)
    return spans if missing <= 0 else (*spans, Span(" " * missing))


def spread(left: Line, right: Line, cells: int) -> Line:
    """`left` and `right` at the two ends of `cells` cells; `left` gives way, `right` only if it does not fit alone."""
    right_width = line_width(right)
    if right_width > cells:
        return fit_line(right, cells)
    return (*fit_line(left, cells - right_width), *right)


def chop(text: str, cells: int) -> list[str]:
    """`text` in pieces of at most `cells` >= 2 cells, nothing left out; at least one piece. Takes linear time."""
    if text.isascii():
        return [text[start : start + cells] for start in range(0, len(text), cells)] or [""]
    pieces: list[str] = []
    start = taken = 0
    for index, char in enumerate(text):
        taken += cell_len(char)
        if taken > cells:
            pieces.append(text[start:index])
            start, taken = index, cell_len(char)
    return [*pieces, text[start:]]


def wrap(text: str, cells: int) -> list[str]:
    """`text` as lines of at most `cells` cells, broken between words where there are any."""
    lines: list[str] = []
    current = ""
    for gap, word in words_of(text):
        joined = f"{current}{gap}{word}" if current else word
        if width(joined) <= cells:
            current = joined
            continue
        if current:
            lines.append(current)
        while width(word) > cells:
            head = cut(word, cells) or word[:1]
            lines.append(head)
            word = word[len(head) :]
        current = word
    return [*lines, current]


def _unsteady(text: str) -> bool:
    return _UNSTEADY.search(text) is not None


def _is_steady(char: str) -> bool:
    return char.isprintable() and (char.isascii() or not _unsteady(char))


def _escape_char(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # what `surrogateescape` made of an invalid byte
        return f"\\x{number - 0xDC00:02x}"
    if char in _ESCAPES:
        return _ESCAPES[char]
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _escape_bytes(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
