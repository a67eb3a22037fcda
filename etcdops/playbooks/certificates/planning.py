"""Plans of renewals and rotations: decided from what is there. Pure but for what `procedure` gathers."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etcdops.client.view import ClusterView
from etcdops.errors import ClusterUnsafe, Unhealthy, UsageError
from etcdops.inventory.model import Cluster
from etcdops.playbooks.plan import Danger, Json, Plan, StepSpec
from etcdops.playbooks.rolling.health import Expected, troubles
from etcdops.playbooks.rolling.planning import describe_member, planned_inputs
from etcdops.playbooks.rolling.versions import order
from etcdops.playbooks.rollout.desired import Signer

RENEW = "cert-renew"
ROTATE = "cert-rotate-ca"
_LEAVES_TIMEOUT_S = 120.0
Leaves = Mapping[str, Mapping[str, str]]
"""Member -> path of a certificate -> its fingerprint, empty where there is none."""


class Until(enum.StrEnum):
    """How far a rotation goes before it waits for people: other clients than the console's have certificates too."""

    TRUST = "trust"
    """Members trust the new authority; time to give the bundle to all clients."""
    LEAVES = "leaves"
    """Members show new certificates; time to give new ones to all clients."""
    END = "end"
    """The old authority is trusted no more."""


@dataclass(frozen=True, slots=True)
class CertificateChoices:
    """What the operator decides."""

    days: int
    new_keys: bool = False
    accept_downtime: bool = False
    until: Until = Until.END


def signers(cluster: Cluster) -> tuple[Signer, ...]:
    """The authorities of a cluster. Raises: UsageError - its certificates are not ours to make."""
    tls = cluster.tls
    if tls is None:
        raise UsageError(f"{cluster.name} has no TLS", hint="write `tls: {}` into the inventory, and roll it out")
    if tls.files is not None or any(member.tls_files is not None for member in cluster.members):
        raise UsageError(
            f"the certificates of {cluster.name} are made by somebody else (tls.files in the inventory)",
            hint="renew them where they come from; etcdops cert list shows them all the same",
        )
    return tuple(signer for signer, on in ((Signer.CLIENT, tls.client), (Signer.PEER, tls.peer)) if on)


def plan_renewal(
    cluster: Cluster,
    leaves: Leaves,
    operator: str | None,
    members: Sequence[str],
    choices: CertificateChoices,
    inputs: Mapping[str, Json],
) -> Plan:
    """New certificates for members, one after the other, nobody restarted.

    Args: operator - fingerprint of the console's own certificate; None: it is not renewed; inputs - the inventory.
    """
    hosts = {member.label: member.host for member in cluster.members}
    steps = [_renew(name, hosts[name], leaves[name]) for name in members]
    if operator is not None:
        steps.append(_renew_operator(operator))
    keys = "with new keys" if choices.new_keys else "for the keys that are on the hosts"
    summary = (
        f"issue certificates of {', '.join(members)} anew, for {choices.days} days, {keys}",
        "one member after the other: written as a whole, then asked for at its ports; nobody is restarted",
    )
    inputs = {
        **inputs,
        "days": choices.days,
        "new_keys": choices.new_keys,
        "members": list(members),
        "voters": [],
    }
    lost = ("nothing: connections that stand go on, new ones see the new certificates",)
    return Plan(RENEW, cluster.name, inputs, summary, lost, tuple(steps))


def plan_rotation(
    cluster: Cluster,
    view: ClusterView,
    leaves: Leaves,
    operator: str,
    old: Mapping[Signer, str],
    choices: CertificateChoices,
    inputs: Mapping[str, Json],
) -> Plan:
    """Another authority without a moment of distrust.

    Args: old - fingerprints of the authorities to replace; of a rotation that was begun, those it replaces.
    Raises: Unhealthy, ClusterUnsafe - the members cannot be restarted one by one now.
    """
    _refuse_unwell(cluster, view, choices)
    hosts = {member.label: member.host for member in cluster.members}
    leader = view.leader_member
    members = order(list(hosts), leader.name if leader is not None else "")
    steps = [StepSpec("before", "look at the whole cluster", "look-at-cluster")]
    steps += _trust_phase(hosts, members)
    if choices.until is not Until.TRUST:
        steps += [_renew(name, hosts[name], leaves[name]) for name in members]
        steps.append(_renew_operator(operator))
    if choices.until is Until.END:
        steps += _retire_phase(hosts, members)
    steps.append(StepSpec("after", "look at the whole cluster again", "look-at-cluster"))
    inputs = {
        **inputs,
        **planned_inputs(view, members),
        "days": choices.days,
        "new_keys": choices.new_keys,
        "until": str(choices.until),
        "old": {str(signer): fingerprint for signer, fingerprint in old.items()},
        "force_unsafe": ["quorum-lost"] if choices.accept_downtime else [],
    }
    return Plan(
        ROTATE, cluster.name, inputs, tuple(_summary(old, members, choices)), tuple(_losses(choices)), tuple(steps)
    )


def _trust_phase(hosts: Mapping[str, str], members: Sequence[str]) -> list[StepSpec]:
    begin = StepSpec("begin", "make the new authority, beside the old one", "begin-rotation", danger=Danger.MILD)
    found = [begin, *_write_trust(hosts, members, "trust", "write both authorities to {}")]
    for name in members:
        found += _restart(name, hosts[name], "-trust", old_refused=False)
    return found


def _retire_phase(hosts: Mapping[str, str], members: Sequence[str]) -> list[StepSpec]:
    found = [
        StepSpec("unused", "see that nothing in use is of the old authority", "require-new-leaves"),
        StepSpec("finish", "hand out the new authority only", "finish-rotation", danger=Danger.MILD,
                 loses="clients that show certificates of the old authority are refused, member by member"),
        *_write_trust(hosts, members, "retire", "take the old authority off {}"),
    ]  # fmt: skip
    for name in members:
        found += _restart(name, hosts[name], "-retire", old_refused=True)
    return found


def _write_trust(hosts: Mapping[str, str], members: Sequence[str], what: str, title: str) -> list[StepSpec]:
    return [
        StepSpec(f"{what}:{name}", title.format(name), "write-trust", hosts[name], {"member": name}, Danger.MILD,
                 together=what)
        for name in members
    ]  # fmt: skip


def _restart(name: str, host: str, suffix: str, *, old_refused: bool) -> list[StepSpec]:
    found = describe_member(name, host, suffix=suffix, restart="restart-for-trust", writes=False)
    extra = {"old_refused": old_refused}
    return [
        StepSpec(step.id, step.title, step.kind, step.host, {**step.inputs, **extra}, step.danger, step.loses,
                 timeout_s=step.timeout_s)
        for step in found
    ]  # fmt: skip


def _renew(name: str, host: str, leaves: Mapping[str, str]) -> StepSpec:
    inputs: dict[str, Json] = {"member": name, "old": dict(leaves)}
    title = f"issue the certificates of {name} anew, and see them at its ports"
    return StepSpec(f"renew:{name}", title, "renew-leaves", host, inputs, Danger.MILD, timeout_s=_LEAVES_TIMEOUT_S)


def _renew_operator(fingerprint: str) -> StepSpec:
    title = "issue the console's own certificate anew"
    return StepSpec("renew-operator", title, "renew-operator", inputs={"old": fingerprint}, danger=Danger.MILD)


def _refuse_unwell(cluster: Cluster, view: ClusterView, choices: CertificateChoices) -> None:
    unwell = troubles(view, Expected(frozenset(member.name for member in view.voters)))
    if unwell:
        raise Unhealthy(
            f"{cluster.name} is not well enough to restart its members: {unwell[0]}",
            cause="\n".join(unwell[1:]),
            hint="mend that first (etcdops status). A rotation that was cut off goes on with etcdops runs resume",
        )
    if len(view.voters) <= 2 and not choices.accept_downtime:
        raise ClusterUnsafe(
            f"{cluster.name} has {len(view.voters)} voting members: while one restarts, nobody can write",
            hint="add members first, or accept some seconds without service: --accept-downtime",
        )


def _summary(old: Mapping[Signer, str], members: Sequence[str], choices: CertificateChoices) -> list[str]:
    which = " and ".join(f"the {signer} authority" for signer in old)
    found = [
        f"replace {which}",
        f"all members trust old and new: written, then restarted one by one ({', '.join(members)})",
    ]
    if choices.until is not Until.TRUST:
        found.append("all certificates are issued anew by the new one, and seen at the ports; nobody is restarted")
    if choices.until is Until.END:
        found.append("nobody trusts the old one: written, then restarted one by one again")
    else:
        found.append("it stops there; the same command goes on, as far as it is told to")
    return found


def _losses(choices: CertificateChoices) -> list[str]:
    found = ["no data; connections to a member that restarts are cut, and clients go on with another one"]
    if choices.until is not Until.TRUST:
        found.append(
            "clients elsewhere that do not trust the new authority cannot connect any more: give them"
            " client/trusted.crt before (--until trust stops for that)"
        )
    if choices.until is Until.END:
        found.append(
            "clients elsewhere whose certificates are of the old authority are refused at the end: give them new ones"
            " before (--until leaves stops for that)"
        )
    return found
