"""A cluster token on the hosts that the inventory does not know: what a recovery leaves behind. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from etcdops.inventory.edit import token_command
from etcdops.inventory.model import Cluster
from etcdops.playbooks.rollout.judging import Refusal
from etcdops.playbooks.rollout.survey import Survey


def renewed_token(cluster: Cluster, paths: Sequence[Path], surveys: Mapping[str, Survey]) -> tuple[Refusal, ...]:
    """A warning where all hosts agree on another token; one host alone was edited, and that is plain drift."""
    tokens = {found.token for found in surveys.values()}
    if len(tokens) != 1 or not (token := tokens.pop()):
        return ()
    return (
        Refusal(
            "token-differs",
            "",
            f"the hosts have the cluster token {token}, and the inventory says {cluster.initial_cluster_token}",
            "a recovery gives a cluster a new one; apply would write the inventory's old one back",
            f"if it was recovered: {token_command(paths, cluster.name, token)}",
        ),
    )
