"""A procedure on hosts from the command line: look at the hosts, show the plan, ask, carry it out."""

from __future__ import annotations

import datetime
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from etcdops.cli.confirm import require_confirmation
from etcdops.cli.options import Invocation
from etcdops.cli.output import Json, render_json, write
from etcdops.cli.run_control import TypedAccess, printer_for, work_on
from etcdops.cli.run_view import render_plan
from etcdops.errors import ExitCode

if TYPE_CHECKING:
    from etcdops.inventory.model import Cluster, Inventory
    from etcdops.playbooks.on_hosts import Access, InventorySource, RunHosts
    from etcdops.playbooks.plan import Plan

T = TypeVar("T")
MakePlan = Callable[["RunHosts"], Awaitable["Plan | None"]]


@dataclass(frozen=True, slots=True)
class NamedHosts:
    """A cluster of an inventory, read."""

    inventory: Inventory
    cluster: Cluster
    source: InventorySource

    async def reach(self, access: Access, work: Callable[[RunHosts], Awaitable[T]]) -> T:
        """Do something with sessions to its hosts, opened when first asked for."""
        from etcdops.playbooks.on_hosts import reaching

        async with reaching(self.inventory, self.cluster, self.source, access) as run:
            return await work(run)


def named_hosts(given: tuple[Path, ...], name: str, environment: Mapping[str, str]) -> NamedHosts:
    """Raises: InventoryError, UsageError - the inventory cannot be read or used, or has no such cluster."""
    from etcdops.inventory.find import find_cluster, inventory_paths
    from etcdops.inventory.load import read_inventory
    from etcdops.playbooks.on_hosts import source_of
    from etcdops.rendering.inventory_faults import require_usable

    paths = inventory_paths(given, environment)
    read = read_inventory(paths)
    cluster = find_cluster(read.inventory, name, source=", ".join(map(str, paths)))
    require_usable(read, cluster, datetime.datetime.now(datetime.UTC))
    return NamedHosts(read.inventory, cluster, source_of(paths, read.inventory, cluster))


@dataclass(frozen=True, slots=True)
class HostRunRequest:
    """What was typed."""

    given: tuple[Path, ...]
    cluster: str
    accept_new: bool
    dry_run: bool
    events: str
    yes: bool = False
    confirm: str | None = None
    severe: bool = False
    """Data or the service may be lost."""


def carry_out_on_hosts(invocation: Invocation, request: HostRunRequest, make: MakePlan, schema: str) -> int:
    """Make the plan, show it, have it confirmed, carry it out as a run. Nothing to do: said, exit 0, no run.

    Raises: UsageError - another run of the cluster is unfinished; NotConfirmed; and as `procedures.carry_out`.
    """
    from etcdops.clock import SystemClock
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.journal import RunState, run_lock
    from etcdops.playbooks.procedures import carry_out
    from etcdops.playbooks.runs import KnownRun, begin_run, runs_on_hosts, unfinished_run

    hosts = named_hosts(request.given, request.cluster, os.environ)
    access = TypedAccess(invocation, accept_new=request.accept_new)
    access.learn(hosts.inventory)
    folder = runs_on_hosts(hosts.cluster.name)
    clock = SystemClock()
    with run_lock(folder):
        unfinished_run(folder, "", hosts.cluster.name, clock)
        with invocation.waiting("looking at the hosts ..."):
            plan = invocation.run(hosts.reach(access, make))
        if plan is None:
            return _nothing_to_do(invocation, hosts.cluster.name, request, schema)
        _show(invocation, plan, request, schema)
        if request.dry_run:
            return int(ExitCode.OK)
        require_confirmation(
            plan.cluster,
            protection=hosts.cluster.protection,
            severe=request.severe,
            confirm=request.confirm,
            yes=request.yes,
        )
        journal = begin_run(folder, plan, clock)
        known = KnownRun(journal, RunState(plan, clock.wall(), journal.run))
        stop = StopRequest()
        listener = printer_for(invocation, request.events)
        outcome = work_on(invocation, stop, lambda: carry_out(known, access, listener, stop=stop))
    if invocation.format == "json" and request.events != "json":
        body: dict[str, Json] = {
            "plan": plan.to_json(),
            "plan_digest": plan.digest,
            "run": known.run,
            "took_s": outcome.took_s,
            "journal": str(journal.path),
            "results": dict(outcome.results),
        }
        write(render_json(schema, body))
    elif request.events != "json":
        write(f"{known.run} finished: {plan.procedure} of {plan.cluster}, {outcome.took_s:.1f} s")
        write(f"journal: {journal.path}")
    return int(ExitCode.OK)


def _nothing_to_do(invocation: Invocation, cluster: str, request: HostRunRequest, schema: str) -> int:
    if invocation.format == "json":
        write(render_json(schema, {"plan": None, "changed": False}))
    elif request.events != "json":
        write(f"{cluster} is as it should be: nothing to do")
    return int(ExitCode.OK)


def _show(invocation: Invocation, plan: Plan, request: HostRunRequest, schema: str) -> None:
    if invocation.format == "json":
        if request.dry_run:
            write(render_json(schema, {"plan": plan.to_json(), "plan_digest": plan.digest}))
    elif request.dry_run or request.events != "json":
        write(invocation.look.text(render_plan(plan, None, invocation.look)))
