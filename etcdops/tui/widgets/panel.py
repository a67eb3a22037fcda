"""A framed pane that draws lines: frame, title, hint, and where a long list stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from etcdops.tui.model.text import Line, Span, Tone, clip, fit_line, line_width

if TYPE_CHECKING:
    from etcdops.tui.app import ConsoleApp
    from etcdops.tui.paint import Painter


class Painted(Widget):
    """A widget that draws whole lines itself. `line_at(y, cells)` is row y, cut or padded to the widget's width."""

    DEFAULT_CSS = "Painted { width: 1fr; height: 1; }"

    @property
    def painter(self) -> Painter:
        return cast("ConsoleApp", self.app).painter

    def line_at(self, y: int, cells: int) -> Line:
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        return self.painter.strip(self.line_at(y, self.size.width), self.size.width)


class LineWidget(Painted):
    """Some fixed lines, without a frame."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = ()

    def show(self, *lines: Line) -> None:
        """Draw these lines; nothing happens when they are what is shown."""
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def line_at(self, y: int, cells: int) -> Line:
        return self._lines[y] if y < len(self._lines) else ()


class Panel(Widget):
    """A frame with a title on its left and a hint on its right; `body_strip` draws what is inside."""

    DEFAULT_CSS = "Panel { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title: Line = ()
        self._hint: Line = ()

    @property
    def painter(self) -> Painter:
        return cast("ConsoleApp", self.app).painter

    @property
    def cells(self) -> int:
        """Cells of a line inside the frame."""
        return max(0, self.size.width - 4)

    @property
    def body_rows(self) -> int:
        """Rows inside the frame."""
        return max(0, self.size.height - 2)

    def label(self, title: Line, hint: Line = ()) -> None:
        """Set the two texts of the upper border."""
        if (title, hint) != (self._title, self._hint):
            self._title, self._hint = title, hint
            self.refresh()

    def body_strip(self, row: int, cells: int) -> Strip:
        raise NotImplementedError

    def thumb(self) -> range:
        """The body rows the position mark on the right border covers; empty when everything is visible."""
        return range(0)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if width < 4 or height < 2:
            return Strip.blank(width, self.painter.style(Tone.PLAIN))
        tone = Tone.FRAME_FOCUSED if self.has_focus else Tone.FRAME
        if y == 0:
            return self.painter.strip(self._top(width, tone), width)
        if y == height - 1:
            return self.painter.strip((Span("└" + "─" * (width - 2) + "┘", tone),), width)
        left = self.painter.segments((Span("│ ", tone),))
        mark = Span(" ┃", Tone.FRAME_FOCUSED) if y - 1 in self.thumb() else Span(" │", tone)
        body = self.body_strip(y - 1, width - 4)
        return Strip([*left, *body, *self.painter.segments((mark,))], width)

    def _top(self, width: int, tone: Tone) -> Line:
        title = fit_line(self._title, width - 6) if line_width(self._title) > width - 6 else self._title
        room = width - 6 - line_width(title) - 3
        hint = self._hint if line_width(self._hint) <= room else shorten_hint(self._hint, room)
        rule = width - 5 - line_width(title) - (line_width(hint) + 3 if hint else 0)
        spans: list[Span] = [Span("┌─ ", tone), *title, Span(" " + "─" * max(0, rule), tone)]
        if hint:
            spans += [Span(" ", tone), *hint, Span(" ─", tone)]
        spans.append(Span("┐", tone))
        return tuple(spans)


def shorten_hint(hint: Line, room: int) -> Line:
    """A hint is made of parts between ` · `; parts that do not fit go, from the right, and never half a word."""
    text = "".join(span.text for span in hint)
    tone = hint[0].tone if hint else Tone.DIM
    parts = text.split(" · ")
    while parts and len(" · ".join(parts)) > room:
        parts.pop()
    return (Span(clip(" · ".join(parts), room), tone),) if parts else ()


def blank(painter: Painter, cells: int) -> list[Segment]:
    """Nothing, in the background's colour."""
    return painter.segments((Span(" " * cells),))
