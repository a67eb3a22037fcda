"""A cluster of the inventory as the place to connect to, for commands that talk to members."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import RunCli
from tests.fakes.served_member import ServedMember
from tests.support.ports import free_ports
from tests.support.sshd import SSHDaemon, running_sshd, sshd_missing

pytestmark = [pytest.mark.slow, pytest.mark.real]


@pytest.fixture
def member(tmp_path: Path) -> Iterator[ServedMember]:
    (tmp_path / "member").mkdir()
    with ServedMember(tmp_path / "member") as served:
        yield served


@pytest.fixture
def written(member: ServedMember, tmp_path: Path) -> Path:
    """An inventory with the member as `here`, and two clusters that are not up."""
    down, other = free_ports(2)
    path = tmp_path / "i.yaml"
    path.write_text(
        "hosts: {this: {address: 127.0.0.1, local: true}}\n"
        "clusters:\n"
        f"  here: {{data_dir: /a, members: [{{host: this, listen_client_urls: ['http://{member.address}'],"
        f" advertise_client_urls: ['http://{member.address}'], listen_peer_urls: ['http://127.0.0.1:{other}']}}]}}\n"
        f"  down: {{data_dir: /b, members: [{{host: this, listen_client_urls: ['http://127.0.0.1:{down}'],"
        f" advertise_client_urls: ['http://127.0.0.1:{down}'], listen_peer_urls: ['http://127.0.0.1:1']}}]}}\n"
    )
    return path


def test_a_cluster_is_named_and_found(cli: RunCli, written: Path, member: ServedMember) -> None:
    """By flags before or after the command, by variables; what was typed comes first; stderr says what is used."""
    for arguments, environment in (
        (("status", "--inventory", str(written), "--cluster", "here"), {}),
        (("--inventory", str(written), "--cluster", "here", "status"), {}),
        (("status", "--cluster", "here"), {"ETCDOPS_INVENTORY": str(written), "ETCDOPS_CLUSTER": "down"}),
        (("status",), {"ETCDOPS_INVENTORY": str(written), "ETCDOPS_CLUSTER": "here"}),
        (("status", "--cluster", "down", "--endpoints", member.address), {"ETCDOPS_INVENTORY": str(written)}),
    ):
        ran = cli(*arguments, **environment)
        assert ran.code == 0, ran.err
        assert "of " + str(written) in ran.err
    assert f"using cluster down of {written}, with --endpoints as typed" in ran.err
    assert cli("status", "--cluster", "down", "--inventory", str(written)).code == 3


def test_what_cannot_be_chosen_is_told(cli: RunCli, written: Path) -> None:
    """The nearest name; all there are; the two that exclude each other; an inventory that is not there."""
    unknown = cli("status", "--inventory", str(written), "--cluster", "hree")
    assert (unknown.code, unknown.out) == (2, "")
    assert "has no cluster hree\nnext: did you mean here? it has here, down" in unknown.err
    assert "which cluster?" in cli("status", "--inventory", str(written)).err
    assert "two clusters" in cli("status", "--inventory", str(written), "--local", "x").err
    assert "cannot be read" in cli("status", "--inventory", f"{written}.no", "--cluster", "here").err
    told = cli("status", ETCDOPS_INVENTORY=str(written))
    assert "ETCDOPS_INVENTORY has here, down: choose with --cluster NAME" in told.err


def test_the_only_cluster_is_meant_unless_it_is_protected(cli: RunCli, written: Path) -> None:
    """Whoever has a production cluster in a variable names it."""
    one = written.with_name("one.yaml")
    one.write_text("".join(written.read_text().splitlines(keepends=True)[:3]))
    assert "using cluster here of" in cli("status", ETCDOPS_INVENTORY=str(one)).err
    one.write_text(one.read_text().replace("{data_dir: /a", "{protection: protected, data_dir: /a"))
    told = cli("status", ETCDOPS_INVENTORY=str(one))
    assert "ETCDOPS_INVENTORY has here: choose with --cluster NAME" in told.err
    assert "using cluster" not in told.err


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SSHDaemon]:
    with running_sshd(tmp_path / "sshd") as running:
        yield running


@pytest.mark.skipif(bool(sshd_missing()), reason=sshd_missing() or "has sshd")
def test_members_behind_ssh_are_asked_through_it(
    cli: RunCli, member: ServedMember, daemon: SSHDaemon, tmp_path: Path
) -> None:
    """The advertised address leads nowhere from here; a host that lets nobody in is named, the other one answers."""
    [closed] = free_ports(1)
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{daemon.port} {daemon.host_key}\n")
    # sudo's password is not needed to pass through, and its variable is not set
    login = f"user: {daemon.user}, key: {daemon.key}, become: {{password: {{env: NOT_SET}}}}"
    path = tmp_path / "i.yaml"
    path.write_text(
        f"hosts:\n  h1: {{address: 127.0.0.1, ssh: {{{login}, port: {daemon.port}}}}}\n"
        f"  h2: {{address: 127.0.0.1, ssh: {{{login}, port: {closed}}}}}\n"
        "clusters:\n  c:\n    access: {via: ssh}\n    members:\n"
        f"      - {{host: h1, listen_client_urls: ['http://{member.address}'],"
        " advertise_client_urls: ['http://203.0.113.1:2379']}\n"
        "      - {host: h2, advertise_client_urls: ['http://203.0.113.2:2379']}\n"
    )
    ran = cli("status", "--cluster", "c", "--inventory", str(path), "-w", "json", HOME=str(home))
    assert f"using cluster c of {path}, through SSH to h1, h2" in ran.err
    assert f"h2: nothing listens at 127.0.0.1:{closed}" in ran.err
    answered = [one for one in json.loads(ran.out)["members"] if not one["error"]]
    assert [one["endpoint"] for one in answered] == ["http://203.0.113.1:2379"]
    saved = cli("snapshot", "save", str(tmp_path / "b.db"), "--cluster", "c", "--inventory", str(path), HOME=str(home))
    assert saved.code == 0, saved.err


@pytest.mark.skipif(bool(sshd_missing()), reason=sshd_missing() or "has sshd")
def test_when_no_host_lets_us_through_that_is_the_error(cli: RunCli, daemon: SSHDaemon, tmp_path: Path) -> None:
    """Not that members do not answer: nobody asked them."""
    path = tmp_path / "i.yaml"
    path.write_text(
        f"hosts: {{h1: {{address: 127.0.0.1, ssh: {{user: {daemon.user}, key: {daemon.key}, port: {daemon.port}}}}}}}\n"
        "clusters: {c: {access: {via: ssh}, members: [{host: h1}]}}\n"
    )
    ran = cli("status", "--cluster", "c", "--inventory", str(path), HOME=str(tmp_path / "nobody"))
    assert ran.code == 4, ran.err
    assert "h1: its host key is not known" in ran.err
