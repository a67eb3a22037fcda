"""From what the inventory wants and what hosts are like to the steps in between: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from etcdops.inventory.model import Cluster, Manager
from etcdops.playbooks.on_hosts import INPUT, InventorySource
from etcdops.playbooks.plan import Danger, Json, Plan, StepSpec
from etcdops.playbooks.rollout.desired import DesiredMember, Signer
from etcdops.playbooks.rollout.engine_install import describe
from etcdops.playbooks.rollout.survey import Survey

PROCEDURE = "rollout"
_ENGINE_TIMEOUT_S = 1800.0
_HOST = "host"
"""Of steps that need nothing of each other: while programs travel, users and directories are made."""
START_TIMEOUT_S = 240.0
"""Of a member's start; and of the wait for all of them to be healthy."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan is made from."""

    cluster: Cluster
    source: InventorySource
    members: Sequence[DesiredMember]
    surveys: Mapping[str, Survey]
    """By the member's name."""
    authorities_missing: Sequence[Signer]
    is_new: bool
    """No member has data: the cluster is made."""
    force_unsafe: Sequence[str] = ()


def make_plan(wanted: Wanted) -> Plan | None:
    """What to do; None when every host is as it should be.

    Members that have to be restarted are no business of this plan: that is a rolling change.
    """
    steps = tuple(_new_cluster(wanted) if wanted.is_new else _mending(wanted))
    if not steps:
        return None
    inputs: dict[str, Json] = {
        INPUT: wanted.source.to_json(),
        "is_new": wanted.is_new,
        "force_unsafe": sorted(wanted.force_unsafe),
        "changes": {name: dict(survey.diffs) for name, survey in wanted.surveys.items() if survey.diffs},
    }
    summary = _summary_of_new(wanted) if wanted.is_new else _summary_of_mending(wanted)
    return Plan(PROCEDURE, wanted.cluster.name, inputs, tuple(summary), (_losses(wanted),), steps)


def _new_cluster(wanted: Wanted) -> list[StepSpec]:
    cluster, members = wanted.cluster, wanted.members
    steps = [StepSpec("look", "see that the hosts are still free for it", "look", timeout_s=120.0)]
    steps += _authorities(wanted)
    if cluster.service.manager not in (Manager.DOCKER, Manager.PODMAN):
        what = f"install {describe(cluster.engine)}"
        steps += _each(members, "engine", what, "engine", timeout_s=_ENGINE_TIMEOUT_S, together=_HOST)
    steps += _each(members, "account", "make user and directories", "account", together=_HOST)
    if any(member.leaves or member.bundles for member in members):
        steps += _each(members, "certificates", "write certificates", "certificates")
    if cluster.firewall is not None:
        steps += _each(members, "firewall", "load the firewall's rules", "firewall")
    steps += _each(
        members, "service", f"install the service {cluster.service.name}", "service", inputs={"state": "new"}
    )
    steps += _each(members, "start", "start", "start", timeout_s=START_TIMEOUT_S)
    steps += _proofs()
    # A member that lost its data must not make an empty cluster of the same name at its next start.
    steps += _each(members, "settle", "note that the cluster exists", "service", inputs={"state": "existing"})
    return steps


def _mending(wanted: Wanted) -> list[StepSpec]:
    """Only what differs, on the hosts where it does."""
    chosen = {what: [m for m in wanted.members if test(wanted.surveys[m.name])] for what, test in _MENDED.items()}
    steps = _authorities(wanted)
    steps += _each(chosen["account"], "account", "make user and directories", "account")
    steps += _each(chosen["certificates"], "certificates", "renew certificates", "certificates")
    steps += _each(chosen["firewall"], "firewall", "load the firewall's rules", "firewall")
    if chosen["engine"]:
        what = f"install {describe(wanted.cluster.engine)}"
        steps += _each(chosen["engine"], "engine", what, "engine", timeout_s=_ENGINE_TIMEOUT_S)
    steps += _each(chosen["files"], "service", "put the service's files right", "service", inputs={"state": "existing"})
    steps += _each(chosen["stopped"], "start", "start", "start", timeout_s=START_TIMEOUT_S)
    return [*steps, *_proofs()] if steps else []


_MENDED: Mapping[str, Callable[[Survey], bool]] = {
    "account": lambda survey: bool(survey.account),
    "certificates": lambda survey: bool(survey.certificates or survey.bundles),
    "firewall": lambda survey: bool(survey.firewall),
    "engine": lambda survey: bool(survey.engine),
    "files": lambda survey: bool(survey.files or survey.actions),
    "stopped": lambda survey: bool(survey.stopped),
}


def _authorities(wanted: Wanted) -> list[StepSpec]:
    missing = [str(signer) for signer in wanted.authorities_missing]
    if not missing:
        return []
    title = f"make the {' and '.join(missing)} certificate authorit{'ies' if len(missing) > 1 else 'y'} on this machine"
    return [StepSpec("authorities", title, "authorities", inputs={"signers": missing}, danger=Danger.MILD)]


def _proofs() -> list[StepSpec]:
    return [
        StepSpec("healthy", "wait until every member is healthy", "healthy", timeout_s=START_TIMEOUT_S + 30),
        StepSpec("verify:members", "prove the member list and the cluster ID", "prove", inputs={"what": "members"}),
        StepSpec("verify:hash", "prove that all members hold the same", "prove", inputs={"what": "hash"}),
    ]


def _each(
    members: Sequence[DesiredMember],
    what: str,
    title: str,
    kind: str,
    *,
    inputs: Mapping[str, Json] | None = None,
    timeout_s: float = 120.0,
    together: str = "",
) -> list[StepSpec]:
    """The same on several hosts, all at once. Args: together - with what else; empty: with nothing."""
    return [
        StepSpec(
            id=f"{what}:{member.name}",
            title=f"{title}: {member.name}",
            kind=kind,
            host=member.host,
            inputs={"member": member.name, **(inputs or {})},
            danger=Danger.MILD,
            together=together or what,
            timeout_s=timeout_s,
        )
        for member in members
    ]


def _summary_of_new(wanted: Wanted) -> list[str]:
    cluster = wanted.cluster
    hosts = ", ".join(f"{member.name} on {member.host} ({member.member.host.reached_at})" for member in wanted.members)
    tls = cluster.tls
    secured = [what for what, on in (("clients", tls.client), ("members", tls.peer)) if on] if tls is not None else []
    return [
        f"make a new cluster of {len(wanted.members)}: {hosts}",
        f"each runs {describe(cluster.engine)} as the {cluster.service.manager} service {cluster.service.name}, by user"
        f" {cluster.user}, with its data in {', '.join(dict.fromkeys(m.member.data_dir for m in wanted.members))}",
        f"TLS between {' and '.join(secured)}" if secured else "no TLS: everybody on the network can read and write it",
        *(["load firewall rules for its ports"] if cluster.firewall is not None else []),
        "start all of them at once, and prove that they are one healthy cluster",
    ]


def _summary_of_mending(wanted: Wanted) -> list[str]:
    lines: list[str] = []
    for member in wanted.members:
        found = wanted.surveys[member.name]
        said = [
            *([found.engine] if found.engine else []),
            *found.account,
            *(f"renew {path}: {why}" for path, why in found.certificates.items()),
            *(f"write {path}" for path in found.diffs),
            *found.actions,
            *([f"start {member.name}, which is {found.stopped}"] if found.stopped else []),
        ]
        if said:
            lines.append(f"on {member.host}: {'; '.join(said)}")
    return lines


def _losses(wanted: Wanted) -> str:
    if not wanted.is_new:
        return "nothing: no member is restarted"
    replaced = sum(
        1 for survey in wanted.surveys.values() for diff in survey.diffs.values() if "--- /dev/null" not in diff
    )
    kept = f"; {replaced} files that are there are replaced, and kept below /var/lib/etcdops" if replaced else ""
    return f"nothing: no host has data in the way{kept}"
