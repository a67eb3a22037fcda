"""A rollout in order: facts, refusals, what differs, a plan; or the run that was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.clock import Clock, SystemClock
from etcdops.errors import ClusterUnsafe
from etcdops.facts.host import HostFacts
from etcdops.inventory.model import Cluster, Inventory
from etcdops.playbooks.engine import StopRequest
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.on_hosts import Access, RunHosts, reaching, source_of
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.procedures import Procedure, RunOutcome, carry_out
from etcdops.playbooks.rollout.desired import DesiredMember, Signer
from etcdops.playbooks.rollout.engine_pack import PythonOf
from etcdops.playbooks.rollout.judging import Refusal, Setting
from etcdops.playbooks.rollout.planning import PROCEDURE, Wanted, make_plan
from etcdops.playbooks.rollout.refusals import refusals, warnings
from etcdops.playbooks.rollout.registry import registries_of
from etcdops.playbooks.rollout.renewed_token import renewed_token
from etcdops.playbooks.rollout.standing import Standing, standing_of
from etcdops.playbooks.rollout.steps import RolloutRun, build_steps, facts_of
from etcdops.playbooks.rollout.survey import Survey, survey
from etcdops.playbooks.run_event import Listener
from etcdops.playbooks.runs import KnownRun, begin_run, runs_on_hosts, unfinished_run
from etcdops.wording import counted

NAME = PROCEDURE
ROLLOUT = Procedure(on_hosts=build_steps)


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """What the operator asked for."""

    inventory: Inventory
    cluster: Cluster
    paths: tuple[Path, ...]
    force_unsafe: frozenset[str] = frozenset()
    new_run: bool = False
    """Give up an unfinished rollout instead of going on with it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan to confirm; a run that was confirmed before and was cut off; or nothing to do."""

    plan: Plan | None
    """None: every host is as it should be, but for `restarts`."""
    unfinished: KnownRun | None = None
    refused: tuple[Refusal, ...] = ()
    overridden: tuple[Refusal, ...] = ()
    warned: tuple[Refusal, ...] = ()
    facts: Mapping[str, HostFacts] = field(default_factory=dict)
    surveys: Mapping[str, Survey] = field(default_factory=dict)
    """By the member's name."""

    @property
    def restarts(self) -> dict[str, tuple[str, ...]]:
        """Members that run with something else than they should, and why: a rolling change puts that right."""
        return {name: found.restart for name, found in self.surveys.items() if found.restart}

    def require_allowed(self) -> None:
        """Raises: ClusterUnsafe - something has to be mended first; all of it is named."""
        if not self.refused:
            return
        lines = [f"[{one.id}] {one}: {one.why}; next: {one.next_step}" for one in self.refused]
        overridable = sorted({one.id for one in self.refused if one.overridable})
        fixed = [one for one in self.refused if not one.overridable]
        force = "" if fixed or not overridable else " ".join(f"--force-unsafe {code}" for code in overridable)
        raise ClusterUnsafe(
            f"the rollout is refused: {counted(len(lines), 'thing')} to be mended first",
            cause="\n".join(lines),
            hint=f"mend them; or, knowing better: {force}" if force else "mend them, then try again",
        )


async def prepare(request: RolloutRequest, access: Access, *, clock: Clock | None = None) -> Prepared:
    """Find the unfinished run of this cluster, or look at all hosts and make a plan. Changes nothing on them.

    Raises: Unreachable, AccessDenied - of the first host that cannot be worked with, naming the others; UsageError -
        another run is unfinished, or the engine's source is not what it should be.
    """
    clock = clock or SystemClock()
    folder = runs_on_hosts(request.cluster.name)
    known = unfinished_run(folder, PROCEDURE, request.cluster.name, clock, give_up=request.new_run)
    if known is not None:
        return Prepared(known.state.plan, known)
    source = source_of(request.paths, request.inventory, request.cluster)
    async with reaching(request.inventory, request.cluster, source, access, clock=clock) as hosts:
        return await _look(request, hosts)


async def _look(request: RolloutRequest, hosts: RunHosts) -> Prepared:
    run = RolloutRun(hosts)
    members = run.members()
    # Packing takes as long as the hosts' answers, and needs none of them.
    facts, _ = await asyncio.gather(facts_of(hosts, members, probe=True), run.pack())
    standings = {member.name: standing_of(member, facts[member.host]) for member in members}
    is_new = Standing.OURS not in standings.values()
    registries = await registries_of(hosts, members) if is_new else {}
    setting = Setting(request.cluster, members, facts, PythonOf.here(), registries)
    found = [one for one in refusals(setting) if is_new or one.id not in _OF_NEW_CLUSTERS]
    overridden = tuple(one for one in found if one.overridable and one.id in request.force_unsafe)
    refused = tuple(one for one in found if one not in overridden)
    warned = tuple(one for one in warnings(setting) if is_new or one.id not in _OF_NEW_CLUSTERS)
    if refused:
        return Prepared(None, None, refused, overridden, warned, facts)
    if is_new:
        members = run.members("new")
    surveys = await _surveys(run, members)
    plan = make_plan(
        Wanted(
            cluster=request.cluster,
            source=hosts.source,
            members=members,
            surveys=surveys if is_new else {name: _without_restart(one) for name, one in surveys.items()},
            authorities_missing=_missing_authorities(run, members),
            is_new=is_new,
            force_unsafe=sorted(request.force_unsafe),
        )
    )
    warned += renewed_token(request.cluster, request.paths, surveys)
    return Prepared(plan, None, (), overridden, warned, facts, surveys)


_OF_NEW_CLUSTERS = (
    "even-members", "two-on-one-host", "disk-slow", "disk-full", "engine-missing", "mixed-versions", "srv-names",
    "discovery-differs", "discovery-unasked",
)  # fmt: skip
"""A cluster that exists may be like that; what is wrong with it is not a rollout's business any more."""


async def _surveys(run: RolloutRun, members: Sequence[DesiredMember]) -> dict[str, Survey]:
    pack = await run.pack()
    authorities = run.authorities

    async def one(member: DesiredMember) -> Survey:
        return await survey(await run.hosts.session(member.host), member, authorities, pack)

    found = await asyncio.gather(*map(one, members))
    return {member.name: one for member, one in zip(members, found, strict=True)}


def _without_restart(found: Survey) -> Survey:
    """What can be put right while the member runs: the rest is left to a rolling change, and said."""
    if not found.restart:
        return found
    return Survey(account=found.account, certificates=found.certificates, firewall=found.firewall)


def _missing_authorities(run: RolloutRun, members: Sequence[DesiredMember]) -> list[Signer]:
    wanted = dict.fromkeys(bundle.signer for member in members for bundle in member.bundles)
    return [signer for signer in wanted if not run.authorities.exists(signer)]


async def apply(
    prepared: Prepared,
    request: RolloutRequest,
    access: Access,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    clock: Clock | None = None,
) -> tuple[KnownRun, RunOutcome]:
    """Do what was planned. The caller holds the cluster's run lock and has the confirmation.

    Raises: as `procedures.carry_out`.
    """
    clock = clock or SystemClock()
    known = prepared.unfinished
    if known is None:
        assert prepared.plan is not None
        journal: Journal = begin_run(runs_on_hosts(request.cluster.name), prepared.plan, clock)
        known = KnownRun(journal, RunState(prepared.plan, clock.wall(), journal.run))
    resumed = prepared.unfinished is not None
    return known, await carry_out(known, access, listener, stop=stop, clock=clock, resumed=resumed)
