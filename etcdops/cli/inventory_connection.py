"""A cluster of the inventory as the place to connect to: which one, and the ways to it while the command runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcdops.client.settings import PLACE, ConnectionFlags, Resolved, override
from etcdops.errors import UsageError
from etcdops.inventory.find import VARIABLE, find_cluster, inventory_paths, named_paths

if TYPE_CHECKING:
    from etcdops.cli.options import Invocation
    from etcdops.inventory.connection import Through
    from etcdops.inventory.load import Read
    from etcdops.inventory.model import Cluster
    from etcdops.inventory.targets import Secrets

CLUSTER_VARIABLE = "ETCDOPS_CLUSTER"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A cluster, and the inventory it is in."""

    read: Read
    cluster: Cluster
    source: str
    """`cluster prod of etcdops.yaml`."""


def chosen_cluster(typed: Mapping[str, Any], environment: Mapping[str, str]) -> Chosen | None:
    """The cluster that was asked for. None: nobody asked for one, and none is the only one that can be meant.

    --cluster and --inventory first; then other flags, which name a place themselves; then ETCDOPS_CLUSTER; then
    endpoints in the environment; then the inventory that ETCDOPS_INVENTORY names, if it has one cluster that is not
    protected.

    Raises: UsageError - there is no inventory, or no such cluster. InventoryError.
    """
    asked = "cluster" in typed or "inventory" in typed
    if asked and "local" in typed:
        raise UsageError("--local and --cluster name two clusters", hint="give one of them")
    if not asked and any(key in typed for key in (*PLACE, "local")):
        return None
    name = str(typed.get("cluster") or environment.get(CLUSTER_VARIABLE) or "")
    if asked or name:
        given = [Path(one) for one in str(typed.get("inventory") or "").split(os.pathsep) if one]
        return _of(inventory_paths(given, environment), name)
    places = [f"{prefix}{key.upper()}" for prefix in ("ETCDOPS_", "ETCDCTL_") for key in PLACE]
    paths = named_paths(environment)
    if not paths or any(environment.get(one) for one in places):
        return None
    return _only_one(paths)


def _of(paths: tuple[Path, ...], name: str) -> Chosen:
    from etcdops.inventory.load import read_inventory

    files = ", ".join(map(str, paths))
    read = read_inventory(paths)
    cluster = find_cluster(read.inventory, name, source=files)
    return Chosen(read, cluster, f"cluster {cluster.name} of {files}")


def _only_one(paths: tuple[Path, ...]) -> Chosen | None:
    from etcdops.cli.diagnostics import note
    from etcdops.inventory.load import read_inventory
    from etcdops.inventory.protection import Protection

    clusters = read_inventory(paths).inventory.clusters
    if len(clusters) == 1 and next(iter(clusters.values())).protection is not Protection.PROTECTED:
        return _of(paths, "")
    if clusters:
        note(f"{VARIABLE} has {', '.join(clusters)}: choose with --cluster NAME")
    return None


def reached(chosen: Chosen, flags: ConnectionFlags, environment: Mapping[str, str], invocation: Invocation) -> Resolved:
    """Settings for a cluster, with what was typed in their place. What leads through SSH stands until the command ends.

    Raises: UsageError, AccessDenied - a secret cannot be had; Unreachable, AccessDenied - no host lets us through.
    """
    from etcdops.inventory.connection import connection
    from etcdops.inventory.targets import Secrets

    secrets = Secrets()
    typed_password = flags.user is not None or flags.password is not None or flags.password_file is not None
    found = connection(
        chosen.read.inventory,
        chosen.cluster,
        chosen.read.folder(chosen.cluster.name),
        secrets,
        source=chosen.source,
        with_password=not typed_password,
    )
    resolved = override(found.settings, flags, environment)
    wanted = {endpoint.url for endpoint in resolved.settings.parsed_endpoints()}
    through = [one for one in found.through if flags.endpoints is None or one.endpoint in wanted]
    if not through:
        return resolved
    routes = _routes(chosen, through, secrets, invocation)
    hosts = ", ".join(dict.fromkeys(one.host for one in through))
    note, *others = resolved.notes
    return replace(
        resolved,
        settings=replace(resolved.settings, routes=routes),
        notes=(f"{note}, through SSH to {hosts}", *others),
    )


def _routes(chosen: Chosen, through: list[Through], secrets: Secrets, invocation: Invocation) -> dict[str, str]:
    from etcdops.cli.host_key_question import HostKeyQuestion, host_key_policy
    from etcdops.inventory.connection import logins
    from etcdops.inventory.targets import target
    from etcdops.remote.host_keys import HostKeyPolicy
    from etcdops.remote.lines import Line, Routes
    from etcdops.remote.ssh_config import SSHConfig

    question = HostKeyQuestion()
    first = True

    def policy() -> HostKeyPolicy:
        # later, when a connection broke, a screen may be drawn where the question would stand
        return host_key_policy(question, accept_new=False) if first else HostKeyPolicy()

    inventory, config = logins(chosen.read.inventory), SSHConfig()
    hosts = dict.fromkeys(one.host for one in through)
    lines = {name: Line(target(inventory, inventory.hosts[name], secrets), policy, config) for name in hosts}
    routes = Routes()
    click.get_current_context().find_root().call_on_close(routes.close)
    made = {one.endpoint: routes.add(lines[one.host], one.address) for one in through}
    with invocation.waiting(f"logging in to {', '.join(hosts)} ..."):
        failed = routes.connect()
    first = False
    for error in failed.values():
        if len(failed) == len(hosts):
            raise error
        invocation.note(f"{error.message}{f' ({error.cause})' if error.cause else ''}: its member cannot be asked")
    return made
