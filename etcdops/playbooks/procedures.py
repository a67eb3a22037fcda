"""Every procedure by name, so that a run goes on, or is taken back, from its saved plan alone."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from etcdops.clock import Clock, SystemClock
from etcdops.errors import ClusterUnsafe, EtcdopsError, UsageError
from etcdops.playbooks.engine import StopRequest, ask_to_stop, execute, roll_back
from etcdops.playbooks.on_hosts import Access, RunHosts, at_work
from etcdops.playbooks.plan import Plan, Result
from etcdops.playbooks.run_event import Listener
from etcdops.playbooks.runs import KnownRun
from etcdops.playbooks.step import Step


@dataclass(frozen=True, slots=True)
class Procedure:
    """How the runs of one procedure are worked on again."""

    rebuild: Callable[[Plan, Access], list[Step]] | None = None
    """The steps of a saved plan. Raises: EtcdopsError - this version cannot carry it out."""
    refuse: Callable[[Plan, Access], None] | None = None
    """Looks before anything is done, in a thread. Raises: EtcdopsError - it may not go on now."""
    on_hosts: Callable[[Plan, RunHosts], list[Step]] | None = None
    """The same for a procedure on hosts of an inventory, while they are reached and held: see `on_hosts.at_work`."""


_HOMES: Mapping[str, str] = {
    "recover-from-snapshot": "etcdops.playbooks.recover.resuming:PROCEDURE",
    "recover-on-hosts": "etcdops.playbooks.recover.hosts.procedure:ON_HOSTS",
    "rollout": "etcdops.playbooks.rollout.procedure:ROLLOUT",
    "rolling": "etcdops.playbooks.rolling.procedure:ROLLING",
    "cert-renew": "etcdops.playbooks.certificates.procedure:CERTIFICATES",
    "cert-rotate-ca": "etcdops.playbooks.certificates.procedure:CERTIFICATES",
}
"""Where the procedures are that plans name."""
_procedures: dict[str, Procedure] = {}
"""Those that were made known later."""


def add_procedure(name: str, procedure: Procedure) -> None:
    """Make a procedure known; the same name twice is a defect."""
    if name in _procedures:
        raise ValueError(f"two procedures are called {name}")
    _procedures[name] = procedure


def procedure_of(plan: Plan) -> Procedure:
    """Raises: EtcdopsError - this version has no such procedure."""
    if plan.procedure in _procedures:
        return _procedures[plan.procedure]
    if plan.procedure not in _HOMES:
        raise EtcdopsError(
            f"this version of etcdops has no procedure {plan.procedure!r}",
            hint="go on with the version that began the run",
        )
    module, _, name = _HOMES[plan.procedure].partition(":")
    found = getattr(importlib.import_module(module), name)  # late: each procedure stands on this module
    assert isinstance(found, Procedure)
    return found


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A run that ended well."""

    took_s: float
    """Of this process's work on it."""
    results: Mapping[str, Result]


async def resume_run(
    known: KnownRun,
    access: Access,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    clock: Clock | None = None,
) -> RunOutcome:
    """Go on with a run where it was cut off, stopped, or failed. The caller holds its lock and has the confirmation.

    Raises: UsageError - it came to its end, or is being taken back; and as `engine.execute`.
    """
    _refuse_ended(known)
    if known.state.rolling_back:
        raise UsageError(f"{known.run} is being taken back", hint=f"finish that: etcdops runs rollback {known.run}")
    return await carry_out(known, access, listener, stop=stop, clock=clock, resumed=True)


async def carry_out(
    known: KnownRun,
    access: Access,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    clock: Clock | None = None,
    resumed: bool = False,
) -> RunOutcome:
    """Do what the plan of a run says, from where it is. The caller holds its lock and has the confirmation.

    Raises: as `engine.execute`; for a run on hosts also as `on_hosts.at_work`.
    """
    stop = stop or StopRequest()
    started = time.monotonic()
    try:
        async with _steps(known, access, stop, clock) as steps:
            if resumed:
                known.journal.resumed()
            state = known.state
            results = await execute(steps, known.journal, state, listener, stop=stop, clock=clock or SystemClock())
    except EtcdopsError:
        if not known.state.acted and not known.state.ended:
            # A host cannot be reached, or another run holds one: nothing was begun, so nothing is left to go on with.
            known.journal.abandoned()
            known.state.ended = "abandoned"
        raise
    return RunOutcome(time.monotonic() - started, results)


async def roll_back_run(
    known: KnownRun,
    access: Access,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    clock: Clock | None = None,
) -> None:
    """Take a run back, last step first. The caller holds its lock and has the confirmation.

    Raises: UsageError - it came to its end; and as `engine.roll_back`.
    """
    _refuse_ended(known)
    stop = stop or StopRequest()
    async with _steps(known, access, stop, clock) as steps:
        known.journal.resumed()
        await roll_back(steps, known.journal, known.state, listener, stop=stop, clock=clock or SystemClock())


def stop_run(known: KnownRun) -> None:
    """Ask the process that works on a run to stop after the step it is at.

    Raises: UsageError - nobody works on it. ClusterUnsafe - its process is on another machine.
    """
    worker = known.state.by
    if known.state.status != "running" or worker is None:
        raise UsageError(f"nobody works on {known.run}: it is {known.state.status}", hint="there is nothing to stop")
    if not worker.is_here:
        raise ClusterUnsafe(f"{known.run} is run by {worker}, on another machine", hint="stop it there")
    ask_to_stop(known.journal)


@asynccontextmanager
async def _steps(known: KnownRun, access: Access, stop: StopRequest, clock: Clock | None) -> AsyncIterator[list[Step]]:
    plan = known.state.plan
    procedure = procedure_of(plan)
    if procedure.refuse is not None:
        await asyncio.to_thread(procedure.refuse, plan, access)
    if procedure.on_hosts is not None:
        async with at_work(known, access, on_lost=lambda reason: stop.ask(), clock=clock) as run:
            yield procedure.on_hosts(plan, run)
    else:
        assert procedure.rebuild is not None
        yield procedure.rebuild(plan, access)


def _refuse_ended(known: KnownRun) -> None:
    if known.state.ended:
        raise UsageError(f"{known.run} came to its end: {known.state.ended}", hint="etcdops runs list shows the others")
