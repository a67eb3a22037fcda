"""`etcdops inventory import` from real hosts: etcd 3.5 of two hosts by systemd, 3.4 in podman, over ssh."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Inventory, Manager
from tests.cli.conftest import RunCli
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.hosts.packages import load_etcd_image
from tests.support.real_etcd import find_etcd

ETCD = "/usr/local/bin/etcd"
DRAWN = {"h1": "alpha", "h2": "beta"}
UNIT = f"""\
[Unit]
After=network.target
[Service]
Type=notify
EnvironmentFile=/etc/default/imported
ExecStart={ETCD} --name %H
WorkingDirectory=/var/lib/imported
[Install]
WantedBy=multi-user.target
"""
HINTS = ("--ssh-user", "root", "--accept-new")


def variables(host: Host, members: str) -> str:
    """Relative data directory, one setting of all, a password nobody may read elsewhere."""
    return (
        f"ETCD_DATA_DIR=data\nETCD_INITIAL_CLUSTER={members}\nETCD_INITIAL_CLUSTER_TOKEN=drawn\n"
        f"ETCD_LISTEN_PEER_URLS=http://{host.address}:2380\nETCD_INITIAL_ADVERTISE_PEER_URLS=http://{host.address}:2380\n"
        f"ETCD_LISTEN_CLIENT_URLS=http://{host.address}:2379\nETCD_ADVERTISE_CLIENT_URLS=http://{host.address}:2379\n"
        "ETCD_SNAPSHOT_COUNT=5000\nETCD_DISCOVERY_PROXY=http://me:hunter2@proxy:3128\n"
    )


@pytest.fixture(scope="module")
def hosts_at_work(hosts_session: Hosts) -> Iterator[Hosts]:
    new, old = find_etcd("3.5"), find_etcd("3.4")
    if new is None or old is None:
        pytest.skip("no etcd 3.4 and 3.5 in .cache/etcd: `make etcd` fetches them")
    hosts_session.reset()
    pair = [hosts_session[name] for name in DRAWN]
    members = ",".join(f"{host.name}=http://{host.address}:2380" for host in pair)
    for host in pair:
        shutil.copy(new.etcd, host.path(ETCD))
        host.path("/etc/systemd/system/drawn.service").write_text(UNIT)
        host.path("/etc/default/imported").write_text(variables(host, members))
        host.run(["mkdir", "-p", "/var/lib/imported"])
        host.run(["systemctl", "start", "--no-block", "drawn"])
    third = hosts_session["h3"]
    image = load_etcd_image(third, old)
    third.run(["mkdir", "-p", "/srv/pot"])
    third.run(
        [
            *("podman", "run", "--detach", "--name=pot", "--network=host"),
            *("--volume=/srv/pot:/data", "--env=ETCD_HEARTBEAT_INTERVAL=200", image),
            *("--name=solo", "--data-dir=/data", f"--listen-client-urls=http://{third.address}:2379"),
            f"--advertise-client-urls=http://{third.address}:2379",
            f"--initial-advertise-peer-urls=http://{third.address}:2380",
            f"--initial-cluster=solo=http://{third.address}:2380",
        ],
        timeout_s=120,
    )
    for host in pair:
        host.run(["systemctl", "start", "drawn"], timeout_s=60)
    yield hosts_session
    hosts_session.reset()


def imported(cli: RunCli, hosts: Hosts, tmp_path: Path, *arguments: str) -> tuple[Inventory, str]:
    made = tmp_path / "made.yaml"
    line = ("inventory", "import", *arguments, *HINTS, "--ssh-key", str(hosts.key), "-o", str(made), "--force")
    ran = cli(*line, HOME=str(tmp_path))
    assert ran.code == 0, ran.err
    assert cli("inventory", "check", "-i", str(made)).code == 0
    return load_inventory([made]), made.read_text()


def test_every_etcd_on_the_hosts_becomes_part_of_an_inventory(
    cli: RunCli, hosts_at_work: Hosts, tmp_path: Path
) -> None:
    """Two clusters, told apart; version, manager, directories, settings, who logs in; the secret is not in it."""
    hosts = hosts_at_work
    wanted = [part for name in ("h1", "h2", "h3") for part in ("--host", f"root@{hosts[name].address}")]
    inventory, text = imported(cli, hosts, tmp_path, *wanted)
    by_name = {tuple(one.label for one in cluster.members): cluster for cluster in inventory.clusters.values()}
    drawn, solo = by_name[("h1", "h2")], by_name[("solo",)]
    assert (drawn.name, drawn.engine.version[:3], solo.engine.version[:3]) == ("drawn", "3.5", "3.4")
    assert (drawn.service.manager, drawn.service.name) == (Manager.SYSTEMD, "drawn")
    assert (solo.service.manager, solo.service.name) == (Manager.PODMAN, "pot")
    assert {one.data_dir for one in drawn.members} == {"/var/lib/imported/data"}
    assert solo.members[0].data_dir == "/srv/pot"
    assert dict(drawn.settings) == {"snapshot-count": "5000"}
    assert dict(solo.settings) == {"heartbeat-interval": "200"}
    assert drawn.user == "root"
    assert {host.ssh.become.method for host in inventory.hosts.values()} == {"none"}
    assert "hunter2" not in text
    assert "discovery-proxy was left out: it holds a secret" in text


def test_a_running_cluster_and_its_hosts_and_the_way_back(cli: RunCli, hosts_at_work: Hosts, tmp_path: Path) -> None:
    """From one endpoint to an inventory that `status --cluster` connects by; without --ssh what is missing is named."""
    hosts = hosts_at_work
    endpoint = f"http://{hosts['h1'].address}:2379"
    inventory, text = imported(cli, hosts, tmp_path, "--endpoints", endpoint, "--ssh", "--cluster", "prod")
    cluster = inventory.clusters["prod"]
    assert "2 of 2 members answer" in text
    assert [(one.label, one.host, one.data_dir) for one in cluster.members] == [
        (name, name, "/var/lib/imported/data") for name in ("h1", "h2")
    ]
    told = cli("status", "--cluster", "prod", "--inventory", str(tmp_path / "made.yaml"))
    assert told.code == 0, told.err
    alone = cli("inventory", "import", "--endpoints", endpoint)
    assert alone.code == 0, alone.err
    assert "--ssh asks the hosts" in alone.out
    assert "service is a guess: no host was asked" in alone.out


def test_a_host_that_cannot_be_asked_hides_no_other(cli: RunCli, hosts_at_work: Hosts, tmp_path: Path) -> None:
    """It is named on stderr and in the file; when all fail, that is the error."""
    hosts = hosts_at_work
    inventory, text = imported(
        cli, hosts, tmp_path, "--host", f"root@{hosts['h3'].address}", "--host", f"root@{hosts['h2'].address}:1"
    )
    assert [one.label for cluster in inventory.clusters.values() for one in cluster.members] == ["solo"]
    assert f"{hosts['h2'].address} was not read: {hosts['h2'].address}: nothing listens" in text
    ran = cli("inventory", "import", "--host", f"root@{hosts['h2'].address}:1", HOME=str(tmp_path))
    assert ran.code == 3
    assert "nothing listens" in ran.err
