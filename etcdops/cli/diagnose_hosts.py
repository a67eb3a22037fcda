"""`etcdops diagnose --cluster`, `--host`, `--unit`, `--container`: the logs are fetched, not given."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etcdops.cli.diagnostics import warn
from etcdops.cli.options import Invocation
from etcdops.cli.run_control import TypedAccess
from etcdops.errors import UsageError
from etcdops.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etcdops.doctor.gather.log_files import FetchedLog, Span
    from etcdops.doctor.gather.logs import Logged
    from etcdops.doctor.gather.named import Named
    from etcdops.remote.pool import Outcome

SINCE_DEFAULT_S = 24 * 3600.0
_UNIT_FOLDERS = ("/etc", "/run", "/usr/lib", "/lib")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was named instead of logs."""

    inventory: tuple[Path, ...]
    cluster: str
    hosts: tuple[str, ...]
    unit: str
    container: str
    accept_new: bool

    def __bool__(self) -> bool:
        return bool(self.inventory or self.cluster or self.hosts or self.unit or self.container)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of fetching: one outcome for each member or service."""

    named: Named
    outcomes: tuple[Outcome[Logged, tuple[FetchedLog, ...]], ...]

    @property
    def logs(self) -> tuple[FetchedLog, ...]:
        return tuple(log for outcome in self.outcomes for log in outcome.value or ())


def named_by(asked: Asked) -> Named:
    """What is meant. Raises: UsageError - there is no such cluster or host; InventoryError."""
    from etcdops.doctor.gather.named import only_hosts, whole_cluster
    from etcdops.inventory.find import find_cluster, inventory_paths
    from etcdops.inventory.load import load_inventory

    if asked.unit and asked.container:
        raise UsageError("--unit and --container name two things", hint="give one of them")
    if asked.cluster or (asked.inventory and not asked.hosts):
        inventory = load_inventory(inventory_paths(asked.inventory, os.environ))
        cluster = find_cluster(inventory, asked.cluster)
        return whole_cluster(inventory, cluster, asked.hosts, asked.unit, asked.container)
    if not asked.hosts:
        return only_hosts(None, (), asked.unit, asked.container)
    try:
        paths = inventory_paths(asked.inventory, os.environ)
    except UsageError:
        paths = ()  # hosts need none: ssh finds them
    return only_hosts(load_inventory(paths) if paths else None, asked.hosts, asked.unit, asked.container)


@contextmanager
def fetched_logs(invocation: Invocation, asked: Asked, span: Span) -> Iterator[Fetched]:
    """The logs as files, for as long as it lasts. Which could not be had is said on stderr.

    Raises: the first error, when none of them could be had.
    """
    from etcdops.doctor.gather.log_files import fetch_logs
    from etcdops.doctor.gather.named import logs_meant
    from etcdops.remote.pool import Sessions

    named = named_by(asked)
    access = TypedAccess(invocation, accept_new=asked.accept_new)
    access.learn(named.inventory)

    with tempfile.TemporaryDirectory(prefix="etcdops-logs-") as folder:

        async def fetch() -> Fetched:
            with access.connecting(named.inventory) as connect:
                sessions = Sessions(connect)
                try:
                    members = await logs_meant(sessions.open, named)
                    return Fetched(named, tuple(await fetch_logs(sessions.open, members, span, Path(folder))))
                finally:
                    await sessions.close()

        with invocation.waiting(f"reading the logs of {', '.join(named.hosts)} ..."):
            fetched = invocation.run(fetch())
        _say(invocation, fetched, span)
        yield fetched


def _say(invocation: Invocation, fetched: Fetched, span: Span) -> None:
    from etcdops.clock import rfc3339

    failed = [outcome.error for outcome in fetched.outcomes if outcome.error is not None]
    if failed and len(failed) == len(fetched.outcomes):
        raise failed[0]
    for error in failed:
        warn(f"{error.message}{f' ({error.cause})' if error.cause else ''}: its log is not read")
    for log in fetched.logs:
        if log.is_older:
            warn(f"{log.place.described} has no line of that time; its last {counted(log.lines, 'line')} are read")
        elif log.is_cut:
            warn(f"{log.place.described} is longer: only its last {counted(log.lines, 'line')} are read")
    if span.since is not None:
        ago = time.time() - span.since
        words = f" ({ago / 3600:.0f} h; --since tells otherwise)" if ago == SINCE_DEFAULT_S else ""
        invocation.note(f"logs since {rfc3339(span.since)}{words}")


def hint_without_logs() -> str:
    """What to type where nothing was given: by what this machine has."""
    units = sorted(
        {path.stem for folder in _UNIT_FOLDERS for path in Path(folder).glob("systemd/system/*etcd*.service")}
    )
    if units:
        return f"this machine has the unit {units[0]}: etcdops diagnose --unit {units[0]}"
    from etcdops.inventory.find import inventory_paths

    try:
        inventory_paths((), os.environ)
    except UsageError:
        return "etcdops diagnose FILE, etcdops diagnose --host H, or journalctl -u etcd | etcdops diagnose"
    return "etcdops diagnose --cluster NAME, with a cluster of the inventory; or etcdops diagnose FILE"
