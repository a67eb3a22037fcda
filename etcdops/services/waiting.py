"""Wait until a service is what it was asked to be; the same for every manager."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from etcdops.errors import EtcdopsError
from etcdops.services.failures import ServiceFailed
from etcdops.services.port import ServiceStatus, State

_POLL_S = 0.2
SETTLE_S = 2.0
"""How long a process must live to be called running, where its manager does not know when it is ready."""
_ENDS_MAX = 2
"""New processes seen while waiting: a manager that starts it again and again would do so for ever."""
LOG_LINES = 20
_LOG_LINES_READ = 100
"""Enough to reach over the help text that etcd prints after a flag it does not take."""
_HELP_BEGINS = "Usage:"


class Watched(Protocol):
    """What is needed of a service to wait for it."""

    @property
    def host(self) -> str: ...

    @property
    def name(self) -> str: ...

    async def status(self) -> ServiceStatus: ...

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]: ...


Explain = Callable[[ServiceStatus], str]


def no_hint(_: ServiceStatus) -> str:
    return "correct what its log says, then start it again"


async def wait_started(
    service: Watched, *, timeout_s: float, settle_s: float = SETTLE_S, hint: Explain = no_hint
) -> None:
    """Return when it runs, and one process has done so for `settle_s`.

    Raises: ServiceFailed - it ended, or is not there by then; with its last lines.
    """
    clock = asyncio.get_running_loop().time
    deadline, since, pids = clock() + timeout_s, clock(), list[int | None]()
    while True:
        found = await service.status()
        if found.pid is not None and found.pid not in pids[-1:]:
            pids.append(found.pid)
            since = clock()
        if found.state is State.RUNNING and clock() - since >= settle_s:
            return
        if found.state in (State.FAILED, State.ABSENT) or len(pids) > _ENDS_MAX:
            raise await failed(service, "did not start", found, hint(found))
        if clock() >= deadline:
            raise await failed(service, f"is still {found.state} after {timeout_s:.0f} s", found, hint(found))
        if found.state is not State.RUNNING:
            since = clock()
        await asyncio.sleep(_POLL_S)


async def wait_stopped(service: Watched, *, timeout_s: float) -> None:
    """Return when no process of it is left. Raises: ServiceFailed - one is, at the deadline."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    while (found := await service.status()).pid is not None:
        if clock() >= deadline:
            raise ServiceFailed(
                service.host,
                service.name,
                f"did not stop within {timeout_s:.0f} s",
                reason=f"its process {found.pid} goes on",
                hint=f"an etcd without its peers may ignore it: `kill -KILL {found.pid}` on {service.host} ends it",
            )
        await asyncio.sleep(_POLL_S)


async def failed(service: Watched, what: str, found: ServiceStatus, hint: str) -> ServiceFailed:
    """The error, with what the log says at the end."""
    return ServiceFailed(
        service.host, service.name, what, reason=found.reason, log=await last_lines(service), hint=hint
    )


async def last_lines(service: Watched) -> list[str]:
    """The end of its log, the help text left out; nothing when it cannot be read: it only explains another error."""
    found: list[str] = []
    with contextlib.suppress(EtcdopsError):
        async for line in service.logs(lines=_LOG_LINES_READ):
            found.append(line.decode(errors="replace"))
    helping = [index for index, line in enumerate(found) if line.strip() == _HELP_BEGINS]
    if helping and all(not line or line[0].isspace() for line in found[helping[-1] + 1 :]):
        found = found[: helping[-1]]
    return found[-LOG_LINES:]


async def ignoring(work: Awaitable[object]) -> None:
    """Do something whose failure shows in what follows anyway."""
    with contextlib.suppress(EtcdopsError):
        await work
