"""Members that find each other: by the SRV records of a domain, or by a discovery service, on real hosts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from etcdops.inventory.load import load_inventory
from etcdops.playbooks.rollout.procedure import Prepared, prepare
from etcdops.rendering.network_files import service_records
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.playbooks.rollout.on_hosts import Bench, HostsAccess
from tests.support.real_etcd import EtcdBinaries, find_etcd, poll_until

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

    lost_and_started_again(hosts["h3"])


def lost_and_started_again(host: Host) -> None:
    """A member without its data makes no cluster of its own."""
    host.run(["systemctl", "stop", "etcd"])
    host.run(["rm", "-r", "/var/lib/etcd/member"])
    host.run(["systemctl", "start", "etcd"], check=False, timeout_s=30)
    assert host.run(["systemctl", "is-active", "etcd"], check=False).stdout.strip() != "active"


class Service:
    """A real etcd with etcd 2's API on one of the hosts, as people run one for their next clusters."""

    def __init__(self, host: Host, binaries: EtcdBinaries) -> None:
        self.host = host
        self.origin = f"http://{host.address}:12379"
        self.tokens = f"{self.origin}/v2/keys/tokens"
        folder = host.path("opt/discovery")
        folder.mkdir(parents=True)
        shutil.copy(binaries.etcd, folder)

    def start(self) -> None:
        """With what `discovery-unreachable` tells to start it with."""
        urls = ["--listen-client-urls=http://0.0.0.0:12379", f"--advertise-client-urls={self.origin}"]
        urls += ["--listen-peer-urls=http://127.0.0.1:12380", "--data-dir=/opt/discovery/data", "--enable-v2"]
        self.host.run(["systemd-run", "--unit=discovery", "/opt/discovery/etcd", *urls])
        poll_until(lambda: self._curl(f"{self.origin}/health"), 30.0, "the discovery service does not answer")

    def stop(self) -> None:
        self.host.run(["systemctl", "stop", "discovery"])

    def put(self, key: str, value: str) -> None:
        """As the next step of a refusal says it."""
        assert self._curl("-X", "PUT", f"{self.tokens}/{key}", "-d", f"value={value}")

    def _curl(self, *words: str) -> bool:
        done = subprocess.run(["curl", "-sf", "--max-time", "5", *words], capture_output=True, check=False)
        return done.returncode == 0


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
@pytest.mark.parametrize("minor", ["3.4", "3.5"])
async def test_members_find_each_other_by_a_discovery_service_and_a_token_that_will_not_do_is_refused_before(
    hosts: Hosts, home: Path, minor: str
) -> None:
    """No service, no such token, another size, used: nothing is changed on any host. Then they find each other."""
    binaries = find_etcd(minor)
    if binaries is None:
        pytest.skip(f"no etcd {minor} in .cache/etcd: `make etcd` fetches it")
    service = Service(hosts["h1"], binaries)
    bench = Bench(hosts, home, {})

    async def prepared(token: str) -> Prepared:
        bench.cluster = cluster(binaries, {"discovery": f"{service.tokens}/{token}"})
        return await bench.prepare()

    missing = (await prepared("one")).refused
    assert [(one.id, one.host) for one in missing] == [("discovery-unreachable", host.name) for host in hosts]
    service.start()
    assert {one.id for one in (await prepared("one")).refused} == {"discovery-token"}
    service.put("one/_config/size", "5")
    (size,) = (await prepared("one")).refused
    assert (size.id, "correct it: curl -X PUT" in size.next_step) == ("discovery-size", True)
    service.put("one/_config/size", "3")
    service.put("one/12ab", "other=http://198.51.100.7:2380")
    (used,) = (await prepared("one")).refused
    assert (used.id, "other=http://198.51.100.7:2380" in used.what) == ("discovery-used", True)
    for host in hosts:
        assert not host.path("var/lib/etcd").exists()
        assert not host.path("etc/default/etcd").exists()

    service.put("two/_config/size", "3")
    assert (await prepared("two")).refused == ()
    _, known, outcome = await bench.apply()
    assert known.state.ended == "finished"
    assert outcome.results["verify:members"]["members"] == 3
    environment = hosts["h2"].run(["cat", "/etc/default/etcd"]).stdout
    assert f'ETCD_DISCOVERY="{service.tokens}/two"' in environment
    assert 'ETCD_DISCOVERY_FALLBACK="exit"' in environment
    assert "ETCD_INITIAL_CLUSTER=" not in environment
    service.stop()
    again = await bench.prepare()
    assert (again.plan, again.refused, again.restarts) == (None, (), {}), "who has found the others needs no service"
    lost_and_started_again(hosts["h3"])


def cluster(binaries: EtcdBinaries, settings: Mapping[str, str]) -> dict[str, object]:
    return {
        "engine": {"version": binaries.version, "source": {"directory": str(binaries.etcd.parent)}},
        "settings": settings,
    }
