"""Renewals and rotations on hosts of an inventory: gathered, planned, and gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from etcdops.certs.facts import describe
from etcdops.errors import EtcdopsError, UsageError
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.certificates.leaves import FoundLeaf, read_leaf, read_operator
from etcdops.playbooks.certificates.planning import (
    CertificateChoices,
    Leaves,
    plan_renewal,
    plan_rotation,
    signers,
)
from etcdops.playbooks.certificates.steps import kinds_for, read_run
from etcdops.playbooks.on_hosts import INPUT, RunHosts
from etcdops.playbooks.plan import Json, Plan
from etcdops.playbooks.procedures import Procedure
from etcdops.playbooks.rolling.host_fleet import HostFleet
from etcdops.playbooks.rollout.desired import Signer, desired
from etcdops.playbooks.step import Step


async def plan_renew(run: RunHosts, choices: CertificateChoices, members: Sequence[str] = ()) -> Plan:
    """Args: members - names of those whose certificates are renewed; empty: all, and the console's own.

    Raises: UsageError - no such member, no authority here, or a rotation is unfinished.
    """
    known = [member.label for member in run.cluster.members]
    unknown = [name for name in members if name not in known]
    if unknown:
        raise UsageError(f"{run.cluster.name} has no member {unknown[0]}", hint=f"it has {', '.join(known)}")
    authorities = _authorities(run)
    rotating = [signer for signer in signers(run.cluster) if authorities.of(signer).rotating]
    if rotating:
        raise UsageError(
            f"the {rotating[0]} authority of {run.cluster.name} is being replaced",
            cause="what the new one signs is not trusted by members that have not restarted",
            hint="finish that first, which renews everything: etcdops cert rotate-ca, or etcdops runs resume",
        )
    names = list(members or known)
    operator = None if members else read_operator(run).fingerprint
    return plan_renewal(run.cluster, await _leaves(run, names), operator, names, choices, _inputs(run))


async def plan_rotate(run: RunHosts, choices: CertificateChoices) -> Plan:
    """Goes on with a rotation that was begun, whoever began it. Raises: UsageError, Unhealthy, ClusterUnsafe."""
    authorities = _authorities(run)
    old = {}
    for signer in signers(run.cluster):
        # of a rotation that was begun, the last one in the bundle is the one that goes
        old[signer] = describe(authorities.of(signer).trusted[-1]).fingerprint
    names = [member.label for member in run.cluster.members]
    view = await HostFleet(run).look(hashes=True)
    leaves = await _leaves(run, names, authorities)
    operator = read_operator(run)
    fingerprint = "" if _is_new(operator, Signer.CLIENT, authorities) else operator.fingerprint
    return plan_rotation(run.cluster, view, leaves, fingerprint, old, choices, _inputs(run))


def _inputs(run: RunHosts) -> dict[str, Json]:
    return {INPUT: run.source.to_json()}


async def _leaves(run: RunHosts, names: Sequence[str], rotating: ClusterAuthorities | None = None) -> Leaves:
    """What is on the hosts now, to be replaced. Args: rotating - what they have signed anew already, stays."""

    async def one(name: str) -> dict[str, str]:
        wanted = desired(run.inventory, run.cluster, run.member(name))
        session = await run.session(wanted.host)
        found = await asyncio.gather(*(read_leaf(session, leaf) for leaf in wanted.leaves))
        return {
            leaf.certificate: "" if _is_new(there, leaf.signer, rotating) else there.fingerprint
            for leaf, there in zip(wanted.leaves, found, strict=True)
        }

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def _is_new(found: FoundLeaf, signer: Signer, authorities: ClusterAuthorities | None) -> bool:
    """Whether a rotation that was begun has issued it."""
    if authorities is None or found.parsed is None:
        return False
    authority = authorities.of(signer)
    return authority.rotating and authority.signed(found.parsed)


def _authorities(run: RunHosts) -> ClusterAuthorities:
    authorities = ClusterAuthorities(run.pki, run.cluster.name, run.clock)
    missing = [signer for signer in signers(run.cluster) if not authorities.exists(signer)]
    if missing:
        raise UsageError(
            f"the {missing[0]} authority of {run.cluster.name} is not on this machine: {run.pki / missing[0]}",
            hint="work from where it is, or name its folder in the inventory (tls.authority); etcdops rollout makes it"
            " for a new cluster",
        )
    return authorities


def _rebuild(plan: Plan, run: RunHosts) -> list[Step]:
    try:
        return kinds_for(plan.procedure).build(plan, read_run(plan, run))
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdopsError(
            "the plan of this run cannot be carried out by this version of etcdops",
            cause=f"{type(error).__name__}: {error}",
            hint="finish it with the version that began it",
        ) from error


CERTIFICATES = Procedure(on_hosts=_rebuild)
"""Of both plans."""
