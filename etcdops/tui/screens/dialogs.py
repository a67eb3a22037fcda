"""Dialogs: a line to type, something to read, the help, the palette, the editor, and the confirmation of a write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.fuzzy import Matcher
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea

from etcdops.tui.actions import Action, bindings, help_sections, palette_actions
from etcdops.tui.model.text import Line, Span, Tone, clip_middle, clip_words, fit, line_width, width, wrap
from etcdops.tui.widgets.lists import Block, LinesPanel, ListPanel
from etcdops.tui.widgets.panel import LineWidget

if TYPE_CHECKING:
    from etcdops.tui.app import ConsoleApp

Result = TypeVar("Result")


class Dialog(ModalScreen[Result], inherit_bindings=False):
    """A screen over the screen. Escape leaves it without doing anything."""

    BINDINGS = bindings("dialog")

    DEFAULT_CSS = """
    Dialog { background: $background 55%; align: center middle; }
    Dialog Input {
        border: none; height: 1; padding: 0; background: $panel; color: $foreground; width: 1fr;
    }
    Dialog Input:focus { border: none; }
    Dialog .box { border: solid $primary; background: $background; padding: 0 1; }
    Dialog.-ascii .box { border: ascii $primary; }
    """

    @property
    def console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def on_mount(self) -> None:
        self.set_class(self.console.ascii_only, "-ascii")

    def action_cancel(self) -> None:
        self.dismiss(None)


class Prompt(Dialog[str | None]):
    """One line to type, at the foot of the screen. Dismisses with the text, or None."""

    BINDINGS = bindings("prompt")

    DEFAULT_CSS = """
    Prompt { background: transparent; align: left bottom; }
    Prompt #bar { height: 2; background: $panel; dock: bottom; }
    Prompt #row { height: 1; }
    Prompt #name { width: auto; }
    """

    def __init__(self, name: str, value: str, note: str, typed: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._label = f" {name}: "
        self._value = value
        self._note = note
        self._typed = typed

    def compose(self) -> ComposeResult:
        with Vertical(id="bar"):
            with Horizontal(id="row"):
                yield LineWidget(id="name")
                yield Input(self._value, compact=True)
            yield LineWidget(id="note")

    def on_mount(self) -> None:
        super().on_mount()
        name = self.query_one("#name", LineWidget)
        name.styles.width = width(self._label)
        name.show((Span(self._label, Tone.TITLE),))
        self.query_one("#note", LineWidget).show((Span(f" {self._note}", Tone.DIM),))
        field = self.query_one(Input)
        field.cursor_blink = False
        field.focus()

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        if self._typed:
            self._typed(event.value)

    @on(Input.Submitted)
    def action_submit(self) -> None:
        self.dismiss(self.query_one(Input).value)


class Reading(Dialog[None]):
    """Lines to read, scrolled with the list keys."""

    BINDINGS = bindings("reading")

    DEFAULT_CSS = "Reading LinesPanel { width: 84; max-width: 100%; height: auto; max-height: 100%; }"

    def __init__(self, title: str, make: Callable[[int], list[Line]]) -> None:
        super().__init__()
        self._shown_title = title
        self._make = make

    def compose(self) -> ComposeResult:
        yield LinesPanel(selectable=False)

    def on_mount(self) -> None:
        super().on_mount()
        panel = self.query_one(LinesPanel)
        panel.label((Span(self._shown_title, Tone.TITLE),), (Span("Esc closes", Tone.DIM),))
        self._fit()
        panel.show(lambda cells, rows, cursor: [(line,) for line in self._make(cells)])
        panel.focus()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        lines = self._make(min(84, self.app.size.width) - 4)
        self.query_one(LinesPanel).styles.height = min(len(lines) + 2, self.app.size.height)


def explanation(title: Line, parts: list[tuple[str, str]], cells: int) -> list[Line]:
    """A title and labelled paragraphs, wrapped."""
    lines: list[Line] = [(span,) for span in _wrapped_spans(title, cells)]
    for label, text in parts:
        if not text:
            continue
        rows = wrap(text, max(10, cells - 10))
        lines.append(())
        lines += [(Span(fit(label if not i else "", 10), Tone.LABEL), Span(row)) for i, row in enumerate(rows)]
    return lines


def _wrapped_spans(title: Line, cells: int) -> list[Span]:
    tone = title[0].tone
    return [Span(row, tone) for row in wrap("".join(span.text for span in title), cells)]


def help_lines(screen: str, *, read_only: bool, cells: int) -> list[Line]:
    """The help of a screen: every key that works there."""
    lines: list[Line] = []
    for section, actions in help_sections(screen, read_only=read_only):
        lines += [()] if lines else []
        lines.append((Span(section, Tone.TITLE),))
        for action in actions:
            rows = wrap(action.help, max(10, cells - 24))
            head = (Span(f"  {action.shown:<6}", Tone.KEY), Span(fit(action.title, 16), Tone.STRONG))
            lines += [(*(head if not i else (Span(" " * 24),)), Span(row)) for i, row in enumerate(rows)]
    if read_only:
        lines += [(), (Span("Read-only mode: keys that change the cluster are not offered.", Tone.WARN),)]
    return lines


class Palette(Dialog[Action | None]):
    """All commands by name; typing narrows them, Enter runs the first or the chosen one."""

    BINDINGS = bindings("prompt")

    DEFAULT_CSS = """
    Palette { align: center top; }
    Palette Vertical { width: 80; max-width: 100%; height: 20; max-height: 100%; margin-top: 2; }
    Palette Input { padding: 0 2; }
    """

    def __init__(self, screen: str, *, read_only: bool) -> None:
        super().__init__()
        self._actions = palette_actions(screen, read_only=read_only)
        self._found = list(self._actions)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Input(placeholder="type to find a command", compact=True)
            yield LinesPanel()

    def on_mount(self) -> None:
        super().on_mount()
        field = self.query_one(Input)
        field.cursor_blink = False
        panel = self.query_one(LinesPanel)
        panel.mark_when_blurred = True
        panel.label((Span("Commands", Tone.TITLE),), (Span("Enter runs · Esc closes", Tone.DIM),))
        panel.show(self._blocks)
        field.focus()

    def _blocks(self, cells: int, rows: int, cursor: int) -> list[Block]:
        blocks: list[Block] = []
        for action in self._found:
            head = (Span(fit(action.title, 14), Tone.STRONG), Span(fit(action.shown, 5), Tone.KEY))
            blocks.append(((*head, Span(clip_words(action.help, cells - 19), Tone.DIM)),))
        return blocks or [((Span("no such command", Tone.DIM),),)]

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        text = event.value.strip()
        matcher = Matcher(text)
        # The title is what people remember: a match there comes before any match in the help.
        scored = [((matcher.match(a.title), matcher.match(a.help)), a) for a in self._actions] if text else []
        found = sorted((entry for entry in scored if any(entry[0])), key=lambda entry: entry[0], reverse=True)
        self._found = [action for _, action in found] if text else list(self._actions)
        panel = self.query_one(LinesPanel)
        panel.show(self._blocks)
        panel.move_to(0)

    def on_key(self, event: events.Key) -> None:
        """The list's keys work while the field has the focus."""
        panel = self.query_one(LinesPanel)
        match event.key:
            case "up" | "down":
                panel.action_cursor(-1 if event.key == "up" else 1)
            case "pageup" | "pagedown":
                panel.action_page(-1 if event.key == "pageup" else 1)

    @on(ListPanel.Opened)
    def opened(self) -> None:
        self.action_submit()

    @on(Input.Submitted)
    def action_submit(self) -> None:
        cursor = self.query_one(LinesPanel).cursor
        self.dismiss(self._found[cursor] if cursor < len(self._found) else None)


class Confirm(Dialog[bool]):
    """Says what will change and goes on only when a name was typed. The default is to leave."""

    BINDINGS = bindings("prompt")

    DEFAULT_CSS = """
    Confirm .box { width: 80; max-width: 100%; height: auto; max-height: 100%; border: solid $warning; }
    Confirm.-ascii .box { border: ascii $warning; }
    Confirm .lines { height: auto; }
    Confirm #row { height: 1; margin-top: 1; }
    """

    def __init__(self, title: str, facts: list[tuple[str, str]], name: str) -> None:
        super().__init__()
        self._shown_title = title
        self._facts = facts
        self._expected = name

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield LineWidget(classes="lines")
            with Horizontal(id="row"):
                yield LineWidget(id="ask")
                yield Input(compact=True)
            yield LineWidget(id="note")

    def on_mount(self) -> None:
        super().on_mount()
        room = min(80, self.app.size.width) - 4
        lines: list[Line] = [(Span(clip_middle(self._shown_title, room), Tone.TITLE),)]
        for label, text in self._facts:
            rows = wrap(text, room - 13)[:6]
            lines += [(Span(fit(label if not i else "", 13), Tone.LABEL), Span(row)) for i, row in enumerate(rows)]
        body = self.query_one(".lines", LineWidget)
        body.styles.height = len(lines)
        body.show(*lines)
        ask = (Span("Type "), Span(self._expected, Tone.STRONG), Span(" to go on: "))
        row = self.query_one("#ask", LineWidget)
        row.styles.width = line_width(ask)
        row.show(ask)
        self.query_one("#note", LineWidget).show((Span("Esc leaves without doing anything", Tone.DIM),))
        field = self.query_one(Input)
        field.cursor_blink = False
        field.focus()

    def action_cancel(self) -> None:
        self.dismiss(False)

    @on(Input.Submitted)
    def action_submit(self) -> None:
        if self.query_one(Input).value == self._expected:
            self.dismiss(True)
        else:
            self.query_one("#note", LineWidget).show((Span("That is not the name; nothing was done.", Tone.WARN),))


class Editor(Dialog[str | None]):
    """A text to change. Dismisses with the new text, or None."""

    BINDINGS = bindings("editor")

    DEFAULT_CSS = """
    Editor .box { width: 100%; height: 100%; }
    Editor TextArea { border: none; height: 1fr; padding: 0; background: $background; }
    Editor TextArea:focus { border: none; }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._shown_title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield LineWidget(id="title")
            yield TextArea(self._text, show_line_numbers=True, soft_wrap=True)
            yield LineWidget(id="note")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#title", LineWidget).show((Span(self._shown_title, Tone.TITLE),))
        note = (Span("^S", Tone.KEY), Span(" go on to the confirmation   ", Tone.LABEL), Span("Esc", Tone.KEY))
        self.query_one("#note", LineWidget).show((*note, Span(" leave without doing anything", Tone.LABEL)))
        area = self.query_one(TextArea)
        area.cursor_blink = False
        area.focus()

    def action_submit(self) -> None:
        self.dismiss(self.query_one(TextArea).text)
