"""`etcdops diagnose --cluster` and `bundle` on hosts: logs fetched over SSH, held against what is there now."""

from __future__ import annotations

import asyncio
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from etcdops.doctor.gather.logs import LogLine, following, logged_members
from etcdops.remote.pool import Sessions
from tests.cli.conftest import RunCli, cli
from tests.hosts.hosts import Hosts
from tests.playbooks.host_clusters import HostCluster

__all__ = ["cli"]
pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(240)]
_NOTICED_WITHIN_S = 60.0


def known(hosts: Hosts, folder: Path) -> str:
    """A home that knows the keys of the hosts."""
    ssh = folder / "home" / ".ssh"
    ssh.mkdir(parents=True, exist_ok=True)
    (ssh / "known_hosts").write_bytes(hosts.known_hosts.read_bytes())
    return str(ssh.parent)


def test_a_healthy_cluster_is_called_so_and_a_stray_member_by_its_host(
    hosts: Hosts, tmp_path: Path, cli: RunCli
) -> None:
    """Issue 5: "cluster ID mismatch" in logs and the IDs on the hosts name the stray process, and what mends it."""
    cluster = HostCluster(hosts, tmp_path / "cluster", "etcd-3.5")
    cluster.folder.mkdir()
    cluster.bring_up()
    home = known(hosts, tmp_path)
    inventory = ("--cluster", "prod", "-i", str(cluster.inventory_path))

    def diagnosed() -> dict[str, Any]:
        ran = cli("diagnose", *inventory, "--json", HOME=home)
        assert ran.code in (0, 5), ran.err
        document: dict[str, Any] = json.loads(ran.out)
        return document

    healthy = diagnosed()
    assert [source["source"] for source in healthy["sources"]] == ["h1", "h2", "h3"]
    assert all(source["lines"] > 20 for source in healthy["sources"])
    assert not [one for one in healthy["findings"] if one["severity"] != "info"]
    assert not [one for one in healthy["live"]["findings"] if one["severity"] in ("error", "critical")]
    assert healthy["live"]["looked_at"]["ways_that_work"] == 18
    asyncio.run(_follows_all(cluster))

    hosts["h3"].run(["systemctl", "stop", "etcd"])
    hosts["h3"].run(["sh", "-c", "rm -rf /var/lib/etcd/member; sed -i 's/_TOKEN=.*/_TOKEN=old/' /etc/default/etcd"])
    hosts["h3"].run(["systemctl", "start", "--no-block", "etcd"])
    end = time.monotonic() + _NOTICED_WITHIN_S
    while True:
        strayed = diagnosed()
        if strayed["findings"] and strayed["findings"][0]["proved_live"]:
            break
        assert time.monotonic() < end, strayed
    first = strayed["findings"][0]
    assert (first["slug"], first["proved_live"]) == ("cluster-id-mismatch", "E401 h3")
    live = strayed["live"]["findings"][0]
    assert (live["code"], live["subject"]) == ("E401", "h3")
    assert any("h3 runs on /var/lib/etcd" in line for line in live["evidence"])

    out = tmp_path / "prod.tar.gz"
    assert cli("bundle", *inventory, "-o", str(out), HOME=home).code == 0
    with tarfile.open(out) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"logs/h1.log", "logs/h3.log", "hosts/h3.json", "status.json", "ways.json", "findings.txt"} <= names


async def _follows_all(cluster: HostCluster) -> None:
    """The merged follow has a line of every member."""
    with cluster.access.connecting(cluster.inventory) as connect:
        sessions = Sessions(connect)
        try:
            seen: set[str] = set()
            async with (
                asyncio.timeout(_NOTICED_WITHIN_S),
                following(sessions.open, logged_members(cluster.cluster), lines=3) as events,
            ):
                async for event in events:
                    assert isinstance(event, LogLine), event
                    seen.add(event.member)
                    if len(seen) == 3:
                        break
        finally:
            await sessions.close()
