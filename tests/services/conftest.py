"""Hosts with etcd on them, and sessions to them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etcdops.remote.host_keys import HostKeyPolicy
from etcdops.remote.session import Session
from etcdops.remote.ssh import Connector
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.target import Target
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.support.real_etcd import find_etcd

ETCD = "/usr/local/bin/etcd"


@asynccontextmanager
async def session_to(hosts: Hosts, name: str, user: str = "root") -> AsyncIterator[Session]:
    """Over ssh, as an operator works."""
    host = hosts[name]
    connector = Connector(HostKeyPolicy((hosts.known_hosts,)), SSHConfig(Path("/dev/null")))
    session = await connector.connect(
        Target(host.name, host.address, host.ssh_port, user, hosts.key, connect_timeout_s=20)
    )
    try:
        yield session
    finally:
        await session.close()
        connector.close()


def install_etcd(host: Host, minor: str = "3.5") -> None:
    """Put the binary of the cache onto the host."""
    found = find_etcd(minor)
    if found is None:
        pytest.skip(f"no etcd {minor} in .cache/etcd: `make etcd` fetches it")
    target = host.path(ETCD)
    if not target.exists():
        shutil.copy(found.etcd, target)


@pytest.fixture
def host(dirty_hosts: Hosts) -> Host:
    """A host with etcd."""
    install_etcd(dirty_hosts["h1"])
    return dirty_hosts["h1"]


@pytest.fixture
async def session(dirty_hosts: Hosts) -> AsyncIterator[Session]:
    async with session_to(dirty_hosts, "h1") as opened:
        yield opened


@pytest.fixture
async def hosts_without_etcd(dirty_hosts: Hosts) -> AsyncIterator[Session]:
    """A session to a host that no test of this folder changes."""
    async with session_to(dirty_hosts, "h3") as opened:
        yield opened
