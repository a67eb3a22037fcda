"""Screen 4: the keys, as a list or a tree; the value and the history of the one under the cursor; guarded edits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from etcdops.client.failures import Compacted
from etcdops.errors import EtcdopsError
from etcdops.ids import Revision
from etcdops.numbers import show_count
from etcdops.tui.actions import bindings
from etcdops.tui.model.dashboard import WIDE
from etcdops.tui.model.text import Span, Tone, clean, line, parse_printable, printable_bytes
from etcdops.tui.model.versions import STEP, KeyHistory, history_lines
from etcdops.tui.screens.base import ConsoleScreen
from etcdops.tui.screens.dialogs import Prompt
from etcdops.tui.screens.key_browser import KeyBrowser
from etcdops.tui.screens.key_edits import KeyEdits
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import LinesPanel, ListPanel, VTable
from etcdops.tui.widgets.value_pane import ValuePane


class KeysScreen(ConsoleScreen, inherit_bindings=False):
    """Reads only what is looked at: pages of keys, one value, some versions; at most one request of each at a time."""

    NAME = "keys"
    TITLE_SHOWN = "Keys"
    BINDINGS = bindings("keys")

    DEFAULT_CSS = """
    KeysScreen #split { layout: horizontal; height: 1fr; }
    KeysScreen.-narrow #split { layout: vertical; }
    KeysScreen #list { width: 5fr; height: 1fr; }
    KeysScreen #right { width: 4fr; height: 1fr; }
    KeysScreen.-narrow #list { width: 1fr; height: 1fr; }
    KeysScreen.-narrow #right { width: 1fr; height: 1fr; }
    KeysScreen #value { height: 3fr; }
    KeysScreen #history { height: 2fr; display: none; }
    KeysScreen.-history #history { display: block; }
    KeysScreen.-narrow.-history #value { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._wanted: tuple[bytes, Revision] | None = None
        """Key and revision of the value that should be shown."""
        self._shown: tuple[bytes, Revision] | None = None
        """Key and revision of the value that is shown, or could not be had."""
        self._history: KeyHistory | None = None
        self._under_way: set[str] = set()

    def compose_body(self) -> ComposeResult:
        app = self.console
        self._browser = KeyBrowser(app.feed, window=self._window, changed=self._list_changed, say=app.warn)
        self._edits = KeyEdits(
            push=app.push_screen,
            start=lambda work: self._start("write", work),
            say=app.say,
            written=self.action_reload,
            gate=app.gate,
            cluster=app.cluster_title,
        )
        with Container(id="split"):
            yield VTable(self._browser.row_count, self._browser.row_line, id="list")
            with Vertical(id="right"):
                yield ValuePane(id="value")
                yield LinesPanel(id="history")

    @property
    def _list(self) -> VTable:
        return self.query_one("#list", VTable)

    @property
    def _value(self) -> ValuePane:
        return self.query_one("#value", ValuePane)

    def on_mount(self) -> None:
        self._list.mark_when_blurred = True
        super().on_mount()
        self._list.focus()
        self._read_list()

    def update(self) -> None:
        self.set_class(self.size.width < WIDE, "-narrow")
        self._label_list()

    # The list

    def _window(self) -> tuple[int, int]:
        """The visible rows and a screenful ahead."""
        rows = max(1, self._list.visible_rows)
        return self._list.top, self._list.top + 2 * rows

    def _label_list(self) -> None:
        panel = self._list
        cells = panel.cells or max(0, self.size.width - 4)
        panel.set_head(self._browser.head(cells))
        newest = self.state.view.max_revision if self.state.view else Revision(0)
        panel.label(self._browser.title(cells), hint(self._browser.note(panel.cursor, newest)))

    def _read_list(self) -> None:
        self._start("tree", self._browser.read_branch())
        self._start("pages", self._browser.read_pages())

    def _list_changed(self) -> None:
        panel = self._list
        panel.move_to(panel.cursor, quiet=True)
        panel.refresh()
        self._label_list()
        self._choose()

    def _begin(self, *, prefix: bytes | None = None, start: bytes = b"", row: int = 0) -> None:
        """Read the list anew, with the cursor in a row."""
        self._browser.restart(prefix=prefix, start=start)
        self._shown = None
        self._list.cursor = row
        self._list.top = min(self._list.top, row)
        self._list.focus()  # the value that had it is gone, and a new list is there to be walked
        self._read_list()
        self._list.refresh()
        self._label_list()

    @on(ListPanel.Moved, "#list")
    def moved(self) -> None:
        self._label_list()
        self._start("pages", self._browser.read_pages())
        self._choose()

    @on(ListPanel.Opened, "#list")
    def opened(self) -> None:
        row = self._browser.tree_row(self._list.cursor)
        if row is None or row.entry:
            self._value.focus()
        elif row.branch:
            self._fold(open_it=not row.branch.open)
        elif row.rest_of:
            self._start("tree", self._browser.read_branch(row.rest_of))

    def _fold(self, *, open_it: bool) -> None:
        """Open or close the branch under the cursor; closing from inside goes up to the branch."""
        row, tree = self._browser.tree_row(self._list.cursor), self._browser.tree
        if row is None or tree is None:
            return
        if not open_it and (row.branch is None or not row.branch.open):
            parents = [index for index, other in enumerate(tree.rows) if other.branch and other.name == row.parent]
            self._list.move_to(parents[0] if parents else self._list.cursor)
            return
        if row.branch is None or row.branch.open == open_it:
            return
        tree.toggle(row.branch)
        if open_it:
            self._start("tree", self._browser.read_branch(row.branch))
        self._list_changed()

    # The value

    def _choose(self) -> None:
        """The key under the cursor is the one whose value and history are wanted."""
        entry = self._browser.entry(self._list.cursor)
        self._wanted = (entry.key, self._browser.revision) if entry else None
        if self._history and (entry is None or entry.key != self._history.key):
            self._history = None
        if self._wanted is None:
            self._shown = None
            self._value.show(None, note=self._branch_note())
        self._start("value", self._read_value())
        if self.has_class("-history"):
            self._show_history()

    async def _read_value(self) -> None:
        """Read the value that is wanted; one that is no longer wanted when it comes is followed by the one that is."""
        while self._wanted is not None and self._wanted != self._shown:
            key, revision = wanted = self._wanted
            try:
                entry, error = await self.console.feed.get(key, revision=revision), ""
            except EtcdopsError as failure:
                entry, error = None, clean(failure.message)
            self._shown = wanted
            if wanted == self._wanted:
                self._value.show(entry, note=error or "the key does not exist at this revision", failed=bool(error))

    def _branch_note(self) -> str:
        row = self._browser.tree_row(self._list.cursor)
        if row is None or row.branch is None:
            return "no key under the cursor"
        branch = row.branch
        counted = f"{show_count(branch.count)} below" if branch.count is not None else "Enter opens it"
        return f"{printable_bytes(branch.prefix)}: {counted}"

    # The history

    def _show_history(self) -> None:
        entry, panel = self._browser.entry(self._list.cursor), self.query_one("#history", LinesPanel)
        panel.label((Span("History", Tone.TITLE),), hint("Enter shows that version · H closes"))
        if entry is None:
            panel.show(lambda cells, rows, cursor: [(line(Span("no key under the cursor", Tone.DIM)),)])
            return
        if self._history is None:
            self._history = KeyHistory(entry.key)
            panel.cursor = panel.top = 0
        self._draw_history(self._history)
        self._start("history", self._read_history())

    def _draw_history(self, history: KeyHistory) -> None:
        self.query_one("#history", LinesPanel).show(lambda cells, rows, cursor: history_lines(history, cells))

    async def _read_history(self) -> None:
        """Read versions until some are known beyond the cursor."""
        panel = self.query_one("#history", LinesPanel)
        while (history := self._history) and not history.complete and len(history.versions) < panel.cursor + STEP:
            try:
                revision = history.before() or self._browser.revision
                history.take(await self.console.feed.get(history.key, revision=revision))
            except Compacted:
                history.take_compacted()
            except EtcdopsError as error:
                self.console.say(error.message, Tone.FAIL)
                return
            if history is self._history:
                self._draw_history(history)

    @on(ListPanel.Moved, "#history")
    def history_moved(self) -> None:
        self._start("history", self._read_history())

    @on(ListPanel.Opened, "#history")
    def version_opened(self, event: ListPanel.Opened) -> None:
        if self._history and event.panel.cursor < len(self._history.versions):
            entry = self._history.versions[event.panel.cursor].entry
            self._wanted = (entry.key, entry.mod_revision)
            self._start("value", self._read_value())
            if self.has_class("-narrow"):
                self.action_history()

    # Actions

    def action_prefix(self) -> None:
        note = "keys that begin with this; \\xNN for any byte · empty = all"
        self.app.push_screen(Prompt("prefix", printable_bytes(self._browser.pages.prefix), note), self._set_prefix)

    def _set_prefix(self, text: str | None) -> None:
        if text is not None:
            self._begin(prefix=parse_printable(text))

    def action_jump(self) -> None:
        entry = self._browser.entry(self._list.cursor)
        value = printable_bytes(entry.key if entry else self._browser.pages.prefix)
        self.app.push_screen(Prompt("jump to", value, "the list begins at this key, or the next one"), self._jump)

    def _jump(self, text: str | None) -> None:
        if text is None:
            return
        key = parse_printable(text)
        self._browser.tree = None
        self._begin(prefix=None if key.startswith(self._browser.pages.prefix) else b"", start=key)

    def action_tree(self) -> None:
        self._browser.toggle_tree()
        self._tree_changed()

    def action_separator(self) -> None:
        self._browser.next_separator()
        self.console.say(f"the tree folds at {self._browser.separator}")
        if self._browser.tree:
            self._tree_changed()

    def _tree_changed(self) -> None:
        self._list.cursor = self._list.top = 0
        self._list.focus()
        self._read_list()
        self._list_changed()

    def action_unfold(self) -> None:
        self._fold(open_it=True)

    def action_fold(self) -> None:
        self._fold(open_it=False)

    def action_format(self) -> None:
        self.console.say(f"values are shown as {self._value.next_form().value}")

    def action_history(self) -> None:
        self.toggle_class("-history")
        if self.has_class("-history"):
            self._show_history()
            self.query_one("#history").focus()
        else:
            self._history = None
            self._list.focus()

    def action_reload(self) -> None:
        pages = self._browser.pages
        self._begin(start=pages.start if pages.jumped else b"", row=self._list.cursor)

    def action_copy(self) -> None:
        entry = self._browser.entry(self._list.cursor)
        if entry:
            self.console.copy(printable_bytes(entry.key))

    def action_copy_value(self) -> None:
        if self._value.entry:
            self.console.copy(self._value.entry.value.decode("utf-8", "backslashreplace"))

    def action_back(self) -> None:
        pages = self._browser.pages
        if self.has_class("-history"):
            self.action_history()
        elif pages.jumped:
            self._begin(prefix=pages.prefix)
        elif pages.prefix:
            self._begin(prefix=b"")
        elif not self._list.has_focus:
            self._list.focus()
        else:
            self.console.action_last_screen()

    def action_new(self) -> None:
        if self.console.writes_allowed():
            self._edits.new(self._browser.pages.prefix)

    def action_edit(self) -> None:
        if self.console.writes_allowed() and self._value.entry:
            self._edits.edit(self._value.entry)

    def action_delete(self) -> None:
        if self.console.writes_allowed() and self._value.entry:
            self._edits.delete(self._value.entry)

    def _start(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` unless work of its kind runs already: that looks at what is wanted again before it ends."""
        if kind in self._under_way and kind not in ("tree", "write"):
            work.close()
            return
        self._under_way.add(kind)

        async def run() -> None:
            try:
                await work
            finally:
                self._under_way.discard(kind)

        self.run_worker(run(), group=f"keys-{kind}", exit_on_error=False)
