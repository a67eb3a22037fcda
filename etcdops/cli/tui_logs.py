"""Which logs `etcdops tui` follows: files that were named, a local cluster's, or those on the hosts of an inventory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etcdops.errors import EtcdopsError, UsageError

if TYPE_CHECKING:
    from etcdops.cli.options import Invocation
    from etcdops.inventory.model import Inventory
    from etcdops.inventory.reach import Ways
    from etcdops.playbooks.cluster_file import ClusterSpec
    from etcdops.remote.pool import Open
    from etcdops.remote.session import Session
    from etcdops.tui.live_logs import FileLogs
    from etcdops.tui.log_feed import LogFeed


def chosen_logs(invocation: Invocation, named: Sequence[str], *, wanted: bool) -> LogFeed | None:
    """The logs to follow; None: none is known or wanted. Passwords are asked for now, before the screen is drawn.

    Raises: UsageError - a file that was named is not there.
    """
    if named:
        return _files(named)
    if not wanted:
        return None
    local = invocation.connection.get("local")
    if local is not None:
        from etcdops.playbooks.cluster_file import load_cluster

        return local_logs(load_cluster(Path(local).absolute()))
    return _of_inventory(invocation)


def local_logs(cluster: ClusterSpec) -> FileLogs:
    """Those of a cluster on this machine."""
    from etcdops.tui.live_logs import FileLogs, LogFile

    return FileLogs([LogFile(member.name, cluster.log_path(member)) for member in cluster.members])


def _files(named: Sequence[str]) -> LogFeed:
    from etcdops.diagnosis.reading import STDIN, find_sources
    from etcdops.tui.live_logs import FileLogs, named_files

    if STDIN in named:
        raise UsageError("the keyboard is on standard input", hint="write it to a file, or: etcdops diagnose -")
    found = find_sources(list(named))
    for source in found:
        if source.size is None:
            raise UsageError(f"{source.name} is no file", hint="write it to a file, or: etcdops diagnose")
    return FileLogs(named_files([source.path for source in found if source.path is not None]))


def _of_inventory(invocation: Invocation) -> LogFeed | None:
    from etcdops.cli.inventory_connection import chosen_cluster

    chosen = chosen_cluster(invocation.connection, os.environ)
    if chosen is None:
        return None
    from etcdops.doctor.gather.logs import logged_members
    from etcdops.inventory.reach import ways_in
    from etcdops.tui.live_logs import HostLogs

    inventory = chosen.read.inventory
    ways = ways_in(inventory)
    return HostLogs(logged_members(chosen.cluster), lambda: _logging_in(inventory, ways))


@contextlib.contextmanager
def _logging_in(inventory: Inventory, ways: Ways) -> Iterator[Open]:
    """Logs in to hosts whose keys are known. Nobody is asked: a screen is drawn where the question would stand."""
    from etcdops.inventory.reach import connect
    from etcdops.remote.host_keys import HostKeyPolicy
    from etcdops.remote.ssh import Connector
    from etcdops.remote.ssh_config import SSHConfig

    connector = Connector(HostKeyPolicy(), SSHConfig())

    async def open_host(name: str) -> Session:
        way = ways[name]
        if isinstance(way, EtcdopsError):
            raise way
        return await connect(inventory.hosts[name], way, connector)

    try:
        yield open_host
    finally:
        connector.close()
