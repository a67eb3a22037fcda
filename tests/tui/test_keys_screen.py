"""The Keys screen: pages, tree, values, history, and writes that overwrite nobody."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdops.client.failures import Refused
from etcdops.errors import ResultUnknown
from etcdops.ids import LeaseID, Revision
from etcdops.tui.feed import KeyEntry
from tests.conftest import Golden
from tests.fakes.cluster_feed import FakeFeed, NumberedKeys
from tests.tui.conftest import Drive
from tests.tui.driver import SMALL, WIDE, ConsoleDriver, drive

pytestmark = pytest.mark.slow

SIZES = {"120x36": WIDE, "80x24": SMALL}

STRANGE = {
    b"/svc/a[/b]": b"[/registry/pods] [type=x, v={'a[0]'}]",
    b"/svc/\xff\xfe\x00": bytes(range(256)),
    b"/svc/\x1b[31mred\n\t": b"\x1b[2Jclear me\x00",
    "/svc/领导者/健康".encode(): "值：健康 😀 🇨🇳 👩\u200d💻".encode(),
    b"/svc/" + b"long" * 100: b"x" * (1 << 20),
    b"/app/config.json": b'{"name": "payments", "tags": ["a[0]", "[/b]"], "n": {"x": null}}',
    b"/app/empty": b"",
    b"/registry/pods/default/web-1": b"k8s\x00\n\x09\n\x02v1\x12\x03Pod",
    b"[bold]plain[/bold]": b"[link=x]",
    b"[/": b"[/",
}


def strange_feed() -> FakeFeed:
    return FakeFeed(keys=sorted(STRANGE), values=dict(STRANGE))


def versioned_feed(count: int = 5, *, compacted: int = 0) -> FakeFeed:
    """One key that was written `count` times, at revisions 10, 20, ..."""
    versions = [
        KeyEntry(b"/k", Revision(10), Revision(10 * n), n, LeaseID(0x2A), b"value %d" % n) for n in range(count, 0, -1)
    ]
    return FakeFeed(keys=[b"/k"], versions={b"/k": versions}, compacted=Revision(compacted))


@pytest.mark.parametrize("size", SIZES)
async def test_strange_keys_and_values_as_the_screen_shows_them(console: Drive, golden: Golden, size: str) -> None:
    """Markup, escapes, invalid UTF-8, wide characters, a megabyte: shown, never obeyed."""
    async with console(strange_feed(), size=SIZES[size], screen="keys") as driver:
        driver.check_fits()
        golden.check(f"list-{size}.txt", driver.text())
        for _ in STRANGE:
            await driver.press("down")
            await driver.settled()
            driver.check_fits()


@pytest.mark.parametrize("size", SIZES)
async def test_the_tree_opens_branches_where_they_are_asked_for(console: Drive, golden: Golden, size: str) -> None:
    async with console(strange_feed(), size=SIZES[size], screen="keys") as driver:
        await driver.press("t")
        await driver.settled()
        await driver.press("end", "up", "up", "right")
        await driver.settled()
        await driver.press("down", "left", "left")
        await driver.settled()
        await driver.press("home", "right")
        await driver.settled()
        await driver.press("down")
        await driver.settled()
        driver.check_fits()
        golden.check(f"tree-{size}.txt", driver.text())


async def test_every_format_shows_every_value(console: Drive) -> None:
    async with console(strange_feed(), screen="keys") as driver:
        for _ in range(4):
            await driver.press("x", "home")
            for _ in STRANGE:
                await driver.press("down")
                await driver.settled()
                driver.check_fits()


@given(st.dictionaries(st.binary(min_size=1, max_size=30), st.binary(max_size=60), min_size=1, max_size=12))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
async def test_no_key_and_no_value_breaks_the_screen(store: dict[bytes, bytes]) -> None:
    """Random bytes as keys and values, in list, tree, history and confirmation."""
    feed = FakeFeed(keys=sorted(store), values=store)
    async with drive(feed, size=SMALL, screen="keys") as driver:
        for keys in (["end"], ["t", "right"], ["t", "H"], ["escape", "D"], ["escape", "g"]):
            await driver.press(*keys)
            await driver.settled()
            driver.check_fits()


async def test_a_million_keys_cost_only_the_pages_that_are_looked_at(console: Drive) -> None:
    """Requests are counted, not seconds: one page for the first screen, one more for each 500 rows walked."""
    feed = FakeFeed(keys=NumberedKeys(b"/k/", 1_000_000))
    async with console(feed, screen="keys") as driver:
        assert "1 of 1 000 000" in driver.text()
        assert feed.requests.count("page 500") == 1
        await driver.press(*["pagedown"] * 40)
        await driver.settled()
        assert "of 1 000 000" in driver.text()
        assert feed.requests.count("page 500") <= 4
        assert feed.requests.count("get") <= 42
        await driver.press("end")
        await driver.settled()
        assert feed.requests.count("page 500") <= 5
        await driver.press("t")
        await driver.settled()
        assert "▸ /k/" in driver.text()
        assert len([request for request in feed.requests if request == "page 100"]) == 2


async def test_the_value_follows_the_cursor_and_skips_what_was_passed(console: Drive) -> None:
    """One read at a time; the last wanted one wins."""
    feed = FakeFeed(keys=NumberedKeys(b"/k/", 1000))
    async with console(feed, screen="keys") as driver:
        await driver.press("down", "down", "down")
        await driver.settled()
        assert "value of /k/0000003" in driver.text()


async def test_a_prefix_and_a_jump_are_asked_of_the_server(console: Drive) -> None:
    async with console(strange_feed(), screen="keys") as driver:
        await driver.press("slash")
        await driver.type("/svc/\\xff")
        await driver.press("enter")
        await driver.settled()
        assert "Keys /svc/\\xff  1 at revision 5000" in driver.text()
        await driver.press("escape")
        await driver.settled()
        assert "Keys all  10" in driver.text()
        await driver.press("g", *["backspace"] * 40)
        await driver.type("/b")
        await driver.press("enter")
        await driver.settled()
        assert "from /b  8 from here on" in driver.text()
        await driver.press("escape")
        await driver.settled()
        assert "Keys all  10" in driver.text()


async def test_a_new_list_is_walked_at_once_also_when_the_value_was_looked_at(console: Drive) -> None:
    """Enter moves the keyboard to the value; a new prefix or a tree moves it back to the list."""
    async with console(strange_feed(), screen="keys") as driver:
        await driver.press("enter", "slash")
        await driver.type("/app/")
        await driver.press("enter", "down")
        await driver.settled()
        assert "2 of 2" in driver.text()
        await driver.press("enter", "t", "down", "enter")
        await driver.settled()
        assert "/app/empty" in driver.text()


@pytest.mark.parametrize("size", SIZES)
async def test_the_history_walks_back_to_the_creation(console: Drive, golden: Golden, size: str) -> None:
    async with console(versioned_feed(), size=SIZES[size], screen="keys") as driver:
        await driver.press("H")
        await driver.settled()
        golden.check(f"history-{size}.txt", driver.text())
        await driver.press("down", "down", "enter")
        await driver.settled()
        assert "value 3" in driver.text()
        assert "mod 30  created 10  version 3  lease 2a" in driver.text()


async def test_the_history_ends_at_the_compaction_and_says_so(console: Drive) -> None:
    async with console(versioned_feed(compacted=25), screen="keys") as driver:
        await driver.press("H")
        await driver.settled()
        assert "older versions were compacted away" in driver.text()
        assert "rev 20" in driver.text(), "what was current at the compaction is still there"
        assert "rev 10" not in driver.text()


async def test_a_long_history_is_read_in_steps(console: Drive) -> None:
    feed = versioned_feed(200)
    async with console(feed, screen="keys") as driver:
        before = len(feed.requests)
        await driver.press("H")
        await driver.settled()
        assert len(feed.requests) - before == 20
        await driver.press("end")
        await driver.settled()
        assert len(feed.requests) - before <= 45


async def test_a_compaction_while_browsing_reads_on_at_the_newest_revision(console: Drive) -> None:
    feed = FakeFeed(keys=NumberedKeys(b"/k/", 10_000))
    async with console(feed, screen="keys") as driver:
        feed.revision = feed.compacted = Revision(6_000)
        await driver.press(*["pagedown"] * 17)
        await driver.settled()
        assert "compacted away: reading at the newest one" in driver.text()
        assert "at revision 6000" in driver.text()


async def test_a_refused_read_is_shown_with_the_servers_words(console: Drive) -> None:
    feed = strange_feed()
    feed.fail_with = Refused(
        "m1 refused KV/Range: permission denied", text="permission denied", status="PERMISSION_DENIED"
    )
    async with console(feed, screen="keys") as driver:
        assert "permission denied" in driver.text()
        feed.fail_with = None
        await driver.press("r")
        await driver.settled()
        assert "Keys all  10" in driver.text()
        assert "permission denied" not in driver.text()


async def edit(driver: ConsoleDriver, text: str, confirmation: str) -> None:
    await driver.press("e")
    await driver.press("end")
    await driver.type(text)
    await driver.press("ctrl+s")
    await driver.type(confirmation)
    await driver.press("enter")
    await driver.settled()


async def test_an_edit_is_written_after_its_name_was_typed(console: Drive, golden: Golden) -> None:
    feed = versioned_feed()
    async with console(feed, screen="keys") as driver:
        await driver.press("e", "end", "x", "ctrl+s")
        golden.check("confirm-put.txt", driver.text())
        driver.check_fits()
        await driver.press("n", "o", "enter")
        assert "That is not the name" in driver.text()
        assert "put" not in feed.requests
        await driver.press("backspace", "backspace", "k", "enter")
        await driver.settled()
        assert "wrote /k at revision 5001" in driver.text()
        assert "value 5x" in driver.text()
        assert feed.versions[b"/k"][0].lease == 0x2A, "the lease is kept"


async def test_what_somebody_else_changed_is_not_overwritten(console: Drive) -> None:
    """Compare and set on mod_revision."""
    feed = versioned_feed()
    async with console(feed, screen="keys") as driver:
        await driver.press("e", "x", "ctrl+s")
        await feed.put(b"/k", b"from elsewhere", expected=Revision(50))
        await driver.press("k", "enter")
        await driver.settled()
        assert "/k is not what it was: nothing was written" in driver.text()
        assert feed.versions[b"/k"][0].value == b"from elsewhere"


async def test_an_unchanged_text_writes_nothing(console: Drive) -> None:
    feed = versioned_feed()
    async with console(feed, screen="keys") as driver:
        await driver.press("e", "ctrl+s")
        assert "nothing was changed" in driver.text()
        assert "put" not in feed.requests


async def test_a_new_key_must_not_exist_yet(console: Drive) -> None:
    feed = versioned_feed()
    async with console(feed, screen="keys") as driver:
        await driver.press("n")
        await driver.type("/new/\\xff")
        await driver.press("enter", "v", "ctrl+s")
        await driver.type("\\xff")
        await driver.press("enter")
        await driver.settled()
        assert b"/new/\xff" in feed.keys
        await driver.press("n")
        await driver.type("/k")
        await driver.press("enter", "v", "ctrl+s", "k", "enter")
        await driver.settled()
        assert "/k is not what it was" in driver.text()


async def test_a_delete_shows_what_goes_and_asks_for_the_name(console: Drive, golden: Golden) -> None:
    feed = strange_feed()
    async with console(feed, size=SMALL, screen="keys") as driver:
        await driver.press("D")
        golden.check("confirm-delete.txt", driver.text())
        await driver.press("escape")
        assert "delete" not in feed.requests
        await driver.press("D")
        await driver.type("config.json")
        await driver.press("enter")
        await driver.settled()
        assert "deleted /app/config.json at revision 5001" in driver.text()
        assert b"/app/config.json" not in feed.keys


async def test_an_unknown_result_is_called_unknown(console: Drive) -> None:
    """A put without an answer may be there or not."""
    feed = versioned_feed()
    async with console(feed, screen="keys") as driver:
        await driver.press("D")
        await driver.type("k")
        feed.fail_with = ResultUnknown("KV/Txn may or may not have taken effect", hint="read before sending it again")
        await driver.press("enter")
        await driver.settled()
        assert "may or may not have taken effect; read before sending it again" in driver.text()


async def test_binary_values_are_not_offered_to_the_editor(console: Drive) -> None:
    async with console(FakeFeed(keys=[b"/k"], values={b"/k": b"\xff\x00"}), screen="keys") as driver:
        await driver.press("e")
        assert "no plain text" in driver.text()


@pytest.mark.parametrize("locked_by", ["--read-only", ""])
async def test_read_only_mode_hides_and_refuses_writes_with_the_reason(console: Drive, locked_by: str) -> None:
    feed = versioned_feed()
    async with console(feed, screen="keys", read_only=True, locked_by=locked_by) as driver:
        text = driver.text()
        assert " RO " in text
        assert "edit" not in text
        assert "delete" not in text
        for key in ("e", "n", "D"):
            await driver.press(key)
            assert len(driver.app.screen_stack) == 1
            assert "read-only mode" in driver.text()
            assert (locked_by or "R allows changes again") in driver.text()
        assert not {"put", "delete"} & set(feed.requests)


async def test_the_gate_refuses_even_when_a_screen_forgets_to_ask(console: Drive) -> None:
    """The one place every write passes."""
    from etcdops.tui.gate import ReadOnly

    feed = versioned_feed()
    async with console(feed, read_only=True) as driver:
        with pytest.raises(ReadOnly):
            await driver.app.gate.put(b"/k", b"v", expected=Revision(50))
        with pytest.raises(ReadOnly):
            await driver.app.gate.delete(b"/k", expected=Revision(50))
        assert not {"put", "delete"} & set(feed.requests)


async def test_leaving_read_only_mode_asks_for_the_clusters_name(console: Drive) -> None:
    async with console(screen="keys") as driver:
        await driver.press("R")
        assert driver.app.gate.read_only
        await driver.press("R")
        await driver.type("prod")
        await driver.press("enter")
        assert driver.app.gate.read_only
        await driver.type("-bj")
        await driver.press("enter")
        assert not driver.app.gate.read_only


async def test_a_lock_by_flag_cannot_be_left(console: Drive) -> None:
    async with console(read_only=True, locked_by="ETCDOPS_READ_ONLY") as driver:
        await driver.press("R")
        assert driver.app.gate.read_only
        assert "start without ETCDOPS_READ_ONLY" in driver.text()
