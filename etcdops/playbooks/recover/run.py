"""A recovery's plan as typed values, for its steps. Everything comes from the plan, so a resume sees the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from etcdops.client.settings import ConnectionSettings
from etcdops.playbooks.cluster_file import ClusterSpec, EngineKind, parse_cluster
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.plan import Json, Plan
from etcdops.playbooks.recover.recovered import Recovered, RecoveredMember

PROCEDURE = "recover-from-snapshot"


@dataclass(frozen=True, slots=True)
class RecoveryRun:
    """What the steps work with."""

    cluster: ClusterSpec
    """With the new token."""
    local: LocalCluster
    settings: ConnectionSettings
    """How to reach the members; may carry a user."""
    old_token: str
    stamp: str
    snapshot: Path
    sha256: str
    has_checksum: bool
    snapshot_revision: int
    """Of its last record: what a tool adds its bump to."""
    revision: int
    """What the recovered cluster starts at."""
    tool: Path | None
    tool_bumps: bool
    aside: Mapping[str, Path]
    was_running: frozenset[str]
    """Members that ran when the plan was made."""
    tethered: bool
    """Members are ended together with this process: the demo wants that, a recovery for real does not."""

    @property
    def old_cluster(self) -> ClusterSpec:
        """As it was described before."""
        return self.cluster.with_token(self.old_token)

    @property
    def bumped_snapshot(self) -> Path:
        """Where the snapshot with the raised revision goes when the restore tool cannot raise it."""
        return self.cluster.runs / f"bumped-{self.stamp}.db"

    @property
    def recovered(self) -> Recovered:
        """What it leads to."""
        return Recovered(
            members=tuple(
                RecoveredMember(member.name, member.client_url, (member.peer_url,)) for member in self.cluster.members
            ),
            token=self.cluster.token,
            settings=self.settings,
            snapshot=self.snapshot,
            snapshot_revision=self.snapshot_revision,
            revision=self.revision,
            marked=self.cluster.engine.kind is EngineKind.ETCD,
        )


def read_plan(plan: Plan, settings: ConnectionSettings, *, tethered: bool) -> RecoveryRun:
    """The plan's inputs. Raises: KeyError, TypeError, ValueError - it was not made by this version's `make_plan`."""
    inputs = plan.inputs
    cluster = parse_cluster(cast("Mapping[str, Json]", inputs["cluster"]), Path(str(inputs["directory"])))
    tool = inputs["tool"]
    return RecoveryRun(
        cluster=cluster,
        local=LocalCluster(cluster),
        settings=settings,
        old_token=str(inputs["old_token"]),
        stamp=str(inputs["stamp"]),
        snapshot=Path(str(inputs["snapshot"])),
        sha256=str(inputs["sha256"]),
        has_checksum=bool(inputs["has_checksum"]),
        snapshot_revision=int(str(inputs["snapshot_revision"])),
        revision=int(str(inputs["revision"])),
        tool=Path(str(tool)) if tool else None,
        tool_bumps=bool(inputs["tool_bumps"]),
        aside={name: Path(str(path)) for name, path in cast("Mapping[str, Json]", inputs["aside"]).items()},
        was_running=frozenset(map(str, cast("Sequence[Json]", inputs.get("running") or ()))),
        tethered=tethered,
    )
