"""`etcdops inventory render`: files around a cluster, for pipes and for folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etcdops.cli.inventory_render import KINDS
from tests.cli.conftest import RunCli

YAML = """\
hosts:
  h1: {address: 10.0.0.1}
  h2: {address: 10.0.0.2}
  h3: {address: 10.0.0.3}
clusters:
  prod:
    engine: {version: 3.5.16}
    tls: {}
    firewall: {clients: [10.9.0.0/16]}
    settings: {discovery-srv: prod.example.com}
    members: [{host: h1}, {host: h2}, {host: h3}]
"""


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "prod.yaml"
    path.write_text(YAML)
    return str(path)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"compose"}))
def test_every_kind_is_rendered_from_an_inventory_alone(cli: RunCli, inventory: str, kind: str) -> None:
    """But for files on the machines of others."""
    ran = cli(
        "inventory", "render", kind, "-i", inventory, "--ca-file", "/ca.crt", "--client-pem", "/c.pem", "-w", "json"
    )
    assert ran.code == 0, ran.err
    files = json.loads(ran.out)["files"]
    assert files
    assert all(file["content"].endswith("\n") and file["path"].startswith("/") for file in files)


def test_one_file_is_printed_bare_and_several_with_their_names(cli: RunCli, inventory: str) -> None:
    """So the one can go through a pipe into its program."""
    records = cli("inventory", "render", "dnsmasq", "-i", inventory)
    assert records.code == 0, records.err
    assert "srv-host=_etcd-server-ssl._tcp.prod.example.com,h1.prod.example.com,2380" in records.out
    assert "==>" not in records.out
    members = cli("inventory", "render", "member", "-i", inventory)
    assert "# ==> h2: /etc/default/etcd\n" in members.out
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in members.out
    assert 'ETCD_INITIAL_CLUSTER_STATE="new"' in cli("inventory", "render", "member", "-i", inventory, "--new").out


def test_into_a_folder_files_have_their_places_and_permissions(cli: RunCli, inventory: str, tmp_path: Path) -> None:
    """As they would be copied to their hosts."""
    ran = cli("inventory", "render", "backup-cron", "-i", inventory, "--into", str(tmp_path / "out"))
    assert ran.code == 0, ran.err
    written = [Path(line) for line in ran.out.splitlines()]
    assert {path.relative_to(tmp_path / "out").parts[0] for path in written} == {"h1", "h2", "h3"}
    scripts = [path for path in written if path.stat().st_mode & 0o111]
    assert len(scripts) == 3


def test_what_the_inventory_does_not_say_is_asked_for(cli: RunCli, inventory: str) -> None:
    """With where to write it."""
    ran = cli("inventory", "render", "compose", "-i", inventory)
    assert ran.code == 2
    assert "next: give service.image in the inventory" in ran.err
