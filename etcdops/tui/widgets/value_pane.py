"""One key's value, with what else is known of the key; made line by line, so a megabyte opens at once."""

from __future__ import annotations

from etcdops.numbers import show_bytes
from etcdops.tui.feed import KeyEntry
from etcdops.tui.model.text import Line, Span, Tone, chop, line, printable_bytes
from etcdops.tui.model.values import Format, Rendered, render_value
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import VTable


class ValuePane(VTable):
    """Shows one entry, or a note why there is none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(self._lines_count, self._line_at, id=id, selectable=False)
        self.entry: KeyEntry | None = None
        self.form = Format.AUTO
        self._note: Line = ()
        self._made: tuple[int, list[Line], Rendered] | None = None
        """Width, lines about the key, and the value: kept until the entry, the format or the width changes."""

    def show(self, entry: KeyEntry | None, *, note: str = "", failed: bool = False) -> None:
        """Show this entry from its beginning; without one, the note."""
        self.entry = entry
        self._note = line(Span(note, Tone.WARN if failed else Tone.DIM))
        self._changed()

    def next_form(self) -> Format:
        """Show the value in the next format."""
        self.form = self.form.following()
        self._changed()
        return self.form

    def on_resize(self) -> None:
        super().on_resize()
        self._label()

    def _changed(self) -> None:
        self._made = None
        self.top = 0
        self._label()
        self.refresh()

    def _label(self) -> None:
        title: Line = (Span("Value", Tone.TITLE),)
        if self.entry is None or not self.cells:
            self.label(title)
            return
        _, rendered = self._make(self.cells)
        size = Span(f" {rendered.format.value} · {show_bytes(len(self.entry.value))}")
        self.label((*title, size), hint(rendered.note or "x format · H history"))

    def _make(self, cells: int) -> tuple[list[Line], Rendered]:
        if self._made is None or self._made[0] != cells:
            entry = self.entry
            rendered = render_value(entry.value, self.form, cells) if entry else Rendered(Format.TEXT, [])
            self._made = (cells, about_lines(entry, cells) if entry else [], rendered)
        return self._made[1], self._made[2]

    def _lines_count(self) -> int:
        if self.entry is None:
            return 1
        about, rendered = self._make(self.cells)
        return len(about) + len(rendered.lines)

    def _line_at(self, index: int, cells: int) -> Line:
        if self.entry is None:
            return self._note
        about, rendered = self._make(cells)
        return about[index] if index < len(about) else rendered.lines[index - len(about)]


def about_lines(entry: KeyEntry, cells: int) -> list[Line]:
    """What is known of a key besides its value: its whole name, revisions, lease."""
    rows = chop(printable_bytes(entry.key), max(8, cells))[:3]
    facts = [("mod", str(entry.mod_revision)), ("created", str(entry.create_revision)), ("version", str(entry.version))]
    if entry.lease:
        facts.append(("lease", format(entry.lease, "x")))
    spans: list[Span] = []
    for name, value in facts:
        spans += [Span(("  " if spans else "") + name + " ", Tone.LABEL), Span(value)]
    return [*(line(Span(row, Tone.STRONG)) for row in rows), tuple(spans), ()]
