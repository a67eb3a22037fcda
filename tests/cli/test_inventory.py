"""`etcdops inventory`: faults with their places, and everything filled in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import RunCli

SMALL = """\
hosts:
  etcd-1: {address: 10.0.0.11, ssh: {user: ops, become: {password: {env: SUDO_OF_ETCD}}}, tags: {rack: a}}
  etcd-2: {address: 10.0.0.12, ssh: {jump: etcd-1}}
clusters:
  prod:
    settings: {pre-vote: true}
    members: [{host: etcd-1}, {host: etcd-2, data_dir: /data}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_check_counts_what_is_there(cli: RunCli, small: Path) -> None:
    """One line, exit code 0; the path may come from the environment."""
    ran = cli("inventory", "check", "-i", str(small))
    assert (ran.code, ran.out) == (0, f"{small}: 2 hosts, 1 cluster, 2 members; no faults, 1 warning\n")
    assert f"warning: {small}:7: clusters.prod.members: 2 members stand no more failures than 1" in ran.err
    assert cli("inventory", "check", ETCDOPS_INVENTORY=str(small)).out == ran.out


def test_a_new_token_is_shown_as_a_difference_and_written_in_its_place(cli: RunCli, small: Path) -> None:
    """For a person, and for scripts; a second time there is nothing to do."""
    line = ("inventory", "set-token", "-i", str(small), "prod-5c1f")
    planned = cli(*line, "-n")
    assert (planned.code, "+    token: prod-5c1f" in planned.out) == (0, True)
    assert small.read_text() == SMALL
    done = cli(*line)
    assert done.out.endswith(f"written; as it was: {small}.before-set-token\n")
    assert small.read_text() == SMALL.replace("  prod:\n", "  prod:\n    token: prod-5c1f\n")
    again = cli(*line, "-w", "json")
    assert json.loads(again.out)["kept"] is None
    assert "is prod-5c1f already" in cli(*line).out
    assert cli(*line, "--cluster", "none").code == 2


def test_check_names_all_faults(cli: RunCli, tmp_path: Path) -> None:
    """On stderr for people, on stdout for scripts; exit code 2 for both."""
    path = tmp_path / "bad.yaml"
    path.write_text("hosts:\n  a: {adress: x}\nclusters:\n  c:\n    members: [{host: b}, {}]\n")
    ran = cli("inventory", "check", "-i", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert f"{path}:2: hosts.a.adress: there is no such setting (fix: did you mean address?)" in ran.err
    told = cli("inventory", "check", "-i", str(path), "-w", "json")
    assert told.code == 2
    faults = json.loads(told.out)["faults"]
    assert [(one["line"], one["key"]) for one in faults] == [
        (2, "hosts.a.adress"),
        (5, "clusters.c.members[1].host"),
        (5, "clusters.c.members[0].host"),
    ]
    assert faults[0]["fix"] == "did you mean address?"


def test_accept_new_alone_is_a_mistake(cli: RunCli, small: Path) -> None:
    """It would do nothing."""
    ran = cli("inventory", "check", "-i", str(small), "--accept-new")
    assert ran.code == 2
    assert "give it with --connect" in ran.err


def test_show_fills_everything_in(cli: RunCli, small: Path) -> None:
    """As tables; the password is where it comes from, and it is not fetched: the variable is not even set."""
    ran = cli("inventory", "show", "-i", str(small))
    assert ran.code == 0, ran.err
    assert ran.out == (
        "HOST    ADDRESS    LOGIN                  ROOT                                  JUMP    TAGS\n"
        "etcd-1  10.0.0.11  ops                    sudo, password from env SUDO_OF_ETCD  -       rack=a\n"
        "etcd-2  10.0.0.12  as ~/.ssh/config says  sudo                                  etcd-1  -\n"
        "\n"
        "prod: etcd 3.5, systemd etcd, no TLS, user etcd, token prod, protection normal\n"
        "clients: through SSH to etcd-2\n"
        "settings: pre-vote=true\n"
        "MEMBER  HOST    CLIENT URLS            PEER URLS              DATA\n"
        "etcd-1  etcd-1  http://10.0.0.11:2379  http://10.0.0.11:2380  /var/lib/etcd\n"
        "etcd-2  etcd-2  http://10.0.0.12:2379  http://10.0.0.12:2380  /data\n"
    )


def test_show_for_scripts_and_as_an_inventory(cli: RunCli, small: Path, tmp_path: Path) -> None:
    """JSON and YAML say the same; the YAML passes `check`."""
    data = json.loads(cli("inventory", "show", "-i", str(small), "-w", "json").out)
    assert data.pop("schema") == "etcdops.inventory/1"
    text = cli("inventory", "show", "-i", str(small), "--yaml").out
    assert yaml.safe_load(text) == data
    (tmp_path / "full.yaml").write_text(text)
    assert cli("inventory", "check", "-i", str(tmp_path / "full.yaml")).code == 0


def test_import_writes_an_inventory_that_passes_its_check(cli: RunCli, tmp_path: Path) -> None:
    """To stdout or a file, which is never overwritten."""
    source, made = tmp_path / "etcd", tmp_path / "made.yaml"
    source.write_text("ETCD_NAME=m1\nETCD_DATA_DIR=/data\nETCD_INITIAL_CLUSTER=m1=http://10.0.0.1:2380\n")
    line = ("inventory", "import", str(source), "--cluster", "lab", "--etcd-version", "3.5.16")
    printed = cli(*line)
    assert printed.code == 0, printed.err
    assert cli(*line, "-o", str(made)).code == 0
    assert made.read_text() == printed.out
    ran = cli("inventory", "check", "-i", str(made))
    assert (ran.code, ran.out) == (0, f"{made}: 1 host, 1 cluster, 1 member; no faults, 1 warning\n")
    again = cli(*line, "-o", str(made))
    assert again.code == 2
    assert "is there already" in again.err
    made.write_text("mine")
    assert cli(*line, "-o", str(made)).code == 2
    assert made.read_text() == "mine"
    assert cli(*line, "-o", str(made), "--force").code == 0
    assert made.read_text() == printed.out
    assert cli("inventory", "import", str(tmp_path / "none")).code == 2


def test_check_finds_what_the_engine_would_refuse(cli: RunCli, tmp_path: Path) -> None:
    """Faults with the place and the fix; warnings beside them; both in JSON."""
    path = tmp_path / "i.yaml"
    path.write_text(
        "hosts: {a: {address: 10.0.0.1}}\nclusters:\n  c:\n    engine: {version: '3.6'}\n    settings:\n"
        "      enable-v2: true\n    members: [{host: a, advertise_client_urls: ['http://0.0.0.0:2379']}]\n"
    )
    ran = cli("inventory", "check", "-i", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert f"{path}:6: clusters.c.settings.enable-v2: etcd 3.6 does not take it: 3.5 was the last" in ran.err
    assert "(fix: remove it)" in ran.err
    assert "warning: " in ran.err
    told = json.loads(cli("inventory", "check", "-i", str(path), "-w", "json").out)
    assert [len(told[key]) for key in ("faults", "warnings", "hosts")] == [1, 1, 0]
