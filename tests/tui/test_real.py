"""The console on real etcd: what the fakes claim, claimed by the real thing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from etcdops.client.failures import Compacted
from etcdops.client.metrics import COMMIT, FSYNC, KEYS, LEADER_CHANGES, PROPOSALS, QUOTA, MemberMetrics
from etcdops.client.settings import ConnectionSettings
from etcdops.ids import Revision
from etcdops.tui.app import ConsoleApp
from etcdops.tui.feed import NO_LEASE, NOW
from etcdops.tui.gate import WriteGate
from etcdops.tui.live import LiveFeed
from tests.conftest import MakeCluster
from tests.support.ports import free_ports
from tests.support.real_etcd import EtcdBinaries, RealCluster
from tests.tui.driver import WIDE, ScreenDriver
from tests.tui.test_keys_screen import STRANGE

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

ONE_VERSION = pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)


def settings_of(cluster: RealCluster) -> ConnectionSettings:
    return ConnectionSettings(endpoints=tuple(cluster.endpoints))


@pytest.fixture(params=["real_etcd", "node_cluster"])
def make_cluster(request: pytest.FixtureRequest, etcd_binaries: EtcdBinaries) -> MakeCluster:
    """Makes clusters of real etcd, and the same of the bundled member: the console must not know the difference."""
    found: MakeCluster = request.getfixturevalue(request.param)
    return found


@asynccontextmanager
async def real_console(cluster: RealCluster, *, screen: str = "dashboard") -> AsyncIterator[ScreenDriver]:
    feed = LiveFeed(settings_of(cluster))
    app = ConsoleApp(feed, title="real", gate=WriteGate(feed), interval_s=0.5, screen=screen)
    async with app.run_test(size=WIDE) as pilot:
        yield ScreenDriver(app, pilot)


async def test_the_live_feed_reads_and_writes_guarded(make_cluster: MakeCluster) -> None:
    """One member is enough: pages at a pinned revision, compare and set, compaction, metrics; 3.4, 3.5 and the node."""
    feed = LiveFeed(settings_of(make_cluster(size=1)))
    try:
        view = await feed.observe()
        assert len(view.answering) == 1
        metrics = (await feed.metrics(view))[view.members[0].label]
        assert isinstance(metrics, MemberMetrics), metrics
        assert metrics.numbers[QUOTA] == 2 * 1024**3
        assert metrics.numbers.keys() >= {KEYS, PROPOSALS, LEADER_CHANGES}
        assert metrics.histogram(COMMIT).counts
        assert metrics.histogram(FSYNC).counts

        created = await feed.put(b"/k\xff[/", b"one", expected=NOW, lease=NO_LEASE)
        assert created is not None
        assert await feed.put(b"/k\xff[/", b"again", expected=NOW, lease=NO_LEASE) is None
        changed = await feed.put(b"/k\xff[/", b"two", expected=created, lease=NO_LEASE)
        assert changed == created + 1
        old = await feed.get(b"/k\xff[/", revision=created)
        assert old is not None
        assert (old.value, old.version, old.mod_revision) == (b"one", 1, created)
        assert await feed.get(b"/k\xff[/", revision=Revision(created - 1)) is None

        page = await feed.page(b"\0", b"\0", limit=10, revision=NOW)
        assert [entry.key for entry in page.entries] == [b"/k\xff[/"]
        assert (page.count, page.more, page.revision) == (1, False, changed)
        assert page.entries[0].value == b"", "values are not in listings"

        assert await feed.delete(b"/k\xff[/", expected=created) is None
        assert await feed.delete(b"/k\xff[/", expected=changed) == changed + 1
        await feed._client.kv.compact(changed)
        with pytest.raises(Compacted):
            await feed.page(b"\0", b"\0", limit=10, revision=created)
    finally:
        await feed.close()


@ONE_VERSION
async def test_the_dashboard_tells_a_members_silence_and_the_loss_of_the_quorum(make_cluster: MakeCluster) -> None:
    """SIGSTOP is the worst kind of silence: connections stay open and nothing answers."""
    cluster = make_cluster(size=3)
    async with real_console(cluster) as driver:
        await driver.until(lambda: "● HEALTHY" in driver.text(), "a healthy cluster")
        assert "★ leader" in driver.text()
        driver.check_fits()
        cluster.member("m1").pause()
        await driver.until(lambda: "▲ DEGRADED" in driver.text() and "E201 m1" in driver.text(), "the silence of m1")
        assert "m1         stopped answering" in driver.text()
        cluster.member("m2").pause()
        await driver.until(
            lambda: "✖ QUORUM LOST" in driver.text() and "E102" in driver.text(), "the loss of the quorum"
        )
        await driver.press("4")
        await driver.until(
            lambda: "may be old" in driver.text() or "no key" in driver.text(), "a read without a quorum"
        )
        await driver.press("2")
        cluster.member("m1").resume()
        cluster.member("m2").resume()
        await driver.until(lambda: "● HEALTHY" in driver.text(), "the return of the quorum")
        assert "quorum is back" in driver.text()


@ONE_VERSION
async def test_strange_keys_are_shown_edited_and_deleted(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(size=1)
    feed = LiveFeed(settings_of(cluster))
    for key, value in STRANGE.items():
        await feed.put(key, value, expected=NOW, lease=NO_LEASE)
    await feed.close()
    async with real_console(cluster, screen="keys") as driver:
        await driver.until(lambda: "of 10" in driver.text(), "the list")
        for _ in STRANGE:
            await driver.press("down")
            await driver.settled()
            driver.check_fits()
        await driver.press("home", "e", "end", "space", "ctrl+s")
        await driver.type("config.json")
        await driver.press("enter")
        await driver.until(lambda: "wrote /app/config.json at revision" in driver.text(), "the write")
        await driver.press("H")
        await driver.until(lambda: "created at revision" in driver.text(), "the history")
        assert re.search(r"rev \d+ +v2 +65B", driver.text())
        await driver.press("escape", "D")
        await driver.type("config.json")
        await driver.press("enter")
        await driver.until(lambda: "deleted /app/config.json at revision" in driver.text(), "the deletion")
        await driver.until(lambda: "of 9" in driver.text(), "the list without it")


class Terminal:
    """A pseudo-terminal with `etcdops tui` in it, and everything that was written to it."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "etcdops", "tui", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm-256color"},
        )
        self.output = b""

    def read_until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 100  # a background job on a busy machine gets a twentieth of it
        while not done():
            assert time.monotonic() < deadline, f"{what} did not come; the terminal got {self.output[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.master, 65_536)
                except OSError:  # the other side is closed
                    return

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for descriptor in {self.master, self.slave}:
            try:
                os.close(descriptor)
            except OSError:
                pass  # closed by the test


ENTERED, LEFT, CURSOR_SHOWN = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


@pytest.mark.parametrize(("ending", "code"), [("q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_however_it_ends_the_terminal_is_left_clean(ending: str | signal.Signals, code: int) -> None:
    """Alternate screen left, cursor shown, line settings as before; also when nobody answers at the endpoint."""
    terminal = Terminal("--endpoints", f"http://127.0.0.1:{free_ports(1)[0]}", "--every", "0.2")
    try:
        terminal.read_until(lambda: b"UNREACHABLE" in terminal.output, "the first look")
        if isinstance(ending, str):
            os.write(terminal.master, ending.encode())
        else:
            terminal.process.send_signal(ending)
        terminal.read_until(lambda: terminal.process.poll() is not None and LEFT in terminal.output, "the end")
        assert terminal.process.wait(20) == code
        assert terminal.output.rfind(LEFT) > terminal.output.rfind(ENTERED)
        assert terminal.output.rfind(CURSOR_SHOWN) > terminal.output.rfind(b"\x1b[?25l")
        assert termios.tcgetattr(terminal.slave)[3] == terminal.before[3], "echo and line mode as before"
    finally:
        terminal.close()


def test_a_terminal_that_goes_away_ends_the_console() -> None:
    """It neither stays behind nor spins (dolphie issue 101: 100 % CPU after the connection was lost)."""
    terminal = Terminal("--endpoints", f"http://127.0.0.1:{free_ports(1)[0]}")
    try:
        terminal.read_until(lambda: b"UNREACHABLE" in terminal.output, "the first look")
        os.close(terminal.slave)
        os.close(terminal.master)
        assert terminal.process.wait(20) in (129, 143, 1)
    finally:
        terminal.close()
