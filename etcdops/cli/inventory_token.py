"""`etcdops inventory set-token`: what a recovery has made of a cluster's token, written into the inventory."""

from __future__ import annotations

import os
from pathlib import Path

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import cluster_option, inventory_option
from etcdops.cli.options import current, general_options
from etcdops.cli.output import render_json, write
from etcdops.errors import ExitCode

SCHEMA = "etcdops.inventory-edit/1"
SUFFIX = "before-set-token"


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
