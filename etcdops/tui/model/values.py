"""A key's value as lines: text, JSON, hex. Lines are made when they are drawn, so a megabyte costs nothing to open."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from etcdops.numbers import show_bytes
from etcdops.tui.model.text import Line, Span, Tone, chop, clean, line

KUBERNETES_PREFIX = b"k8s\0"
"""What Kubernetes writes before a protobuf value.

Source: Kubernetes apimachinery pkg/runtime/serializer/protobuf, protoEncodingPrefix.
"""

TEXT_BYTES_MAX = 256 * 1024
"""Text and JSON are shown up to here; beyond it only hex shows everything."""


class Format(enum.Enum):
    """How a value is shown; AUTO takes the first that fits."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    HEX = "hex"

    def following(self) -> Format:
        """The next one when one goes through them."""
        formats = list(Format)
        return formats[(formats.index(self) + 1) % len(formats)]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A value ready to be drawn."""

    format: Format
    """The one that was taken, never AUTO."""
    lines: Sequence[Line]
    note: str = ""
    """What the reader must know about it, "" = nothing."""


class HexLines(Sequence[Line]):
    """A hex dump, one line at a time: offset, bytes, characters."""

    def __init__(self, data: bytes, cells: int) -> None:
        self._data = data
        self._step = 16 if cells >= 8 + 2 + 16 * 3 + 1 + 16 else 8 if cells >= 8 + 2 + 8 * 3 + 1 + 8 else 4

    def __len__(self) -> int:
        return -(-len(self._data) // self._step)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | Sequence[Line]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self._step
        chunk = self._data[start : start + self._step]
        half = self._step // 2
        left, right = chunk[:half].hex(" "), chunk[half:].hex(" ")
        dump = f"{left:<{half * 3}}{' ' if self._step == 16 else ''}{right:<{half * 3}}"
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in chunk)
        return (Span(f"{start:08x}  ", Tone.DIM), Span(dump), Span(text, Tone.LABEL))


def render_value(data: bytes, form: Format, cells: int) -> Rendered:
    """`data` as lines of at most `cells` cells. Never raises, whatever the bytes."""
    if not data:
        return Rendered(Format.TEXT, [line(Span("(empty value)", Tone.DIM))])
    if form is Format.HEX:
        return Rendered(Format.HEX, HexLines(data, cells))
    if form is Format.AUTO and data.startswith(KUBERNETES_PREFIX):
        return Rendered(Format.HEX, HexLines(data, cells), "Kubernetes protobuf, shown as hex")
    shown = data[:TEXT_BYTES_MAX]
    cut_note = (
        f"first {show_bytes(len(shown))} of {show_bytes(len(data))}; x shows all as hex"
        if len(shown) < len(data)
        else ""
    )
    text = _decode(shown, whole=len(shown) == len(data))
    if form in (Format.AUTO, Format.JSON):
        pretty = _pretty_json(text) if text is not None and not cut_note else None
        if pretty is not None:
            return Rendered(Format.JSON, _wrapped(pretty, cells), cut_note)
        if form is Format.JSON:
            return Rendered(Format.TEXT, _wrapped(_as_text(shown), cells), cut_note or "not JSON, shown as text")
    if text is not None and _mostly_visible(text):
        return Rendered(Format.TEXT, _wrapped(text, cells), cut_note)
    if form is Format.TEXT:
        return Rendered(Format.TEXT, _wrapped(_as_text(shown), cells), cut_note or "not text: other bytes as \\xNN")
    return Rendered(Format.HEX, HexLines(data, cells), "not text, shown as hex")


def _decode(data: bytes, *, whole: bool) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        # A character cut in half at the end of an excerpt is no reason to call it binary.
        return data[: problem.start].decode() if not whole and problem.start > len(data) - 4 else None


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _mostly_visible(text: str) -> bool:
    return all(char >= " " or char in "\n\r\t" for char in text[:4096])


def _pretty_json(text: str) -> str | None:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _wrapped(text: str, cells: int) -> list[Line]:
    lines: list[Line] = []
    for row in text.split("\n"):
        lines += [(Span(part),) for part in chop(clean(row.rstrip("\r").replace("\t", "    ")), max(2, cells))]
    if len(lines) > 1 and lines[-1] == (Span(""),):
        lines.pop()
    return lines
