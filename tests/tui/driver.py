"""Drives a console without a terminal: looks when told to, presses keys, reads the screen as text."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rich.cells import cell_len
from textual.pilot import Pilot

from etcdops.clock import ManualClock
from etcdops.tui.app import ConsoleApp
from etcdops.tui.gate import WriteGate
from tests.fakes.cluster_feed import START, FakeFeed
from tests.fakes.log_feed import FakeLogs

DEADLINE_S = 20.0
WIDE = (120, 36)
SMALL = (80, 24)


class ScreenDriver:
    """A running console. Waiting is for conditions, with a deadline, never for a time."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Let messages be handled until `condition()` is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true; the screen is\n{self.text()}"
            await self.pilot.pause()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, each when the one before was handled."""
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type text into the focused field."""
        names = {" ": "space", "/": "slash", "\\": "backslash", "[": "left_square_bracket", "]": "right_square_bracket"}
        names |= {
            "!": "exclamation_mark",
            "~": "tilde",
            "-": "minus",
            ".": "full_stop",
            ":": "colon",
            "_": "underscore",
        }
        await self.press(*(names.get(char, char) for char in text))

    def lines(self) -> list[str]:
        """The rows of the terminal."""
        compositor = self.app.screen._compositor
        return ["".join(segment.text for segment in strip) for strip in compositor.render_strips()]

    def text(self) -> str:
        """The screen as text, as it is kept in golden files: rows without the blanks at their ends."""
        return "\n".join(row.rstrip() for row in self.lines()) + "\n"

    async def settled(self) -> str:
        """The text of the screen once all requests were answered."""
        await self.until(
            lambda: not [w for w in self.app.workers if w.group != "poller" and w.is_running], "all answers"
        )
        return self.text()

    def check_fits(self) -> None:
        """Every row takes exactly the terminal's cells, and nothing in it can move the cursor."""
        width, height = self.app.size
        rows = self.lines()
        assert len(rows) == height
        for row in rows:
            assert row.isprintable(), f"a row with unprintable characters: {row!r}"
            assert cell_len(row) == width, f"{cell_len(row)} cells instead of {width}: {row!r}"


class ConsoleDriver(ScreenDriver):
    """A console on a fake feed and a clock that stands still."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[None], feed: FakeFeed, clock: ManualClock) -> None:
        super().__init__(app, pilot)
        self.feed = feed
        self.clock = clock

    async def look(self, *, after_s: float = 0.0) -> None:
        """Let `after_s` seconds pass and wait for one more look at the cluster."""
        self.clock.advance(after_s)
        before = (self.app.console_state.looks, self.app.console_state.failure)
        self.app.poller.wake()
        await self.until(lambda: (self.app.console_state.looks, self.app.console_state.failure) != before, "a look")


@asynccontextmanager
async def drive(
    feed: FakeFeed | None = None,
    *,
    size: tuple[int, int] = WIDE,
    screen: str = "dashboard",
    read_only: bool = False,
    locked_by: str = "",
    ascii_only: bool = False,
    title: str = "prod-bj",
    looks: int = 1,
    logs: FakeLogs | None = None,
) -> AsyncIterator[ConsoleDriver]:
    """A console whose first `looks` looks, ten seconds apart, are done."""
    feed = feed or FakeFeed()
    clock = ManualClock(START)
    feed.clock = clock
    gate = WriteGate(feed, read_only=read_only, locked_by=locked_by)
    app = ConsoleApp(
        feed,
        title=title,
        gate=gate,
        ascii_only=ascii_only,
        interval_s=3_600.0,
        screen=screen,
        logs=logs,
        clock=clock,
    )
    async with app.run_test(size=size) as pilot:
        driver = ConsoleDriver(app, pilot, feed, clock)
        await driver.until(lambda: app.console_state.looks > 0 or bool(app.console_state.failure), "the first look")
        for _ in range(looks - 1):
            await driver.look(after_s=10.0)
        await driver.settled()
        yield driver
    assert logs is None or logs.ended, "the console must end what it follows when it ends"
    assert feed.closed, "the console must close its connections when it ends"
