"""Clusters that no systemd unit keeps: rolled out, changed one member at a time, and then as they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.playbooks.rolling.procedure import plan_change
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.hosts.packages import load_etcd_image
from tests.playbooks.rolling.host_bench import ChangingBench
from tests.playbooks.rolling.writer import writing
from tests.support.real_etcd import EtcdBinaries, find_etcd


def scan(host: Host) -> None:
    """daemontools, as Debian starts it."""
    host.run(["mkdir", "-p", "/etc/service"])
    host.run(["systemd-run", "--quiet", "--unit=scanner", "--collect", "svscan", "/etc/service"])


def supervise_all(host: Host) -> None:
    """Its socket is there a while after systemd calls it started."""
    host.run(["systemctl", "start", "supervisor"])
    host.run(["timeout", "30", "sh", "-c", "until supervisorctl pid; do sleep 0.1; done"], timeout_s=40)


def nothing(_: Host) -> None:
    """The runner is ours."""


READY: dict[str, Callable[[Host], None]] = {
    "podman": nothing,
    "process": nothing,
    "supervise": scan,
    "supervisord": supervise_all,
}


def described(manager: str, binaries: EtcdBinaries, hosts: Hosts) -> dict[str, object]:
    if manager == "podman":
        image = {load_etcd_image(host, binaries) for host in hosts}.pop()
        return {"engine": {"version": binaries.version}, "service": {"manager": manager, "image": image}}
    source = {"directory": str(binaries.etcd.parent)}
    return {"engine": {"version": binaries.version, "source": source}, "service": {"manager": manager}}


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("manager", sorted(READY))
async def test_a_setting_is_changed_one_member_at_a_time(
    manager: str, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a client writes; TLS everywhere; a second look finds nothing to do."""
    binaries = find_etcd("3.5")
    if binaries is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    for host in hosts:
        READY[manager](host)
    bench = ChangingBench(hosts, tmp_path, {**described(manager, binaries, hosts), "tls": {}})
    await bench.apply()
    assert (await bench.prepare()).plan is None
    async with writing(bench.settings()) as writer:
        bench.cluster = {**bench.cluster, "settings": {"snapshot-count": 12345}}
        changed = await bench.change(plan_change)
    assert changed is not None
    assert len([step for step in changed.results if step.startswith("restart")]) == 3
    assert writer.failed == {}
    assert await writer.lost() == []
    assert await bench.change(plan_change) is None
    again = await bench.prepare()
    assert (again.plan, again.restarts) == (None, {})
