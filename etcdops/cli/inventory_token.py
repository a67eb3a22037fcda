"""`etcdops inventory set-token`: what a recovery has made of a cluster's token, written into the inventory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import cluster_option, inventory_option
from etcdops.cli.options import current, general_options
from etcdops.cli.output import render_json, write
from etcdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etcdops.playbooks.plan import Plan, Result

SCHEMA = "etcdops.inventory-edit/1"
SUFFIX = "before-set-token"


def told_of_token(plan: Plan, results: Mapping[str, Result]) -> list[str]:
    """Of a recovery that has come to its end: that the inventory has the new token, or the command that writes it.

    Nothing where the inventory says something else by now: a later recovery made another token.
    """
    from etcdops.inventory.edit import token_command
    from etcdops.playbooks.on_hosts import names_hosts, planned_paths

    if not names_hosts(plan) or "old_token" not in plan.inputs:
        return []
    if noted := results.get("inventory"):
        return [f"{noted['file']} has the new token; as it was: {noted['kept']}"]
    paths = planned_paths(plan)
    if _token(paths, plan.cluster) != plan.inputs["old_token"]:
        return []
    return [
        f"next: {token_command(paths, plan.cluster, str(plan.inputs['token']))}",
        "(the hosts have a new token; a rollout would write the inventory's old one back)",
    ]


def _token(paths: Sequence[Path], cluster: str) -> str:
    """Empty: the inventory cannot be read, or knows no such cluster."""
    from etcdops.inventory.load import load_inventory

    try:
        found = load_inventory(paths).clusters.get(cluster)
    except UsageError:
        return ""
    return found.initial_cluster_token if found is not None else ""


@click.command(
    "set-token",
    cls=OpsCommand,
    examples=[
        ("after a recovery, whose last line says it", "etcdops inventory set-token -i prod.yaml prod-5c1f9d20e7a84b36"),
        ("what would be written?", "etcdops inventory set-token -i prod.yaml -n prod-5c1f9d20e7a84b36"),
    ],
)
@click.argument("token")
@inventory_option
@cluster_option
@click.option("-n", "--dry-run", is_flag=True, help="Show the difference and change nothing.")
@general_options
def command(token: str, given: tuple[Path, ...], name: str, dry_run: bool) -> int:
    """Write the token that a cluster has now into the inventory, where it is described.

    Nothing else in the file changes, comments and order included; as it was it is kept beside it. Where the value
    stands somewhere else (an alias, a merge), nothing is written, and the line to write is named.
    """
    from etcdops.inventory.edit import token_edit
    from etcdops.inventory.find import find_cluster, inventory_paths
    from etcdops.inventory.load import load_inventory

    invocation = current()
    paths = inventory_paths(given, os.environ)
    cluster = find_cluster(load_inventory(paths), name, source=", ".join(map(str, paths)))
    edit = token_edit(paths, cluster.name, token)
    kept = None if dry_run else edit.write(SUFFIX)
    if invocation.format == "json":
        kept_at = str(kept) if kept is not None else None
        write(render_json(SCHEMA, {"file": str(edit.path), "diff": edit.diff, "kept": kept_at}))
    elif not edit:
        write(f"{edit.path}: the token of {cluster.name} is {token} already")
    else:
        write(invocation.look.text(edit.diff.rstrip()))
        if kept is not None:
            write(f"written; as it was: {kept}")
    return int(ExitCode.OK)
