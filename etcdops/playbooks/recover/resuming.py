"""A recovery that goes on from its journal, without the command line that began it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from etcdops.errors import EtcdopsError
from etcdops.playbooks.cluster_file import ClusterSpec, parse_cluster
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.on_hosts import Access
from etcdops.playbooks.plan import Json, Plan
from etcdops.playbooks.procedures import Procedure
from etcdops.playbooks.recover import run
from etcdops.playbooks.recover.procedure import rebuild_steps
from etcdops.playbooks.recover.strangers import find_strangers, refuse_strangers
from etcdops.playbooks.step import Step

NAME = run.PROCEDURE


def planned_cluster(plan: Plan) -> ClusterSpec:
    """The cluster as it will be. Raises: EtcdopsError - another version made the plan."""
    try:
        return parse_cluster(cast("Mapping[str, Json]", plan.inputs["cluster"]), Path(str(plan.inputs["directory"])))
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdopsError(
            "the plan of this run names no cluster that this version of etcdops understands",
            cause=f"{type(error).__name__}: {error}",
            hint="go on with the version that began it",
        ) from error


def _rebuild(plan: Plan, access: Access) -> list[Step]:
    cluster = planned_cluster(plan)
    return rebuild_steps(plan, access.settings(cluster.endpoints, cluster.name))


def _refuse(plan: Plan, access: Access) -> None:
    refuse_strangers(find_strangers(LocalCluster(planned_cluster(plan))))


PROCEDURE = Procedure(_rebuild, _refuse)
