"""Members that find each other by the SRV records of a domain, on real hosts with a name server."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.inventory.load import load_inventory
from etcdops.playbooks.rollout.procedure import prepare
from etcdops.rendering.network_files import service_records
from tests.hosts.hosts import Hosts
from tests.playbooks.rollout.on_hosts import Bench, HostsAccess
from tests.support.real_etcd import find_etcd

DOMAIN = "cluster.test"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_members_find_each_other_by_srv_records_and_a_lost_one_makes_no_cluster_of_its_own(
    hosts: Hosts, home: Path
) -> None:
    """dnsmasq with the records that etcdops renders; by addresses, which no record can hold, it is refused."""
    binaries = find_etcd("3.5")
    if binaries is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    bench = Bench(hosts, home, {
        "engine": {"version": binaries.version, "source": {"directory": str(binaries.etcd.parent)}},
        "tls": {},
        "settings": {"discovery-srv": DOMAIN},
    })  # fmt: skip
    by_address = await bench.prepare()
    assert {one.id for one in by_address.refused} == {"srv-names"}

    members = [
        {"host": host.name, "initial_advertise_peer_urls": [f"https://{host.name}.{DOMAIN}:2380"]} for host in hosts
    ]
    bench.cluster = {**bench.cluster, "members": members}
    bench.write()
    inventory = load_inventory([bench.path])
    records = service_records(inventory, inventory.clusters["prod"], domain=DOMAIN)
    named = "".join(f"host-record={host.name}.{DOMAIN},{host.address}\n" for host in hosts)
    server = hosts["h1"]
    server.run(["sh", "-c", f"mkdir -p /etc/dnsmasq.d; cat > {records.path}"], stdin=records.content.decode() + named)
    serve = ["dnsmasq", "--keep-in-foreground", "--no-resolv", f"--conf-file={records.path}"]
    server.run(["systemd-run", "--unit=names", *serve])
    for host in hosts:
        host.run(["sh", "-c", f"echo nameserver {server.address} > /etc/resolv.conf"])

    _, known, outcome = await bench.apply()
    assert known.state.ended == "finished"
    assert outcome.results["verify:members"]["members"] == 3
    environment = hosts["h2"].run(["cat", "/etc/default/etcd"]).stdout
    assert f'ETCD_DISCOVERY_SRV="{DOMAIN}"' in environment
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in environment
    assert "ETCD_INITIAL_CLUSTER=" not in environment
    assert (await prepare(bench.request(), HostsAccess(hosts))).plan is None

    hosts["h3"].run(["systemctl", "stop", "etcd"])
    hosts["h3"].run(["rm", "-r", "/var/lib/etcd/member"])
    hosts["h3"].run(["systemctl", "start", "etcd"], check=False, timeout_s=30)
    assert hosts["h3"].run(["systemctl", "is-active", "etcd"], check=False).stdout.strip() != "active"
