"""The console as a Textual application, and `run_tui`, the way in."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App
from textual.driver import Driver
from textual.screen import Screen

from etcdops.clock import Clock, SystemClock
from etcdops.errors import ExitCode
from etcdops.tui.actions import bindings
from etcdops.tui.feed import ClusterFeed, NoCluster
from etcdops.tui.gate import ReadOnly, WriteGate
from etcdops.tui.log_feed import LogFeed, NoLogs
from etcdops.tui.log_reader import LogReader, LogsGrown
from etcdops.tui.model.log_findings import LogFindings, log_findings
from etcdops.tui.model.state import ConsoleState
from etcdops.tui.model.text import Line, Span, Tone, clean
from etcdops.tui.paint import Painter
from etcdops.tui.poller import Looked, LookFailed, Poller
from etcdops.tui.screens.base import ConsoleScreen
from etcdops.tui.screens.dashboard import DashboardScreen
from etcdops.tui.screens.dialogs import Confirm, Palette, Reading, help_lines
from etcdops.tui.screens.keys import KeysScreen
from etcdops.tui.screens.logs import LogsScreen
from etcdops.tui.screens.members import MembersScreen
from etcdops.tui.screens.runs import RunsScreen
from etcdops.tui.theme import OWN_THEMES

if TYPE_CHECKING:
    from etcdops.client.settings import ConnectionSettings
    from etcdops.tui.actions import Action

SCREENS: dict[str, type[ConsoleScreen]] = {
    screen.NAME: screen for screen in (DashboardScreen, MembersScreen, KeysScreen, LogsScreen, RunsScreen)
}
"""By the name `--screen` takes. A screen appears in footer, palette and help once it has an action in `actions.py`."""

NO_LOGS = "no log is known: name one with --log, or a cluster with --cluster or --local"

MESSAGE_S = 8.0
"""How long the footer shows a message."""

INTERRUPT_S = 2.0
"""Within this time a second ^C leaves."""


class ConsoleApp(App[None], inherit_bindings=False):
    """Owns the poller, the state and the write gate; screens only show and ask."""

    TITLE = "etcdops"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = bindings("app")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = dict(SCREENS)

    def __init__(
        self,
        feed: ClusterFeed,
        *,
        title: str,
        gate: WriteGate,
        ascii_only: bool = False,
        interval_s: float = 2.0,
        screen: str = "dashboard",
        logs: LogFeed | None = None,
        clock: Clock | None = None,
        language: str = "en",
    ) -> None:
        super().__init__()
        self.feed = feed
        self.cluster_title = clean(title)
        self.gate = gate
        self.ascii_only = ascii_only
        self.interval_s = interval_s
        self.clock = clock or SystemClock()
        self.console_state = ConsoleState(language=language, unasked=feed.REASON if isinstance(feed, NoCluster) else "")
        self.wanted_member = ""
        """The member another screen asked the Members screen to show; it takes it when it is drawn."""
        self.poller = Poller(feed, self.post_message, interval_s=interval_s, clock=self.clock)
        self.logs = LogReader(logs or NoLogs(NO_LOGS), self.post_message, clock=self.clock)
        self._first_screen = screen
        self._last_mode = screen
        self._held: tuple[ConsoleState, float, float] | None = None
        self._message: Line = ()
        self._message_until_s = 0.0
        self._interrupted_s = float("-inf")
        self._notices_seen = 0
        self._painter: Painter | None = None
        for theme in OWN_THEMES:
            self.register_theme(theme)
        self.theme = OWN_THEMES[0].name

    # What the screens read

    @property
    def painter(self) -> Painter:
        if self._painter is None:
            variables = self.theme_variables
            self._painter = Painter(variables, ascii_only=self.ascii_only, no_color=self.no_color)
        return self._painter

    @property
    def paused(self) -> bool:
        return self._held is not None

    @property
    def shown(self) -> ConsoleState:
        """The state the screens draw: the newest one, or the one held by pause."""
        return self._held[0] if self._held else self.console_state

    @property
    def shown_s(self) -> float:
        """Monotonic time as the screens see it: it stands still with them."""
        return self._held[1] if self._held else self.clock.monotonic()

    @property
    def shown_wall_s(self) -> float:
        return self._held[2] if self._held else self.clock.wall()

    @property
    def message(self) -> Line:
        """What the footer says instead of the keys; empty = nothing."""
        return self._message if self.clock.monotonic() < self._message_until_s else ()

    # Life

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":
            return found  # headless, a browser, or a platform with terminals of another kind
        from etcdops.tui.terminal import LastingDriver  # not to be had where there is no termios

        return LastingDriver

    def on_mount(self) -> None:
        self._watch_signals()
        self.theme_changed_signal.subscribe(self, lambda _: self._repaint())
        self.switch_mode(self._first_screen)
        if not self.console_state.unasked:
            self.run_worker(self.poller.run(), group="poller", exit_on_error=False)
        self.run_worker(self.logs.run(), group="poller", exit_on_error=False)
        self.set_interval(1.0, self._tick)

    async def on_unmount(self) -> None:
        await self.feed.close()

    def _watch_signals(self) -> None:
        """A hang-up or SIGTERM ends the console as `q` does, so that the terminal is left as it was found."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                loop.add_signal_handler(number, self.exit, None, 128 + number)
            except (NotImplementedError, RuntimeError, ValueError):
                return  # not the main thread, or a platform without it: the default applies

    @on(Looked)
    def looked(self, event: Looked) -> None:
        self.console_state = self.console_state.after(event.look).with_logs(self._log_findings())
        for notice in self.feed.notices()[self._notices_seen :]:
            self._notices_seen += 1
            self.warn(notice)
        if not self.paused:
            self._redraw_screen()

    @on(LookFailed)
    def look_failed(self, event: LookFailed) -> None:
        self.console_state = self.console_state.after_failure(event.reason)
        if not self.paused:
            self._redraw_screen()

    @on(LogsGrown)
    def logs_grown(self, event: LogsGrown) -> None:
        """Only what shows lines is drawn for lines; everything is when they say something else than before."""
        before = self.console_state.problems
        if event.findings:
            self.console_state = self.console_state.with_logs(self._log_findings())
        if self.paused:
            return
        screen = self._console_screen()
        if isinstance(screen, LogsScreen) and screen.drawable:
            screen.update()
        elif self.console_state.problems != before:
            self._redraw_screen()

    def _log_findings(self) -> LogFindings:
        view = self.console_state.view
        members = {format(m.id, "x"): m.name for m in view.members if m.id and m.name} if view else {}
        self.logs.book.name_members(members)
        names = {**members, **self.logs.book.names_of()}
        now, language = self.clock.wall(), self.console_state.language
        return log_findings(self.logs.book.diagnosis, names, self.logs.troubles.values(), now, language)

    def _tick(self) -> None:
        screen = self._console_screen()
        if screen and screen.drawable:
            screen.refresh_chrome()

    def _console_screen(self) -> ConsoleScreen | None:
        """The screen that is shown, maybe under a dialog."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, ConsoleScreen)), None)

    def _redraw_screen(self) -> None:
        screen = self._console_screen()
        if screen:
            screen.redraw()

    def _repaint(self) -> None:
        self._painter = None
        for screen in self.screen_stack:
            for widget in (screen, *screen.query("*")):
                widget.refresh()

    # What the screens ask for

    def say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Show a message in the footer for a while."""
        self._message = (Span(clean(text), tone),)
        self._message_until_s = self.clock.monotonic() + MESSAGE_S
        self._tick()

    def warn(self, text: str) -> None:
        """Show a message that must not be overlooked."""
        self.say(text, Tone.WARN)

    def copy(self, text: str) -> None:
        """Put text on the clipboard, through the terminal (OSC 52)."""
        self.copy_to_clipboard(text)
        self.say(f"copied {len(text)} characters")

    def open_member(self, label: str) -> None:
        """Show one member on the Members screen."""
        self.wanted_member = label
        self.action_screen("members")

    def writes_allowed(self) -> bool:
        """Whether a write may begin; if not, the footer says why."""
        try:
            self.gate.check()
        except ReadOnly as refusal:
            self.say(f"{refusal.message}; {refusal.hint}", Tone.WARN)
            return False
        return True

    # Actions

    def action_screen(self, name: str) -> None:
        if name != self.current_mode:
            self._last_mode = self.current_mode
            self.switch_mode(name)

    def action_last_screen(self) -> None:
        self.action_screen(self._last_mode)

    def action_palette(self) -> None:
        screen = self._console_screen()
        if screen and screen is self.screen:
            self.push_screen(Palette(screen.NAME, read_only=self.gate.read_only), self._run_chosen)

    async def _run_chosen(self, action: Action | None) -> None:
        if action:
            await self.run_action(action.name, self.screen if action.scope != "app" else self)

    def action_help(self) -> None:
        screen = self._console_screen()
        if screen and screen is self.screen:
            name, read_only = screen.NAME, self.gate.read_only
            make = lambda cells: help_lines(name, read_only=read_only, cells=cells)  # noqa: E731
            self.push_screen(Reading(f"Keys of the {screen.TITLE_SHOWN} screen", make))

    def action_pause(self) -> None:
        held = (self.console_state, self.clock.monotonic(), self.clock.wall())
        self._held = None if self._held else held
        self._redraw_screen()

    def action_theme(self) -> None:
        own = [theme.name for theme in OWN_THEMES]
        names = [*own, *sorted(name for name in self.available_themes if name not in own)]
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.say(f"theme {self.theme}")

    def action_read_only(self) -> None:
        if self.gate.locked_by:
            self.writes_allowed()
        elif not self.gate.read_only:
            self.gate.read_only = True
            self.say("read-only mode: changes are refused until R is pressed again")
        else:
            facts = [("Will change", "keys that write are offered again"), ("Cluster", self.cluster_title)]
            self.push_screen(Confirm("Leave read-only mode", facts, self.cluster_title), self._left_read_only)

    def _left_read_only(self, confirmed: bool | None) -> None:
        if confirmed:
            self.gate.read_only = False
            self.say("changes are possible now")

    def action_refresh(self) -> None:
        self.poller.wake()

    def action_redraw(self) -> None:
        self.refresh(repaint=True, layout=True)

    def action_interrupt(self) -> None:
        now_s = self.clock.monotonic()
        if now_s - self._interrupted_s <= INTERRUPT_S:
            self.exit(None, ExitCode.INTERRUPTED)
            return
        self._interrupted_s = now_s
        screen = self._console_screen()
        reading = [worker for worker in self.workers if worker.group != "poller" and worker.is_running]
        for worker in reading:
            worker.cancel()
        if screen:
            self.say("reading cancelled; ^C again leaves" if reading else "^C again, or q, leaves the console")

    async def action_quit(self) -> None:
        self.exit(None)


def run_tui(
    settings: ConnectionSettings | None,
    *,
    title: str,
    read_only: bool,
    ascii: bool,  # named as the flag is
    interval_s: float,
    screen: str = "dashboard",
    logs: LogFeed | None = None,
    locked_by: str = "",
    color: str = "auto",
    language: str = "en",
) -> int:
    """Show the console until the user leaves it.

    Args: settings - of the cluster to look at, None for logs alone; title - the cluster's name in the header and what
        a confirmation asks for; locked_by - what made it read-only, for as long as it runs, named when a change is
        refused; screen - a name of SCREENS; logs - the members' logs, if known; language - of the findings.
    Returns: the exit code: 0, or 128 + the signal that ended it.
    """
    set_no_color(color)
    from etcdops.tui.live import LiveFeed

    feed = LiveFeed(settings) if settings is not None else NoCluster()
    gate = WriteGate(feed, read_only=read_only, locked_by=locked_by)
    app = ConsoleApp(
        feed,
        title=title,
        gate=gate,
        ascii_only=ascii,
        interval_s=interval_s,
        screen=screen,
        logs=logs,
        language=language,
    )
    app.run()
    return int(app.return_code or 0)


def set_no_color(color: str) -> None:
    """Make NO_COLOR say what is wanted: Textual looks only whether it is there, the convention wants a value."""
    if color == "never":
        os.environ["NO_COLOR"] = "1"
    elif color == "always" or not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)
