"""The screens as text, at both designed sizes: healthy, degraded, quorum lost, nobody there."""

from __future__ import annotations

import dataclasses

import pytest

from etcdops.client.view import Alarm, Silence
from tests.conftest import Golden
from tests.fakes.cluster_feed import MEMBER_IDS, START, FakeFeed, cluster, degraded, healthy, member, quorum_lost
from tests.tui.conftest import Drive
from tests.tui.driver import SMALL, WIDE

pytestmark = pytest.mark.slow

SIZES = {"120x36": WIDE, "80x24": SMALL}

STORIES = {
    "healthy": [healthy(START + step * 10) for step in range(4)],
    "degraded": [healthy(), healthy(START + 10), degraded(START + 20), degraded(START + 30)],
    "quorum-lost": [healthy(), degraded(START + 10), quorum_lost(START + 20), quorum_lost(START + 30)],
    "no-member-list": [cluster(member(1), member(2, silence=Silence.TIMED_OUT), members_known=False)],
    "five-members-alarm": [
        dataclasses.replace(
            cluster(
                *(member(n, size=7.9 if n == 2 else 2.0, in_use=1.9) for n in (1, 2, 3)),
                member(4, name="etcd-new-and-very-long-name.example.org", is_learner=True, applied=91_000_000),
                member(5, name="", silence=Silence.UNSTARTED),
            ),
            alarms=(Alarm(MEMBER_IDS[1], "NOSPACE"),),
        )
    ],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("screen", ["dashboard", "members"])
async def test_a_cluster_as_the_screens_show_it(
    console: Drive, golden: Golden, screen: str, story: str, size: str
) -> None:
    """Goldens of the whole terminal; read them when they change."""
    feed = FakeFeed(views=list(STORIES[story]))
    async with console(feed, size=SIZES[size], screen=screen, looks=len(STORIES[story])) as driver:
        driver.check_fits()
        golden.check(f"{screen}-{story}-{size}.txt", driver.text())


@pytest.mark.parametrize("size", SIZES)
async def test_before_the_first_answer_the_dashboard_says_what_it_does(
    console: Drive, golden: Golden, size: str
) -> None:
    """A poll that brings nothing is shown, and the next one heals it."""
    feed = FakeFeed(views=[OSError("no route to host"), healthy()])
    async with console(feed, size=SIZES[size]) as driver:
        driver.check_fits()
        golden.check(f"failed-{size}.txt", driver.text())
        await driver.look()
        assert "HEALTHY" in driver.text()


async def test_in_ascii_mode_every_screen_is_ascii(console: Drive, golden: Golden) -> None:
    """Same layout, no character a poor terminal could not show."""
    feed = FakeFeed(views=list(STORIES["degraded"]), keys=["领导者/健康".encode(), b"plain"])
    async with console(feed, ascii_only=True, looks=4) as driver:
        golden.check("dashboard-ascii-120x36.txt", driver.text())
        for key in ("3", "4", "t", "question_mark", "escape", "ctrl+p", "escape", "slash"):
            await driver.press(key)
            await driver.settled()
            driver.check_fits()
            assert driver.text().isascii(), driver.text()


async def test_members_without_metrics_are_said_with_the_reason(console: Drive) -> None:
    """The pane shows what there is: the probes' round trips."""
    async with console(FakeFeed(with_metrics=False), looks=2) as driver:
        text = driver.text()
        assert "no /metrics at 10.0.0.1:2379 and 2 more: connection" in text
        assert "probe RTT      5.0 ms" in text


@pytest.mark.parametrize("tab", range(5))
async def test_every_tab_of_a_silent_member_says_how_old_its_values_are(
    console: Drive, golden: Golden, tab: int
) -> None:
    feed = FakeFeed(views=list(STORIES["degraded"]))
    async with console(feed, screen="members", looks=4) as driver:
        await driver.press("end", *(["right"] * tab))
        driver.check_fits()
        assert "values below are 20s old" in driver.text()
        golden.check(f"members-silent-tab-{tab}.txt", driver.text())


@pytest.mark.parametrize("size", [(59, 20), (80, 15), (30, 4), (10, 2), (1, 1)])
async def test_a_very_small_terminal_shows_one_line_of_status(console: Drive, size: tuple[int, int]) -> None:
    async with console(FakeFeed(views=[quorum_lost()]), size=size) as driver:
        driver.check_fits()
        assert driver.text().startswith("prod-bj ✖ QUORUM LOST"[: size[0] - 1])


async def test_resizing_through_all_sizes_breaks_nothing(console: Drive) -> None:
    """Windows are dragged; every size in between must hold."""
    feed = FakeFeed(views=list(STORIES["five-members-alarm"]), keys=[b"/a/%d" % n for n in range(50)])
    async with console(feed, looks=2) as driver:
        for screen in ("2", "3", "4"):
            await driver.press(screen)
            for size in ((200, 60), (100, 30), (99, 29), (60, 16), (59, 16), (120, 17), (61, 50), (120, 36)):
                await driver.pilot.resize_terminal(*size)
                await driver.settled()
                driver.check_fits()


async def test_the_dashboard_returns_to_the_same_picture_after_a_visit_elsewhere(console: Drive) -> None:
    async with console(FakeFeed(views=list(STORIES["degraded"])), looks=4) as driver:
        before = driver.text()
        await driver.press("3", "4", "minus", "minus", "2")
        await driver.settled()
        assert driver.text() == before
