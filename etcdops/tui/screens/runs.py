"""Screen 8: procedures at work, cut off and past. It only looks at journals: every run has a process of its own."""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult

from etcdops.clock import Clock
from etcdops.errors import EtcdopsError
from etcdops.playbooks.detached import go_on_detached, log_path
from etcdops.playbooks.procedures import stop_run
from etcdops.playbooks.runs import KnownRun, list_runs
from etcdops.tui.actions import bindings
from etcdops.tui.model.runs import advice, catalogue_lines, run_columns, run_lines, run_row, run_title, shorten
from etcdops.tui.model.table import header_line, layout_columns
from etcdops.tui.model.text import Line, Span, Tone
from etcdops.tui.screens.base import CHROME_ROWS, ConsoleScreen
from etcdops.tui.screens.dialogs import Confirm
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import Block, LinesPanel, ListPanel

LOOK_S = 0.5
"""How often the journals are looked at while the screen is shown."""


class RunsScreen(ConsoleScreen, inherit_bindings=False):
    """The table above, one run step by step below."""

    NAME = "runs"
    TITLE_SHOWN = "Runs"
    BINDINGS = bindings("runs")

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[KnownRun] = []
        self._damaged = 0

    def compose_body(self) -> ComposeResult:
        yield LinesPanel(id="runs")
        yield LinesPanel(id="run", selectable=False)

    def on_mount(self) -> None:
        self.query_one("#runs", LinesPanel).mark_when_blurred = True
        super().on_mount()
        self.query_one("#runs").focus()
        self._look()
        self.set_interval(LOOK_S, self._look_again)

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._look()

    def _look_again(self) -> None:
        if self.is_current and not self.console.paused:
            self._look()

    @work(exclusive=True, group="poller", exit_on_error=False)
    async def _look(self) -> None:
        """Read the journals in a thread: a home folder may be on a slow disk."""
        import asyncio

        clock: Clock = self.console.clock
        known, unreadable = await asyncio.to_thread(list_runs, clock)
        self._runs, self._damaged = known, len(unreadable)
        if self.drawable:
            self.update()

    def update(self) -> None:
        runs = self._runs
        panel = self.query_one("#runs", LinesPanel)
        room = self.size.height - CHROME_ROWS
        panel.styles.height = max(4, min(len(runs) + 3, room // 3))
        note = f" · {self._damaged} journals cannot be read" if self._damaged else ""
        panel.label((Span(f"Runs {len(runs)}", Tone.TITLE),), hint(f"newest first{note}"))
        columns = run_columns()
        panel.set_head(header_line(layout_columns(columns, max(0, self.size.width - 4))))

        def source(cells: int, _rows: int, _cursor: int) -> list[Block]:
            return [(run_row(run, cells),) for run in runs] or [((Span("none", Tone.DIM),),)]

        panel.show(source)
        self._update_detail()

    def _update_detail(self) -> None:
        chosen = self._chosen
        detail = self.query_one("#run", LinesPanel)
        title: Line = run_title(chosen) if chosen else (Span("Procedures", Tone.TITLE),)
        detail.label(title, hint("x stop safely · d detach · u resume" if chosen else ""))

        def source(cells: int, _rows: int, _cursor: int) -> list[Block]:
            lines = run_lines(chosen, cells) if chosen else catalogue_lines(cells)
            return [(line,) for line in lines]

        detail.show(source)

    @property
    def _chosen(self) -> KnownRun | None:
        cursor = self.query_one("#runs", LinesPanel).cursor
        return self._runs[cursor] if cursor < len(self._runs) else None

    @on(ListPanel.Moved, "#runs")
    def moved(self) -> None:
        self._update_detail()

    @on(ListPanel.Opened, "#runs")
    def opened(self) -> None:
        self.query_one("#run").focus()

    def action_stop(self) -> None:
        chosen = self._chosen
        if chosen is None or not self.console.writes_allowed():
            return
        try:
            stop_run(chosen)
        except (EtcdopsError, OSError) as error:
            self.console.warn(str(error))
            return
        self.console.say(f"{chosen.run} stops after the step it is at")

    def action_resume(self) -> None:
        chosen = self._chosen
        if chosen is None or not self.console.writes_allowed():
            return
        state = chosen.state
        if state.ended or state.status == "running" or state.rolling_back:
            self.console.warn(f"{chosen.run} cannot be resumed: {advice(chosen)}")
            return
        facts = [
            ("Will change", "; ".join(state.plan.summary)),
            ("Lost by it", "; ".join(state.plan.losses)),
            ("Plan hash", state.plan.digest[:16]),
            ("Same as", f"etcdops runs resume {chosen.run} --confirm {state.plan.cluster}"),
        ]
        self.console.push_screen(
            Confirm(f"Go on with {chosen.run} {state.plan.procedure}", facts, state.plan.cluster),
            lambda confirmed: self._resume(chosen) if confirmed else None,
        )

    def _resume(self, chosen: KnownRun) -> None:
        try:
            pid = go_on_detached(chosen).pid
        except EtcdopsError as error:
            self.console.warn(error.message)
            return
        self.console.say(f"{chosen.run} goes on as process {pid}; what it says is in {shorten(log_path(chosen))}")

    def action_detach(self) -> None:
        chosen = self._chosen
        self.console.action_last_screen()
        if chosen is not None and chosen.state.status == "running":
            self.console.say(f"{chosen.run} goes on in its own process: etcdops runs attach {chosen.run}")

    def action_copy(self) -> None:
        if (chosen := self._chosen) is not None:
            self.console.copy(chosen.run)

    def action_back(self) -> None:
        if self.query_one("#run").has_focus:
            self.query_one("#runs").focus()
        else:
            self.console.action_last_screen()
