"""The lines around every screen: header, footer, the charts' panes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.strip import Strip

from etcdops.tui.actions import ALWAYS, Action, footer_actions, screen_actions
from etcdops.tui.model.text import Line, Span, Tone, clip, fit_line, spread, width
from etcdops.tui.widgets.panel import LineWidget, Panel


class Header(LineWidget):
    """Two lines: the cluster's state."""

    DEFAULT_CSS = "Header { height: 2; dock: top; }"


class Footer(LineWidget):
    """Two lines: a message or the keys of this screen, and the screens."""

    DEFAULT_CSS = "Footer { height: 2; dock: bottom; }"


def footer_lines(screen: str, message: Line, *, read_only: bool, cells: int) -> tuple[Line, Line]:
    """The footer of a screen. A message takes the place of the keys while it is shown."""
    actions = footer_actions(screen, read_only=read_only)
    left = cells - 1 - sum(_hint_cells(action) for action in actions if action.footer >= ALWAYS)
    hints: list[Span] = []
    for action in actions:
        if action.footer < ALWAYS:
            left -= _hint_cells(action)
            if left < 0:
                continue
        gap = "  " if hints else " "
        hints += [Span(gap), Span(action.shown, Tone.KEY), Span(f" {action.title}", Tone.LABEL)]
    first = fit_line((Span(" "), *message), cells) if message else tuple(hints)
    tabs: list[Span] = []
    for name, action in screen_actions():
        current = name == screen
        tabs += [
            Span(" " if not tabs else "  "),
            Span(action.shown, Tone.KEY if not current else Tone.TITLE),
            Span(f" {action.title}", Tone.STRONG if current else Tone.LABEL),
        ]
    return first, spread(tuple(tabs), (Span("q", Tone.KEY), Span(" quit ", Tone.LABEL)), cells)


def _hint_cells(action: Action) -> int:
    return width(action.shown) + width(action.title) + 3


class LinesPane(Panel):
    """A framed pane without a cursor whose rows `source(cells, rows)` makes."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._source: Callable[[int, int], Sequence[Line]] | None = None
        self._lines: list[Line] = []

    def show(self, source: Callable[[int, int], Sequence[Line]]) -> None:
        self._source = source
        self._rebuild()

    def on_resize(self) -> None:
        self._rebuild()

    def _rebuild(self) -> None:
        if self._source is None or not self.cells:
            return
        lines = list(self._source(self.cells, self.body_rows))
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def body_strip(self, row: int, cells: int) -> Strip:
        return self.painter.strip(self._lines[row] if row < len(self._lines) else (), cells)


def hint(text: str, cells: int = 1000) -> Line:
    """The quiet text on a frame's right."""
    return (Span(clip(text, cells), Tone.DIM),) if width(text) else ()
