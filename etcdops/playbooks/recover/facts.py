"""What can be known about a broken cluster before anything is touched."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, observe
from etcdops.errors import SnapshotCorrupt
from etcdops.ids import ClusterID
from etcdops.playbooks.cluster_file import ClusterSpec
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.recover.strangers import Stranger, find_strangers
from etcdops.snapshot.data_dir import DataDirFacts, inspect_data_dir


@dataclass(frozen=True, slots=True)
class RevisionWitness:
    """Somebody who knows how far the cluster had come."""

    source: str
    """Who: a member that answers, a data directory, the operator."""
    revision: int
    """Certainly reached."""
    revision_max: int
    """Possibly reached: the log of a dead member may hold writes that nobody confirmed."""


@dataclass(frozen=True, slots=True)
class RecoveryFacts:
    """One look at what is left."""

    view: ClusterView
    running: tuple[str, ...]
    """Members whose process runs."""
    without_data: tuple[str, ...]
    """Members whose data directory is gone."""
    witnesses: tuple[RevisionWitness, ...]
    cluster_id: ClusterID | None
    problems: tuple[str, ...]
    """Data directories that could not be read, and why."""
    strangers: tuple[Stranger, ...] = ()
    """Members that somebody else runs: only who started them can stop them for good."""

    @property
    def last_revision(self) -> int | None:
        """The highest revision certainly reached; None when nobody knows."""
        return max((witness.revision for witness in self.witnesses), default=None)

    @property
    def last_revision_max(self) -> int | None:
        return max((witness.revision_max for witness in self.witnesses), default=None)


async def gather_facts(
    cluster: ClusterSpec, settings: ConnectionSettings, *, timeout_s: float, last_known_revision: int | None = None
) -> RecoveryFacts:
    """Ask the members that answer, read the directories of those that do not run. Changes nothing."""
    async with Client(settings) as client:
        view = await observe(client, timeout_s=timeout_s)
    local = LocalCluster(cluster)
    running = tuple(member.name for member in local.members if member.running)
    witnesses = [
        RevisionWitness(f"{member.label} answers", member.status.revision, member.status.revision)
        for member in view.members
        if member.status is not None
    ]
    answering = {url for member in view.members if member.answered for url in (*member.client_urls, member.endpoint)}
    without_data, problems = [], []
    cluster_id = view.cluster_id
    for spec in cluster.members:
        if spec.name in running or spec.client_url in answering:
            continue  # a file under a running member is half written at any moment, and the member itself answers
        try:
            found = await asyncio.to_thread(inspect_data_dir, spec.data_dir)
        except (SnapshotCorrupt, OSError) as error:
            problems.append(f"the data directory of {spec.name} cannot be read: {error}")
            continue
        if found is None:
            without_data.append(spec.name)
            continue
        cluster_id = cluster_id or found.cluster_id
        witnesses.append(_witness(spec.name, found))
    if last_known_revision is not None:
        witnesses.append(RevisionWitness("--last-known-revision", last_known_revision, last_known_revision))
    strangers = await asyncio.to_thread(find_strangers, local)
    return RecoveryFacts(view, running, tuple(without_data), tuple(witnesses), cluster_id, tuple(problems), strangers)


def _witness(name: str, found: DataDirFacts) -> RevisionWitness:
    return RevisionWitness(f"the data directory of {name}", found.revision, found.revision_max)
