"""`etcdops rollout`: what is told before anything is done, and with which exit code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etcdops.cli.main import run
from etcdops.playbooks.rollout import procedure
from etcdops.playbooks.rollout.procedure import Prepared
from etcdops.playbooks.rollout.refusals import refusals
from etcdops.playbooks.rollout.survey import Survey
from tests.playbooks.rollout.test_planning import TLS
from tests.playbooks.rollout.test_planning import plan as planned
from tests.playbooks.rollout.told import bare, setting

YAML = """\
hosts: {h1: {address: 10.0.0.1}, h2: {address: 10.0.0.2}, h3: {address: 10.0.0.3}}
clusters:
  prod: {members: [{host: h1}, {host: h2}, {host: h3}], tls: {}}
"""
Told = Callable[[Prepared], None]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Hosts are not asked; what they would say is told."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etcdops.yaml").write_text(YAML)

    def tell(prepared: Prepared) -> None:
        async def prepare(*arguments: Any, **options: Any) -> Prepared:
            return prepared

        monkeypatch.setattr(procedure, "prepare", prepare)

    return tell


def test_when_nothing_differs_both_say_so_and_end_well(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """A second apply changes nothing, needs no confirmation, and is no error."""
    told(Prepared(None))
    assert (run(["rollout", "plan"]), run(["rollout", "apply"])) == (0, 0)
    assert capsys.readouterr().out.count("every host is as the inventory says; nothing to do") == 2


def test_refusals_are_all_told_with_what_comes_next_and_end_with_6(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal and as data; nothing is asked."""
    found = refusals(setting({"members": [{"host": "h1"}, {"host": "h2"}]}, h1={"missing": ("systemctl",)}))
    told(Prepared(None, refused=found))
    assert (run(["rollout", "plan"]), run(["rollout", "apply", "--yes"])) == (6, 6)
    said = capsys.readouterr()
    assert "[even-members]" in said.out
    assert "next: mend them, then try again" in said.err
    assert run(["rollout", "plan", "-w", "json"]) == 6
    document = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in document["refused"]] == [one.id for one in found]


def test_what_the_hosts_are_like_is_told_before_a_cluster_is_made_on_them(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """As lines and as data; not of hosts that are as they should be."""
    facts = {"h1": dataclasses.replace(bare("h1"), memory_bytes=8 << 30)}
    told(Prepared(planned({}, cluster=TLS, is_new=True), facts=facts))
    assert run(["rollout", "plan"]) == 7
    said = capsys.readouterr().out
    assert "  h1  Debian GNU/Linux 12 (bookworm), x86_64, 8.0 GB of memory, clock +0.01 s" in said
    assert "/var/lib/etcd: ext4, 50 GB free, a synced write takes 1.0 ms, p99 4.0 ms" in said
    assert run(["rollout", "plan", "-w", "json"]) == 7
    assert json.loads(capsys.readouterr().out)["facts"]["h1"]["disks"][0]["fsync_p99_s"] == 0.004
    told(Prepared(None, facts=facts))
    assert run(["rollout", "plan"]) == 0
    assert "Debian" not in capsys.readouterr().out


def test_a_plan_shows_hosts_steps_and_differences_and_ends_with_7(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that are new are named; of those that are there the difference is shown."""
    changed = Survey(
        files={"/etc/default/etcd": "--- /etc/default/etcd\n+++ /etc/default/etcd\n-ETCD_NAME=x\n+ETCD_NAME=h1\n"}
    )
    told(Prepared(planned({"h1": changed}, cluster=TLS), surveys={"h1": changed}))
    assert run(["rollout", "plan"]) == 7
    said = capsys.readouterr().out
    assert "h1: /etc/default/etcd differs:" in said
    assert "  -ETCD_NAME=x" in said
    assert "put the service's files right: h1  on h1" in said


def test_without_a_terminal_nothing_is_done_unconfirmed(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """The error has the line that would do it."""
    told(Prepared(planned({"h1": Survey(stopped="failed")}, cluster=TLS)))
    assert run(["rollout", "apply"]) == 8
    assert "--yes" in capsys.readouterr().err


def test_a_protected_cluster_wants_its_name_and_no_yes(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that says --yes to everything does not change it."""
    told(Prepared(planned({"h1": Survey(stopped="failed")}, cluster=TLS)))
    (tmp_path / "etcdops.yaml").write_text(YAML.replace("tls: {}}", "tls: {}, protection: protected}"))
    assert run(["rollout", "apply", "--yes"]) == 8
    said = capsys.readouterr().err
    assert "prod is protected in the inventory" in said
    assert "--confirm prod" in said


@pytest.mark.parametrize("command", [["rollout", "plan"], ["cert", "list"]])
def test_a_setting_that_cannot_be_is_named_by_file_line_and_key(
    command: list[str], told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any host is asked, as `inventory check` does."""
    told(Prepared(None))
    file = tmp_path / "etcdops.yaml"
    file.write_text(YAML.replace("tls: {}}", "tls: {},\n    settings: {quota-backend-byte: '1'}}"))
    assert run(command) == 2
    said = capsys.readouterr().err
    assert f"{file.name}:4: clusters.prod.settings.quota-backend-byte" in said
    assert "quota-backend-bytes" in said
