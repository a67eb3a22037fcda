"""From lines of tones to what the terminal gets: one place knows colours, and one knows plain ASCII."""

from __future__ import annotations

from collections.abc import Mapping

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from etcdops.tui.model.text import Line, Tone, fit_line, width

_ASCII = str.maketrans(
    {
        "●": "*",
        "○": "o",
        "▲": "^",
        "▼": "v",
        "✖": "x",
        "✓": "+",
        "★": "*",
        "▸": ">",
        "▾": "v",
        "→": ">",
        "←": "<",
        "↑": "^",
        "↓": "v",
        "…": "~",
        "·": ".",
        "µ": "u",
        "█": "#",
        "░": ".",
        "▁": "_",
        "▂": ".",
        "▃": ":",
        "▄": "-",
        "▅": "=",
        "▆": "+",
        "▇": "*",
        "┌": "+",
        "┐": "+",
        "└": "+",
        "┘": "+",
        "─": "-",
        "│": "|",
        "┃": "#",
    }
)
"""Every symbol the console draws, as one ASCII character: the layout stays the same."""

_MEMBERS = (
    (Tone.MEMBER_1, "member-1", "primary"),
    (Tone.MEMBER_2, "member-2", "accent"),
    (Tone.MEMBER_3, "member-3", "success"),
    (Tone.MEMBER_4, "member-4", "secondary"),
    (Tone.MEMBER_5, "member-5", "foreground"),
)
"""Variables of our own themes, and what stands for them in Textual's."""


class Painter:
    """Styles for tones, made from a theme's variables. Made anew when the theme changes."""

    def __init__(self, variables: Mapping[str, str], *, ascii_only: bool, no_color: bool) -> None:
        self._ascii = ascii_only
        background = _color(variables["background"])
        foreground = _color(variables["foreground"], background)
        muted = _mix(foreground, background, 0.38)
        faint = _mix(foreground, background, 0.68)
        tones = {
            Tone.PLAIN: (foreground, False),
            Tone.STRONG: (foreground, True),
            Tone.DIM: (muted, False),
            Tone.LABEL: (_mix(_color(variables["secondary"]), foreground, 0.15), False),
            Tone.TITLE: (_color(variables["primary"]), True),
            Tone.KEY: (_color(variables["primary"]), True),
            Tone.ACCENT: (_color(variables["accent"]), False),
            Tone.OK: (_color(variables["success"]), False),
            Tone.WARN: (_color(variables["warning"]), True),
            Tone.FAIL: (_color(variables["error"]), True),
            Tone.UNKNOWN: (_color(variables["accent"]), True),
            Tone.FRAME: (faint, False),
            Tone.FRAME_FOCUSED: (_color(variables["primary"]), False),
            Tone.FILLED: (_mix(_color(variables["primary"]), background, 0.12), False),
            Tone.EMPTY: (faint, False),
            Tone.MATCH: (_color(variables["accent"]), True),
            **{tone: (_color(variables.get(name, variables[other])), False) for tone, name, other in _MEMBERS},
        }
        # Without colours to mix, quiet text, the cursor and what was found need attributes of their own.
        flat = no_color or background.ansi is not None
        quiet_tones = (Tone.DIM, Tone.FRAME, Tone.EMPTY) if flat else ()
        cursor = background if flat else _mix(_color(variables["primary"]), background, 0.80)
        marked = background if flat else _mix(foreground, background, 0.90)
        self._styles = {
            selected: {
                tone: _style(
                    color,
                    below,
                    bold,
                    dim=tone in quiet_tones,
                    reverse=flat and selected == "cursor",
                    underline=tone is Tone.MATCH,
                )
                for tone, (color, bold) in tones.items()
            }
            for selected, below in (("", background), ("cursor", cursor), ("marked", marked))
        }

    def style(self, tone: Tone, selected: str = "") -> Style:
        return self._styles[selected][tone]

    def text(self, text: str) -> str:
        """`text` as it may be sent to the terminal: printable, and ASCII if asked for."""
        if not text.isprintable():
            # Data was made safe where it came in; this is for what nobody thought of.
            text = "".join(char if char.isprintable() else "?" for char in text)
        if self._ascii and not text.isascii():
            text = text.translate(_ASCII)
            if not text.isascii():
                text = "".join(char if char.isascii() else "?" * width(char) for char in text)
        return text

    def segments(self, line: Line, selected: str = "") -> list[Segment]:
        styles = self._styles[selected]
        return [Segment(self.text(span.text), styles[span.tone]) for span in line if span.text]

    def strip(self, line: Line, cells: int, selected: str = "") -> Strip:
        """`line` as exactly `cells` cells of terminal."""
        return Strip(self.segments(fit_line(line, cells), selected), cells)


def _color(value: str, over: Color | None = None) -> Color:
    color = Color.parse(value)
    return over.blend(color, color.a, 1.0) if over is not None and color.a < 1 else color


def _mix(color: Color, other: Color, share: float) -> Color:
    """`share` of the way from `color` to `other`; terminal palette colours cannot be mixed and stay."""
    if color.ansi is not None or other.ansi is not None:
        return color
    return color.blend(other, share, 1.0)


def _style(color: Color, background: Color, bold: bool, *, dim: bool, reverse: bool, underline: bool) -> Style:
    return Style(
        color=color.rich_color,
        bgcolor=background.rich_color,
        bold=bold,
        dim=dim,
        reverse=reverse,
        underline=underline,
    )
