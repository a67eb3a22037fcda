"""Local clusters for the tests of playbooks: real etcd 3.4 and 3.5 and the bundled node, filled, saved and broken."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.playbooks.cluster_file import ClusterSpec, Engine, EngineKind
from etcdops.playbooks.local_cluster import LocalCluster, new_cluster
from etcdops.playbooks.snapshot_save import save_snapshot
from tests.support.ports import free_ports
from tests.support.real_etcd import find_etcd

ENGINES = ("etcd-3.4", "etcd-3.5", "node")
KEYS = 120
LATER_WRITES = 30


def engine_named(name: str) -> Engine:
    """The engine, or the test is skipped with the reason (failed where ETCDOPS_REQUIRE_ETCD is set)."""
    kind, _, minor = name.partition("-")
    if kind == "node":
        return Engine(EngineKind.NODE)
    found = find_etcd(minor)
    if found is None:
        reason = f"no etcd {minor} in .cache/etcd: `make etcd` fetches it"
        if os.environ.get("ETCDOPS_REQUIRE_ETCD"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Engine(EngineKind.ETCD, found.etcd)


@dataclass
class BrokenCluster:
    """Three members of which one answers: m1 is killed with its data left, m2's data is destroyed, m3 runs."""

    spec: ClusterSpec
    snapshot: Path
    snapshot_revision: int
    last_revision: int

    @property
    def local(self) -> LocalCluster:
        return LocalCluster(self.spec)


async def fill(client: Client, count: int, mark: str) -> int:
    """Put `count` keys; the last revision."""
    answers = await asyncio.gather(
        *(client.kv.put(f"/app/{mark}/{index}", f"{mark} {index}" * (index % 9), timeout=20) for index in range(count))
    )
    return max(answer.header.revision for answer in answers)


def described(folder: Path, engine: Engine, *, size: int = 3) -> ClusterSpec:
    """A cluster that was never started, on ports that stay its own while a member is down."""
    return new_cluster("lab", folder, engine, size=size, ports=free_ports(2 * size))


Prepare = Callable[[Client], Awaitable[object]]


def break_cluster(
    spec: ClusterSpec, prepare: Prepare | None = None, settings: ConnectionSettings | None = None
) -> BrokenCluster:
    """Start, fill, save, write more, lose the quorum.

    Args: prepare is called before the snapshot; what comes after it uses `settings`, for a cluster that then asks who
        we are.
    """
    local = LocalCluster(spec)
    local.start(tethered=True)
    snapshot = spec.directory / "backup.db"

    async def work() -> tuple[int, int]:
        await local.wait_healthy(timeout_s=90)
        async with Client(spec.connection()) as client:
            await fill(client, KEYS, "before")
            await client.kv.delete("/app/before/7", timeout=20)
            if prepare is not None:
                await prepare(client)
        async with Client(settings or spec.connection()) as client:
            saved = await save_snapshot(client, snapshot)
            if saved.report.facts.alarms:
                return saved.report.current_revision, saved.report.current_revision
            return saved.report.current_revision, await fill(client, LATER_WRITES, "after")

    snapshot_revision, last_revision = asyncio.run(work())
    local.member("m1").kill()
    local.member("m2").kill()
    shutil.rmtree(spec.member("m2").data_dir)
    return BrokenCluster(spec, snapshot, snapshot_revision, last_revision)


@pytest.fixture(params=ENGINES)
def local_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClusterSpec]:
    """A described cluster of three members, not started; whatever runs of it at the end is ended."""
    spec = described(tmp_path / "lab", engine_named(request.param))
    yield spec
    LocalCluster(spec).kill()


@pytest.fixture
def broken(local_cluster: ClusterSpec) -> BrokenCluster:
    return break_cluster(local_cluster)
