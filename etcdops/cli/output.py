"""What goes to stdout, and how it looks: tables, JSON, symbols and colours. Formats never depend on a terminal.

Colours are only ever a second sign beside a word, so that taking them away loses nothing.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import click

from etcdops.ids import padded_id

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

COLORS = {"good": "cyan", "warn": "yellow", "bad": "red", "dim": "bright_black", "head": None}
"""Blue-ish against orange and red: told apart by colour-blind eyes too. `head` is bold only."""

_ASCII = {
    "●": "*",
    "▲": "!",
    "✖": "x",
    "★": "*",
    "…": "~",
    "·": "-",
    "→": "->",
    "–": "-",
    "✓": "ok",
    "↶": "<",
    "µ": "u",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How text may look: decided once, from flags, environment and stream."""

    color: bool = False
    ascii: bool = False

    def text(self, text: str) -> str:
        """`text`, with symbols spelled in ASCII where that was asked for."""
        if not self.ascii:
            return text
        return "".join(_ASCII.get(character, character) for character in text)

    def style(self, text: str, kind: str) -> str:
        """`text` in the colour of `kind` (a key of COLORS); unchanged without colour."""
        if not self.color or not text.strip():
            return text
        return click.style(text, fg=COLORS[kind], bold=kind in ("head", "bad") or None)


def choose_look(flag: str, ascii_only: bool, stream: TextIO, environment: Mapping[str, str] = os.environ) -> Look:
    """The look for `stream`. `flag` is --color: always, never or auto.

    auto: NO_COLOR (an empty one does not count) > FORCE_COLOR > TERM=dumb > whether the stream is a terminal.
    Source: no-color.org; force-color.org.
    """
    if flag == "auto":
        if environment.get("NO_COLOR"):
            color = False
        elif environment.get("FORCE_COLOR"):
            color = True
        else:
            color = environment.get("TERM") != "dumb" and stream.isatty()
    else:
        color = flag == "always"
    return Look(color, ascii_only or not _can_encode(stream, "●✖★…"))


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def cell_width(text: str) -> int:
    """How many terminal cells `text` takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def fit(text: str, width: int) -> str:
    """`text` cut to `width` cells, the cut shown by `…`."""
    if cell_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if cell_width(kept + character) > width - 1:
            break
        kept += character
    return kept + "…"


def printable(text: str) -> str:
    """`text` from a cluster made safe for a terminal: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `right` aligns numbers. When space is short `optional` columns go, highest number first."""

    title: str
    right: bool = False
    optional: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell and what its colour would say."""

    text: str
    kind: str = ""


def render_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], look: Look, *, width: int) -> str:
    """Aligned columns with two spaces between, no frame: greppable and within `width` cells.

    Optional columns that hold the same dull value (empty or `-`) in all rows are left out, then further optional ones
    until the line fits. Lines end without spaces.
    """
    shown = [
        [Cell(look.text(printable(cell.text)), cell.kind) for cell in row]
        for row in ([Cell(column.title, "head") for column in columns], *rows)
    ]
    keep = _columns_that_fit(columns, shown, width)
    widths = {at: max(cell_width(row[at].text) for row in shown) for at in keep}
    lines = []
    for row in shown:
        parts = [_pad(row[at], widths[at], columns[at].right, look, last=at == keep[-1]) for at in keep]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _columns_that_fit(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[int]:
    keep = [
        at
        for at, column in enumerate(columns)
        if not column.optional or any(row[at].text.strip("-") for row in rows[1:])
    ]

    def line_width() -> int:
        return sum(max(cell_width(row[at].text) for row in rows) for at in keep) + 2 * (len(keep) - 1)

    while line_width() > width:
        droppable = [at for at in keep if columns[at].optional]
        if not droppable:
            break
        keep.remove(max(droppable, key=lambda at: columns[at].optional))
    return keep


def _pad(cell: Cell, width: int, right: bool, look: Look, *, last: bool) -> str:
    padding = " " * (width - cell_width(cell.text))
    styled = look.style(cell.text, cell.kind) if cell.kind else cell.text
    return padding + styled if right else styled if last else styled + padding


def render_json(schema: str, body: Mapping[str, Json], *, pretty: bool = True) -> str:
    """One JSON document whose first field `schema` names its shape; shapes only ever gain fields."""
    return json.dumps({"schema": schema, **body}, ensure_ascii=False, indent=2 if pretty else None)


def hex_id(number: int | None) -> str | None:
    """A 64-bit ID as 16 hex digits: as a JSON number it would be rounded by half the world's readers."""
    return None if number is None else padded_id(number)


def spell_out(*streams: TextIO) -> None:
    """Have `streams` write what their encoding lacks as JSON would, instead of ending the command: `\\u4e2d`."""
    codecs.register_error("etcdops.spelled", _spelled)
    for stream in streams:
        # Of UTF-8 only bytes that no text has are left over, such as a file's name may hold; Python gives them back.
        if isinstance(stream, io.TextIOWrapper) and (stream.encoding, stream.errors) != ("utf-8", "surrogateescape"):
            stream.reconfigure(errors="etcdops.spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end


def write(text: str) -> None:
    """Print a result to stdout: data, never notes."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()
