"""What is refused, of hosts that are really so: the facts come from them, and no rule is told them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from etcdops.playbooks.rollout.procedure import prepare
from tests.hosts.hosts import Hosts
from tests.playbooks.rollout.on_hosts import Bench, HostsAccess
from tests.support.real_etcd import find_etcd

LIVED = "systemd-run --quiet --unit=m -p Type=notify /usr/local/bin/etcd --data-dir=/var/lib/etcd; systemctl stop m"


@pytest.mark.exhaustive
async def test_a_clone_a_clock_another_version_and_addresses_of_nobody(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h1 is three seconds ahead and has 3.4; what a member left on h2 was copied to h3, which advertises nonsense."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    old, new = find_etcd("3.4"), find_etcd("3.5")
    if old is None or new is None:
        pytest.skip("no etcd 3.4 and 3.5 in .cache/etcd: `make etcd` fetches them")
    for host, found in zip(hosts, (old, new, new), strict=True):
        shutil.copy(found.etcd, host.path("/usr/local/bin/etcd"))
    hosts["h1"].skew_clock(3)
    hosts["h2"].run(["sh", "-c", LIVED], timeout_s=60)
    shutil.copytree(hosts["h2"].path("/var/lib/etcd"), hosts["h3"].path("/var/lib/etcd"))
    nonsense = {
        "listen_client_urls": ["http://127.0.0.1:2379"],
        "advertise_client_urls": ["http://0.0.0.0:2379"],
        "initial_advertise_peer_urls": ["http://198.51.100.9:2380"],
    }
    members = [{"host": "h1"}, {"host": "h2"}, {"host": "h3", **nonsense}]
    bench = Bench(hosts, tmp_path, {"engine": {"version": new.version}, "members": members})
    strict = dataclasses.replace(bench.request(), force_unsafe=frozenset())
    refused = {(one.id, one.host) for one in (await prepare(strict, HostsAccess(hosts))).refused}
    assert refused - {("disk-slow", host.name) for host in hosts} == {
        ("clock-off", "h1"), ("mixed-versions", "h1"), ("old-data", "h2"), ("old-data", "h3"),
        ("cloned-data-dir", "h3"), ("listen-localhost", "h3"), ("advertise-unreachable", "h3"),
    }  # fmt: skip
