"""A recovery on hosts in order: find an unfinished run or make a plan, then carry it out under its locks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etcdops.clock import Clock, SystemClock
from etcdops.inventory.edit import Edit, token_edit
from etcdops.inventory.find import find_cluster
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Cluster
from etcdops.playbooks.engine import StopRequest
from etcdops.playbooks.journal import RunState
from etcdops.playbooks.on_hosts import Access, open_passages, reaching, source_of
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.procedures import Procedure, RunOutcome, carry_out, resume_run
from etcdops.playbooks.recover.hosts.facts import HostFacts, gather_facts
from etcdops.playbooks.recover.hosts.planned import PROCEDURE, recovered_settings
from etcdops.playbooks.recover.hosts.planning import Choices, make_plan, stamp_of
from etcdops.playbooks.recover.hosts.steps import build_steps
from etcdops.playbooks.recover.unfinished import require_password, unfinished_recovery
from etcdops.playbooks.run_event import Listener
from etcdops.playbooks.runs import KnownRun, begin_run, runs_on_hosts
from etcdops.snapshot.inspect import inspect_snapshot

NAME = PROCEDURE
ON_HOSTS = Procedure(on_hosts=build_steps)


@dataclass(frozen=True, slots=True)
class HostRequest:
    """What the operator asked for."""

    inventory: tuple[Path, ...]
    cluster: str
    """Its name; empty: the only one there is."""
    snapshot: Path
    access: Access
    last_known_revision: int | None = None
    restore_tool: str = ""
    """On the hosts; empty: one is looked for."""
    force_unsafe: frozenset[str] = frozenset()
    new_run: bool = False
    """Give up an unfinished run instead of going on with it."""
    update_inventory: bool = False
    """Write the new token into the inventory, as the last step."""


@dataclass(frozen=True, slots=True)
class PreparedOnHosts:
    """A plan to confirm, or one that was confirmed before and was cut off."""

    plan: Plan
    known: KnownRun | None
    """The unfinished run that will go on; None: a new one."""
    facts: HostFacts | None
    edit: Edit | None = None
    """What the run will write into the inventory."""


def named_cluster(request: HostRequest) -> Cluster:
    """The cluster that is meant. Raises: UsageError, InventoryError."""
    files = ", ".join(map(str, request.inventory))
    return find_cluster(load_inventory(request.inventory), request.cluster, source=files)


async def prepare(request: HostRequest, *, clock: Clock | None = None) -> PreparedOnHosts:
    """Find the unfinished run of this cluster, or look at its hosts and make a plan.

    Changes nothing but the journals of runs given up.
    Raises: UsageError, InventoryError; SnapshotCorrupt; Unreachable, AccessDenied - a host does not let us in;
        ClusterUnsafe - the cluster works, or a host is not fit for it.
    """
    clock = clock or SystemClock()
    inventory = load_inventory(request.inventory)
    cluster = named_cluster(request)
    folder = runs_on_hosts(cluster.name)
    known = unfinished_recovery(folder, PROCEDURE, cluster.name, request.snapshot, clock, give_up=request.new_run)
    if known is not None:
        return PreparedOnHosts(known.state.plan, known, None)
    report = await asyncio.to_thread(inspect_snapshot, request.snapshot)
    stamp = stamp_of(clock.wall())
    choices = Choices(
        token=f"{cluster.name}-{secrets.token_hex(8)}",
        stamp=stamp,
        raised=folder / f"raised-{stamp}.db",
        force_unsafe=request.force_unsafe,
        update_inventory=request.update_inventory,
    )
    renewed = cluster.model_copy(update={"token": choices.token})
    edit = token_edit(request.inventory, cluster.name, choices.token) if request.update_inventory else None
    source = source_of(request.inventory, inventory, cluster, renewed=renewed)
    async with reaching(inventory, cluster, source, request.access, clock=clock) as run:
        await open_passages(run, run.hosts)
        settings = await asyncio.to_thread(recovered_settings, run)
        require_password(report, settings)
        facts = await gather_facts(
            run,
            renewed,
            settings,
            stamp=stamp,
            tool=request.restore_tool,
            last_known_revision=request.last_known_revision,
        )
    return PreparedOnHosts(make_plan(cluster, source, facts, report, choices), None, facts, edit)


def begin(prepared: PreparedOnHosts, *, clock: Clock | None = None) -> KnownRun:
    """The run of a plan that was confirmed: a new one, or the one that goes on. Raises: OSError."""
    if prepared.known is not None:
        return prepared.known
    clock = clock or SystemClock()
    journal = begin_run(runs_on_hosts(prepared.plan.cluster), prepared.plan, clock)
    return KnownRun(journal, RunState(prepared.plan, clock.wall(), journal.run))


async def work(
    known: KnownRun,
    access: Access,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    clock: Clock | None = None,
) -> RunOutcome:
    """Carry the run out, from where it is. The caller holds its lock and has the confirmation.

    Raises: as `procedures.carry_out`.
    """
    if known.state.results or known.state.acted:
        return await resume_run(known, access, listener, stop=stop, clock=clock)
    return await carry_out(known, access, listener, stop=stop, clock=clock)


def moved_data(outcome: RunOutcome, members: Iterable[str]) -> list[str]:
    """Where the old data of each member is now, `member: path`."""
    found = []
    for name in members:
        moved = outcome.results.get(f"aside:{name}", {}).get("moved_to")
        found += [f"{name}: {path}" for path in moved] if isinstance(moved, list) else []
    return found
