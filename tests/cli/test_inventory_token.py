"""After a recovery on hosts: that the inventory has the new token, or the command that writes it there."""

from __future__ import annotations

from pathlib import Path

from etcdops.cli.inventory_token import told_of_token
from etcdops.inventory.edit import token_edit
from etcdops.playbooks.on_hosts import INPUT
from etcdops.playbooks.plan import Plan, Result

YAML = """\
hosts: {h1: {address: 10.0.0.1}}
clusters: {prod: {members: [{host: h1}]}}
"""


def recovered(path: Path) -> Plan:
    source = {"paths": [str(path)], "digest": "d"}
    return Plan("recover-on-hosts", "prod", {INPUT: source, "old_token": "prod", "token": "prod-1"}, (), (), ())


def test_the_command_is_told_while_the_inventory_has_the_token_from_before(tmp_path: Path) -> None:
    """Not when it is written already, and never once a later recovery has made another."""
    path = tmp_path / "my prod.yaml"
    path.write_text(YAML)
    plan = recovered(path)
    command, why = told_of_token(plan, {})
    assert command == f"next: etcdops inventory set-token -i '{path}' --cluster prod prod-1"
    assert "write the inventory's old one back" in why
    for token in ("prod-1", "prod-2"):
        token_edit([path], "prod", token).write("before")
        assert told_of_token(plan, {}) == []
    path.unlink()
    assert told_of_token(plan, {}) == []


def test_a_run_that_wrote_it_tells_where_the_file_before_is(tmp_path: Path) -> None:
    """And a run that is no recovery tells nothing."""
    results: dict[str, Result] = {"inventory": {"file": "/i.yaml", "kept": "/i.yaml.before-1"}}
    assert told_of_token(recovered(tmp_path), results) == ["/i.yaml has the new token; as it was: /i.yaml.before-1"]
    assert told_of_token(Plan("rollout", "prod", {INPUT: {"paths": [], "digest": ""}}, (), ()), {}) == []
    assert told_of_token(Plan("recover", "prod", {"old_token": "a", "token": "b"}, (), ()), {}) == []
