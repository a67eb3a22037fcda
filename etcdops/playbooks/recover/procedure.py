"""The recovery in order: find an unfinished run or make a plan, then carry it out under a lock."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etcdops.client.settings import ConnectionSettings
from etcdops.clock import Clock, SystemClock
from etcdops.errors import EtcdopsError, UsageError
from etcdops.playbooks.cluster_file import ClusterSpec, EngineKind
from etcdops.playbooks.engine import StopRequest, execute
from etcdops.playbooks.journal import RunState
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.plan import Plan, Result
from etcdops.playbooks.recover.facts import RecoveryFacts, gather_facts
from etcdops.playbooks.recover.planning import Choices, make_plan
from etcdops.playbooks.recover.run import PROCEDURE, read_plan
from etcdops.playbooks.recover.steps import build_steps
from etcdops.playbooks.recover.strangers import find_strangers, refuse_strangers
from etcdops.playbooks.recover.unfinished import require_password, unfinished_recovery
from etcdops.playbooks.run_event import Listener
from etcdops.playbooks.runs import KnownRun, begin_run
from etcdops.playbooks.step import Step
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.inspect import inspect_snapshot

FACTS_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class RecoverRequest:
    """What the operator asked for."""

    cluster: ClusterSpec
    snapshot: Path
    settings: ConnectionSettings
    last_known_revision: int | None = None
    restore_tool: Path | None = None
    force_unsafe: frozenset[str] = frozenset()
    new_run: bool = False
    """Give up an unfinished run instead of going on with it."""
    tethered: bool = False
    """End the members together with this process."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan to confirm, or one that was confirmed before and was cut off."""

    plan: Plan
    known: KnownRun | None
    """The unfinished run that will go on; None: a new one."""
    facts: RecoveryFacts | None
    """None when a run goes on: what was true then is in its plan."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A recovery that ended well."""

    took_s: float
    results: Mapping[str, Result]
    journal: Path


async def prepare(request: RecoverRequest, *, clock: Clock | None = None) -> Prepared:
    """Find the unfinished run of this cluster, or make a plan. Changes nothing but the journals of runs given up.

    Raises: ClusterUnsafe - the cluster works; SnapshotCorrupt; UsageError - another recovery is unfinished, the
        snapshot does not fit, or a password is needed.
    """
    clock = clock or SystemClock()
    cluster = request.cluster
    known = unfinished_recovery(cluster.runs, PROCEDURE, cluster.name, request.snapshot, clock, give_up=request.new_run)
    if known is not None:
        return Prepared(known.state.plan, known, None)
    report = await asyncio.to_thread(inspect_snapshot, request.snapshot)
    require_password(report, request.settings)
    facts = await gather_facts(
        request.cluster,
        request.settings,
        timeout_s=FACTS_TIMEOUT_S,
        last_known_revision=request.last_known_revision,
    )
    choices = Choices(
        token=f"{request.cluster.name}-{secrets.token_hex(8)}",
        now=clock.wall(),
        tool=await asyncio.to_thread(_find_tool, request),
        force_unsafe=request.force_unsafe,
    )
    return Prepared(make_plan(request.cluster, facts, report, choices), None, facts)


async def require_own_members(request: RecoverRequest) -> None:
    """Raises: ClusterUnsafe - others run a member. Asked before anybody has to confirm anything."""
    refuse_strangers(await asyncio.to_thread(find_strangers, LocalCluster(request.cluster)))


def begin(request: RecoverRequest, prepared: Prepared, *, clock: Clock | None = None) -> KnownRun:
    """The run of a plan that was confirmed: a new one, or the one that goes on. Nothing of it is done yet."""
    if prepared.known is not None:
        return prepared.known
    clock = clock or SystemClock()
    journal = begin_run(request.cluster.runs, prepared.plan, clock)
    return KnownRun(journal, RunState(prepared.plan, clock.wall(), journal.run))


async def carry_out(
    request: RecoverRequest,
    prepared: Prepared,
    listener: Listener,
    *,
    clock: Clock | None = None,
    stop: StopRequest | None = None,
) -> Outcome:
    """Do what was planned. The caller holds the cluster's run lock and has the confirmation.

    Raises: ClusterUnsafe - somebody else runs a member; nothing was changed. PartlyApplied, VerificationFailed,
        RunStopped - see `engine.execute`: the same command goes on from there.
    """
    clock = clock or SystemClock()
    await require_own_members(request)
    known = begin(request, prepared, clock=clock)
    journal, state = known.journal, known.state
    if prepared.known is not None:
        journal.resumed()
    started = time.monotonic()
    steps = rebuild_steps(prepared.plan, request.settings, tethered=request.tethered)
    results = await execute(steps, journal, state, listener, stop=stop, clock=clock)
    return Outcome(time.monotonic() - started, results, journal.path)


def rebuild_steps(plan: Plan, settings: ConnectionSettings, *, tethered: bool = False) -> list[Step]:
    """The steps of a saved plan. Raises: EtcdopsError - this version cannot carry it out."""
    try:
        return build_steps(plan, read_plan(plan, settings, tethered=tethered))
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdopsError(
            "the plan of this run cannot be carried out by this version of etcdops",
            cause=f"{type(error).__name__}: {error}",
            hint="finish it with the version that began it, or give it up with --new-run",
        ) from error


def _find_tool(request: RecoverRequest) -> etcd_tools.RestoreTool | None:
    engine = request.cluster.engine
    if engine.kind is EngineKind.NODE:
        return None
    if engine.binary is None:
        raise UsageError("engine etcd needs the path of etcd's binary", hint="name it with --etcd PATH")
    return etcd_tools.find_tool(engine.binary, tool=request.restore_tool)
