"""What a run on hosts works with: the inventory its plan was made from, and one session to each host.

A plan names the files of the inventory and the digest of what they said of its cluster. So a run that goes on days
later works on the same members, while keys, users and passwords of the login may have changed meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from etcdops.client.settings import ConnectionSettings
from etcdops.clock import Clock, SystemClock
from etcdops.errors import EtcdopsError, UsageError
from etcdops.inventory.connection import own_pki, passages
from etcdops.inventory.filled import filled
from etcdops.inventory.find import find_cluster as find_cluster  # those who work with runs take it from here
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Cluster, Inventory, Member
from etcdops.inventory.protection import Protection
from etcdops.inventory.targets import Secrets
from etcdops.playbooks.host_locks import HostLocks
from etcdops.playbooks.plan import Json, Plan
from etcdops.playbooks.runs import KnownRun
from etcdops.remote.pool import Open, Outcome, Sessions, Subject, Value, on_all
from etcdops.remote.session import Session

INPUT = "inventory"
"""Under which a plan's inputs name the inventory."""


class Access(Protocol):
    """How to reach what a plan names; what no plan holds, such as passwords, comes from the operator."""

    def settings(self, endpoints: Sequence[str], cluster: str) -> ConnectionSettings:
        """How to reach a cluster's members. Raises: UsageError, NotConfirmed - a password is needed."""

    def connecting(self, inventory: Inventory) -> AbstractContextManager[Open]:
        """How to log in to its hosts; what connections share is let go at the end. Raises: UsageError."""


@dataclass(frozen=True, slots=True)
class InventorySource:
    """Where an inventory was read, and what it said of one cluster."""

    paths: tuple[Path, ...]
    """Absolute."""
    digest: str
    renewed: str = ""
    """What it says once the run's outcome is written into it; empty: it stays as it is."""

    def to_json(self) -> dict[str, Json]:
        said: dict[str, Json] = {"paths": [str(path) for path in self.paths], "digest": self.digest}
        return {**said, "renewed": self.renewed} if self.renewed else said


def source_of(
    paths: Sequence[Path], inventory: Inventory, cluster: Cluster, *, renewed: Cluster | None = None
) -> InventorySource:
    """For the inputs of a plan. Args: renewed - the cluster as the inventory may have it before the run has ended."""
    absolute = tuple(path.expanduser().absolute() for path in paths)
    return InventorySource(
        absolute, _digest(inventory, cluster), _digest(inventory, renewed) if renewed is not None else ""
    )


def planned_inventory(plan: Plan) -> tuple[Inventory, Cluster, InventorySource]:
    """What the plan was made from, read again.

    Raises: UsageError - it cannot be read, or says something else of the cluster now. EtcdopsError - no plan of hosts.
    """
    source = _source(plan)
    inventory = load_inventory(source.paths)
    cluster = find_cluster(inventory, plan.cluster)
    if _digest(inventory, cluster) not in (source.digest, source.renewed):
        raise UsageError(
            f"the inventory says something else of {plan.cluster} than when this run was planned",
            cause=f"files: {', '.join(map(str, source.paths))}",
            hint="put it back as it was to go on with the run; make the change afterwards, as a run of its own",
        )
    return inventory, cluster, source


def planned_paths(plan: Plan) -> tuple[Path, ...]:
    """The files of the inventory the plan was made from. Raises: EtcdopsError - it is no plan of hosts."""
    return _source(plan).paths


def planned_protection(plan: Plan) -> Protection:
    """What the inventory says by now; normal for members of this machine, and where it cannot be read any more."""
    try:
        found = load_inventory(planned_paths(plan)).clusters.get(plan.cluster) if names_hosts(plan) else None
    except UsageError:
        return Protection.NORMAL
    return found.protection if found is not None else Protection.NORMAL


def names_hosts(plan: Plan) -> bool:
    """Whether the plan is about hosts of an inventory."""
    return INPUT in plan.inputs


@dataclass(frozen=True, slots=True)
class RunHosts:
    """The inventory and the hosts of one run, for its steps. Sessions are opened when first asked for."""

    inventory: Inventory
    cluster: Cluster
    source: InventorySource
    sessions: Sessions
    access: Access
    clock: Clock = field(default_factory=SystemClock)
    secrets: Secrets = field(default_factory=Secrets)
    """Of the members' access; each is read once, for a person may be asked for it."""
    routes: dict[str, str] = field(default_factory=dict)
    """Endpoint of a member -> the tunnel that leads to it, once `open_passages` was there."""

    async def session(self, host: str) -> Session:
        """Raises: Unreachable, AccessDenied, UsageError - as the connector."""
        return await self.sessions.open(host)

    def member(self, label: str) -> Member:
        return next(member for member in self.cluster.members if member.label == label)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those of the cluster's members, in their order."""
        return tuple(dict.fromkeys(member.host for member in self.cluster.members))

    @property
    def pki(self) -> Path:
        """The folder of the cluster's authorities on this machine: `client`, `peer`, and the operator's certificate."""
        first = self.source.paths[0]
        beside = first if first.is_dir() else first.parent
        return own_pki(self.cluster, beside)


@asynccontextmanager
async def reaching(
    inventory: Inventory, cluster: Cluster, source: InventorySource, access: Access, *, clock: Clock | None = None
) -> AsyncIterator[RunHosts]:
    """Sessions for as long as it lasts, closed at the end. Nothing is connected yet."""
    with access.connecting(inventory) as connect:
        sessions = Sessions(connect)
        try:
            yield RunHosts(inventory, cluster, source, sessions, access, clock or SystemClock())
        finally:
            await sessions.close()


@asynccontextmanager
async def at_work(
    known: KnownRun,
    access: Access,
    *,
    on_lost: Callable[[str], None],
    clock: Clock | None = None,
    left: dict[str, str] | None = None,
) -> AsyncIterator[RunHosts]:
    """The hosts of a run that is worked on: reached, and held by the run's lock on each of them.

    Which hosts: those its plan names as `hosts`, else those of all members.
    Args: on_lost - told why when somebody took a lock away: the run has to stop; left - gets the hosts whose lock could
        not be given back, and why. Raises: as `planned_inventory`, `require_all`, and `HostLocks`: nothing was changed.
    """
    plan = known.state.plan
    inventory, cluster, source = planned_inventory(plan)
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(reaching(inventory, cluster, source, access, clock=clock))
        hosts = _hosts(plan) or run.hosts
        sessions = await require_all(run, hosts)
        await open_passages(run, hosts)
        locks = HostLocks(sessions, known.state, known.journal.path, on_lost=on_lost, clock=clock)
        try:
            async with locks:
                yield run
        finally:
            if left is not None:
                left.update(locks.left)


async def open_passages(run: RunHosts, hosts: Sequence[str]) -> None:
    """Tunnels to those members on `hosts` that the inventory has reached through SSH, for as long as sessions live.

    Raises: what the sessions raise.
    """
    for one in passages(run.inventory, run.cluster):
        if one.host not in hosts:
            continue
        tunnel = await (await run.session(one.host)).tunnel(*one.address)
        run.routes[one.endpoint] = "{}:{}".format(*tunnel.address)


async def require_all(run: RunHosts, hosts: Sequence[str]) -> list[Session]:
    """A session to every host. Raises: the error of the first that cannot be reached, which names the others too."""
    return values_of(await on_all(hosts, run.session))


def values_of(outcomes: Sequence[Outcome[Subject, Value]]) -> list[Value]:
    """What came of the work on each, in order. Raises: the error of the first that failed, which names the others."""
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failed:
        first, *others = failed
        if others:
            first.cause = "\n".join(filter(None, (first.cause, *(f"also {error.message}" for error in others))))
        raise first
    return [outcome.value for outcome in outcomes]  # type: ignore[misc]  # no error, so there is a value


def _hosts(plan: Plan) -> tuple[str, ...]:
    named = plan.inputs.get("hosts")
    return tuple(map(str, named)) if isinstance(named, Sequence) and not isinstance(named, str) else ()


def _source(plan: Plan) -> InventorySource:
    found = plan.inputs.get(INPUT)
    try:
        said = cast("Mapping[str, Json]", found)
        paths = cast("Sequence[Json]", said["paths"])
        return InventorySource(
            tuple(Path(str(path)) for path in paths), str(said["digest"]), str(said.get("renewed", ""))
        )
    except (KeyError, TypeError) as error:
        raise EtcdopsError(
            f"the plan of this run of {plan.procedure} names no inventory",
            hint="go on with the version of etcdops that began it",
        ) from error


def _digest(inventory: Inventory, cluster: Cluster) -> str:
    """Of everything that makes the cluster, and of nothing that only tells how to log in."""
    plain = filled(Inventory(hosts=inventory.hosts, clusters={cluster.name: cluster}))
    names = {member.host for member in cluster.members}
    said = {
        "cluster": plain["clusters"][cluster.name],
        "addresses": {name: host["address"] for name, host in plain["hosts"].items() if name in names},
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
