"""Screen 2: the whole cluster at a glance."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from etcdops.numbers import show_clock
from etcdops.tui.actions import bindings
from etcdops.tui.model.cluster import MemberRow
from etcdops.tui.model.dashboard import (
    SIZES,
    WIDE,
    chart_lines,
    chart_one_line,
    event_line,
    finding_blocks,
    findings_title,
    latency_lines,
    members_title,
    share_rows,
    zoom_name,
)
from etcdops.tui.model.history import DEFAULT_ZOOM, ZOOMS
from etcdops.tui.model.text import Line, Span, Tone, line, plain
from etcdops.tui.screens.base import CHROME_ROWS, ConsoleScreen
from etcdops.tui.screens.dialogs import Reading, explanation
from etcdops.tui.screens.member_list import MemberList
from etcdops.tui.widgets.chrome import LinesPane, hint
from etcdops.tui.widgets.lists import Block, LinesPanel, ListPanel
from etcdops.tui.widgets.panel import LineWidget


class DashboardScreen(ConsoleScreen, inherit_bindings=False):
    """Members, histories, findings and events."""

    NAME = "dashboard"
    TITLE_SHOWN = "Dashboard"
    BINDINGS = bindings("dashboard")

    DEFAULT_CSS = """
    DashboardScreen #charts { height: 7; }
    DashboardScreen #charts-line { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._list = MemberList()
        self._zoom = DEFAULT_ZOOM
        self._alone: str = ""
        """The id of the pane that has the screen to itself; "" = all are shown."""

    def compose_body(self) -> ComposeResult:
        yield LinesPanel(id="members")
        with Horizontal(id="charts"):
            yield LinesPane(id="latency")
            yield LinesPane(id="sizes")
        yield LineWidget(id="charts-line")
        yield LinesPanel(id="findings")
        yield LinesPanel(id="events")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#members").focus()

    def update(self) -> None:
        self._share()
        self._update_members()
        self._update_charts()
        self._update_findings()
        self._update_events()

    def _share(self) -> None:
        """Give every pane its rows."""
        cells, rows = self.size.width, self.size.height - CHROME_ROWS
        known = self.state.view.members if self.state.view else ()
        heights = share_rows(cells, rows, members=max(1, len(known)), findings=len(self.state.findings))
        sizes = {
            "members": heights.members,
            "charts": heights.charts,
            "charts-line": 0 if heights.charts else 1,
            "findings": heights.findings,
            "events": heights.events,
        }
        for name, height in sizes.items():
            widget = self.query_one(f"#{name}")
            shown = (rows if name == self._alone else 0) if self._alone else height
            widget.display = shown > 0
            widget.styles.height = shown

    def _rows(self) -> list[MemberRow]:
        return self._list.rows(self.state, self.console.shown_wall_s)

    def _update_members(self) -> None:
        panel = self.query_one("#members", LinesPanel)
        rows, view = self._rows(), self.state.view
        note = self._list.note(len(rows), len(view.members) if view else 0)
        keys = "Esc shows all" if self._list.narrowed else "s sort · / filter · Enter detail"
        panel.label(members_title(view, self.size.width), hint(f"{note} · {keys}" if note else keys))
        panel.set_head(self._list.head(rows, max(0, self.size.width - 4)))
        panel.show(lambda cells, _rows, _cursor: self._list.blocks(rows, cells))

    def _update_charts(self) -> None:
        state, now_s, zoom = self.state, self.console.shown_s, self._zoom
        if self.size.width < WIDE:
            self.query_one("#charts-line", LineWidget).show(chart_one_line(state, zoom, now_s, self.size.width))
        latency = self.query_one("#latency", LinesPane)
        latency.label((Span("Latency & load", Tone.TITLE),), hint(f"{zoom_name(zoom)} · z Z zoom"))

        latency.show(lambda cells, rows: latency_lines(state, zoom, now_s, cells, rows))
        sizes = self.query_one("#sizes", LinesPane)
        sizes.label((Span("Size & clients", Tone.TITLE),), hint(zoom_name(zoom)))
        sizes.show(lambda cells, _rows: chart_lines(state, SIZES, zoom, now_s, cells))

    def _update_findings(self) -> None:
        findings = self.state.findings
        panel = self.query_one("#findings", LinesPanel)
        panel.label(findings_title(findings, self.size.width), hint("Enter explains" if findings else ""))
        known = self.state.view is not None
        panel.show(
            lambda cells, rows, cursor: (
                finding_blocks(findings, cells, rows, cursor)
                if known
                else [(line(Span("waiting for the first look", Tone.DIM)),)]
            )
        )

    def _update_events(self) -> None:
        events = self.state.events
        panel = self.query_one("#events", LinesPanel)
        title: Line = (Span("Events", Tone.TITLE),)
        if self.size.width >= WIDE:
            title = (*title, Span(" every change, newest first"))
        panel.label(title, hint("Enter explains · y copy"))
        blocks: list[Block] = []

        def source(cells: int, _rows: int, _cursor: int) -> list[Block]:
            return [(event_line(event, cells),) for event in events] or blocks

        panel.show(source)

    @on(ListPanel.Opened, "#members")
    def open_member(self, event: ListPanel.Opened) -> None:
        rows = self._rows()
        if event.panel.cursor < len(rows):
            self.console.open_member(rows[event.panel.cursor].member.label)

    @on(ListPanel.Opened, "#findings")
    def explain_finding(self, event: ListPanel.Opened) -> None:
        if event.panel.cursor >= len(self.state.findings):
            return
        finding = self.state.findings[event.panel.cursor]
        parts = [("next", finding.next_step), ("blocked", finding.blocked), ("about", finding.detail)]
        title = (Span(finding.summary[:1].upper() + finding.summary[1:] + ".", Tone.STRONG),)
        self.app.push_screen(Reading(f"{finding.code}", lambda cells: explanation(title, parts, cells)))

    @on(ListPanel.Opened, "#events")
    def explain_event(self, event: ListPanel.Opened) -> None:
        if event.panel.cursor >= len(self.state.events):
            return
        chosen = self.state.events[event.panel.cursor]
        title = (Span(f"{chosen.subject}: {chosen.text}", Tone.STRONG),)
        parts = [("seen at", show_clock(chosen.at)), ("weight", chosen.severity.name.lower())]
        self.app.push_screen(Reading("Event", lambda cells: explanation(title, parts, cells)))

    def action_filter(self) -> None:
        self.console.ask_filter(self._list, self.update)

    def action_sort(self) -> None:
        self._list.sort_by_next(self._rows())
        self.update()

    def action_reverse(self) -> None:
        self._list.reverse()
        self.update()

    def action_problems(self) -> None:
        self._list.problems_only = not self._list.problems_only
        self.update()

    def action_zoom(self, step: int) -> None:
        self._zoom = max(0, min(len(ZOOMS) - 1, self._zoom + step))
        self.update()

    def action_maximize(self) -> None:
        focused = self.focused.id if self.focused else None
        self._alone = "" if self._alone else focused or ""
        self.update()

    def action_copy(self) -> None:
        panel = self.focused
        if isinstance(panel, LinesPanel) and panel.item_count:
            rows = panel.rows_of(panel.cursor)
            self.console.copy("\n".join(plain(panel.row(row, panel.cells)).strip() for row in rows))

    def action_back(self) -> None:
        if self._list.narrowed:
            self._list = MemberList(sort=self._list.sort)
        self._alone = ""
        self.update()
