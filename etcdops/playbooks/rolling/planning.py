"""A rolling change, decided: who is changed, in which order, and what forbids it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.client.view import ClusterView
from etcdops.errors import ClusterUnsafe, Unhealthy, UsageError
from etcdops.playbooks.plan import Danger, Json, Plan, StepSpec
from etcdops.playbooks.rolling.health import Expected, troubles
from etcdops.playbooks.rolling.versions import (
    Objection,
    VersionChange,
    meets,
    objections,
    order,
    running_version,
    warnings,
)
from etcdops.rendering.flags import Version

PROCEDURE = "rolling"
CATCH_UP_TIMEOUT_S = 1800.0
"""A member far behind is sent a snapshot; half an hour is enough for one of 8 GB over a slow line."""
_RESTART_TIMEOUT_S = 300.0
_WRITE_TIMEOUT_S = 900.0
"""A program is copied to the host."""
_SAVE_TIMEOUT_S = 4 * 3600.0
FIXED = ("name", "data-dir", "wal-dir", "initial-advertise-peer-urls")
"""Settings that make a member who it is: a restart with another value would be another member, or none."""


@dataclass(frozen=True, slots=True)
class RollingFacts:
    """What a plan is made from."""

    cluster: str
    hosts: Mapping[str, str]
    """Member -> host, in the order of the inventory."""
    view: ClusterView
    """With hashes."""
    unwritten: Mapping[str, Sequence[str]]
    """Member -> what on its host is not as wanted."""
    outdated: Mapping[str, Sequence[str]]
    """Member -> what only a restart brings about."""
    target: Version | None
    """What members shall run; None: the version is nobody's to change here."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Flags that members run with now."""
    fixed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Member -> settings of FIXED that would change."""
    notes: Sequence[str] = ()
    """What was renamed or left out for the target version."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator, or chance, decides."""

    inputs: Mapping[str, Json]
    """Of the plan, beside its own: the inventory's source."""
    snapshot: Path
    """Where the snapshot goes that is taken before a minor version."""
    accept_downtime: bool = False


def change_of(facts: RollingFacts) -> VersionChange | None:
    """The change of version, None without a target."""
    if facts.target is None:
        return None
    running = {m.name: running_version(m.status.version) for m in facts.view.answering if m.status}
    return VersionChange(running, facts.target)


def refuse(facts: RollingFacts, *, accept_downtime: bool) -> None:
    """Raises: ClusterUnsafe, Unhealthy, UsageError - with everything that is in the way."""
    _refuse_strangers(facts)
    change = change_of(facts)
    against = objections(change, facts.settings) if change is not None else []
    against = _grouped([*against, *_fixed(facts)])
    if against:
        first, *others = against
        raise ClusterUnsafe(
            f"refused: {first.what}: {first.why}",
            cause="\n".join(f"also {one.what}: {one.why}" for one in others),
            hint=first.instead,
        )
    expected = Expected(frozenset(member.name for member in facts.view.voters))
    unwell = troubles(facts.view, expected)
    if unwell:
        raise Unhealthy(
            f"{facts.cluster} is not well enough for a change: {unwell[0]}",
            cause="\n".join(unwell[1:]),
            hint="mend that first (etcdops status). A change that was cut off goes on with etcdops runs resume",
        )
    if len(facts.view.voters) <= 2 and not accept_downtime and needing(facts):
        raise ClusterUnsafe(
            f"{facts.cluster} has {len(facts.view.voters)} voting members: while one restarts, nobody can write",
            hint="add members first, or accept some seconds without service: --force-unsafe downtime",
        )


def needing(facts: RollingFacts) -> list[str]:
    """Members to change, followers first, the leader last."""
    leader = facts.view.leader_member
    names = [name for name in facts.hosts if facts.unwritten.get(name) or facts.outdated.get(name)]
    return order(names, leader.name if leader is not None else "")


def make_plan(facts: RollingFacts, choices: Choices) -> Plan | None:
    """The plan; None when nothing is to be done. Raises: as `refuse`."""
    members = needing(facts)
    if not members:
        return None
    refuse(facts, accept_downtime=choices.accept_downtime)
    change = change_of(facts)
    new_version = change is not None and change.changes
    minor = change is not None and change.changes and change.minor
    inputs: dict[str, Json] = {
        **choices.inputs,
        **planned_inputs(facts.view, members),
        "target_version": str(facts.target) if new_version else "",
        "force_unsafe": ["quorum-lost"] if choices.accept_downtime else [],
    }
    steps = [StepSpec("before", "look at the whole cluster", "look-at-cluster")]
    if minor:
        steps.append(
            StepSpec("snapshot", f"save a snapshot to {choices.snapshot}", "save-snapshot",
                     inputs={"path": str(choices.snapshot)}, danger=Danger.MILD, timeout_s=_SAVE_TIMEOUT_S)
        )  # fmt: skip
        if facts.target is not None and facts.target.line == (3, 6):
            steps.append(
                StepSpec("member-lists", "see that 3.6 will read the members that the cluster has",
                         "compare-member-lists", inputs={"path": str(choices.snapshot)})
            )  # fmt: skip
            steps += [
                StepSpec(f"v2store:{name}", f"see that {name} holds no data of v2", "check-v2store", facts.hosts[name],
                         {"member": name}, timeout_s=_WRITE_TIMEOUT_S)
                for name in members
            ]  # fmt: skip
    steps += [
        StepSpec(f"bring:{name}", f"bring etcd {facts.target} to {facts.hosts[name]}", "bring-program",
                 facts.hosts[name], {"member": name}, Danger.MILD, together="bring", timeout_s=_WRITE_TIMEOUT_S)
        for name in members if new_version
    ]  # fmt: skip
    for name in members:
        steps += describe_member(name, facts.hosts[name])
    if minor:
        steps.append(StepSpec("cluster-version", f"wait until the cluster is {facts.target}", "await-cluster-version"))
    steps.append(StepSpec("after", "look at the whole cluster again", "look-at-cluster"))
    summary, losses = _summary(facts, members, change), _losses(facts, change)
    return Plan(PROCEDURE, facts.cluster, inputs, tuple(summary), tuple(losses), tuple(steps))


def planned_inputs(view: ClusterView, members: Sequence[str]) -> dict[str, Json]:
    """What the steps of every rolling procedure need."""
    return {
        "members": list(members),
        "voters": sorted(member.name for member in view.voters),
        "cluster_id": f"{view.cluster_id:016x}" if view.cluster_id is not None else "",
    }


def describe_member(
    name: str, host: str, *, suffix: str = "", restart: str = "", writes: bool = True
) -> list[StepSpec]:
    """One member: write, hand over, restart, wait.

    Args: suffix - for a second pass in one plan; restart - another kind of restart; writes - False: it is done before.
    """
    inputs: dict[str, Json] = {"member": name}
    found = [
        StepSpec(f"write{suffix}:{name}", f"write what {name} is to run with", "write-member", host, inputs,
                 Danger.MILD, timeout_s=_WRITE_TIMEOUT_S),
        StepSpec(f"hand-over{suffix}:{name}", f"move leadership off {name} if it leads", "hand-over", host, inputs,
                 Danger.MILD),
        StepSpec(f"restart{suffix}:{name}", f"restart {name}", restart or "restart-member", host, inputs,
                 Danger.MODERATE, f"{name} is away for some seconds", timeout_s=_RESTART_TIMEOUT_S),
        StepSpec(f"await{suffix}:{name}", f"wait until {name} has caught up", "await-member", host, inputs,
                 timeout_s=CATCH_UP_TIMEOUT_S),
    ]  # fmt: skip
    return [step for step in found if writes or step.kind != "write-member"]


def _refuse_strangers(facts: RollingFacts) -> None:
    known = {member.name for member in facts.view.members}
    missing, more = sorted(set(facts.hosts) - known), sorted(known - set(facts.hosts))
    if missing or more:
        raise UsageError(
            f"the inventory and {facts.cluster} do not have the same members",
            cause="; ".join(
                [f"{name} is no member of the cluster" for name in missing]
                + [f"{name or 'a member that has not started'} is not in the inventory" for name in more]
            ),
            hint="members are added and removed one by one, before or after; a rolling change only changes them",
        )


def _grouped(found: Sequence[Objection]) -> list[Objection]:
    """Members of which the same is to be said, together."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        groups.setdefault((one.id, one.why, one.instead), []).append(one.what)
    return [Objection(code, "; ".join(whats), why, instead) for (code, why, instead), whats in groups.items()]


def _fixed(facts: RollingFacts) -> list[Objection]:
    return [
        Objection(
            "identity",
            f"{name}: {', '.join(settings)} would change",
            "with another value it would be another member, or one without its data",
            "put it back in the inventory; members are replaced, not renamed",
        )
        for name, settings in facts.fixed.items()
        if settings
    ]


def _summary(facts: RollingFacts, members: Sequence[str], change: VersionChange | None) -> list[str]:
    found = []
    if change is not None and change.changes:
        running = ", ".join(sorted({str(version) for version in change.running.values()}))
        found.append(f"change etcd from {running} to {change.target}, one member after the other")
        found += warnings(change)
    leader = facts.view.leader_member
    last = f"; {leader.name} leads and comes last" if leader is not None and leader.name in members else ""
    found.append(f"members one by one: {', '.join(members)}{last}")
    for name in members:
        reasons = [*facts.unwritten.get(name, ()), *facts.outdated.get(name, ())]
        found.append(f"{name} on {facts.hosts[name]}: {'; '.join(dict.fromkeys(reasons))}")
    found += facts.notes
    found.append("before each one: all others well, the quorum stays without it; it stops at the first sign of trouble")
    return found


def _losses(facts: RollingFacts, change: VersionChange | None) -> list[str]:
    if len(facts.view.voters) <= 2:
        return ["while a member restarts nobody can read or write through the quorum: some seconds, each time"]
    found = ["no data; connections to the member that restarts are cut, and clients go on with another one"]
    if change is not None and change.changes and change.minor and facts.target is not None:
        older = [str(version) for version in change.running.values() if not meets(version, facts.target)]
        found.append(f"the way back to {min(older)} by changing programs: only the snapshot brings it back")
    return found
