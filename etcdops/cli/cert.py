"""`etcdops cert list|renew|rotate-ca`: the certificates of a cluster on hosts of an inventory."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcdops.cli.help import OpsCommand, OpsGroup
from etcdops.cli.host_options import (
    accept_new_option,
    cluster_option,
    confirm_option,
    dry_run_option,
    inventory_option,
    yes_if_unprotected_option,
    yes_option,
)
from etcdops.cli.options import Invocation, connection_options, current, general_options
from etcdops.cli.output import Cell, Column, Look, render_json, render_table, write
from etcdops.cli.run_control import TypedAccess, events_option
from etcdops.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from etcdops.playbooks.certificates.listing import Listed, Row
    from etcdops.playbooks.on_hosts import RunHosts
    from etcdops.playbooks.plan import Plan

LIST_SCHEMA = "etcdops.certificates/1"
RUN_SCHEMA = "etcdops.certificates-run/1"
_DAYS = 30
_KINDS = {"EXPIRED": "bad", "WRONG": "bad", "SOON": "warn", "UNKNOWN": "warn", "GOOD": "good"}
_WORDS = {"EXPIRED": "expired", "WRONG": "wrong", "SOON": "soon", "UNKNOWN": "unknown", "GOOD": "good"}

_days = click.option(
    "--days",
    type=click.IntRange(min=1),
    default=365,
    show_default=True,
    metavar="N",
    help="How long the new certificates are valid.",
)
_new_keys = click.option(
    "--new-keys", is_flag=True, help="Make new keys too; else the keys that are on the hosts stay there."
)


@click.group(
    "cert",
    cls=OpsGroup,
    examples=[
        ("what expires next?", "etcdops cert list -i prod.yaml"),
        ("new certificates, nobody is restarted", "etcdops cert renew -i prod.yaml"),
        ("another authority, without downtime", "etcdops cert rotate-ca -i prod.yaml"),
    ],
)
def command() -> None:
    """Certificates of a cluster: all at a glance, renewed, and under a new authority."""


@command.command(
    "list",
    cls=OpsCommand,
    examples=[
        ("in a monitoring check", "etcdops cert list -i prod.yaml --days 14 -w json"),
    ],
)
@inventory_option
@cluster_option
@click.option(
    "--days",
    type=click.IntRange(min=0),
    default=_DAYS,
    show_default=True,
    metavar="N",
    help="What expires within so many days is a fault.",
)
@accept_new_option
@connection_options
@general_options
def list_command(given: tuple[Path, ...], name: str, days: int, accept_new: bool) -> int:
    """Every certificate: here, in the files of the hosts, and as the running members show them.

    The most urgent first. Exit code 0: all are good. 5: one is expired, about to, wrong, or could not be looked at.
    """
    from etcdops.playbooks.certificates.listing import list_certificates, row_json

    invocation = current()

    async def look(run: RunHosts) -> Listed:
        return await list_certificates(run, soon=datetime.timedelta(days=days))

    found = _on_hosts(invocation, given, name, accept_new, look, "looking at the certificates ...")
    if invocation.format == "json":
        rows: list[Any] = [row_json(row, found.now) for row in found.rows]
        write(render_json(LIST_SCHEMA, {"good": found.good, "rotating": list(found.rotating), "certificates": rows}))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
        write(render_list(found, invocation.look, width=width))
    return int(ExitCode.OK if found.good else ExitCode.UNHEALTHY)


def render_list(found: Listed, look: Look, *, width: int) -> str:
    """A line for each certificate, and under the table what is wrong and what to do."""
    columns = (
        Column("STATE"),
        Column("DAYS", right=True),
        Column("UNTIL"),
        Column("WHAT"),
        Column("WHERE"),
        Column("ISSUER", optional=1),
        Column("VALID FOR", optional=2),
    )
    lines = [render_table(columns, [_cells(row, found) for row in found.rows], look, width=width)]
    for row in found.rows:
        lines += [f"{look.style('▲', 'warn')} {row.where}: {problem}" for problem in row.problems]
    if found.rotating:
        lines.append(
            f"the {' and '.join(found.rotating)} authority is being replaced: etcdops cert rotate-ca goes on with it"
        )
    return look.text("\n".join(lines))


def _cells(row: Row, found: Listed) -> tuple[Cell, ...]:
    facts, left = row.facts, row.days_left(found.now)
    return (
        Cell(_WORDS[row.urgency.name], _KINDS[row.urgency.name]),
        Cell("-" if left is None else str(left)),
        Cell(f"{facts.not_after:%Y-%m-%d}" if facts else "-"),
        Cell(row.what),
        Cell(row.where),
        Cell(facts.issuer if facts else "-"),
        Cell(", ".join((*facts.names, *facts.addresses)) if facts else "-"),
    )


@command.command(
    "renew",
    cls=OpsCommand,
    examples=[
        ("what would be done?", "etcdops cert renew -i prod.yaml -n"),
        ("one member, from a script", "etcdops cert renew -i prod.yaml --member m1 --yes"),
    ],
)
@inventory_option
@cluster_option
@click.option("--member", "members", multiple=True, metavar="NAME", help="Only this one's; may be repeated.")
@_days
@_new_keys
@accept_new_option
@confirm_option
@yes_option
@dry_run_option
@events_option
@connection_options
@general_options
def renew(
    given: tuple[Path, ...],
    name: str,
    members: tuple[str, ...],
    days: int,
    new_keys: bool,
    accept_new: bool,
    confirm: str | None,
    yes: bool,
    dry_run: bool,
    events: str,
) -> int:
    """Issue the members' certificates anew. Nobody is restarted: members read them at every handshake.

    Each is written as a whole and then asked for at the member's ports. Works on expired ones too.
    """
    from etcdops.cli.host_run import HostRunRequest, carry_out_on_hosts
    from etcdops.playbooks.certificates.planning import CertificateChoices
    from etcdops.playbooks.certificates.procedure import plan_renew

    async def make(run: RunHosts) -> Plan:
        return await plan_renew(run, CertificateChoices(days, new_keys), members)

    request = HostRunRequest(given, name, accept_new, dry_run, events, yes=yes, confirm=confirm)
    return carry_out_on_hosts(current(), request, make, RUN_SCHEMA)


@command.command(
    "rotate-ca",
    cls=OpsCommand,
    examples=[
        ("all at once, when only members have certificates", "etcdops cert rotate-ca -i prod.yaml --confirm prod"),
        ("stop while clients get the new authority", "etcdops cert rotate-ca -i prod.yaml --until trust"),
    ],
)
@inventory_option
@cluster_option
@click.option(
    "--until",
    type=click.Choice(["trust", "leaves", "end"]),
    default="end",
    show_default=True,
    help="trust: members trust both authorities. leaves: and show new certificates. end: and trust the new one only.",
)
@_days
@_new_keys
@click.option("--accept-downtime", is_flag=True, help="With one or two members: some seconds without service.")
@accept_new_option
@confirm_option
@yes_if_unprotected_option
@dry_run_option
@events_option
@connection_options
@general_options
def rotate_ca(
    given: tuple[Path, ...],
    name: str,
    until: str,
    days: int,
    new_keys: bool,
    accept_downtime: bool,
    accept_new: bool,
    confirm: str | None,
    yes: bool,
    dry_run: bool,
    events: str,
) -> int:
    """Replace the cluster's authorities while it serves.

    All members trust both, then show new certificates, then trust the new one only; twice each member is restarted,
    one at a time. The same command goes on with what was begun.
    """
    from etcdops.cli.host_run import HostRunRequest, carry_out_on_hosts
    from etcdops.playbooks.certificates.planning import CertificateChoices, Until
    from etcdops.playbooks.certificates.procedure import plan_rotate

    async def make(run: RunHosts) -> Plan:
        return await plan_rotate(run, CertificateChoices(days, new_keys, accept_downtime, Until(until)))

    request = HostRunRequest(given, name, accept_new, dry_run, events, yes=yes, confirm=confirm, severe=True)
    return carry_out_on_hosts(current(), request, make, RUN_SCHEMA)


def _on_hosts(
    invocation: Invocation,
    given: tuple[Path, ...],
    name: str,
    accept_new: bool,
    work: Callable[[RunHosts], Awaitable[Listed]],
    waiting: str,
) -> Listed:
    from etcdops.cli.host_run import named_hosts

    hosts = named_hosts(given, name, os.environ)
    access = TypedAccess(invocation, accept_new=accept_new)
    access.learn(hosts.inventory)
    with invocation.waiting(waiting):
        return invocation.run(hosts.reach(access, work))
