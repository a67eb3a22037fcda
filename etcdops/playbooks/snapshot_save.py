"""Take a snapshot that can be trusted: from the right member, complete on disk, verified before it gets its name."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from etcdops.client.client import Client
from etcdops.client.maintenance import SnapshotProgress
from etcdops.client.remedies import remedy
from etcdops.client.view import ClusterView, MemberView, Silence, observe
from etcdops.clock import Clock, SystemClock, rfc3339
from etcdops.errors import AccessDenied, EtcdopsError, Unreachable, UsageError
from etcdops.files import sync_folder
from etcdops.ids import padded_id
from etcdops.playbooks.plan import Json
from etcdops.snapshot.checksum import sync
from etcdops.snapshot.inspect import SnapshotReport, inspect_snapshot
from etcdops.snapshot.sidecar import create_private, sidecar_path, write_sidecar

LAG_WARNED = 1000
"""Revisions behind the newest member from which on a snapshot's age is worth a warning."""
_LOOK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """A snapshot on disk."""

    report: SnapshotReport
    endpoint: str
    member: str
    cluster_id: str
    term: int
    taken_at: float
    """Unix time when the transfer began."""
    members: tuple[MemberView, ...]
    """The cluster at that time. The file itself may not have all of it: etcd 3.5 leaves client URLs out."""
    sidecar: Path
    """JSON beside the file with where it came from; the file itself does not say."""
    warnings: tuple[str, ...]


def choose_member(view: ClusterView, name: str = "") -> tuple[MemberView, tuple[str, ...]]:
    """Whose snapshot to take, and what the operator should know about it.

    A snapshot is one member's state: of a member that lags it is silently old. So it is the voter with the highest
    revision, one without errors before others, and a follower before the leader, which has more to do.

    Args: name - take this member's, whatever its state, with warnings.
    Raises: Unreachable - nobody answers; UsageError - there is no such member.
    """
    answering = view.answering
    if name:
        named = [
            member for member in view.members if name == member.name or name.rjust(16, "0") == padded_id(member.id or 0)
        ]
        if not named:
            known = ", ".join(member.label for member in view.members)
            raise UsageError(f"there is no member {name!r}", hint=f"members: {known}")
        answering = tuple(member for member in named if member.answered)
    if not answering:
        raise _nobody(view, name)
    chosen = max(answering, key=lambda member: _preference(view, member))
    return chosen, tuple(_concerns(view, chosen))


def _nobody(view: ClusterView, name: str) -> EtcdopsError:
    """Nobody answers: unreachable, or they do not let us in."""
    silent = [member for member in view.silent if name in ("", member.name)] or list(view.silent)
    cause = "; ".join(f"{member.endpoint}: {member.error}" for member in silent)
    steps = dict.fromkeys(filter(None, (remedy(member.error) for member in silent)))
    hint = "; ".join(steps) or "etcdops status shows who answers and why others do not"
    if silent and all(member.silence is Silence.ACCESS_DENIED for member in silent):
        return AccessDenied("no member lets us in to take a snapshot", cause=cause, hint=hint)
    who = f"{name} does not answer" if name else "nobody answers"
    return Unreachable(f"no member to take a snapshot from: {who}", cause=cause, hint=hint)


def _preference(view: ClusterView, member: MemberView) -> tuple[bool, bool, int, bool]:
    assert member.status is not None
    revision = member.status.revision
    return not member.is_learner, not member.status.errors, revision, member.id != view.leader


def _concerns(view: ClusterView, member: MemberView) -> list[str]:
    assert member.status is not None
    found = []
    behind = view.max_revision - member.status.revision
    if behind >= LAG_WARNED:
        found.append(f"{member.label} is {behind} revisions behind: the snapshot will be that old")
    if not view.has_quorum:
        found.append("the cluster has no quorum: nobody can say whether this member knows the newest writes")
    if member.is_learner:
        found.append(f"{member.label} is a learner: it may be behind")
    found += [f"{member.label} reports: {error}" for error in member.status.errors]
    return found


async def save_snapshot(
    client: Client,
    path: Path,
    *,
    member: str = "",
    force: bool = False,
    progress: Callable[[SnapshotProgress], None] | None = None,
    clock: Clock | None = None,
) -> SavedSnapshot:
    """Stream a member's snapshot into `path` (mode 0600). What has that name is whole and verified.

    Raises: UsageError - the file exists and `force` is not given, or there is no such member; Unreachable;
        SnapshotCorrupt - what arrived is damaged (it is deleted).
    """
    clock = clock or SystemClock()
    _refuse_existing(path, force)
    view = await observe(client, timeout_s=_LOOK_TIMEOUT_S)
    chosen, warnings = choose_member(view, member)
    assert chosen.status is not None
    taken_at = clock.wall()
    part = path.with_name(f"{path.name}.part")
    try:
        endpoint = await _receive(client, part, chosen.endpoint, progress)
        report = await asyncio.to_thread(inspect_snapshot, part)
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise EtcdopsError(f"cannot write {path}: {error.strerror}", hint="choose another place") from error
    finally:
        part.unlink(missing_ok=True)
    saved = SavedSnapshot(
        report=dataclasses.replace(report, path=path),
        endpoint=endpoint,
        member=chosen.name,
        cluster_id=padded_id(view.cluster_id) if view.cluster_id else "",
        term=chosen.status.raft_term,
        taken_at=taken_at,
        members=view.members if view.members_known else (),
        sidecar=sidecar_path(path),
        warnings=warnings,
    )
    write_sidecar(saved.sidecar, sidecar_json(saved))
    return saved


async def _receive(
    client: Client, part: Path, endpoint: str, progress: Callable[[SnapshotProgress], None] | None
) -> str:
    with os.fdopen(create_private(part), "wb") as file:
        received = await client.maintenance.snapshot(file, endpoint=endpoint, progress=progress)
        await asyncio.to_thread(sync, file)
    return received.endpoint


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageError(f"{path} exists", hint="choose another name, or replace it with --force")


def sidecar_json(saved: SavedSnapshot) -> dict[str, Json]:
    """What the file beside a snapshot says."""
    report = saved.report
    return {
        "file": report.path.name,
        "format": report.format.value,
        "cluster_id": saved.cluster_id,
        "member": saved.member,
        "endpoint": saved.endpoint,
        "raft_term": saved.term,
        "taken_at": rfc3339(saved.taken_at),
        "revision": report.current_revision,
        "live_keys": report.live_keys,
        "hash": report.hash,
        "hash_kv": report.hash_kv.hash,
        "sha256": report.sha256,
        "members": [
            {
                "id": padded_id(member.id) if member.id else None,
                "name": member.name,
                "peer_urls": list(member.peer_urls),
                "client_urls": list(member.client_urls),
                "is_learner": member.is_learner,
            }
            for member in saved.members
        ],
    }
