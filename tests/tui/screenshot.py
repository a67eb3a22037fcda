"""Takes the README's pictures of the dashboard and of the Logs screen from the real program on a real cluster.

    python -m tests.tui.screenshot [--seconds 180] [--out .docs]

Three members of etcd from .cache/etcd (`make etcd`) with a small quota and some load. Half-way the leader is killed and
started again; at the end a follower stops answering. The logs are of the moment after the leader was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView
from etcdops.errors import EtcdopsError
from etcdops.tui.app import ConsoleApp
from etcdops.tui.gate import WriteGate
from etcdops.tui.live import LiveFeed
from etcdops.tui.live_logs import FileLogs, LogFile
from tests.support.real_etcd import RealCluster, find_etcd, new_cluster
from tests.tui.driver import WIDE, ScreenDriver

VERSIONS = ("3.5", "3.4")
SILENCE_S = 20.0
SECONDS_MIN = 60.0
QUOTA_BYTES = 24 * 1024 * 1024
FULL_SHARE = 0.84
"""From here on the load only overwrites: the picture shows a warning, not a cluster that refuses writes."""


def share_of_quota(app: ConsoleApp) -> float:
    view = app.console_state.view
    sizes = [member.status.db_size_bytes for member in view.answering if member.status] if view else []
    return max(sizes, default=0) / QUOTA_BYTES


async def write_load(settings: ConnectionSettings, app: ConsoleApp, seconds: float) -> None:
    """Puts in bursts that fill the quota to FULL_SHARE in about `seconds`, then only overwrite; until cancelled."""
    draw = random.Random(7)
    began = time.monotonic()
    async with Client(settings) as client:
        while True:
            pause_s = draw.choice((0.005, 0.01, 0.03))
            for _ in range(draw.randrange(20, 120)):
                behind = share_of_quota(app) < FULL_SHARE * min(1.0, (time.monotonic() - began) / seconds)
                value = json.dumps(
                    {"n": draw.randrange(10**6), "text": "x" * draw.randrange(20_000 if behind else 200)}
                )
                try:
                    await client.kv.put(f"/registry/pods/default/web-{draw.randrange(4000):04d}", value)
                except EtcdopsError:
                    pass  # the picture is of a cluster in trouble
                await asyncio.sleep(pause_s)


async def keep_watching(settings: ConnectionSettings, watches: int) -> None:
    """Some watches, so that there are some to count."""

    async def watch(client: Client, number: int) -> None:
        async with client.watch(f"/registry/pods/default/web-{number:04d}") as watcher:
            async for _ in watcher:
                pass

    async with Client(settings) as client, asyncio.TaskGroup() as tasks:
        for number in range(watches):
            tasks.create_task(watch(client, number))


def follower_of(view: ClusterView | None) -> str:
    assert view is not None
    return next(member.name for member in view.voters if member.id != view.leader)


@dataclass(frozen=True, slots=True)
class Pictures:
    """As SVG."""

    dashboard: str
    logs: str


async def take(cluster: RealCluster, seconds: float) -> Pictures:
    """Watch the cluster under load, with a lost leader and then a silent follower."""
    settings = ConnectionSettings(endpoints=tuple(cluster.endpoints))
    feed = LiveFeed(settings)
    logs = FileLogs([LogFile(member.name, member.log) for member in cluster.members])
    app = ConsoleApp(feed, title="prod-bj", gate=WriteGate(feed), interval_s=2.0, logs=logs)
    async with app.run_test(size=WIDE) as pilot, asyncio.TaskGroup() as tasks:
        driver = ScreenDriver(app, pilot)
        work = [
            tasks.create_task(write_load(settings, app, seconds * 0.8)),
            tasks.create_task(keep_watching(settings, 40)),
        ]
        await asyncio.sleep((seconds - SILENCE_S) / 2)
        leader = app.console_state.view.leader_member if app.console_state.view else None
        assert leader is not None
        cluster.member(leader.name).kill()
        await driver.until(lambda: f"{leader.name} →" in driver.text(), "a new leader")
        await driver.press("7")
        await driver.until(lambda: "nothing listens" in driver.text().lower(), "what the logs say of it")
        await asyncio.sleep(2.0)
        shown_logs = app.export_screenshot(title="etcdops tui", simplify=True)
        await driver.press("2")
        await asyncio.to_thread(cluster.member(leader.name).start)
        await asyncio.sleep((seconds - SILENCE_S) / 2)
        follower = follower_of(app.console_state.view)
        cluster.member(follower).pause()
        await driver.until(lambda: f"E201 {follower}" in driver.text(), "the silence of a follower")
        await asyncio.sleep(SILENCE_S - 5)
        await driver.until(lambda: "data 0s old" in driver.text(), "a fresh look")
        picture = app.export_screenshot(title="etcdops tui", simplify=True)
        for task in work:
            task.cancel()
    return Pictures(picture, shown_logs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--out", type=Path, default=Path(".docs"), help="a folder")
    arguments = parser.parse_args()
    binaries = next((found for version in VERSIONS if (found := find_etcd(version))), None)
    if binaries is None:
        raise SystemExit("no etcd in .cache/etcd: `make etcd` fetches it")
    with tempfile.TemporaryDirectory() as folder:
        flags = [f"--quota-backend-bytes={QUOTA_BYTES}"]
        cluster = new_cluster(binaries, Path(folder), size=3, prefix="etcd-", flags=flags)
        try:
            cluster.start()
            pictures = asyncio.run(take(cluster, max(arguments.seconds, SECONDS_MIN)))
        finally:
            cluster.kill()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, picture in (("dashboard.svg", pictures.dashboard), ("logs.svg", pictures.logs)):
        (arguments.out / name).write_text(picture, encoding="utf-8")
        print(f"wrote {arguments.out / name}")


if __name__ == "__main__":
    main()
