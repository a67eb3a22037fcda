"""A rolling change on hosts: from what the inventory says and what is there to a plan, and from a plan to its steps."""

from __future__ import annotations

import asyncio

from etcdops.clock import rfc3339
from etcdops.errors import EtcdopsError
from etcdops.inventory.model import EngineKind
from etcdops.playbooks.on_hosts import INPUT, RunHosts
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.procedures import Procedure
from etcdops.playbooks.rolling.host_fleet import HostFleet
from etcdops.playbooks.rolling.planning import PROCEDURE, Choices, RollingFacts, make_plan
from etcdops.playbooks.rolling.steps import RollingRun, add_kinds, read_plan
from etcdops.playbooks.step import Step, StepKinds
from etcdops.rendering.flags import Version
from etcdops.state_folder import state_folder

KINDS: StepKinds[RollingRun] = add_kinds(StepKinds(PROCEDURE))


async def gather_facts(fleet: HostFleet) -> RollingFacts:
    """Look at the cluster and at every member's host. Changes nothing. Raises: as sessions and services do."""
    run = fleet.run
    names = [member.label for member in run.cluster.members]
    view, unwritten, outdated, fixed, flags = await asyncio.gather(
        fleet.look(hashes=True),
        asyncio.gather(*(fleet.unwritten(name) for name in names)),
        asyncio.gather(*(fleet.outdated(name) for name in names)),
        asyncio.gather(*(fleet.fixed(name) for name in names)),
        asyncio.gather(*(fleet.running_flags(name) for name in names)),
    )
    wanted = fleet.desired(names[0])
    return RollingFacts(
        cluster=run.cluster.name,
        hosts={member.label: member.host for member in run.cluster.members},
        view=view,
        unwritten=dict(zip(names, unwritten, strict=True)),
        outdated=dict(zip(names, outdated, strict=True)),
        # the node has one version, etcdops's own, and no rule of etcd is about it
        target=None if run.cluster.engine.kind is EngineKind.NODE else Version.parse(run.cluster.engine.version),
        settings={name: value for one in flags for name, value in one.items()},
        fixed=dict(zip(names, fixed, strict=True)),
        notes=wanted.config.notes,
    )


async def plan_change(run: RunHosts, *, accept_downtime: bool = False) -> Plan | None:
    """What has to be done so that the members run as the inventory says; None: they do.

    Raises: ClusterUnsafe, Unhealthy, UsageError - it is refused, with the reason.
    """
    stamp = rfc3339(run.clock.wall())[:19].replace(":", "").replace("-", "")
    snapshot = state_folder() / "snapshots" / f"{run.cluster.name}-before-change-{stamp}.db"
    choices = Choices({INPUT: run.source.to_json()}, snapshot, accept_downtime)
    return make_plan(await gather_facts(HostFleet(run)), choices)


def rebuild(plan: Plan, run: RunHosts) -> list[Step]:
    """The steps of a saved plan. Raises: EtcdopsError - this version cannot carry it out."""
    try:
        return KINDS.build(plan, read_plan(plan, HostFleet(run)))
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdopsError(
            "the plan of this run cannot be carried out by this version of etcdops",
            cause=f"{type(error).__name__}: {error}",
            hint="finish it with the version that began it",
        ) from error


ROLLING = Procedure(on_hosts=rebuild)
