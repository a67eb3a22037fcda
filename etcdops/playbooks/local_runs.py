"""Starting and stopping the members of a described cluster, when nothing else is at work on it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from etcdops.client.quorum import quorum_of
from etcdops.clock import SystemClock
from etcdops.errors import ClusterUnsafe, UsageError
from etcdops.playbooks.cluster_file import ClusterSpec
from etcdops.playbooks.journal import open_runs, run_lock
from etcdops.playbooks.local_cluster import LocalCluster, LocalMember


async def start_members(spec: ClusterSpec, names: Sequence[str] = ()) -> None:
    """Start the named members (all by default) that do not run, and wait until they are healthy if a quorum runs.

    They go on when this process ends.

    Raises: UsageError - there is no such member. ClusterUnsafe - a recovery is unfinished, or a member's data is gone
        while others have theirs: started empty it would vote as if it had never promised anything. EtcdopsError - a
        port is taken, or one does not become healthy.
    """
    local = LocalCluster(spec)
    chosen = _chosen(local, names)
    with run_lock(spec.runs):
        _refuse_unfinished(spec)
        _refuse_lost_data(local, chosen)
        for member in chosen:
            member.start(tethered=False)
        running = [member.name for member in local.members if member.running]
        if len(running) >= quorum_of(len(local.members)):
            await local.wait_healthy([member.name for member in chosen])


def stop_members(spec: ClusterSpec, names: Sequence[str] = ()) -> None:
    """Stop the named members (all by default). Raises: UsageError; ClusterUnsafe - a run is at work on the cluster."""
    local = LocalCluster(spec)
    chosen = _chosen(local, names)
    with run_lock(spec.runs):
        if len(chosen) == len(local.members):
            local.stop()
        else:
            for member in chosen:
                member.stop()


def _chosen(local: LocalCluster, names: Sequence[str]) -> list[LocalMember]:
    known = [member.name for member in local.members]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no member {unknown[0]!r}", hint=f"members: {', '.join(known)}")
    return [member for member in local.members if not names or member.name in names]


def _refuse_unfinished(spec: ClusterSpec) -> None:
    for journal, state in open_runs(spec.runs, SystemClock()):
        snapshot = shlex.quote(str(state.plan.inputs.get("snapshot", "FILE")))
        raise ClusterUnsafe(
            f"a recovery of {spec.name} is unfinished: some members may have old data, others new",
            cause=f"its journal is {journal.path}",
            hint=f"finish it: etcdops recover --from-snapshot {snapshot} --local {shlex.quote(str(spec.directory))}",
        )


def _refuse_lost_data(local: LocalCluster, chosen: Sequence[LocalMember]) -> None:
    with_data = [member.name for member in local.members if member.spec.data_dir.exists()]
    lost = [member for member in chosen if member.name not in with_data]
    if not with_data or not lost:
        return
    place = shlex.quote(str(local.spec.directory))
    raise ClusterUnsafe(
        f"the data of {', '.join(member.name for member in lost)} is gone: {lost[0].spec.data_dir}",
        cause="started empty, a member has forgotten what it promised, and acknowledged writes could be lost",
        hint=f"start the others: etcdops local start {place} {' '.join(with_data)}; without a quorum: etcdops recover",
    )
