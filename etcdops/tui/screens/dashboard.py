"""Screen 2: the whole cluster at a glance."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from etcdops.numbers import show_clock
from etcdops.tui.actions import bindings
from etcdops.tui.model.dashboard import (
    SIZES,
    WIDE,
    chart_lines,
    chart_one_line,
    event_line,
    finding_blocks,
    findings_title,
    latency_lines,
    share_rows,
    zoom_name,
)
from etcdops.tui.model.problems import problem_page
from etcdops.tui.model.text import Line, Span, Tone, line, plain
from etcdops.tui.screens.base import CHROME_ROWS
from etcdops.tui.screens.dialogs import Reading, explanation
from etcdops.tui.screens.member_list import MembersTableScreen
from etcdops.tui.widgets.chrome import LinesPane, hint
from etcdops.tui.widgets.lists import Block, LinesPanel, ListPanel
from etcdops.tui.widgets.panel import LineWidget


class DashboardScreen(MembersTableScreen, inherit_bindings=False):
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
        self._show_members(self._rows(), "s sort · / filter · Enter detail")
        self._update_charts()
        self._update_findings()
        self._update_events()

    def _share(self) -> None:
        """Give every pane its rows."""
        cells, rows = self.size.width, self.size.height - CHROME_ROWS
        known, found = self.state.view.members if self.state.view else (), self.state.problems
        blocked = sum(1 for one in found if one.blocked)
        heights = share_rows(cells, rows, members=max(1, len(known)), findings=len(found), blocked=blocked)
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
        findings = self.state.problems
        panel = self.query_one("#findings", LinesPanel)
        panel.label(findings_title(findings, self.size.width), hint("Enter explains" if findings else ""))
        known = self.state.view is not None or bool(self.state.unasked)
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
        if event.panel.cursor < len(self.state.problems):
            problem = self.state.problems[event.panel.cursor]
            name = problem.logged.finding.slug if problem.live is None and problem.logged else problem.code
            self.app.push_screen(Reading(name, lambda cells: problem_page(problem, cells)))

    @on(ListPanel.Opened, "#events")
    def explain_event(self, event: ListPanel.Opened) -> None:
        if event.panel.cursor >= len(self.state.events):
            return
        chosen = self.state.events[event.panel.cursor]
        title = (Span(f"{chosen.subject}: {chosen.text}", Tone.STRONG),)
        parts = [("seen at", show_clock(chosen.at)), ("weight", chosen.severity.name.lower())]
        self.app.push_screen(Reading("Event", lambda cells: explanation(title, parts, cells)))

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
            self._show_all()
        self._alone = ""
        self.update()
