"""What a recovered cluster must prove. Each check is read only and raises VerificationFailed with what is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from etcdops.client.client import Client
from etcdops.client.failures import Compacted, Refused
from etcdops.errors import EtcdopsError, VerificationFailed
from etcdops.ids import NO_MEMBER, MemberID, format_id
from etcdops.playbooks.plan import Result
from etcdops.playbooks.recover.recovered import Processes, Recovered, RecoveredMember
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.snapshot.buckets import read_facts
from etcdops.snapshot.file import open_snapshot
from etcdops.snapshot.hashkv import OfflineHashKV, hash_kv_when_bumped
from etcdops.snapshot.keys import KeyPrint, key_prints

Check: TypeAlias = Callable[[Recovered], Awaitable[Result]]

_PAGE_SIZE = 500
_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 2.0
_DIFFERENCES_SHOWN = 3


async def wait_serving(run: Recovered, processes: Processes, timeout_s: float) -> None:
    """Wait until every member knows a leader and answers a read through the quorum.

    Not until /health says so: an alarm that came along in the snapshot makes a working member unhealthy.

    Raises: EtcdopsError - a member ended, or the time passed; with the last lines of its log.
    """
    deadline = time.monotonic() + timeout_s
    async with Client(run.settings) as client:
        waiting = list(run.members)
        while waiting:
            reasons = await asyncio.gather(*(_not_serving(client, member) for member in waiting))
            waiting = [member for member, reason in zip(waiting, reasons, strict=True) if reason]
            passed = time.monotonic() > deadline
            for member, reason in zip(waiting, filter(None, reasons), strict=True):
                ended = await processes.ended(member.name)
                if passed or ended:
                    what = "ended" if ended else f"does not serve after {timeout_s:.0f} s"
                    said, where = await processes.last_said(member.name)
                    raise EtcdopsError(f"{member.name} {what}: {reason}", cause=said, hint=f"its whole log: {where}")
            if waiting:
                await asyncio.sleep(0.05)


async def _not_serving(client: Client, member: RecoveredMember) -> str:
    """Why a member does not serve, "" when it does."""
    endpoint = member.client_url
    try:
        status = await client.maintenance.status(endpoint, timeout=_PROBE_TIMEOUT_S)
        if status.leader == NO_MEMBER:
            return "it knows no leader"
        await client.kv.get(b"\0", endpoint=endpoint, timeout=_PROBE_TIMEOUT_S)
    except EtcdopsError as error:
        return error.message
    return ""


async def check_members(run: Recovered) -> Result:
    """The member list is exactly the planned one, under the new cluster ID, and every member says so."""
    expected = run.expected_members
    async with Client(run.settings) as client:
        for member in run.members:
            answer = await client.cluster.member_list(
                linearizable=False, endpoint=member.client_url, timeout=_TIMEOUT_S
            )
            found = {MemberID(one.ID): (one.name, ",".join(sorted(one.peerURLs))) for one in answer.members}
            if answer.header.cluster_id != run.expected_cluster_id:
                raise VerificationFailed(
                    f"{member.name} is in cluster {format_id(answer.header.cluster_id)},"
                    f" not in {format_id(run.expected_cluster_id)}",
                    hint="stop everything: an old member may be running",
                )
            if found != expected or any(one.isLearner for one in answer.members):
                raise VerificationFailed(
                    f"{member.name} knows other members than planned: {_render(found)}",
                    cause=f"planned: {_render(expected)}",
                    hint="stop everything and look at --initial-cluster and the data directories",
                )
    return {"members": len(expected), "cluster_id": format_id(run.expected_cluster_id)}


async def check_keys(run: Recovered) -> Result:
    """Every key of the snapshot is there with its value and history numbers, and no other key is."""
    expected = await asyncio.to_thread(_snapshot_keys, run.snapshot)
    remaining = dict(expected)
    wrong: list[str] = []
    async with Client(run.settings) as client:
        # Pinned to the first revision: what clients or ending leases change from now on is none of our business.
        async for page in client.kv.pages(page_size=_PAGE_SIZE, revision=run.revision, timeout=_TIMEOUT_S):
            for kv in page.kvs:
                if remaining.pop(kv.key, None) != KeyPrint.of(kv):
                    wrong.append(f"{kv.key!r} {'differs' if kv.key in expected else 'is not in the snapshot'}")
    wrong += [f"{key!r} is missing" for key in remaining]
    if wrong:
        raise VerificationFailed(
            f"{len(wrong)} keys are not as in the snapshot: {'; '.join(wrong[:_DIFFERENCES_SHOWN])}",
            hint="stop the cluster and compare these keys with the snapshot: etcdops snapshot status FILE",
        )
    return {"keys": len(expected)}


async def check_hashes(run: Recovered) -> Result:
    """HashKV is equal on all members, and while nobody has written yet it is the one the snapshot file gives."""
    expected = await asyncio.to_thread(_expected_hash, run)
    async with Client(run.settings) as client:
        # 0 = now: 3.4 refuses to hash at the compacted revision itself, and later versions may have a stored answer.
        found = await _hashes(client, run, 0)
        untouched = {revision for _, revision in found.values()} == {run.revision}
        if not untouched:
            found = await _hashes(client, run, max(revision for _, revision in found.values()))
    hashes = {answer for answer, _ in found.values()}
    if len(hashes) != 1 or (untouched and hashes != {(expected.hash, expected.compact_revision)}):
        shown = ", ".join(f"{name} {number} (compacted {mark})" for name, ((number, mark), _) in found.items())
        wanted = f"should be {expected.hash}" if untouched else "should be equal"
        raise VerificationFailed(
            f"HashKV {wanted} on every member: {shown}",
            hint="stop the cluster: its members do not hold the data of the snapshot",
        )
    ((number, mark),) = hashes
    return {"hash_kv": number, "compact_revision": mark, "as_in_snapshot": untouched}


async def _hashes(client: Client, run: Recovered, revision: int) -> dict[str, tuple[tuple[int, int], int]]:
    """((hash, compact revision), current revision) of every member by name."""
    answers = await asyncio.gather(
        *(
            client.maintenance.hash_kv(member.client_url, revision=revision, timeout=_TIMEOUT_S)
            for member in run.members
        )
    )
    return {
        member.name: ((answer.hash, answer.compact_revision), answer.header.revision)
        for member, answer in zip(run.members, answers, strict=True)
    }


async def check_watchers(run: Recovered) -> Result:
    """A watcher and a reader from before the recovery are told that their revision is compacted, by every member."""
    old = max(1, run.snapshot_revision)
    async with Client(run.settings) as client:
        for member in run.members:
            if not await _read_is_compacted(client, old, member.client_url):
                raise VerificationFailed(
                    f"{member.name} still serves revision {old}: clients cannot tell the new history from the old",
                    hint="restore again with a raised revision",
                )
            compacted = await _watch_compacted_at(client, old, member.client_url)
            if compacted != run.revision:
                raise VerificationFailed(
                    f"a watcher from revision {old} at {member.name} is told {compacted}, not that everything before"
                    f" {run.revision} is compacted",
                    hint="restore again with a raised revision",
                )
    return {"compact_revision": run.revision}


async def check_leftovers(run: Recovered) -> Result:
    """What survives a restore and needs a person: alarms, leases, users. Reported, not judged."""
    with open_snapshot(run.snapshot) as file:
        facts = await asyncio.to_thread(read_facts, file)
    async with Client(run.settings) as client:
        alarms = (await client.maintenance.alarms(timeout=_TIMEOUT_S)).alarms
        leases = (await client.lease.leases(timeout=_TIMEOUT_S)).leases
    return {
        "alarms": [f"{pb.AlarmType.Name(alarm.alarm)} at {format_id(alarm.memberID)}" for alarm in alarms],
        "leases": len(leases),
        "auth_enabled": facts.auth_enabled,
        "users": len(facts.users),
        "roles": len(facts.roles),
    }


CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("members", "verify the member list and the new cluster ID", check_members),
    ("keys", "verify every key and value against the snapshot", check_keys),
    ("hash", "verify that HashKV is equal on all members and in the snapshot", check_hashes),
    ("watchers", "verify that old watchers are told: compacted", check_watchers),
    ("leftovers", "look for alarms, leases and users that came along", check_leftovers),
)


def _snapshot_keys(path: Path) -> dict[bytes, KeyPrint]:
    with open_snapshot(path) as file:
        return key_prints(file)


def _expected_hash(run: Recovered) -> OfflineHashKV:
    with open_snapshot(run.snapshot) as file:
        return hash_kv_when_bumped(file, run.revision, marked=run.marked)


async def _read_is_compacted(client: Client, revision: int, endpoint: str) -> bool:
    try:
        await client.kv.get(b"\0", revision=revision, serializable=True, endpoint=endpoint, timeout=_TIMEOUT_S)
    except Compacted:
        return True
    return False


async def _watch_compacted_at(client: Client, revision: int, endpoint: str) -> int | None:
    """The compacted revision a watch from `revision` is cancelled with; None when it is served."""
    watcher = client.watch(b"\0", range_end=b"\0", start_revision=revision, endpoint=endpoint)
    try:
        async with asyncio.timeout(_TIMEOUT_S), watcher:
            async for _ in watcher:
                return None
    except Compacted as compacted:
        return compacted.compact_revision
    except (Refused, TimeoutError):
        return None
    return None


def _render(members: dict[MemberID, tuple[str, str]]) -> str:
    return ", ".join(f"{format_id(number)} {name}={url}" for number, (name, url) in sorted(members.items()))
