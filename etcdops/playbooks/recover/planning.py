"""From facts and a snapshot to the plan of a recovery. Pure: every decision is here, and none is taken later."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from etcdops.errors import ClusterUnsafe, UsageError
from etcdops.ids import cluster_id, member_id, padded_id
from etcdops.playbooks import safety
from etcdops.playbooks.cluster_file import ClusterSpec, EngineKind
from etcdops.playbooks.plan import Json, Plan
from etcdops.playbooks.recover.facts import RecoveryFacts
from etcdops.playbooks.recover.run import PROCEDURE
from etcdops.playbooks.recover.steps import describe_steps
from etcdops.snapshot.etcd_tools import RestoreTool
from etcdops.snapshot.facts import SnapshotFormat
from etcdops.snapshot.inspect import SnapshotReport
from etcdops.wording import counted

MARGIN_FACTOR = 1.2
MARGIN_MIN = 1000
"""Revisions added to the last known one, at the least: it was known a moment before the end, not at the end."""
BUMP_UNKNOWN = 1_000_000_000
"""Added to the snapshot's revision when nobody knows the last one: more than a busy cluster writes in years.

Source: etcd website, operating etcd clusters, recovery ("Restoring with revision bump").
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator chose, and what must be random or taken from a clock."""

    token: str
    """The new cluster token."""
    now: float
    """Unix time: part of the names that old data is moved to."""
    tool: RestoreTool | None
    """etcd's restore tool; None for the node engine."""
    force_unsafe: frozenset[str] = frozenset()
    """Codes of checks to override."""


def target_revision(snapshot_revision: int, last_known: int | None) -> int:
    """The revision the recovered cluster starts at: safely above everything any client may have seen."""
    if last_known is None:
        return snapshot_revision + BUMP_UNKNOWN
    base = max(snapshot_revision, last_known)
    return max(int(base * MARGIN_FACTOR), base + MARGIN_MIN)


def make_plan(cluster: ClusterSpec, facts: RecoveryFacts, snapshot: SnapshotReport, choices: Choices) -> Plan:
    """Decide everything.

    Raises: ClusterUnsafe - the quorum holds; UsageError - the snapshot cannot become this cluster.
    """
    refuse_working_cluster(facts, choices.force_unsafe)
    refuse_unfit_snapshot(cluster.engine.kind, snapshot, choices.tool)
    revision = target_revision(snapshot.current_revision, facts.last_revision_max)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(choices.now))
    renewed = cluster.with_token(choices.token)
    new_id = cluster_id(member_id([member.peer_url], choices.token) for member in cluster.members)
    aside = {member.name: f"{member.data_dir}.before-recover-{stamp}" for member in cluster.members}
    inputs: dict[str, Json] = {
        "cluster": renewed.to_json(),
        "directory": str(cluster.directory),
        "stamp": stamp,
        "old_token": cluster.token,
        "old_cluster_id": padded_id(facts.cluster_id) if facts.cluster_id else None,
        "new_cluster_id": padded_id(new_id),
        "snapshot": str(snapshot.path.absolute()),
        "sha256": snapshot.sha256,
        "has_checksum": snapshot.has_checksum,
        "snapshot_revision": snapshot.revision,
        "revision": revision,
        "live_keys": snapshot.live_keys,
        "tool": str(choices.tool.path) if choices.tool else None,
        "tool_bumps": bool(choices.tool and choices.tool.can_bump),
        "force_unsafe": sorted(choices.force_unsafe),
        "aside": cast("Mapping[str, Json]", aside),
        "running": list(facts.running),
    }
    return Plan(
        PROCEDURE,
        cluster.name,
        inputs,
        tuple(_summary(renewed, facts, snapshot, choices, inputs)),
        tuple(losses(facts, snapshot)),
        describe_steps(
            renewed,
            snapshot.path.name,
            revision,
            bumps_first=choices.tool is not None and not choices.tool.can_bump,
        ),
    )


def refuse_working_cluster(facts: RecoveryFacts, force_unsafe: frozenset[str]) -> None:
    """Raises: ClusterUnsafe - it serves: recovery is for a cluster that is lost."""
    verdict = safety.judge_recovery(facts.view.quorum, proven=facts.view.serves_linearizable)
    if not verdict.allowed and verdict.code not in force_unsafe:
        raise ClusterUnsafe(
            f"recovery would throw away a working cluster: {verdict.reason}",
            cause=f"everything written to cluster {shown_id(facts.view.cluster_id)} after the snapshot would be lost",
            hint=f"{verdict.instead}; if you really want the snapshot's state: --force-unsafe {verdict.code}",
        )


def shown_id(number: int | None) -> str:
    """A cluster's ID for people."""
    return padded_id(number) if number else "unknown"


def refuse_unfit_snapshot(kind: str, snapshot: SnapshotReport, tool: RestoreTool | None) -> None:
    """Raises: UsageError - it is of the other engine, or of a later version. Args: kind - of the members' engine."""
    wanted = SnapshotFormat.NODE if kind == EngineKind.NODE else SnapshotFormat.ETCD
    if snapshot.format is not wanted:
        raise UsageError(
            f"{snapshot.path} is a snapshot of engine {snapshot.format.value}, the members run {kind}",
            hint="choose a snapshot of the same engine",
        )
    for written in (snapshot.facts.storage_version, snapshot.facts.cluster_version):
        if tool is not None and written and _minor(written) > tool.version[:2]:
            raise UsageError(
                f"{snapshot.path} was written by a cluster of version {written}, the members run"
                f" {tool.version[0]}.{tool.version[1]}",
                cause="an older etcd refuses to start on it",
                hint="start the members with that version or a newer one",
            )


def _minor(version: str) -> tuple[int, int]:
    """(major, minor) of `3.6.0`; (0, 0) of anything else, which then hinders nothing."""
    parts = version.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)


def _summary(
    renewed: ClusterSpec,
    facts: RecoveryFacts,
    snapshot: SnapshotReport,
    choices: Choices,
    inputs: Mapping[str, Json],
) -> list[str]:
    moved = [member.name for member in renewed.members if member.name not in facts.without_data]
    gone = f"; {', '.join(facts.without_data)}: nothing is left to move" if facts.without_data else ""
    restorer = choices.tool.label if choices.tool else "etcdops"
    rewritten = "" if not choices.tool or choices.tool.can_bump else ", after etcdops raised its revision"
    names = ", ".join(member.name for member in renewed.members)
    return [
        f"stop every member and prove it ({_running(facts)})",
        f"move old data aside, to *.before-recover-{inputs['stamp']}: {', '.join(moved) or 'none'}{gone}",
        f"restore {names} from {snapshot.path.name} (sha256 {snapshot.sha256[:16]}…, the same for all)"
        f" with {restorer}{rewritten}",
        f"give the cluster a new identity: token {renewed.token}, cluster ID "
        f"{shown_id(facts.cluster_id)} → {inputs['new_cluster_id']}",
        f"raise the revision from {snapshot.current_revision} to {inputs['revision']} and mark all before as compacted,"
        " so that no client mistakes old revisions for new ones",
        f"start {names} and wait until all are healthy",
        f"verify: {counted(snapshot.live_keys, 'key')} and what they hold, one by one; HashKV equal on all members;"
        " member list exact; old watchers told that their revision is compacted",
    ]


def _running(facts: RecoveryFacts) -> str:
    ours = [", ".join(facts.running)] if facts.running else []
    others = [
        f"{stranger.member} is run by others (pid {stranger.occupant.pid or 'unknown'}): stop it first"
        for stranger in facts.strangers
    ]
    return "; ".join(ours + others) or "none of them runs"


def losses(facts: RecoveryFacts, snapshot: SnapshotReport) -> list[str]:
    """What is lost, in numbers, and what comes along and needs a person: a sentence each."""
    known, most = facts.last_revision, facts.last_revision_max
    lines: list[str]
    if known is None or most is None:
        lines = [
            f"everything written after the snapshot's revision {snapshot.current_revision}; how much is unknown:"
            " no member answers and no data directory is left (--last-known-revision N if monitoring knows)"
        ]
        return lines + _comes_along(snapshot)
    witness = max(facts.witnesses, key=lambda one: (one.revision_max, one.revision))
    lost, lost_most = max(0, known - snapshot.current_revision), max(0, most - snapshot.current_revision)
    if lost_most == 0:
        lines = [f"no revision: the last known one is {known} ({witness.source}), and the snapshot has it"]
    else:
        count = str(lost) if lost == lost_most else f"{lost} to {lost_most}"
        which = (
            f"1 revision: {most}"
            if lost == lost_most == 1
            else f"{count} revisions: {snapshot.current_revision + 1} to {most}"
        )
        lines = [f"{which}, between the snapshot and the last revision found ({witness.source})"]
    silent = len(facts.without_data) + len(facts.problems)
    if silent:
        lines.append(
            f"what only the {counted(silent, 'member')} without readable data knew, if anything: it cannot be counted"
        )
    return lines + _comes_along(snapshot)


def _comes_along(snapshot: SnapshotReport) -> list[str]:
    """What the snapshot brings with it that will need a person."""
    lines = []
    if snapshot.leased_keys:
        lines.append(
            f"hanging on leases: {counted(snapshot.leased_keys, 'key')}; leases start anew, and what is not renewed is"
            " deleted in the end"
        )
    lines += [
        f"the alarm {alarm.type} comes along from the snapshot: writes are refused until it is disarmed"
        for alarm in snapshot.facts.alarms
    ]
    return lines
