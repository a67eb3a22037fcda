"""`etcdops diagnose --cluster`, `--host`, `--unit`, `--container`: logs are fetched, and their writers looked at."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etcdops.cli.diagnostics import warn
from etcdops.cli.members_api import settings_or_reason
from etcdops.cli.options import Invocation
from etcdops.cli.run_control import TypedAccess
from etcdops.errors import UsageError
from etcdops.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etcdops.client.settings import ConnectionSettings
    from etcdops.doctor.gather.log_files import FetchedLog, Span
    from etcdops.doctor.gather.logs import Logged
    from etcdops.doctor.gather.named import Named
    from etcdops.doctor.observation import Observation, Unseen
    from etcdops.remote.pool import Open, Outcome

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
    logs_only: bool = False
    """Do not look at members and hosts as they are now."""

    def __bool__(self) -> bool:
        return bool(self.inventory or self.cluster or self.hosts or self.unit or self.container)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of fetching: one outcome for each member or service."""

    named: Named
    outcomes: tuple[Outcome[Logged, tuple[FetchedLog, ...]], ...]
    observation: Observation | None = None
    """What members and hosts show now; None: nobody wants to know."""
    secrets: tuple[str, ...] = ()
    """What we logged in with, in plain text: to be taken out of whatever leaves this machine."""

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
    """The logs as files, for as long as it lasts, and what is seen live. Which could not be had is said on stderr.

    Raises: the first error, when no log could be had and nothing else is looked at.
    """
    import asyncio  # late: --help must not pay for it

    from etcdops.doctor.gather.log_files import fetch_logs
    from etcdops.doctor.gather.named import logs_meant
    from etcdops.remote.pool import Sessions

    named = named_by(asked)
    access = TypedAccess(invocation, accept_new=asked.accept_new)
    access.learn(named.inventory)
    settings, unseen = _settings(invocation, asked, named)

    with tempfile.TemporaryDirectory(prefix="etcdops-logs-") as folder:

        async def fetch() -> Fetched:
            with access.connecting(named.inventory) as connect:
                sessions = Sessions(connect)
                try:
                    members = await logs_meant(sessions.open, named)
                    logs = fetch_logs(sessions.open, members, span, Path(folder))
                    if asked.logs_only:
                        return Fetched(named, tuple(await logs))
                    outcomes, seen = await asyncio.gather(logs, _look(sessions.open, named, settings, unseen))
                    return Fetched(named, tuple(outcomes), seen, tuple(access.secrets(settings)))
                finally:
                    await sessions.close()

        with invocation.waiting(f"reading the logs of {', '.join(named.hosts)} ..."):
            fetched = invocation.run(fetch())
        _say(invocation, fetched, span)
        yield _with_unread(fetched)


def _settings(
    invocation: Invocation, asked: Asked, named: Named
) -> tuple[ConnectionSettings | None, tuple[Unseen, ...]]:
    """Of the cluster that was named; nobody asks others."""
    if asked.logs_only or named.cluster is None:
        return None, ()
    invocation.connection["cluster"] = named.cluster.name
    if asked.inventory:
        invocation.connection["inventory"] = os.pathsep.join(map(str, asked.inventory))
    return settings_or_reason(invocation)


async def _look(
    connect: Open, named: Named, settings: ConnectionSettings | None, unseen: tuple[Unseen, ...]
) -> Observation:
    from etcdops.doctor.gather.cluster import observe_cluster
    from etcdops.doctor.gather.hosts import observe_hosts
    from etcdops.doctor.gather.on_hosts import unseen_hosts, with_hosts
    from etcdops.doctor.observation import Observation

    if named.cluster is None:
        hosts = await observe_hosts(connect, named.hosts)
        return Observation(taken_at=time.time(), hosts=hosts, unseen=(*unseen, *unseen_hosts(hosts)))
    seen = Observation(taken_at=time.time(), unseen=unseen)
    if settings is not None:
        # Comparing the members' data reads all of it: `etcdops doctor` does.
        seen = await observe_cluster(settings, hashes=False)
    return await with_hosts(seen, connect, named.inventory, named.cluster)


def _say(invocation: Invocation, fetched: Fetched, span: Span) -> None:
    from etcdops.clock import rfc3339

    failed = [outcome.error for outcome in fetched.outcomes if outcome.error is not None]
    if failed and len(failed) == len(fetched.outcomes) and (fetched.observation is None or not fetched.named.cluster):
        raise failed[0]
    for error in failed:
        warn(f"{error.in_one_line}: its log is not read")
    for log in fetched.logs:
        if log.is_older:
            warn(f"{log.place.described} has no line of that time; its last {counted(log.lines, 'line')} are read")
        elif log.is_cut:
            warn(f"{log.place.described} is longer: only its last {counted(log.lines, 'line')} are read")
    if span.since is not None:
        invocation.note(f"logs since {rfc3339(span.since)}; choose with --since")


def _with_unread(fetched: Fetched) -> Fetched:
    """With the logs that could not be had among what was not looked at."""
    from etcdops.doctor.observation import Unseen
    from etcdops.doctor.words import say

    seen = fetched.observation
    if seen is None:
        return fetched
    unread = [
        Unseen(
            say("unseen.log", member=outcome.subject.member),
            outcome.error.in_one_line,
            outcome.error.hint,
            _host_in_the_way(outcome, seen),
        )
        for outcome in fetched.outcomes
        if outcome.error is not None
    ]
    return dataclasses.replace(fetched, observation=dataclasses.replace(seen, unseen=(*seen.unseen, *unread)))


def _host_in_the_way(outcome: Outcome[Logged, tuple[FetchedLog, ...]], seen: Observation) -> str:
    """The host of a log, where nothing else on it could be looked at either."""
    host = seen.hosts.get(outcome.subject.host)
    return host.host if host is not None and host.error else ""


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
