"""Every procedure by name, so that a run goes on, or is taken back, from its saved plan alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from etcdops.client.settings import ConnectionSettings
from etcdops.clock import Clock, SystemClock
from etcdops.errors import ClusterUnsafe, EtcdopsError, UsageError
from etcdops.playbooks.engine import StopRequest, ask_to_stop, execute, roll_back
from etcdops.playbooks.plan import Plan, Result
from etcdops.playbooks.run_event import Listener
from etcdops.playbooks.runs import KnownRun
from etcdops.playbooks.step import Step


class Access(Protocol):
    """How to reach what a plan names; what no plan holds, such as passwords, comes from the operator."""

    def settings(self, endpoints: Sequence[str], cluster: str) -> ConnectionSettings:
        """How to reach a cluster's members. Raises: UsageError, NotConfirmed - a password is needed."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """How the runs of one procedure are worked on again."""

    rebuild: Callable[[Plan, Access], list[Step]]
    """The steps of a saved plan. Raises: EtcdopsError - this version cannot carry it out."""
    refuse: Callable[[Plan, Access], None] | None = None
    """Looks before anything is done, in a thread. Raises: EtcdopsError - it may not go on now."""


_procedures: dict[str, Procedure] = {}


def add_procedure(name: str, procedure: Procedure) -> None:
    """Make a procedure known; the same name twice is a defect."""
    if name in _procedures:
        raise ValueError(f"two procedures are called {name}")
    _procedures[name] = procedure


def procedure_of(plan: Plan) -> Procedure:
    """Raises: EtcdopsError - this version has no such procedure."""
    from etcdops.playbooks.recover import resuming  # each procedure stands on this module

    known = {resuming.NAME: resuming.PROCEDURE, **_procedures}
    if plan.procedure not in known:
        raise EtcdopsError(
            f"this version of etcdops has no procedure {plan.procedure!r}",
            hint="go on with the version that began the run",
        )
    return known[plan.procedure]


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
    steps = await _steps(known, access)
    known.journal.resumed()
    started = time.monotonic()
    results = await execute(steps, known.journal, known.state, listener, stop=stop, clock=clock or SystemClock())
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
    steps = await _steps(known, access)
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


async def _steps(known: KnownRun, access: Access) -> list[Step]:
    procedure = procedure_of(known.state.plan)
    if procedure.refuse is not None:
        await asyncio.to_thread(procedure.refuse, known.state.plan, access)
    return procedure.rebuild(known.state.plan, access)


def _refuse_ended(known: KnownRun) -> None:
    if known.state.ended:
        raise UsageError(f"{known.run} came to its end: {known.state.ended}", hint="etcdops runs list shows the others")
