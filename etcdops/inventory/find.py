"""Where the inventory is when nobody says, and which of its clusters is meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from etcdops.errors import UsageError
from etcdops.inventory.model import Cluster, Inventory

VARIABLE = "ETCDOPS_INVENTORY"
HERE = Path("etcdops.yaml")


def inventory_paths(given: Sequence[Path], environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files and directories of the inventory: one source whole, the first that names any.

    `given`, as typed > ETCDOPS_INVENTORY, several separated as in PATH > ./etcdops.yaml > `etcdops/inventory` below
    $XDG_CONFIG_HOME (~/.config).

    Raises: UsageError - there is none.
    """
    if given:
        return tuple(given)
    if named := named_paths(environment):
        return named
    folder = _own_folder(environment)
    for path in (HERE, folder):
        if path.exists():
            return (path,)
    raise UsageError(
        "there is no inventory",
        cause=f"neither ./{HERE} nor {folder} exists, and {VARIABLE} is not set",
        hint="name it with --inventory PATH, or make one of what is there: etcdops inventory import",
    )


def _own_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "etcdops" / "inventory"


def named_paths(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """What ETCDOPS_INVENTORY names; nothing when it is not set."""
    return tuple(Path(one) for one in environment.get(VARIABLE, "").split(os.pathsep) if one)


def find_cluster(inventory: Inventory, name: str = "", *, source: str = "the inventory") -> Cluster:
    """The cluster of this name; without one, the only one there is.

    Args: source - the inventory's files, for messages.
    Raises: UsageError - there is none of this name, with the nearest one; or there are several to choose from.
    """
    known = list(inventory.clusters)
    if name in inventory.clusters:
        return inventory.clusters[name]
    if name:
        folded = {one.casefold(): one for one in known}
        close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.4)
        nearest = f"did you mean {folded[close[0]]}? " if close else ""
        raise UsageError(
            f"{source} has no cluster {name}",
            hint=f"{nearest}it has {', '.join(known)}" if known else "write it under `clusters`, with its members",
        )
    if len(known) == 1:
        return inventory.clusters[known[0]]
    raise UsageError(
        f"which cluster? {source} has {', '.join(known) or 'none'}",
        hint="name it with --cluster NAME" if known else "write one under `clusters`, with its members",
    )
