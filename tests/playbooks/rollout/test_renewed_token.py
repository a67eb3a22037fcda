"""A token that a recovery has written onto hosts is no drift like another."""

from __future__ import annotations

from pathlib import Path

from etcdops.playbooks.rollout.renewed_token import renewed_token
from etcdops.playbooks.rollout.survey import Survey
from tests.playbooks.rollout.told import inventory

(_, CLUSTER) = inventory()
PATHS = (Path("/etc/my prod.yaml"),)


def test_the_command_that_keeps_the_new_token_is_told_before_a_rollout_would_undo_it() -> None:
    """All hosts have it: nobody edited one of them."""
    (found,) = renewed_token(CLUSTER, PATHS, {f"h{n}": Survey(token="prod-1") for n in (1, 2, 3)})
    assert found.what == "the hosts have the cluster token prod-1, and the inventory says prod"
    assert found.next_step.endswith("etcdops inventory set-token -i '/etc/my prod.yaml' --cluster prod prod-1")


def test_one_host_with_another_token_is_plain_drift() -> None:
    """And hosts with the inventory's are as they should be."""
    assert renewed_token(CLUSTER, PATHS, {"h1": Survey(token="prod-1"), "h2": Survey()}) == ()
    assert renewed_token(CLUSTER, PATHS, {"h1": Survey(token="a"), "h2": Survey(token="b")}) == ()
    assert renewed_token(CLUSTER, PATHS, {"h1": Survey(), "h2": Survey()}) == ()
