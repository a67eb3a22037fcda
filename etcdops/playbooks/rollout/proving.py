"""What a cluster must prove over its own client port: healthy, the planned members, one history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from etcdops.errors import EtcdopsError, VerificationFailed
from etcdops.ids import NO_MEMBER, format_id
from etcdops.playbooks.member_access import MemberAccess
from etcdops.playbooks.plan import Result
from etcdops.playbooks.rollout.desired import DesiredMember

PROBE_TIMEOUT_S = 3.0
_TIMEOUT_S = 30.0
_POLL_S = 0.1


async def wait_healthy(access: MemberAccess, names: Sequence[str], timeout_s: float) -> Result:
    """Wait until every member knows a leader, answers a read through the quorum, and has no alarm.

    Raises: EtcdopsError - the time passed; it names each member that is not well, and why.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        reasons = await asyncio.gather(*(why_unhealthy(access, name) for name in names))
        wrong = [(name, reason) for name, reason in zip(names, reasons, strict=True) if reason]
        if not wrong:
            return {"healthy": len(names)}
        if time.monotonic() > deadline:
            raise EtcdopsError(
                f"not healthy after {timeout_s:.0f} s: {', '.join(name for name, _ in wrong)}",
                cause="\n".join(f"{name} ({access.endpoints[name]}): {reason}" for name, reason in wrong),
                hint="see what these members log",
            )
        await asyncio.sleep(_POLL_S)


async def why_unhealthy(access: MemberAccess, name: str) -> str:
    """Why a member is not healthy now, in its own words where it has some; empty: it is."""
    endpoint, client = access.endpoints[name], access.client
    try:
        status = await client.maintenance.status(endpoint, timeout=PROBE_TIMEOUT_S)
        if status.leader == NO_MEMBER:
            return "it knows no leader"
        if status.errors:
            return "; ".join(status.errors)
        await client.kv.get(b"\0", endpoint=endpoint, timeout=PROBE_TIMEOUT_S)
    except EtcdopsError as error:
        return f"{error.message} ({error.cause})" if error.cause else error.message
    return ""


async def check_members(access: MemberAccess, members: Sequence[DesiredMember]) -> Result:
    """Every member knows exactly the planned members, in the same cluster. Raises: VerificationFailed."""
    wanted = {member.name: tuple(sorted(member.member.initial_advertise_peer_urls)) for member in members}
    clusters: set[int] = set()
    for member in members:
        answer = await access.client.cluster.member_list(
            linearizable=False, endpoint=access.endpoints[member.name], timeout=_TIMEOUT_S
        )
        found = {one.name: tuple(sorted(one.peerURLs)) for one in answer.members}
        if found != wanted:
            raise VerificationFailed(
                f"{member.name} knows other members than the inventory: {_render(found)}",
                cause=f"inventory: {_render(wanted)}",
                hint="correct the inventory, or change the cluster: etcdctl member list, add, remove, update",
            )
        clusters.add(answer.header.cluster_id)
    if len(clusters) != 1:
        raise VerificationFailed(
            f"the members are in {len(clusters)} clusters: {', '.join(map(format_id, sorted(clusters)))}",
            hint="stop all of them: two clusters with one name serve different data",
        )
    return {"members": len(members), "cluster_id": format_id(clusters.pop())}


async def check_hashes(access: MemberAccess, members: Sequence[DesiredMember]) -> Result:
    """HashKV at one revision is equal on all members. Raises: VerificationFailed."""
    statuses = [
        await access.client.maintenance.status(access.endpoints[member.name], timeout=_TIMEOUT_S) for member in members
    ]
    revision = min(status.header.revision for status in statuses)
    found: dict[str, tuple[int, int]] = {}
    for member in members:
        answer = await access.client.maintenance.hash_kv(
            access.endpoints[member.name], revision=revision, timeout=_TIMEOUT_S
        )
        found[member.name] = (answer.hash, answer.compact_revision)
    if len(set(found.values())) != 1:
        shown = ", ".join(f"{name} {number} (compacted {mark})" for name, (number, mark) in found.items())
        raise VerificationFailed(
            f"the members do not hold the same at revision {revision}: {shown}",
            hint="take a snapshot of each member before anything else is done",
        )
    return {"hash_kv": next(iter(found.values()))[0], "revision": revision}


def _render(members: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name or '(not started)'}={'+'.join(urls)}" for name, urls in sorted(members.items()))
