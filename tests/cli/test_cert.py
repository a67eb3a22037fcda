"""`etcdops cert`: what it says and how it ends, on this machine as a host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.inventory.load import load_inventory
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.on_hosts import find_cluster
from etcdops.playbooks.rollout.desired import Signer, desired
from tests.cli.conftest import RunCli
from tests.support.ports import free_ports


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A member on this machine with all its certificates, which does not run."""
    client, peer = free_ports(2)
    path = tmp_path / "here.yaml"
    path.write_text(
        "hosts: {here: {address: 127.0.0.1, local: true, ssh: {become: {method: none}}}}\n"
        "clusters:\n"
        "  home:\n"
        f"    tls: {{directory: {tmp_path}/host-pki}}\n"
        "    members:\n"
        f"      - {{name: m1, host: here, listen_client_urls: ['https://127.0.0.1:{client}'],\n"
        f"         advertise_client_urls: ['https://127.0.0.1:{client}'],\n"
        f"         listen_peer_urls: ['https://127.0.0.1:{peer}'],\n"
        f"         initial_advertise_peer_urls: ['https://127.0.0.1:{peer}']}}\n"
    )
    read = load_inventory([path])
    cluster = find_cluster(read)
    authorities = ClusterAuthorities(tmp_path / "pki" / "home", "home", SystemClock())
    authorities.create((Signer.CLIENT, Signer.PEER))
    authorities.operator_files()
    (tmp_path / "host-pki").mkdir()
    member = desired(read, cluster, cluster.members[0])
    for leaf in member.leaves:
        issued = authorities.issue(leaf)
        Path(leaf.certificate).write_bytes(issued.certificate)
        Path(leaf.key).write_text(issued.key.reveal())
    for bundle in member.bundles:
        Path(bundle.path).write_bytes(authorities.bundle(bundle).content)
    return path


@pytest.mark.slow
def test_list_shows_files_and_ports_and_ends_with_5_when_one_is_not_good(cli: RunCli, inventory: Path) -> None:
    """The member does not run, so nobody knows what it would show: that is not good."""
    ran = cli("cert", "list", "-i", str(inventory), "-w", "json")
    assert ran.code == 5, ran.err
    told = json.loads(ran.out)
    assert told["good"] is False
    found = {one["where"].rpartition("/")[2]: one for one in told["certificates"]}
    assert found["server.crt"]["urgency"] == "good"
    assert found["server.crt"]["issuer"] == "home clients"
    assert "127.0.0.1" in found["server.crt"]["names"]
    unknown = [one for one in told["certificates"] if one["urgency"] == "unknown"]
    assert len(unknown) == 2
    assert all("cannot be connected to" in one["problems"][0] for one in unknown)
    text = cli("cert", "list", "-i", str(inventory)).out
    assert text.splitlines()[0].startswith("STATE    DAYS  UNTIL")
    assert "m1 on port" in text


@pytest.mark.slow
def test_a_renewal_wants_a_yes_and_then_renews_what_is_in_the_files(cli: RunCli, inventory: Path) -> None:
    """Nobody is at a terminal: the line that says yes is named. A plan alone changes nothing."""
    path = inventory.parent / "host-pki" / "server.crt"
    before = path.read_bytes()
    planned = cli("cert", "renew", "-i", str(inventory), "-n")
    assert planned.code == 0, planned.err
    assert "nobody is restarted" in planned.out
    refused = cli("cert", "renew", "-i", str(inventory))
    assert refused.code == 8
    assert "--yes" in refused.err
    assert path.read_bytes() == before


def test_what_cannot_be_done_is_said_before_any_host_is_asked(cli: RunCli, inventory: Path) -> None:
    """No such cluster, no such word."""
    ran = cli("cert", "list", "-i", str(inventory), "--cluster", "prod")
    assert ran.code == 2
    assert "no cluster prod" in ran.err
    assert cli("cert", "rotate-ca", "--until", "tomorrow").code == 2
