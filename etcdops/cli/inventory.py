"""`etcdops inventory ...`: what is written down of clusters and hosts, and whether it holds."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli import inventory_import, inventory_render, inventory_token
from etcdops.cli.diagnostics import warn
from etcdops.cli.help import OpsCommand, OpsGroup
from etcdops.cli.host_options import accept_new_option, inventory_option
from etcdops.cli.options import Invocation, current, general_options
from etcdops.cli.output import Json, printable, render_json, write
from etcdops.errors import ExitCode, UsageError
from etcdops.wording import counted

if TYPE_CHECKING:
    from etcdops.inventory.load import Read
    from etcdops.inventory.model import Host, Inventory
    from etcdops.inventory.reach import Reached, Ways
    from etcdops.inventory.source import Fault
    from etcdops.remote.pool import Outcome

CHECK_SCHEMA = "etcdops.inventory-check/1"
SHOW_SCHEMA = "etcdops.inventory/1"


@click.group(
    "inventory",
    cls=OpsGroup,
    examples=[
        ("is what I wrote right?", "etcdops inventory check"),
        ("and do the hosts let us in?", "etcdops inventory check --connect"),
        ("what does it mean, with all defaults?", "etcdops inventory show"),
        ("what belongs around a cluster, such as alerts", "etcdops inventory render prometheus"),
        ("begin with what is there", "etcdops inventory import --endpoints http://10.0.0.1:2379 --ssh"),
    ],
)
def command() -> None:
    """Clusters, members and hosts as they are written down in YAML."""


@command.command(
    "check",
    cls=OpsCommand,
    examples=[
        ("every fault by file, line, key and fix", "etcdops inventory check -i prod.yaml"),
        ("from a script, on hosts that are new", "etcdops inventory check --connect --accept-new -w json"),
    ],
)
@inventory_option
@click.option("--connect", is_flag=True, help="Log in to every host: may we become root, is what is needed there?")
@accept_new_option
@general_options
def check(given: tuple[Path, ...], connect: bool, accept_new: bool) -> int:
    """Find all faults at once: form, names, flags that the engine's version refuses, URLs, files that are no use.

    With --connect, try the hosts too, and look at the certificates there; nothing is changed on them.

    Exit code 0: no faults, and all hosts can be worked with. 2: faults. 3: no host answers. 4: none lets us in. 5:
    some hosts cannot be worked with.
    """
    if accept_new and not connect:
        raise UsageError("--accept-new is about host keys", hint="give it with --connect")
    from etcdops.inventory.load import InventoryError

    invocation = current()
    paths = _paths(given)
    found = _checked(paths)
    if found.faults:
        if invocation.format != "json":
            for warning in found.warnings:
                warn(printable(str(warning)))
            raise InventoryError(found.faults)
        write(render_json(CHECK_SCHEMA, _document(found, [])))
        return int(ExitCode.USAGE)
    return _connect(invocation, found, paths, accept_new) if connect else _say(invocation, found, paths)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a check found; `read` is there when there are no faults of form."""

    read: Read | None
    faults: Sequence[Fault] = ()
    warnings: Sequence[Fault] = ()

    @property
    def inventory(self) -> Inventory:
        assert self.read is not None
        return self.read.inventory


def _checked(paths: tuple[Path, ...]) -> _Found:
    from etcdops.inventory.load import InventoryError, read_inventory
    from etcdops.rendering.inventory_faults import check as look

    try:
        read = read_inventory(paths)
    except InventoryError as error:
        return _Found(None, error.faults)
    found = look(read, datetime.datetime.now(datetime.UTC))
    return _Found(read, found.faults, found.warnings)


def _document(found: _Found, hosts: list[Json]) -> dict[str, Json]:
    return {
        "faults": [_fault_json(one) for one in found.faults],
        "warnings": [_fault_json(one) for one in found.warnings],
        "hosts": hosts,
    }


def _fault_json(fault: Fault) -> Json:
    from etcdops.inventory.source import dotted

    key = dotted(fault.location)
    return {"file": str(fault.path), "line": fault.line, "key": key, "message": fault.message, "fix": fault.fix}


def _say(invocation: Invocation, found: _Found, paths: tuple[Path, ...]) -> int:
    if invocation.format == "json":
        write(render_json(CHECK_SCHEMA, _document(found, [])))
    else:
        _sum_up(found, paths)
    return int(ExitCode.OK)


def _sum_up(found: _Found, paths: tuple[Path, ...]) -> None:
    from etcdops.cli.inventory_view import summary

    for warning in found.warnings:
        warn(printable(str(warning)))
    count = len(found.warnings)
    warned = f", {counted(count, 'warning')}" if count else ""
    write(f"{_named(paths)}: {summary(found.inventory)}; no faults{warned}")


def _connect(invocation: Invocation, found: _Found, paths: tuple[Path, ...], accept_new: bool) -> int:
    from etcdops.cli.inventory_view import outcome_json, render_outcomes
    from etcdops.inventory.reach import ways_in

    inventory = found.inventory

    # before anything runs: a person who is asked for a password may answer with Ctrl-C
    ways = ways_in(inventory)
    with invocation.waiting(f"logging in to {len(inventory.hosts)} hosts ..."):
        outcomes = invocation.run(_reach(inventory, ways, accept_new))
    if invocation.format == "json":
        hosts: list[Json] = [outcome_json(outcome) for outcome in outcomes]
        write(render_json(CHECK_SCHEMA, _document(found, hosts)))
    else:
        _sum_up(found, paths)
        write(render_outcomes(outcomes, invocation.look, width=_width()))
    return int(_exit_code(outcomes))


async def _reach(inventory: Inventory, ways: Ways, accept_new: bool) -> list[Outcome[Host, Reached]]:
    from etcdops.cli.host_key_question import HostKeyQuestion, host_key_policy
    from etcdops.inventory.reach import reach_all
    from etcdops.remote.ssh import Connector
    from etcdops.remote.ssh_config import SSHConfig
    from etcdops.services.host_certificates import certificates_on

    question = HostKeyQuestion()
    connector = Connector(host_key_policy(question, accept_new=accept_new), SSHConfig())
    try:
        return await reach_all(inventory, ways, connector, look=certificates_on(inventory))
    finally:
        question.withdraw()
        connector.close()


def _exit_code(outcomes: list[Outcome[Host, Reached]]) -> ExitCode:
    """OK when all is well; what all failed of, when they failed alike; else UNHEALTHY."""
    ended = {
        outcome.error.exit_code
        if outcome.error is not None
        else ExitCode.OK
        if outcome.value is not None and outcome.value.usable
        else ExitCode.UNHEALTHY
        for outcome in outcomes
    }
    return ended.pop() if len(ended) == 1 else ExitCode.UNHEALTHY if ended else ExitCode.OK


@command.command(
    "show",
    cls=OpsCommand,
    examples=[
        ("hosts and members at a glance", "etcdops inventory show"),
        ("an inventory with nothing left to defaults", "etcdops inventory show --yaml > full.yaml"),
    ],
)
@inventory_option
@click.option("--yaml", "as_yaml", is_flag=True, help="As an inventory that leaves nothing to defaults.")
@general_options
def show(given: tuple[Path, ...], as_yaml: bool) -> None:
    """Everything with its defaults filled in. Secrets are shown as the sources they come from, and not read."""
    from etcdops.inventory.load import load_inventory

    invocation = current()
    inventory = load_inventory(_paths(given))
    if as_yaml:
        from etcdops.cli.inventory_view import render_yaml

        write(render_yaml(inventory))
    elif invocation.format == "json":
        from etcdops.inventory.filled import filled

        write(render_json(SHOW_SCHEMA, filled(inventory)))
    else:
        from etcdops.cli.inventory_view import render_inventory

        write(render_inventory(inventory, invocation.look, width=_width()))


command.add_command(inventory_import.command)
command.add_command(inventory_render.command)
command.add_command(inventory_token.command)


def _paths(given: tuple[Path, ...]) -> tuple[Path, ...]:
    from etcdops.inventory.find import inventory_paths

    return inventory_paths(given, os.environ)


def _named(paths: tuple[Path, ...]) -> str:
    return ", ".join(map(str, paths))


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
