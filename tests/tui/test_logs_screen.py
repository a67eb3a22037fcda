"""The Logs screen: lines as they come, what keys do, findings beside the lines and on the dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from etcdops.clock import ManualClock
from etcdops.tui.app import ConsoleApp
from etcdops.tui.feed import NoCluster
from etcdops.tui.gate import WriteGate
from etcdops.tui.log_reader import LINES_AT_ONCE, LogReader
from etcdops.tui.widgets.lists import VTable
from tests.conftest import Golden
from tests.fakes.cluster_feed import MEMBER_IDS, START, FakeFeed, degraded
from tests.fakes.log_feed import FakeLogs, elected, zap
from tests.tui.conftest import Drive
from tests.tui.driver import DEADLINE_S, SMALL, WIDE, ConsoleDriver, ScreenDriver

pytestmark = pytest.mark.slow

FULL = "write /var/lib/etcd/member/wal/0.wal: no space left on device"
REFUSED = "dial tcp 10.0.0.3:2380: connect: connection refused"
SIZES = {"120x36": WIDE, "80x24": SMALL, "200x50": (200, 50)}


def story() -> FakeLogs:
    """Three members start, work, and the third dies of a full disk while the second's log breaks off."""
    logs = FakeLogs()
    for number in (1, 2, 3):
        logs.put(f"etcd-{number}", zap(-300 + number, "starting etcd"), elected(number, 1, 41, -290 + number / 100))
    for step in range(30):
        logs.put(f"etcd-{1 + step % 3}", zap(-200 + step * 5, "compacted Raft logs", compact_index=91_840_000 + step))
    logs.put("etcd-3", zap(-20, "cannot save raft log", level="error", error=FULL))
    logs.put("etcd-3", zap(-19, "failed to create WAL", level="fatal", error=FULL))
    for number in (1, 2):
        for step in range(3):
            logs.put(
                f"etcd-{number}",
                zap(-15 + step + number / 10, "prober detected unhealthy status", level="warn",
                    remote_peer_id=format(MEMBER_IDS[2], "x"), error=REFUSED),
            )  # fmt: skip
    logs.break_off("etcd-2", "h2: the connection broke", "ssh h2 true")
    return logs


LINES = 44


@asynccontextmanager
async def logs_screen(
    console: Drive, logs: FakeLogs, *, lines: int = LINES, screen: str = "logs", size: tuple[int, int] = SMALL
) -> AsyncIterator[ConsoleDriver]:
    """A console that has read its logs and concluded from them."""
    async with console(FakeFeed(views=[degraded()]), size=size, screen=screen, logs=logs) as driver:
        await taken(driver, lines)
        yield driver


async def taken(driver: ConsoleDriver, lines: int) -> None:
    """Wait until so many lines were read, and everything that follows from them is drawn."""
    reader = driver.app.logs
    await driver.until(lambda: reader.book.taken >= lines and not reader.book.news, f"{lines} lines")
    await driver.until(lambda: not (reader._changed or reader._troubled), "the drawing of them")


@pytest.mark.parametrize("size", SIZES)
async def test_the_logs_as_the_screen_shows_them(console: Drive, golden: Golden, size: str) -> None:
    """Goldens of the whole terminal; read them when they change."""
    async with logs_screen(console, story(), size=SIZES[size]) as driver:
        driver.check_fits()
        golden.check(f"story-{size}.txt", driver.text())


async def test_new_lines_are_followed_until_somebody_reads_and_again_from_the_end(console: Drive) -> None:
    logs = story()
    async with logs_screen(console, logs) as driver:
        assert "following" in driver.text()
        await driver.press("up", "up")
        assert "held · 2 below" in driver.text()
        logs.put("etcd-1", zap(1, "something new"))
        await driver.until(lambda: "held · 3 below" in driver.text(), "a third line below")
        assert "something new" not in driver.text()
        await driver.press("end")
        assert "something new" in driver.text()
        assert "following" in driver.text()
        await driver.press("f", "up")
        await driver.press("f")
        logs.put("etcd-1", zap(2, "the newest"))
        await driver.until(lambda: "the newest" in driver.text(), "the newest line")


async def test_what_is_read_stays_where_it_is_when_older_lines_come_late(console: Drive) -> None:
    """A slow connection brings the past; the line under the cursor keeps its row."""
    logs = story()
    async with logs_screen(console, logs) as driver:
        table = driver.app.screen.query_one("#lines", VTable)
        await driver.press("pageup")

        def read_line() -> tuple[int, str]:
            return table.cursor - table.top, driver.lines()[table.region.y + 1 + table.cursor - table.top]

        before = read_line()
        assert "compacted" in before[1]
        logs.put("etcd-3", *(zap(-250 + n, f"late {n}") for n in range(20)))
        await taken(driver, LINES + 20)
        await driver.until(lambda: "64 lines" in driver.text(), "late lines")
        assert read_line() == before


async def test_pause_holds_lines_and_findings(console: Drive) -> None:
    logs = FakeLogs()
    logs.put("etcd-1", zap(1, "first"))
    async with logs_screen(console, logs, lines=1) as driver:
        await driver.press("P")
        logs.put("etcd-3", zap(2, "failed to create WAL", level="fatal", error=FULL))
        await taken(driver, 2)
        assert "failed to create WAL" not in driver.text()
        assert "disk is full" not in driver.text()
        await driver.press("P")
        assert "failed to create WAL" in driver.text()
        assert "The disk is full" in driver.text()


async def test_filters_narrow_while_they_are_typed_and_escape_drops_them(console: Drive) -> None:
    async with logs_screen(console, story(), size=WIDE) as driver:
        await driver.press("slash")
        await driver.type("wal")
        assert "of 44 lines" in driver.text()
        await driver.press("enter")
        assert "compacted" not in driver.text().partition("Findings")[0]
        await driver.press("C")
        assert "3 lines around" in driver.text()
        assert "compacted" in driver.text().partition("Findings")[0]
        await driver.press("escape", "v", "v")
        assert "warn and worse" in driver.text()
        await driver.press("m", "m")
        assert "only etcd-2" in driver.text()
        await driver.press("escape", "exclamation_mark")
        assert "problems only" in driver.text()
        driver.check_fits()
        await driver.press("escape", "slash")
        await driver.type("nothing like it")
        await driver.press("enter")
        assert "no line matches; Esc shows all" in driver.text()
        await driver.press("enter", "n", "y", "e")
        driver.check_fits()


async def test_going_to_a_time_and_to_times_that_are_not_there(console: Drive) -> None:
    async with logs_screen(console, story()) as driver:
        for text, shown in (
            ("22:12", "22:12:00"),
            ("2m", "22:11:0"),
            ("soon", "soon is no time"),
            ("5h", "oldest line"),
        ):
            await driver.press("t")
            await driver.type(text)
            await driver.press("enter")
            assert shown in driver.text(), text
        assert "held" in driver.text()


async def test_a_line_is_explained_by_its_cause(console: Drive) -> None:
    async with logs_screen(console, story()) as driver:
        await driver.press("slash")
        await driver.type("failed to create")
        await driver.press("enter", "enter")
        text = driver.text()
        assert "Line of etcd-3" in text
        assert "disk-full" in text
        driver.check_fits()


async def test_findings_lead_to_their_lines_one_after_the_other(console: Drive) -> None:
    """Also when a filter hides them: then the filter gives way."""
    async with logs_screen(console, story(), size=WIDE) as driver:
        await driver.press("slash")
        await driver.type("compacted")
        await driver.press("enter", "tab", "down", "e")
        assert "disk-full: line 1 of 2; e shows the next" in driver.text()
        assert driver.app.focused is not None
        assert driver.app.focused.id == "lines"
        assert "cannot save raft log" in driver.text()
        await driver.press("e")
        assert "line 2 of 2" in driver.text()
        await driver.press("tab", "enter")
        text = driver.text()
        assert "explains Nothing listens" in text
        assert "$ ssh <host> df" in text


async def test_a_log_that_breaks_off_is_said_with_what_to_do_and_heals(console: Drive) -> None:
    logs = story()
    async with logs_screen(console, logs) as driver:
        assert "etcd-2's log cannot be read: h2: the connection broke" in driver.text()
        assert "next: ssh h2 true" in driver.text()
        await driver.press("tab", "home", "enter")
        assert "It is tried again" in driver.text()
        await driver.press("escape")
        logs.put("etcd-2", zap(1, "here again"))
        await driver.until(lambda: "cannot be read" not in driver.text(), "the return of the log")


async def test_the_dashboard_shows_what_the_logs_say_beside_what_is_seen_live(console: Drive) -> None:
    """The cause of the silence first; Enter opens its page."""
    async with logs_screen(console, story(), screen="dashboard", size=WIDE) as driver:
        await driver.until(lambda: "log  etcd-3: The disk is full" in driver.text(), "the finding")
        text = driver.text()
        assert text.index("The disk is full") < text.index("E201")
        assert "next: mend the cause first: The disk is full" in text
        driver.check_fits()
        await driver.press("tab", "home", "enter")
        assert "failed to create WAL" in driver.text()


async def test_without_logs_the_screen_says_how_to_have_some(console: Drive) -> None:
    async with console(FakeFeed(), size=SMALL, screen="logs") as driver:
        assert "no log is known: name one with --log" in driver.text()
        await driver.press("enter", "e", "n", "N", "C", "v", "m", "f", "M", "escape", "t")
        await driver.type("5m")
        await driver.press("enter", "y", "end", "up")
        driver.check_fits()


async def test_thousands_of_lines_are_taken_in_and_keys_work_meanwhile(console: Drive) -> None:
    logs = FakeLogs()
    async with console(FakeFeed(), size=SMALL, screen="logs", logs=logs) as driver:
        for start in range(0, 2_500, 500):
            logs.put("etcd-1", *(zap(start + n, "compacted Raft logs", compact_index=start + n) for n in range(500)))
        await driver.press("v")
        await driver.until(lambda: "info and worse" in driver.text(), "what the key does")
        await taken(driver, 2_500)
        await driver.until(lambda: "2 500 lines" in driver.text(), "all lines")
        driver.check_fits()


async def test_a_flood_of_lines_leaves_turns_to_everybody_else() -> None:
    """One turn of the loop for every LINES_AT_ONCE lines, whatever their number and however fast they come."""
    logs = FakeLogs()
    reader = LogReader(logs, lambda message: None, clock=ManualClock(START))
    logs.put("etcd-1", *(zap(n, "compacted Raft logs") for n in range(5_000)))
    task = asyncio.create_task(reader.run())
    turns = 0
    async with asyncio.timeout(DEADLINE_S):
        while reader.book.taken < 5_000:
            before = reader.book.taken
            await asyncio.sleep(0)
            assert reader.book.taken - before <= LINES_AT_ONCE
            turns += 1
    assert turns >= 5_000 / LINES_AT_ONCE
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert logs.ended


async def test_the_screen_is_ascii_where_it_must_be(console: Drive) -> None:
    logs = story()
    async with console(FakeFeed(views=[degraded()]), size=SMALL, screen="logs", logs=logs, ascii_only=True) as driver:
        await taken(driver, LINES)
        for keys in ([], ["enter"], ["escape", "tab", "down", "enter"], ["escape", "e"], ["t"]):
            await driver.press(*keys)
            assert driver.text().isascii(), driver.text()
            driver.check_fits()


async def test_every_size_holds(console: Drive) -> None:
    async with logs_screen(console, story()) as driver:
        for size in ((200, 60), (160, 30), (159, 29), (100, 24), (60, 16), (59, 16), (61, 50)):
            await driver.pilot.resize_terminal(*size)
            await driver.settled()
            driver.check_fits()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_logs_alone_are_headed_by_no_cluster(size: tuple[int, int]) -> None:
    """Nobody was asked, so nobody fails to answer; what logs prove is on the dashboard too."""
    nobody = NoCluster()
    app = ConsoleApp(
        nobody, title="logs", gate=WriteGate(nobody), screen="logs", logs=story(), clock=ManualClock(START)
    )
    async with app.run_test(size=size) as pilot:
        driver = ScreenDriver(app, pilot)
        await driver.until(lambda: bool(app.console_state.problems), "findings")
        for key, shown in (
            ("7", "etcd-3"),
            ("2", "disk is full"),
            ("3", "no member known"),
            ("4", "no cluster is asked"),
        ):
            await driver.press(key)
            head, _, body = (await driver.settled()).partition("┌")
            assert "LOGS ONLY" in head
            assert NoCluster.REASON in head
            assert shown in body
            driver.check_fits()
