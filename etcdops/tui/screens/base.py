"""What every screen has: header, footer, a way to be told of news, and one line when there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from etcdops.tui.model.dashboard import LINE_MIN_HEIGHT, LINE_MIN_WIDTH, Chrome, header_lines, one_line
from etcdops.tui.model.state import ConsoleState
from etcdops.tui.widgets.chrome import Footer, Header, footer_lines
from etcdops.tui.widgets.panel import LineWidget

if TYPE_CHECKING:
    from etcdops.tui.app import ConsoleApp

CHROME_ROWS = 4
"""Header and footer."""


class ConsoleScreen(Screen[None], inherit_bindings=False):
    """One numbered screen. `update` draws `state` into its panes; it is called only while the screen is shown."""

    NAME: ClassVar[str]
    """As in `tui --screen NAME` and as the scope of its actions."""
    TITLE_SHOWN: ClassVar[str]

    DEFAULT_CSS = """
    ConsoleScreen { background: $background; layout: vertical; }
    ConsoleScreen #tiny { display: none; height: 2; }
    ConsoleScreen.-tiny #tiny { display: block; }
    ConsoleScreen.-tiny #body, ConsoleScreen.-tiny Header, ConsoleScreen.-tiny Footer { display: none; }
    ConsoleScreen #body { height: 1fr; }
    """

    @property
    def console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    @property
    def state(self) -> ConsoleState:
        """What is to be shown: the newest state, or the held one while the console is paused."""
        return self.console.shown

    def compose(self) -> ComposeResult:
        yield Header()
        yield LineWidget(id="tiny")
        with Vertical(id="body"):
            yield from self.compose_body()
        yield Footer()

    def compose_body(self) -> ComposeResult:
        raise NotImplementedError

    def update(self) -> None:
        raise NotImplementedError

    def refresh_chrome(self) -> None:
        """Draw header and footer anew: every second, because of the clock and the age of the data."""
        cells, rows = self.size
        chrome = self.chrome()
        tiny = cells < LINE_MIN_WIDTH or rows < LINE_MIN_HEIGHT
        self.set_class(tiny, "-tiny")
        if tiny:
            self.query_one("#tiny", LineWidget).show(*one_line(self.state, chrome, cells))
            return
        self.query_one(Header).show(*header_lines(self.state, chrome, cells))
        read_only = self.console.gate.read_only
        self.query_one(Footer).show(*footer_lines(self.NAME, self.console.message, read_only=read_only, cells=cells))

    def chrome(self) -> Chrome:
        app = self.console
        return Chrome(
            title=app.cluster_title,
            screen=self.TITLE_SHOWN,
            read_only=app.gate.read_only,
            paused=app.paused,
            interval_s=app.interval_s,
            now_wall_s=app.clock.wall(),
            now_s=app.clock.monotonic(),
        )

    @property
    def drawable(self) -> bool:
        """Whether the panes are there: not before they were mounted, and not while the console ends."""
        return self.is_mounted and self.is_running and self.app.is_running and bool(self.size.width)

    def redraw(self) -> None:
        """Everything anew from the state."""
        if self.drawable:
            self.refresh_chrome()
            self.update()

    def on_mount(self) -> None:
        self.set_class(self.console.ascii_only, "-ascii")
        self.redraw()
        self.call_after_refresh(self.redraw)  # now the panes know their sizes

    def on_resize(self) -> None:
        self.redraw()

    def on_screen_resume(self) -> None:
        self.redraw()
