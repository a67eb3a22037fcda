"""Where the inventory is when nobody says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from etcdops.errors import UsageError

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
    named = tuple(Path(one) for one in environment.get(VARIABLE, "").split(os.pathsep) if one)
    if named:
        return named
    folder = _own_folder(environment)
    for path in (HERE, folder):
        if path.exists():
            return (path,)
    raise UsageError(
        "there is no inventory",
        cause=f"neither ./{HERE} nor {folder} exists, and {VARIABLE} is not set",
        hint="name it with --inventory PATH",
    )


def _own_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "etcdops" / "inventory"
