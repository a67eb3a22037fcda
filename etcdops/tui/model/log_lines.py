"""Log lines as rows of the screen, and one line with everything that is known of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.frame import parse_line
from etcdops.tui.model.causes import page_lines
from etcdops.tui.model.log_view import LogView
from etcdops.tui.model.logs import Level, LogLine
from etcdops.tui.model.text import Line, Span, Tone, clean, clip, clip_middle, clip_words, fit, width, wrap

WIDE = 100
"""From this many cells on times have milliseconds and levels are words."""
MEMBER_CELLS_MAX = 12
_MEMBER_TONES = (Tone.MEMBER_1, Tone.MEMBER_2, Tone.MEMBER_3, Tone.MEMBER_4, Tone.MEMBER_5)
_LEVEL_TONES = {
    Level.DEBUG: Tone.DIM,
    Level.INFO: Tone.DIM,
    Level.WARN: Tone.WARN,
    Level.ERROR: Tone.FAIL,
    Level.FATAL: Tone.FAIL,
}


@dataclass(frozen=True, slots=True)
class RowStyle:
    """What all rows of one drawing have in common."""

    names: Sequence[str]
    member_cells: int
    dated: bool
    """The lines are of more than one day."""
    view: LogView

    @classmethod
    def of(cls, lines: Sequence[LogLine], names: Sequence[str], view: LogView) -> RowStyle:
        """For these lines, which are in order."""
        widest = max((width(name) for name in names), default=0)
        dated = bool(lines) and time.localtime(lines[0].at)[:3] != time.localtime(lines[-1].at)[:3]
        return cls(names, min(MEMBER_CELLS_MAX, widest), dated, view)


def member_tone(index: int) -> Tone:
    """The tone a member's name has on this screen."""
    return _MEMBER_TONES[index % len(_MEMBER_TONES)]


def log_row(line: LogLine, style: RowStyle, cells: int) -> Line:
    """When, who, how bad, whether its cause is known, and the message with as much of its fields as fits."""
    wide = cells >= WIDE
    clock = show_moment(line.at, dated=style.dated, exact=wide)
    level = f"{line.level.word:<5}" if wide else line.level.word[0].upper()
    head = (
        Span(clock + " ", Tone.DIM),
        Span(
            fit(clip_middle(style.names[line.source], style.member_cells), style.member_cells), member_tone(line.source)
        ),
        Span(" " + level + " ", _LEVEL_TONES[line.level]),
        Span("▸ " if line.slug else "  ", Tone.KEY),
    )
    room = cells - sum(width(span.text) for span in head)
    if room <= 0:
        return head
    asked_for = not style.view.narrowed or style.view.matches(line)
    return (*head, *_words(line, style.view.filter.text if asked_for else "", room, asked_for))


def _words(line: LogLine, wanted: str, room: int, asked_for: bool) -> list[Span]:
    text = clip_words(line.text, room)
    bad = line.level >= Level.ERROR
    message = (Tone.STRONG if bad else Tone.PLAIN) if asked_for else Tone.DIM
    size = min(len(text), line.message_size)
    spans = [Span(text[:size], message), Span(text[size:], Tone.DIM)]
    folded = text.casefold()
    at = folded.find(wanted.casefold()) if wanted and wanted[0] not in "!~" else -1
    if at < 0 or len(folded) != len(text):  # a few letters become two
        return [span for span in spans if span.text]
    return [span for span in _marked(spans, at, at + len(wanted)) if span.text]


def _marked(spans: Sequence[Span], low: int, high: int) -> list[Span]:
    """The spans with what stands in [low, high) told apart."""
    found: list[Span] = []
    at = 0
    for text, tone in spans:
        before, inside = max(0, low - at), max(0, high - at)
        found += [
            Span(text[:before], tone),
            Span(text[before:inside], Tone.MATCH),
            Span(text[max(before, inside) :], tone),
        ]
        at += len(text)
    return found


def show_moment(at: float, *, dated: bool, exact: bool) -> str:
    """Local time: `14:05:30`, `14:05:30.123`, with `11-21 ` before it where days must be told apart."""
    whole, milliseconds = divmod(round(at * 1000), 1000)
    text = time.strftime("%m-%d %H:%M:%S" if dated else "%H:%M:%S", time.localtime(whole if exact else at))
    return f"{text}.{milliseconds:03d}" if exact else text


def _whole(line: LogLine, cells: int) -> list[Line]:
    """Message and fields, one below the other; a line without fields as it was written."""
    entry = parse_line(line.raw)
    if not entry.fields:
        return [(Span(row),) for row in wrap(line.raw, cells)]
    rows: list[Line] = [(Span(row, Tone.STRONG),) for row in wrap(clean(entry.message), cells)]
    labels = [clip(clean(name), max(8, cells // 3)) for name in entry.fields]
    margin = max(map(width, labels)) + 2
    for label, value in zip(labels, entry.fields.values(), strict=True):
        told = wrap(clean(value), max(10, cells - margin))
        rows += [(Span(fit(label if not n else "", margin), Tone.LABEL), Span(row)) for n, row in enumerate(told)]
    return rows


def line_page(line: LogLine, name: str, offset_s: float, cells: int, *, language: str = "en") -> list[Line]:
    """The whole line, and the page of its cause where a rule knows it."""
    rows: list[Line] = [
        (
            Span(show_moment(line.at, dated=True, exact=True), Tone.STRONG),
            Span("  "),
            Span(name, member_tone(line.source)),
            Span(f"  {line.level.word}", _LEVEL_TONES[line.level]),
            Span(f"  line {line.number} of what was read", Tone.DIM),
        )
    ]
    if offset_s:
        rows.append((Span(f"its own clock says {show_moment(line.stamp, dated=True, exact=True)}", Tone.DIM),))
    rows += [(), *_whole(line, cells), ()]
    cause = catalogue().get(line.slug)
    if cause is None:
        rows.append(
            (Span("No rule of etcdops.diagnosis knows this line: by itself it is no sign of trouble.", Tone.DIM),)
        )
        return rows
    return rows + page_lines(cause, cells, language=language)
