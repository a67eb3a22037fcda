"""What keys do on the dashboard and the Members screen, and what the console does by itself."""

from __future__ import annotations

import pytest

from etcdops.tui.actions import ACTIONS
from etcdops.tui.model.text import Tone
from tests.fakes.cluster_feed import START, FakeFeed, degraded, healthy, quorum_lost
from tests.tui.conftest import Drive
from tests.tui.driver import SMALL

pytestmark = pytest.mark.slow


def first_member(text: str) -> str:
    rows = text.splitlines()
    head = next(index for index, row in enumerate(rows) if "MEMBER" in row)
    return rows[head + 1].split()[1]


async def test_pause_holds_the_picture_while_looking_goes_on(console: Drive) -> None:
    """Nothing jumps under the reader's eyes; afterwards everything that happened is there."""
    feed = FakeFeed(views=[healthy(), degraded(START + 10), healthy(START + 20)])
    async with console(feed) as driver:
        await driver.press("P")
        await driver.look(after_s=10)
        text = driver.text()
        assert "PAUSED" in text
        assert "HEALTHY" in text
        assert "NO REPLY" not in text
        await driver.press("P")
        assert "stopped answering" in driver.text()


async def test_sorting_and_reversing_change_the_order_and_mark_the_column(console: Drive) -> None:
    async with console() as driver:
        await driver.press("s")
        assert "MEMBER ▲" in driver.text() or "MEMBER▲" in driver.text().replace(" ", "")
        await driver.press("S")
        assert first_member(driver.text()) == "etcd-3"
        await driver.press("S")
        assert first_member(driver.text()) == "etcd-1"


@pytest.mark.parametrize("key", ["slash", "ideographic_comma"])
async def test_a_filter_works_while_it_is_typed_and_escape_drops_it(console: Drive, key: str) -> None:
    """Also with the key a Chinese input method sends."""
    async with console(FakeFeed(views=[degraded()])) as driver:
        await driver.press(key)
        await driver.type("no reply")
        await driver.press("enter")
        assert "1 of 3" in driver.text()
        assert first_member(driver.text()) == "etcd-3"
        await driver.press("escape")
        assert first_member(driver.text()) == "etcd-1"


async def test_leaving_the_filter_with_escape_keeps_the_one_before(console: Drive) -> None:
    async with console(FakeFeed(views=[degraded()])) as driver:
        await driver.press("slash")
        await driver.type("etcd-3")
        await driver.press("enter", "slash", "x", "escape")
        assert "/etcd-3 · 1 of 3" in driver.text()


async def test_problems_only_shows_members_in_trouble(console: Drive) -> None:
    async with console(FakeFeed(views=[degraded()])) as driver:
        await driver.press("exclamation_mark")
        assert first_member(driver.text()) == "etcd-3"
        assert "problems only · 1 of 3" in driver.text()


async def test_zoom_changes_the_span_of_the_histories_within_limits(console: Drive) -> None:
    async with console() as driver:
        await driver.press("Z", "z", "z", "z")
        assert "5 min ·" in driver.text()
        await driver.press(*["Z"] * 9)
        assert "24 h ·" in driver.text()


async def test_the_focused_pane_can_have_the_screen_to_itself(console: Drive) -> None:
    async with console(FakeFeed(views=[degraded()])) as driver:
        await driver.press("tab", "M")
        text = driver.text()
        assert "Findings" in text
        assert "Members 3" not in text
        driver.check_fits()
        await driver.press("escape")
        assert "Members 3" in driver.text()


async def test_enter_explains_a_finding_in_full(console: Drive) -> None:
    """The pane shows a line; the whole story is a key away."""
    async with console(FakeFeed(views=[quorum_lost()]), size=SMALL) as driver:
        await driver.press("tab", "enter")
        text = driver.text()
        assert "etcdops recover --from-snapshot" in text
        assert "serializable reads and snapshots" in text
        driver.check_fits()
        await driver.press("escape")
        assert "Findings" in driver.text()


async def test_enter_on_a_member_opens_its_details(console: Drive) -> None:
    async with console(FakeFeed(views=[degraded()])) as driver:
        await driver.press("down", "down", "enter")
        text = driver.text()
        assert "▸ Members" in text
        assert "etcd-3  [status]" in text
        await driver.press("right")
        assert "[URLs]" in driver.text()
        await driver.press("escape")
        assert "▸ Dashboard" in driver.text()


async def test_the_palette_finds_commands_by_name_and_runs_them(console: Drive) -> None:
    """Typing narrows; the title counts more than the help."""
    async with console() as driver:
        await driver.press("ctrl+p", "t", "h", "e", "m", "enter")
        assert driver.app.theme == "etcdops-light"
        await driver.press("ctrl+p", "k", "e", "y", "s", "enter")
        await driver.settled()
        assert "▸ Keys" in driver.text()
        await driver.press("ctrl+p")
        await driver.type("no such thing at all")
        assert "no such command" in driver.text()
        await driver.press("enter")
        assert "▸ Keys" in driver.text()


@pytest.mark.parametrize("key", ["question_mark", "fullwidth_question_mark", "f1"])
async def test_help_lists_every_key_of_the_screen(console: Drive, key: str) -> None:
    async with console(size=(120, 60)) as driver:
        await driver.press(key)
        text = driver.text()
        for word in ("filter", "sort", "zoom in", "maximize", "palette", "pause", "quit", "page down"):
            assert word in text
        driver.check_fits()
        await driver.press("q")
        assert len(driver.app.screen_stack) == 1, "q closes the help, not the console"


async def test_themes_go_round(console: Drive) -> None:
    """Ours first, then all of Textual's, then ours again; every one draws the same text."""
    async with console() as driver:
        await driver.press("T")
        assert driver.app.theme == "etcdops-light"
        for _ in range(len(driver.app.available_themes) - 1):
            await driver.press("T")
            driver.check_fits()
        assert driver.app.theme == "etcdops-dark"


async def test_without_colours_everything_can_still_be_read(console: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: the same text, and a cursor that is told by reversed cells."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(FakeFeed(views=[degraded()])) as driver:
        assert driver.app.no_color
        assert "✖ NO REPLY" in driver.text()
        assert driver.app.painter.style(Tone.PLAIN, "cursor").reverse


async def test_copying_takes_the_row_under_the_cursor(console: Drive) -> None:
    async with console(FakeFeed(views=[degraded()])) as driver:
        await driver.press("down", "y")
        assert driver.app.clipboard.startswith("etcd-2")
        await driver.press("tab", "y")
        assert driver.app.clipboard.startswith("✖ E201 etcd-3 has not answered")
        await driver.press("3", "y")
        assert "http://10.0.0.1:2379" in driver.app.clipboard


async def test_old_data_is_never_shown_as_current(console: Drive) -> None:
    """The age grows while no look comes back, and is marked when it is more than three polls."""
    async with console(FakeFeed(views=[healthy()])) as driver:
        driver.app.interval_s = 2.0
        driver.clock.advance(30)
        driver.app._tick()
        await driver.pilot.pause()
        assert "data 30s old" in driver.text()


async def test_a_poller_survives_any_error_and_says_it(console: Drive) -> None:
    feed = FakeFeed(views=[healthy(), ValueError("a bug\x1b[2J"), healthy(START + 20)])
    async with console(feed) as driver:
        await driver.look(after_s=10)
        text = driver.text()
        assert "ValueError: a bug\\x1b[2J" in text
        assert "etcd-3" in text, "what was known stays"
        await driver.look(after_s=10)
        assert "ValueError" not in driver.text()


async def test_hidden_screens_do_no_work(console: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the screen that is shown is drawn when a look comes back."""
    async with console(looks=2) as driver:
        await driver.press("3", "4", "2")
        updated: list[str] = []
        for name in ("dashboard", "members", "keys"):
            screen = driver.app._screen_stacks[name][0]
            monkeypatch.setattr(screen, "update", lambda name=name: updated.append(name))
        await driver.look(after_s=10)
        assert set(updated) == {"dashboard"}


async def test_interrupting_once_asks_and_twice_leaves(console: Drive) -> None:
    async with console() as driver:
        await driver.press("ctrl+c")
        assert "^C again" in driver.text()
        await driver.press("ctrl+c")
        assert driver.app.return_code == 130


@pytest.mark.parametrize(("number", "screen"), [("2", "dashboard"), ("3", "members"), ("4", "keys")])
async def test_every_key_of_every_screen_works_without_an_error(console: Drive, number: str, screen: str) -> None:
    """Walks all keys of the registry; none of them alone writes anything."""
    leaving = {"quit", "interrupt"}
    feed = FakeFeed(views=[degraded()], keys=[b"/a/1", b"/a/2", b"b"])
    reach = [a for a in ACTIONS if a.scope in (screen, "app", "list") and a.name not in leaving]
    async with console(feed, screen=screen) as driver:
        for key in [key for action in reach for key in action.keys]:
            await driver.pilot.press(key)
            await driver.settled()
            driver.check_fits()
            while len(driver.app.screen_stack) > 1:
                await driver.pilot.press("escape")
            if driver.app.current_mode != screen:
                await driver.pilot.press(number)
        assert not {"put", "delete"} & set(feed.requests)
