"""Clusters on the test hosts, over systemd: made without `rollout`, filled, saved and broken."""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Cluster, EngineKind, Inventory
from etcdops.playbooks.rollout.desired import desired
from etcdops.playbooks.rollout.engine_pack import pack
from etcdops.playbooks.snapshot_save import save_snapshot
from etcdops.remote.pool import Open
from etcdops.remote.session import Session
from etcdops.services.managers import service_for
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.playbooks.clusters import KEYS, LATER_WRITES, fill
from tests.playbooks.rollout.on_hosts import HostsAccess
from tests.support.real_etcd import find_etcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DATA = "/var/lib/etcd"
NAME = "prod"
_START_TIMEOUT_S = 60.0
_USER = "getent passwd etcd >/dev/null || useradd --system --home-dir /var/lib/etcd --shell /usr/sbin/nologin etcd"
_TIMEOUT_S = 20.0


@dataclass
class HostCluster:
    """Three members on three hosts."""

    hosts: Hosts
    folder: Path
    """On this machine: inventory, snapshot, state."""
    engine: str
    """`etcd-3.5`, `etcd-3.4` or `node`."""
    snapshot_revision: int = 0
    last_revision: int = 0

    @property
    def inventory_path(self) -> Path:
        return self.folder / "etcdops.yaml"

    @property
    def snapshot(self) -> Path:
        return self.folder / "backup.db"

    @property
    def access(self) -> HostsAccess:
        return HostsAccess(self.hosts)

    @property
    def inventory(self) -> Inventory:
        return load_inventory([self.inventory_path])

    @property
    def cluster(self) -> Cluster:
        return self.inventory.clusters[NAME]

    @property
    def settings(self) -> ConnectionSettings:
        return ConnectionSettings(tuple(f"http://{host.address}:2379" for host in self.hosts))

    def write_inventory(self, *, user: str = "root", data_dir: str = DATA, via: str = "direct") -> None:
        kind, _, minor = self.engine.partition("-")
        become = {"root": "none", "ops": "sudo"}[user]
        password = f", password: {{file: {self.folder / 'sudo'}}}" if user == "ops" else ""
        lines = ["hosts:"]
        for host in self.hosts:
            lines.append(
                f"  {host.name}: {{address: {host.address}, ssh: {{user: {user}, port: {host.ssh_port},"
                f" key: {self.hosts.key}, become: {{method: {become}{password}}}}}}}"
            )
        lines += [
            "clusters:",
            f"  {NAME}:",
            f'    engine: {{kind: {kind}, version: "{minor or "3.5"}"}}',
            f"    data_dir: {data_dir}",
            f"    access: {{via: {via}}}",
            f"    members: [{', '.join(f'{{host: {host.name}}}' for host in self.hosts)}]",
        ]
        secret = self.folder / "sudo"
        secret.write_text(self.hosts.ops_password + "\n")
        secret.chmod(0o600)
        self.inventory_path.write_text("\n".join(lines) + "\n")

    def bring_up(self) -> None:
        """Programs, user, service, one cluster that serves."""
        self.write_inventory()
        for host in self.hosts:
            install_engine(host, self.engine, self.folder)
            host.run(["sh", "-c", f"{_USER}; install -d -m 0700 -o etcd -g etcd {DATA}"])
        asyncio.run(self._form())

    async def _form(self) -> None:
        inventory, cluster = self.inventory, self.cluster

        async def one(name: str, open_host: Open) -> None:
            session = await open_host(name)
            try:
                member = next(member for member in cluster.members if member.host == name)
                service = service_for(session, cluster.service)
                await service.install(desired(inventory, cluster, member, state="new").files)
                await service.start(timeout_s=_START_TIMEOUT_S)
            finally:
                await session.close()

        with self.access.connecting(inventory) as open_host:
            await asyncio.gather(*(one(host.name, open_host) for host in self.hosts))

    def fill_and_save(self) -> None:
        """Keys, a snapshot, and later writes that it does not have."""

        async def work() -> None:
            async with Client(self.settings) as client:
                await fill(client, KEYS, "before")
                await client.kv.delete("/app/before/7", timeout=_TIMEOUT_S)
                saved = await save_snapshot(client, self.snapshot, force=True)
                self.snapshot_revision = saved.report.current_revision
                self.last_revision = await fill(client, LATER_WRITES, "after")

        asyncio.run(work())

    def lose_two_disks(self) -> None:
        """Power cut on two hosts, and their data is gone when they come back."""
        for name in ("h1", "h2"):
            self.hosts[name].power_off()
            shutil.rmtree(self.hosts[name].path(DATA))
        for name in ("h1", "h2"):
            self.hosts[name].power_on()

    @asynccontextmanager
    async def session(self, name: str) -> AsyncIterator[Session]:
        with self.access.connecting(self.inventory) as open_host:
            session = await open_host(name)
            try:
                yield session
            finally:
                await session.close()


def install_engine(host: Host, engine: str, folder: Path) -> None:
    """Put the programs of an engine onto a host."""
    kind, _, minor = engine.partition("-")
    target = host.path("usr/local/bin")
    if kind == "node":
        cluster = Cluster.model_validate({"engine": {"kind": "node"}, "members": [{"host": host.name}]})
        packed = pack(cluster.engine, folder)
        assert packed is not None
        if not (target / "etcdops-node").is_symlink():
            place = host.path(f"opt/{packed.name}")
            with tarfile.open(packed.path) as archive:
                archive.extractall(place, filter="tar")
            (program,) = packed.programs
            found = next(place.rglob(program))
            (target / "etcdops-node").symlink_to(Path("/opt") / packed.name / found.relative_to(place))
        return
    found_etcd = find_etcd(minor)
    if found_etcd is None:
        reason = f"no etcd {minor} in .cache/etcd: `make etcd` fetches it"
        if os.environ.get("ETCDOPS_REQUIRE_ETCD"):
            pytest.fail(reason)
        pytest.skip(reason)
    for path in (found_etcd.etcd, found_etcd.etcdctl, found_etcd.etcdutl):
        if path is not None and not (target / path.name).exists():
            shutil.copy(path, target)


def is_node(engine: str) -> bool:
    return engine == EngineKind.NODE
