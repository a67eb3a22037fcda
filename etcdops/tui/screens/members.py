"""Screen 3: the members, and everything known about the one under the cursor."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult

from etcdops.ids import format_id
from etcdops.tui.actions import bindings
from etcdops.tui.model.cluster import MemberRow
from etcdops.tui.model.dashboard import zoom_name
from etcdops.tui.model.members import TABS, detail_lines, tab_title
from etcdops.tui.model.text import Line, Span, Tone, line
from etcdops.tui.screens.base import CHROME_ROWS
from etcdops.tui.screens.member_list import MembersTableScreen
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import Block, LinesPanel, ListPanel


class MembersScreen(MembersTableScreen, inherit_bindings=False):
    """The table above, tabs of details below."""

    NAME = "members"
    TITLE_SHOWN = "Members"
    BINDINGS = bindings("members")

    def __init__(self) -> None:
        super().__init__()
        self._tab = 0

    def compose_body(self) -> ComposeResult:
        yield LinesPanel(id="members")
        yield LinesPanel(id="detail", selectable=False)

    def on_mount(self) -> None:
        self.query_one("#members", LinesPanel).mark_when_blurred = True
        super().on_mount()
        self.query_one("#members").focus()

    def update(self) -> None:
        wanted = self.console.wanted_member
        if wanted:
            self._show_all()
        rows, view = self._rows(), self.state.view
        room = self.size.height - CHROME_ROWS
        panel = self._show_members(rows, "s sort · / filter")
        panel.styles.height = max(4, min(len(view.members) + 3 if view else 4, room // 2))
        labels = [row.member.label for row in rows]
        if wanted in labels and panel.item_count:
            panel.move_to(labels.index(wanted))
            self.console.wanted_member = ""
        self._update_detail(rows)

    def _update_detail(self, rows: list[MemberRow]) -> None:
        cursor = self.query_one("#members", LinesPanel).cursor
        chosen = rows[cursor] if cursor < len(rows) else None
        detail = self.query_one("#detail", LinesPanel)
        name = chosen.member.label if chosen else "no member"
        title: Line = (Span(name, Tone.STRONG), Span("  "), *tab_title(self._tab, 60))
        detail.label(title, hint(f"← → tabs · history {zoom_name(self._zoom)}"))
        state, tab, zoom = self.state, self._tab, self._zoom
        now_s, now_wall_s = self.console.shown_s, self.console.shown_wall_s

        def source(cells: int, _rows: int, _cursor: int) -> list[Block]:
            if chosen is None:
                return [(line(Span("nothing to show", Tone.DIM)),)]
            lines = detail_lines(state, chosen, tab, zoom=zoom, now_s=now_s, now_wall_s=now_wall_s, cells=cells)
            return [(row,) for row in lines]

        detail.show(source)

    @on(ListPanel.Moved, "#members")
    def moved(self) -> None:
        self._update_detail(self._rows())

    @on(ListPanel.Opened, "#members")
    def opened(self) -> None:
        self.query_one("#detail").focus()

    def action_tab(self, step: int) -> None:
        self._tab = (self._tab + step) % len(TABS)
        self.query_one("#detail", LinesPanel).action_edge(-1)
        self.update()

    def action_copy(self) -> None:
        rows = self._rows()
        cursor = self.query_one("#members", LinesPanel).cursor
        if cursor < len(rows):
            member = rows[cursor].member
            number = format_id(member.id) if member.id else ""
            self.console.copy(" ".join((member.label, number, *member.client_urls, *member.peer_urls)))

    def action_back(self) -> None:
        if self._list.narrowed:
            self._show_all()
            self.update()
        elif self.query_one("#detail").has_focus:
            self.query_one("#members").focus()
        else:
            self.console.action_last_screen()
