"""Screen 4: the keys, as a list or a tree; the value and the history of the one under the cursor; guarded edits."""

from __future__ import annotations

import shlex
from collections.abc import Coroutine

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from etcdops.client.failures import Compacted
from etcdops.errors import EtcdopsError
from etcdops.ids import Revision
from etcdops.tui.actions import bindings
from etcdops.tui.feed import NOW, KeyEntry
from etcdops.tui.model.dashboard import WIDE
from etcdops.tui.model.keys import (
    Branch,
    KeyPages,
    KeyTree,
    TreeRow,
    key_columns,
    key_row,
    keys_title,
    position_note,
    tree_row,
)
from etcdops.tui.model.numbers import show_bytes, show_count
from etcdops.tui.model.table import header_line, layout_columns
from etcdops.tui.model.text import Line, Span, Tone, chop, clean, cut, line, parse_printable, printable_bytes
from etcdops.tui.model.values import Format, Rendered, render_value
from etcdops.tui.model.versions import STEP, KeyHistory, history_lines
from etcdops.tui.screens.base import ConsoleScreen
from etcdops.tui.screens.dialogs import Confirm, Editor, Prompt
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import LinesPanel, ListPanel, VTable

SEPARATORS = (b"/", b":", b".", b"-", b"_")
CONFIRM_CELLS_MAX = 32


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
    KeysScreen.-narrow #list { width: 1fr; height: 5fr; }
    KeysScreen.-narrow #right { width: 1fr; height: 4fr; }
    KeysScreen #value { height: 3fr; }
    KeysScreen #history { height: 2fr; display: none; }
    KeysScreen.-history #history { display: block; }
    KeysScreen.-narrow.-history #value { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._pages = KeyPages()
        self._tree: KeyTree | None = None
        self._separator = 0
        self._reopen: set[bytes] = set()
        self._format = Format.AUTO
        self._entry: KeyEntry | None = None
        """The key whose value is shown."""
        self._wanted: tuple[bytes, Revision] | None = None
        """Key and revision of the value that should be shown."""
        self._shown: tuple[bytes, Revision] | None = None
        """Key and revision of the value that is shown, or could not be had."""
        self._value_error = ""
        self._rendered: tuple[int, Rendered, list[Line]] | None = None
        self._history: KeyHistory | None = None
        self._list_error = ""
        self._under_way: set[str] = set()

    def compose_body(self) -> ComposeResult:
        with Container(id="split"):
            yield VTable(self._row_count, self._row_line, id="list")
            with Vertical(id="right"):
                yield VTable(self._value_count, self._value_line, id="value", selectable=False)
                yield LinesPanel(id="history")

    def on_mount(self) -> None:
        self.query_one("#list", VTable).mark_when_blurred = True
        super().on_mount()
        self.query_one("#list").focus()
        self._read_list()

    def update(self) -> None:
        self.set_class(self.size.width < WIDE, "-narrow")
        self._label_list()
        self._label_value()

    # The list

    def _row_count(self) -> int:
        return len(self._tree.rows) if self._tree else self._pages.rows

    def _row_line(self, index: int, cells: int) -> Line:
        if self._tree:
            return tree_row(self._tree.rows[index], cells)
        return key_row(self._pages, index, layout_columns(key_columns(cells), cells), cells)

    def _label_list(self) -> None:
        panel = self.query_one("#list", VTable)
        cells = panel.cells or self.size.width - 4
        panel.set_head(None if self._tree else header_line(layout_columns(key_columns(cells), cells)))
        note = self._list_error or position_note(panel.cursor, self._pages)
        if self._tree and not self._list_error:
            note = f"folded at {SEPARATORS[self._separator].decode()}"
        newest = self.state.view.max_revision if self.state.view else Revision(0)
        if 0 < self._pages.revision < newest and not self._list_error:
            note += " · r newer" if note else "r newer"
        panel.label(keys_title(self._pages, cells), hint(note))

    def _read_list(self) -> None:
        if self._tree:
            self._start("tree", self._read_branch(self._tree, self._tree.branches[self._tree.root]))
        self._start("pages", self._read_pages())

    async def _read_pages(self) -> None:
        """Read pages until everything visible, and a screenful ahead, is here. The title needs the first one always."""
        panel = self.query_one("#list", VTable)
        while True:
            pages = self._pages
            rows = max(1, panel.visible_rows)
            first, last = (panel.top, panel.top + 2 * rows) if self._tree is None else (0, 0)
            request = pages.needed(first, last) if self._tree is None or not pages.revision else None
            if request is None:
                return
            try:
                page = await self.console.feed.page(
                    request.start, request.end, limit=request.limit, revision=request.revision
                )
            except Compacted:
                self.console.say("the revision shown was compacted away: reading at the newest one", Tone.WARN)
                self._restart()
                continue
            except EtcdopsError as error:
                self._list_error = clean(error.message)
                self._label_list()
                return
            self._list_error = ""
            pages.take(request, page)
            if pages is self._pages:
                panel.move_to(panel.cursor, quiet=True)
                panel.refresh()
                self._label_list()
                self._choose()

    async def _read_branch(self, tree: KeyTree, branch: Branch) -> None:
        """Read the children of a branch, and of those below it that were open before a reload."""
        scan = tree.scan_of(branch)
        if scan is None:
            return
        try:
            while request := scan.request():
                page = await self.console.feed.page(
                    request.start, request.end, limit=request.limit, revision=request.revision
                )
                scan.take(page)
        except EtcdopsError as error:
            branch.loading = False
            branch.note = "✖ " + clean(error.message)
            self._list_error = clean(error.message) if branch.prefix == tree.root else ""
        except BaseException:
            branch.loading = False
            raise
        else:
            tree.take(branch, scan)
        if tree is self._tree:
            panel = self.query_one("#list", VTable)
            panel.move_to(panel.cursor, quiet=True)
            panel.refresh()
            self._label_list()
            self._choose()
            for child in [c for c in branch.children or () if c.entry is None and c.name in self._reopen]:
                self._reopen.discard(child.name)
                inner = tree.branches[child.name]
                tree.toggle(inner)
                await self._read_branch(tree, inner)

    def _restart(self, *, prefix: bytes | None = None, start: bytes = b"") -> None:
        """Begin the list anew, at the newest revision."""
        self._pages = KeyPages(self._pages.prefix if prefix is None else prefix, start)
        if self._tree:
            self._reopen = {name for name, branch in self._tree.branches.items() if branch.open}
            self._tree = KeyTree(self._pages.prefix, SEPARATORS[self._separator])
        self._list_error = ""
        self._shown = None

    def _reload(self, *, prefix: bytes | None = None, start: bytes = b"") -> None:
        self._restart(prefix=prefix, start=start)
        panel = self.query_one("#list", VTable)
        if prefix is not None or start:
            panel.cursor = panel.top = 0
        self._read_list()
        panel.refresh()
        self.update()

    def _selected(self) -> KeyEntry | None:
        """The key under the cursor."""
        cursor = self.query_one("#list", VTable).cursor
        if self._tree is None:
            return self._pages.entry(cursor)
        row = self._tree_row()
        return row.entry if row else None

    def _tree_row(self) -> TreeRow | None:
        cursor = self.query_one("#list", VTable).cursor
        return self._tree.rows[cursor] if self._tree and cursor < len(self._tree.rows) else None

    @on(ListPanel.Moved, "#list")
    def moved(self) -> None:
        self._label_list()
        self._start("pages", self._read_pages())
        self._choose()

    @on(ListPanel.Opened, "#list")
    def opened(self) -> None:
        row = self._tree_row()
        if self._tree is None or row is None or row.entry:
            self.query_one("#value").focus()
            return
        if row.branch:
            self._tree.toggle(row.branch)
        branch = row.branch or row.rest_of
        if branch and (branch.open or row.rest_of) and (branch.children is None or row.rest_of):
            self._start("tree", self._read_branch(self._tree, branch))
        panel = self.query_one("#list", VTable)
        panel.move_to(panel.cursor)
        panel.refresh()

    # The value

    def _choose(self) -> None:
        """The key under the cursor is the one whose value and history are wanted."""
        entry = self._selected()
        self._wanted = (entry.key, self._pages.revision or self._revision()) if entry else None
        if self._history and (entry is None or entry.key != self._history.key):
            self._history = None
        if self._wanted is None:
            self._entry, self._shown, self._value_error = None, None, ""
            self._show_value()
        self._start("value", self._read_value())
        if self.has_class("-history"):
            self._show_history()

    def _revision(self) -> Revision:
        return self._tree.revision if self._tree else NOW

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
                self._entry = entry
                self._value_error = error or ("" if entry else "the key does not exist at this revision")
                self._show_value()

    def _show_value(self) -> None:
        self._rendered = None
        panel = self.query_one("#value", VTable)
        panel.top = 0
        panel.refresh()
        self._label_value()

    def _label_value(self) -> None:
        entry, panel = self._entry, self.query_one("#value", VTable)
        title: Line = (Span("Value", Tone.TITLE),)
        note = ""
        if entry:
            _, rendered, _ = self._rendering(panel.cells or 40)
            title = (*title, Span(f" {rendered.format.value} · {show_bytes(len(entry.value))}"))
            note = rendered.note
        panel.label(title, hint(note or ("x format · H history" if entry else "")))

    def _rendering(self, cells: int) -> tuple[int, Rendered, list[Line]]:
        """The value and the lines about its key, for a pane of `cells` cells."""
        if self._rendered is None or self._rendered[0] != cells:
            entry = self._entry
            rendered = render_value(entry.value, self._format, cells) if entry else Rendered(Format.TEXT, [])
            self._rendered = (cells, rendered, about_lines(entry, cells) if entry else [])
        return self._rendered

    def _value_count(self) -> int:
        if self._entry is None:
            return 1
        _, rendered, about = self._rendering(self.query_one("#value", VTable).cells)
        return len(about) + len(rendered.lines)

    def _value_line(self, index: int, cells: int) -> Line:
        if self._entry is None:
            waiting = "reading" if self._wanted and self._wanted != self._shown else self._branch_note()
            return line(Span(self._value_error or waiting, Tone.WARN if self._value_error else Tone.DIM))
        _, rendered, about = self._rendering(cells)
        return about[index] if index < len(about) else rendered.lines[index - len(about)]

    def _branch_note(self) -> str:
        row = self._tree_row()
        if row is None or row.branch is None:
            return "no key under the cursor"
        counted = f"{show_count(row.branch.count)} keys below" if row.branch.count is not None else "Enter opens it"
        return f"{printable_bytes(row.branch.prefix)}: {counted}"

    # The history

    def _show_history(self) -> None:
        entry, panel = self._selected(), self.query_one("#history", LinesPanel)
        panel.label((Span("History", Tone.TITLE),), hint("Enter shows that version · H closes"))
        if entry is None:
            panel.show(lambda cells, rows, cursor: [(line(Span("no key under the cursor", Tone.DIM)),)])
            return
        if self._history is None:
            self._history = KeyHistory(entry.key)
            panel.cursor = panel.top = 0
        history = self._history
        panel.show(lambda cells, rows, cursor: history_lines(history, cells))
        self._start("history", self._read_history())

    async def _read_history(self) -> None:
        """Read versions until some are known beyond the cursor."""
        panel = self.query_one("#history", LinesPanel)
        while (history := self._history) and not history.complete and len(history.versions) < panel.cursor + STEP:
            revision = history.before() if history.versions else self._pages.revision or self._revision()
            try:
                history.take(await self.console.feed.get(history.key, revision=revision))
            except Compacted:
                history.take_compacted()
            except EtcdopsError as error:
                self.console.say(error.message, Tone.FAIL)
                return
            if history is self._history:
                panel.show(lambda cells, rows, cursor: history_lines(history, cells))

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
        self.app.push_screen(Prompt("prefix", printable_bytes(self._pages.prefix), note), self._set_prefix)

    def _set_prefix(self, text: str | None) -> None:
        if text is not None:
            self._reload(prefix=parse_printable(text))

    def action_jump(self) -> None:
        entry = self._selected()
        value = printable_bytes(entry.key if entry else self._pages.prefix)
        self.app.push_screen(Prompt("jump to", value, "the list begins at this key, or the next one"), self._jump)

    def _jump(self, text: str | None) -> None:
        if text is None:
            return
        key = parse_printable(text)
        self._tree = None
        self._reload(prefix=None if key.startswith(self._pages.prefix) else b"", start=key)

    def action_tree(self) -> None:
        self._tree = None if self._tree else KeyTree(self._pages.prefix, SEPARATORS[self._separator])
        if self._tree and self._pages.revision:
            self._tree.revision = self._pages.revision
        panel = self.query_one("#list", VTable)
        panel.cursor = panel.top = 0
        self._read_list()
        panel.refresh()
        self.update()
        self._choose()

    def action_separator(self) -> None:
        self._separator = (self._separator + 1) % len(SEPARATORS)
        if self._tree is None:
            self.console.say(f"the tree folds at {SEPARATORS[self._separator].decode()}")
            return
        self._tree = None
        self.action_tree()

    def action_format(self) -> None:
        self._format = self._format.following()
        self._show_value()
        self.console.say(f"values are shown as {self._format.value}")

    def action_history(self) -> None:
        self.toggle_class("-history")
        if self.has_class("-history"):
            self._show_history()
            self.query_one("#history").focus()
        else:
            self._history = None
            self.query_one("#list").focus()

    def action_reload(self) -> None:
        cursor = self.query_one("#list", VTable).cursor
        self._reload(start=self._pages.start if self._pages.jumped else b"")
        self.query_one("#list", VTable).cursor = cursor

    def action_copy(self) -> None:
        entry = self._selected()
        if entry:
            self.console.copy(printable_bytes(entry.key))

    def action_copy_value(self) -> None:
        if self._entry:
            self.console.copy(self._entry.value.decode("utf-8", "backslashreplace"))

    def action_back(self) -> None:
        if self.has_class("-history"):
            self.action_history()
        elif self._pages.jumped:
            self._reload(prefix=self._pages.prefix)
        elif self._pages.prefix:
            self._reload(prefix=b"")
        elif not self.query_one("#list").has_focus:
            self.query_one("#list").focus()
        else:
            self.console.action_last_screen()

    # Writes

    def action_new(self) -> None:
        if not self.console.writes_allowed():
            return

        def named(text: str | None) -> None:
            if text:
                key = parse_printable(text)
                self.app.push_screen(
                    Editor(f"New key {printable_bytes(key)}", ""), lambda value: self._put(key, None, value)
                )

        value = printable_bytes(self._pages.prefix)
        self.app.push_screen(Prompt("new key", value, "\\xNN for any byte; it must not exist yet"), named)

    def action_edit(self) -> None:
        entry = self._entry
        if not self.console.writes_allowed() or entry is None:
            return
        text = editable_text(entry.value)
        if text is None:
            self.console.say("this value is no plain text: it cannot be edited here", Tone.WARN)
            return
        title = f"Edit {printable_bytes(entry.key)}  (version {entry.version}, mod revision {entry.mod_revision})"
        self.app.push_screen(Editor(title, text), lambda value: self._put(entry.key, entry, value))

    def _put(self, key: bytes, entry: KeyEntry | None, text: str | None) -> None:
        if text is None or (entry and text.encode() == entry.value):
            self.console.say("nothing was changed")
            return
        value = text.encode()
        name = confirm_name(key)
        guard = f"only if its mod revision is still {entry.mod_revision}" if entry else "only if it does not exist yet"
        old = f"{show_bytes(len(entry.value))} → " if entry else ""
        facts = [
            ("Cluster", self.console.cluster_title),
            ("Key", printable_bytes(key)),
            ("Will change", f"value {old}{show_bytes(len(value))}: {cut(printable_bytes(value), 160)}"),
            ("Guard", guard),
            *([("Lease", f"{entry.lease:x} is kept")] if entry and entry.lease else []),
            ("Same as", f"etcdctl put {shlex.quote(cut(printable_bytes(key), 60))} ... (without the guard)"),
        ]

        def confirmed(yes: bool | None) -> None:
            expected = entry.mod_revision if entry else NOW
            lease = entry.lease if entry else None
            if yes:
                gate = self.console.gate
                write = (
                    gate.put(key, value, expected=expected, lease=lease)
                    if lease
                    else gate.put(key, value, expected=expected)
                )
                self._start("write", self._write("put", key, write))

        self.app.push_screen(Confirm("Put a key" if entry else "Put a new key", facts, name), confirmed)

    def action_delete(self) -> None:
        entry = self._entry
        if not self.console.writes_allowed() or entry is None:
            return
        facts = [
            ("Cluster", self.console.cluster_title),
            ("Key", printable_bytes(entry.key)),
            (
                "Will delete",
                f"version {entry.version}, {show_bytes(len(entry.value))}: {cut(printable_bytes(entry.value), 160)}",
            ),
            ("Guard", f"only if its mod revision is still {entry.mod_revision}"),
            ("Undo", f"its history keeps revision {entry.mod_revision} until a compaction"),
            ("Same as", f"etcdctl del {shlex.quote(cut(printable_bytes(entry.key), 60))} (without the guard)"),
        ]

        def confirmed(yes: bool | None) -> None:
            if yes:
                write = self.console.gate.delete(entry.key, expected=entry.mod_revision)
                self._start("write", self._write("deleted", entry.key, write))

        self.app.push_screen(Confirm("Delete a key", facts, confirm_name(entry.key)), confirmed)

    async def _write(self, done: str, key: bytes, write: Coroutine[object, object, Revision | None]) -> None:
        """Wait for a write and say what became of it; the screen changes only by what the cluster answered."""
        name = printable_bytes(key)
        try:
            revision = await write
        except EtcdopsError as error:
            self.console.say(f"{error.message}; {error.hint}" if error.hint else error.message, Tone.FAIL)
            return
        if revision is None:
            self.console.say(
                f"somebody else changed {name} meanwhile: nothing was written; r reads it again", Tone.WARN
            )
            return
        self.console.say(f"{done} {name} at revision {revision}", Tone.OK)
        self.action_reload()

    def _start(self, kind: str, work: Coroutine[object, object, None]) -> None:
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


def about_lines(entry: KeyEntry, cells: int) -> list[Line]:
    """What is known of a key besides its value."""
    rows = chop(printable_bytes(entry.key), max(8, cells))[:3]
    facts = [("mod", str(entry.mod_revision)), ("created", str(entry.create_revision)), ("version", str(entry.version))]
    if entry.lease:
        facts.append(("lease", format(entry.lease, "x")))
    spans: list[Span] = []
    for name, value in facts:
        spans += [Span(("  " if spans else "") + name + " ", Tone.LABEL), Span(value)]
    return [*(line(Span(row, Tone.STRONG)) for row in rows), tuple(spans), ()]


def editable_text(value: bytes) -> str | None:
    """The value as text an editor gives back unchanged; None when it is no such text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\t" for char in text) else None


def confirm_name(key: bytes) -> str:
    """What must be typed to confirm a write: the last part of the key's name."""
    parts = [part for part in printable_bytes(key).split("/") if part]
    return cut(parts[-1], CONFIRM_CELLS_MAX).strip() if parts and parts[-1].strip() else "yes"
