"""Options that commands about the hosts of an inventory have in common."""

from __future__ import annotations

from pathlib import Path

import click

inventory_option = click.option(
    "-i",
    "--inventory",
    "given",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File or directory; may be repeated. Without it: $ETCDOPS_INVENTORY, ./etcdops.yaml,"
    " ~/.config/etcdops/inventory/.",
)
cluster_option = click.option(
    "--cluster", "name", metavar="NAME", default="", help="Of the inventory, if it has several."
)
accept_new_option = click.option(
    "--accept-new", is_flag=True, help="Trust host keys not seen before without asking; never changed ones."
)
confirm_option = click.option("--confirm", metavar="NAME", help="Confirm by the cluster's name, without being asked.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask, unless the cluster is protected.")
yes_if_unprotected_option = click.option(
    "--yes", is_flag=True, help="Do not ask, if its protection is none; else this needs --confirm NAME."
)
dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Print the plan and change nothing.")
