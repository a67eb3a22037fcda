"""Rollouts to the test hosts: an inventory for them, and the way in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from etcdops.client.settings import ConnectionSettings
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Inventory
from etcdops.inventory.reach import opening, ways_in
from etcdops.playbooks.on_hosts import find_cluster
from etcdops.playbooks.procedures import RunOutcome
from etcdops.playbooks.rollout.procedure import Prepared, RolloutRequest, apply, prepare
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.runs import KnownRun
from etcdops.remote.host_keys import HostKeyPolicy
from etcdops.remote.pool import Open
from etcdops.remote.ssh import Connector
from etcdops.remote.ssh_config import SSHConfig
from tests.hosts.hosts import Hosts

FORCED = frozenset({"disk-slow", "clock-off", "disk-full"})
"""The disk is that of the machine of the tests, whatever else it has to do; so is its time."""


@dataclass
class HostsAccess:
    """`on_hosts.Access` to the test hosts, with their own known hosts."""

    hosts: Hosts

    def settings(self, endpoints: Sequence[str], cluster: str) -> ConnectionSettings:
        return ConnectionSettings(tuple(endpoints))

    @contextmanager
    def connecting(self, inventory: Inventory) -> Iterator[Open]:
        connector = Connector(HostKeyPolicy((self.hosts.known_hosts,)), SSHConfig(Path("/dev/null")))
        with opening(inventory, ways_in(inventory), connector) as open_host:
            yield open_host


@dataclass
class Bench:
    """One inventory, and what is done with it."""

    hosts: Hosts
    folder: Path
    cluster: Mapping[str, object]
    ssh: Mapping[str, object] = field(default_factory=dict)
    events: list[RunEvent] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "inventory.yaml"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def write(self) -> None:
        """The inventory, as it is described now."""
        ssh = {"user": "deploy", "key": str(self.hosts.key), **self.ssh}
        described = {
            "hosts": {host.name: {"address": host.address, "ssh": ssh} for host in self.hosts},
            "clusters": {"prod": {"members": [{"host": host.name} for host in self.hosts], **self.cluster}},
        }
        self.path.write_text(yaml.safe_dump(described))

    def request(self) -> RolloutRequest:
        self.write()
        inventory = load_inventory([self.path])
        return RolloutRequest(inventory, find_cluster(inventory), (self.path,), FORCED)

    async def prepare(self) -> Prepared:
        return await prepare(self.request(), HostsAccess(self.hosts))

    async def apply(self) -> tuple[Prepared, KnownRun, RunOutcome]:
        """Everything, as `etcdops rollout apply` does it."""
        request, access = self.request(), HostsAccess(self.hosts)
        prepared = await prepare(request, access)
        prepared.require_allowed()
        known, outcome = await apply(prepared, request, access, self.events.append)
        return prepared, known, outcome

    def cli(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """`etcdops ...` in a process of its own, with a home that knows the hosts."""
        self.write()
        return subprocess.run(
            [sys.executable, "-m", "etcdops", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        (ssh / "known_hosts").write_bytes(self.hosts.known_hosts.read_bytes())
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "ETCDOPS_HOME": os.environ["ETCDOPS_HOME"],
        }  # fmt: skip

    def force(self) -> list[str]:
        return [word for code in sorted(FORCED) for word in ("--force-unsafe", code)]
