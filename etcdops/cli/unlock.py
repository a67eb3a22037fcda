"""`etcdops runs unlock RUN|CLUSTER`: take the locks of a run that nobody will go on with from its hosts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.confirm import require_confirmation
from etcdops.cli.diagnostics import warn
from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import confirm_option, yes_if_unprotected_option
from etcdops.cli.options import Invocation, current, general_options
from etcdops.cli.output import render_json, write
from etcdops.cli.run_control import TypedAccess
from etcdops.clock import SystemClock
from etcdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from etcdops.inventory.model import Cluster, Inventory
    from etcdops.playbooks.host_locks import HostLock
    from etcdops.playbooks.on_hosts import InventorySource

SCHEMA = "etcdops.unlock/1"


@click.command(
    "unlock",
    cls=OpsCommand,
    examples=[
        ("who holds it, and what would it mean?", "etcdops runs unlock prod -i prod.yaml --dry-run"),
        ("its operator and journal are gone for good", "etcdops runs unlock prod -i prod.yaml"),
        ("a run that was begun here", "etcdops runs unlock r-0c4f"),
    ],
)
@click.argument("name", metavar="RUN|CLUSTER")
@click.option(
    "-i",
    "--inventory",
    "given",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the cluster is written down; not needed for a run that was begun here.",
)
@confirm_option
@yes_if_unprotected_option
@click.option("-n", "--dry-run", is_flag=True, help="Only say who holds it.")
@general_options
def unlock(name: str, given: tuple[Path, ...], confirm: str | None, yes: bool, dry_run: bool) -> int:
    """Let other runs work on a cluster whose run is unfinished and will stay so. To go on with it is better.

    Its locks are moved aside on every host, and its journal stays. Refused while its process gives signs of life.
    """
    from etcdops.playbooks.on_hosts import reaching
    from etcdops.playbooks.unlocking import LocksFound, find_locks, meaning, require_breakable
    from etcdops.playbooks.unlocking import unlock as break_all

    invocation, clock = current(), SystemClock()
    inventory, cluster, source = _named(name, given)
    access = TypedAccess(invocation)
    access.learn(inventory)

    async def ask() -> LocksFound:
        async with reaching(inventory, cluster, source, access) as run:
            return await find_locks(run)

    async def take(locks: tuple[HostLock, ...]) -> list[str]:
        async with reaching(inventory, cluster, source, access) as run:
            return await break_all(run, locks)

    with invocation.waiting("asking the hosts ..."):
        found = invocation.run(ask())
    for line in found.silent:
        warn(f"{line}: it may be locked too")
    locks = found.locks if not name.startswith("r-") else tuple(one for one in found.locks if one.run == name)
    if not locks:
        _say(invocation, cluster.name, [], [f"no run holds {cluster.name} on the hosts that answered"])
        return int(ExitCode.UNREACHABLE if found.silent and not found.locks else ExitCode.OK)
    said = [meaning(lock, clock) for lock in locks]
    if dry_run:
        _say(invocation, cluster.name, [], said)
        return int(ExitCode.OK)
    require_breakable(locks, clock)
    if invocation.format != "json":
        write(invocation.look.text("\n".join(said)))
    require_confirmation(cluster.name, protection=cluster.protection, severe=True, confirm=confirm, yes=yes)
    missed = invocation.run(take(locks))
    broken = [lock.host for lock in locks if lock.host not in missed]
    lines = [f"{host}: the lock of {cluster.name} was moved aside" for host in broken]
    lines += [f"{host}: another run has taken it meanwhile" for host in missed]
    _say(invocation, cluster.name, broken, lines)
    return int(ExitCode.PARTLY_APPLIED if missed else ExitCode.OK)


def _say(invocation: Invocation, cluster: str, unlocked: list[str], lines: list[str]) -> None:
    if invocation.format == "json":
        write(render_json(SCHEMA, {"cluster": cluster, "unlocked": unlocked, "said": lines}))
    else:
        write(invocation.look.text("\n".join(lines)))


def _named(name: str, given: tuple[Path, ...]) -> tuple[Inventory, Cluster, InventorySource]:
    """The cluster that is meant. Raises: UsageError, InventoryError."""
    from etcdops.inventory.find import find_cluster, inventory_paths
    from etcdops.inventory.load import load_inventory
    from etcdops.playbooks.on_hosts import names_hosts, planned_paths, source_of
    from etcdops.playbooks.unlocking import known_run

    known = known_run(name, SystemClock()) if name.startswith("r-") else None
    if known is not None and not names_hosts(known.state.plan):
        raise UsageError(f"{name} is about members of this machine: its lock goes with its process")
    if known is not None:
        paths, cluster_name = planned_paths(known.state.plan), known.state.plan.cluster
    elif name.startswith("r-") and not given:
        raise UsageError(
            f"there is no run {name} here", hint="name the cluster it holds: etcdops runs unlock CLUSTER -i INVENTORY"
        )
    else:
        paths, cluster_name = inventory_paths(given, os.environ), "" if name.startswith("r-") else name
    inventory = load_inventory(paths)
    cluster = find_cluster(inventory, cluster_name, source=", ".join(map(str, paths)))
    return inventory, cluster, source_of(paths, inventory, cluster)
