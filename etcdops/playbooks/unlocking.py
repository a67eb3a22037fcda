"""Taking locks of a run that nobody will go on with from the hosts of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.clock import Clock
from etcdops.errors import ClusterUnsafe, UsageError
from etcdops.playbooks.host_locks import HostLock, break_lock, look
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.runs import KnownRun, find_run
from etcdops.remote.pool import on_all


@dataclass(frozen=True, slots=True)
class LocksFound:
    """What the hosts of a cluster say."""

    locks: tuple[HostLock, ...]
    silent: tuple[str, ...]
    """Why a host could not be asked, a sentence each: it may hold one too."""


async def find_locks(run: RunHosts) -> LocksFound:
    """Ask every host of the cluster. Changes nothing."""
    outcomes = await on_all(run.hosts, lambda host: _look(run, host))
    return LocksFound(
        tuple(outcome.value for outcome in outcomes if outcome.value is not None),
        tuple(outcome.error.message for outcome in outcomes if outcome.error is not None),
    )


async def _look(run: RunHosts, host: str) -> HostLock | None:
    return await look(await run.session(host), run.cluster.name)


def require_breakable(locks: Sequence[HostLock], clock: Clock) -> None:
    """Raises: ClusterUnsafe - a process seems to be at work with one of them."""
    for lock in locks:
        if lock.at_work and not lock.stale and not lock.is_over and not _died_here(lock, clock):
            raise ClusterUnsafe(
                str(lock),
                cause="its process gives signs of life: without its lock another run would work against it",
                hint=f"ask {lock.owner} to stop it: etcdops runs stop {lock.run}",
            )


def _died_here(lock: HostLock, clock: Clock) -> bool:
    """It was a process of this machine, and that is gone."""
    known = known_run(lock.run, clock)
    by = known.state.by if known is not None else None
    return by is not None and by.owner == lock.owner and by.is_here and not by.alive


def meaning(lock: HostLock, clock: Clock) -> str:
    """What it means to take this lock away, in a sentence."""
    if lock.is_over:
        return f"{lock}; that run came to its end, and nothing is left of it but this lock"
    if known_run(lock.run, clock) is not None:
        return f"{lock}; its journal is here, so it can go on: etcdops runs resume {lock.run}"
    return (
        f"{lock}; its journal is {lock.journal} with {lock.owner}. Some of its steps may be done and others not, and"
        " without its lock nobody is told of that any more"
    )


def known_run(run: str, clock: Clock) -> KnownRun | None:
    """The run with this ID, if its journal is here."""
    try:
        return find_run(run, clock)
    except UsageError:
        return None


async def unlock(run: RunHosts, locks: Sequence[HostLock]) -> list[str]:
    """Move the locks that were looked at aside. Returns: the hosts where another run had taken it meanwhile."""

    async def one(lock: HostLock) -> bool:
        return await break_lock(await run.session(lock.host), lock)

    outcomes = await on_all(locks, one)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.subject.host for outcome in outcomes if outcome.value is False]
