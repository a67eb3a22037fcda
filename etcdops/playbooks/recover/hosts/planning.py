"""From facts and a snapshot to the plan of a recovery on hosts. Pure: every decision is here, none is taken later."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.errors import ClusterUnsafe
from etcdops.ids import cluster_id, member_id, padded_id
from etcdops.inventory.model import Cluster, EngineKind
from etcdops.playbooks.on_hosts import INPUT, InventorySource
from etcdops.playbooks.plan import Danger, Json, Plan, StepSpec
from etcdops.playbooks.recover import verifying
from etcdops.playbooks.recover.hosts.facts import HostFacts, MemberFacts
from etcdops.playbooks.recover.hosts.planned import PROCEDURE, PlannedMember
from etcdops.playbooks.recover.planning import (
    losses,
    refuse_unfit_snapshot,
    refuse_working_cluster,
    shown_id,
    target_revision,
)
from etcdops.services.port import START_TIMEOUT_S, STOP_TIMEOUT_S
from etcdops.snapshot.inspect import SnapshotReport
from etcdops.wording import counted

_COPY_TIMEOUT_S = 4 * 3600.0
"""Of steps that move the whole snapshot: far more than a disk and a line that work need."""
_STOP_TIMEOUT_S = 2 * STOP_TIMEOUT_S
_START_TIMEOUT_S = 2 * START_TIMEOUT_S
_LOG_BYTES = 130 << 20
"""etcd preallocates its log in files of 64 MB, one more than it writes to."""
_NODE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator chose, and what must be random or taken from a clock."""

    token: str
    """The new cluster token."""
    stamp: str
    """Part of the names that old data is moved to."""
    raised: Path
    """Where to write the snapshot with a raised revision, if no tool on the hosts can raise it."""
    force_unsafe: frozenset[str] = frozenset()
    update_inventory: bool = False
    """Write the token into the inventory too."""


def stamp_of(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def make_plan(
    cluster: Cluster, source: InventorySource, facts: HostFacts, snapshot: SnapshotReport, choices: Choices
) -> Plan:
    """Decide everything. Args: cluster - as the inventory has it.

    Raises: ClusterUnsafe - the quorum holds, or a host is not fit; UsageError - the snapshot does not fit the members.
    """
    refuse_working_cluster(facts.recovery, choices.force_unsafe)
    for one in facts.members:
        refuse_unfit_snapshot(cluster.engine.kind, snapshot, one.tool)
    is_node = cluster.engine.kind is EngineKind.NODE
    need = snapshot.total_size_bytes + _NODE_BYTES if is_node else 2 * snapshot.total_size_bytes + _LOG_BYTES
    _refuse_unfit_hosts(facts, need)
    revision = target_revision(snapshot.current_revision, facts.recovery.last_revision_max)
    raises_here = not is_node and not all(one.tool is not None and one.tool.can_bump for one in facts.members)
    peers = [one.placed.initial_advertise_peer_urls for one in facts.members]
    new_id = padded_id(cluster_id(member_id(urls, choices.token) for urls in peers))
    inputs: dict[str, Json] = {
        INPUT: source.to_json(),
        "token": choices.token,
        "old_token": cluster.initial_cluster_token,
        "old_cluster_id": padded_id(facts.recovery.cluster_id) if facts.recovery.cluster_id else None,
        "new_cluster_id": new_id,
        "stamp": choices.stamp,
        "snapshot": str(snapshot.path.absolute()),
        "sha256": snapshot.sha256,
        "has_checksum": snapshot.has_checksum,
        "snapshot_revision": snapshot.revision,
        "revision": revision,
        "live_keys": snapshot.live_keys,
        "raised": str(choices.raised) if raises_here else None,
        "force_unsafe": sorted(choices.force_unsafe),
        "members": {one.name: _planned(one, need).to_json() for one in facts.members},
    }
    return Plan(
        PROCEDURE,
        cluster.name,
        inputs,
        tuple(_summary(facts, snapshot, inputs)),
        tuple(losses(facts.recovery, snapshot)),
        (*_steps(facts, snapshot, revision, raises_here=raises_here), *(_noting() if choices.update_inventory else ())),
    )


def _noting() -> tuple[StepSpec, ...]:
    """Last of all: from then on the inventory says something else than this plan was made from."""
    title = "write the new token into the inventory on this machine"
    return (StepSpec("inventory", title, "note-token", danger=Danger.MILD),)


def _refuse_unfit_hosts(facts: HostFacts, need: int) -> None:
    faults = [fault for one in facts.members for fault in one.faults]
    faults += [
        f"{one.host}: not enough room beside {one.data.path}: {need >> 20} MiB are needed,"
        f" {one.free_bytes >> 20} are free"
        for one in facts.members
        if one.free_bytes < need
    ]
    if faults:
        first, *others = faults
        raise ClusterUnsafe(
            first,
            cause="\n".join(others),
            hint="mend that, then run the same command again; old data is kept, so new data needs room of its own."
            " Nothing was changed",
        )


def _planned(one: MemberFacts, need: int) -> PlannedMember:
    tool = (str(one.tool.path),) if one.tool is not None else ()
    return PlannedMember(one.name, one.host, one.running, one.data, one.wal, tool, need)


def _summary(facts: HostFacts, snapshot: SnapshotReport, inputs: Mapping[str, Json]) -> list[str]:
    names = ", ".join(one.name if one.name == one.host else f"{one.name} on {one.host}" for one in facts.members)
    tools = ", ".join(dict.fromkeys(one.tool.label if one.tool else "etcdops" for one in facts.members))
    raised = ", after etcdops raised its revision" if inputs["raised"] else ""
    running = [one.name for one in facts.members if one.running]
    moved = [f"{one.host}:{one.data.aside}" for one in facts.members if one.has_data]
    gone = [one.name for one in facts.members if not one.has_data]
    changed = {path for one in facts.members for path in one.changes.diffs}
    return [
        f"copy {snapshot.path.name} (sha256 {snapshot.sha256[:16]}…, the same for all) to {names}, and restore it there"
        f" beside the data with {tools}{raised}; until here nothing is stopped",
        f"stop every member and prove it (at work: {', '.join(running) or 'none'})",
        f"write the configuration of the new cluster ({', '.join(sorted(changed)) or 'nothing differs'}):"
        " no member may form a cluster anew, whatever becomes of its data",
        "move old data aside: "
        + (", ".join(moved) or "none")
        + (f"; {', '.join(gone)}: nothing is left to move" if gone else ""),
        f"give the cluster a new identity: token {inputs['token']}, cluster ID"
        f" {shown_id(facts.recovery.cluster_id)} → {inputs['new_cluster_id']}",
        f"raise the revision from {snapshot.current_revision} to {inputs['revision']} and mark all before as compacted,"
        " so that no client mistakes old revisions for new ones",
        "start all members and wait until they serve",
        f"verify: {counted(snapshot.live_keys, 'key')} and what they hold, one by one; HashKV equal on all members;"
        " member list exact; old watchers told that their revision is compacted",
    ]


def _steps(facts: HostFacts, snapshot: SnapshotReport, revision: int, *, raises_here: bool) -> tuple[StepSpec, ...]:
    members = facts.members

    def each(
        what: str, title: str, kind: str, *, danger: Danger = Danger.MILD, timeout_s: float = 120.0
    ) -> Sequence[StepSpec]:
        return [
            StepSpec(
                f"{what}:{one.name}",
                title.format(one.name),
                kind,
                host=one.host,
                inputs={"member": one.name},
                danger=danger,
                together=what if len(members) > 1 else "",
                timeout_s=timeout_s,
            )
            for one in members
        ]

    name = snapshot.path.name
    raising = f"write the snapshot with its revision raised to {revision}"
    return (
        StepSpec("snapshot", f"check {name} again, byte by byte", "check-snapshot", timeout_s=_COPY_TIMEOUT_S),
        *each("ready", "see that there is room for {}", "ready-host", danger=Danger.READ),
        *(
            [StepSpec("raise", raising, "raise-revision", danger=Danger.MILD, timeout_s=_COPY_TIMEOUT_S)]
            if raises_here
            else []
        ),
        *each("prepare", f"restore {name} beside the data of {{}}", "prepare-member", timeout_s=_COPY_TIMEOUT_S),
        *each("stop", "stop {} and prove it", "stop-member", danger=Danger.SEVERE, timeout_s=_STOP_TIMEOUT_S),
        *each("config", "configure {} for the new cluster", "configure-member"),
        *each("aside", "move the old data of {} aside", "move-aside", timeout_s=_STOP_TIMEOUT_S),
        *each("place", "put the restored data of {} in place", "place-data"),
        *each("start", "start {}", "start-member", timeout_s=_START_TIMEOUT_S),
        StepSpec("serving", "wait until all members serve", "wait-serving", timeout_s=_START_TIMEOUT_S),
        *(
            StepSpec(f"verify:{check}", title, "verify", inputs={"check": check}, timeout_s=_COPY_TIMEOUT_S)
            for check, title, _ in verifying.CHECKS
        ),
        *each("clean", "remove the copies made for {}", "clean-up"),
    )
