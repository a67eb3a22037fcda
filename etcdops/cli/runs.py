"""`etcdops runs list|show|attach|resume|stop|rollback|unlock`: procedures at work, cut off, and past."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.confirm import require_confirmation
from etcdops.cli.diagnostics import warn
from etcdops.cli.help import OpsCommand, OpsGroup
from etcdops.cli.host_options import confirm_option, yes_if_unprotected_option
from etcdops.cli.inventory_token import told_of_token
from etcdops.cli.options import cluster_options, connection_options, current, general_options
from etcdops.cli.output import Cell, Column, Json, Look, printable, render_json, render_table, write
from etcdops.cli.run_control import (
    TypedAccess,
    events_option,
    go_on_alone,
    print_json_event,
    printer_for,
    work_on,
)
from etcdops.cli.run_view import render_plan
from etcdops.cli.unlock import unlock
from etcdops.clock import SystemClock, rfc3339
from etcdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etcdops.playbooks.plan import Plan
    from etcdops.playbooks.runs import KnownRun

LIST_SCHEMA = "etcdops.runs/1"
RUN_SCHEMA = "etcdops.run/1"
STATUS_KINDS = {"running": "good", "finished": "dim", "abandoned": "dim", "rolled-back": "dim"}
_RUN = click.argument("run_id", metavar="RUN")
_STOP_TIMEOUT_S = 3600.0


@click.group(
    "runs",
    cls=OpsGroup,
    examples=[
        ("what is at work, what was cut off?", "etcdops runs list"),
        ("how far is it, what is left?", "etcdops runs show r-0c4f"),
        ("watch what another terminal began", "etcdops runs attach r-0c4f"),
        ("go on where it was cut off", "etcdops runs resume r-0c4f"),
    ],
)
def command() -> None:
    """Procedures at work, cut off, and past: each has a journal that knows where it is."""


@command.command("list", cls=OpsCommand, examples=[("those that can go on", "etcdops runs list --open")])
@click.option("--open", "only_open", is_flag=True, help="Only those that did not come to their end.")
@general_options
def list_command(only_open: bool) -> None:
    """All runs, newest first."""
    from etcdops.playbooks.runs import list_runs, runs_folder

    invocation = current()
    known, unreadable = list_runs(SystemClock())
    shown = [run for run in known if not (only_open and run.state.ended)]
    if invocation.format == "json":
        write(render_json(LIST_SCHEMA, {"runs": [_run_json(run) for run in shown]}))
    elif shown:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
        write(render_list(shown, invocation.look, width=width))
    else:
        invocation.note(f"no runs in {runs_folder()}")
    for damaged in unreadable:
        warn(damaged.why)


def render_list(runs: Sequence[KnownRun], look: Look, *, width: int) -> str:
    """A line for each run."""
    columns = (
        Column("RUN"),
        Column("PROCEDURE"),
        Column("CLUSTER"),
        Column("STATUS"),
        Column("STEPS", right=True),
        Column("STARTED", optional=1),
        Column("BY", optional=2),
    )
    rows = [
        (
            Cell(run.run),
            Cell(run.state.plan.procedure),
            Cell(run.state.plan.cluster),
            Cell(run.state.status, STATUS_KINDS.get(run.state.status, "warn")),
            Cell(f"{len(run.state.results)}/{len(run.state.plan.steps)}"),
            Cell(_minute(run.state.started_at)),
            Cell(run.state.by.owner if run.state.by is not None else "-"),
        )
        for run in runs
    ]
    return render_table(columns, rows, look, width=width)


@command.command(
    "show",
    cls=OpsCommand,
    examples=[
        ("its plan and steps as data", "etcdops runs show r-0c4f -w json"),
        ("what does another plan do otherwise?", "etcdops runs show r-0c4f --compare r-77aa"),
    ],
)
@_RUN
@click.option("--compare", metavar="RUN", help="What the plan of RUN (or in a file) does otherwise.")
@general_options
def show(run_id: str, compare: str | None) -> None:
    """One run: its plan, which steps are done, what is safe now and how to go on. RUN: an ID or a journal's path."""
    from etcdops.playbooks.plan import compare_plans
    from etcdops.playbooks.runs import find_run

    invocation = current()
    known = find_run(run_id, SystemClock())
    if compare is not None:
        other = _plan_of(compare)
        lines = compare_plans(known.state.plan, other)
        if invocation.format == "json":
            write(render_json(RUN_SCHEMA, {"run": known.run, "compared_with": compare, "differences": lines}))
        else:
            write(invocation.look.text("\n".join(printable(line) for line in lines) or "the plans are the same"))
    elif invocation.format == "json":
        body = {**_run_json(known), "plan": known.state.plan.to_json(), "results": dict(known.state.results)}
        write(render_json(RUN_SCHEMA, body))
    else:
        write(invocation.look.text(render_run(known, invocation.look)))


def _plan_of(text: str) -> Plan:
    from etcdops.playbooks.plan import Plan
    from etcdops.playbooks.runs import find_run

    return Plan.load(Path(text)) if text.endswith(".json") else find_run(text, SystemClock()).state.plan


def render_run(known: KnownRun, look: Look) -> str:
    """The plan, its steps with ticks, and what next."""
    state = known.state
    lines = [render_plan(state.plan, None, look), look.style("Steps:", "head")]
    for number, step in enumerate(state.plan.steps, 1):
        mark = "✓" if step.id in state.results else "✖" if step.id in state.interrupted else " "
        host = f"  on {printable(step.where)}" if step.where else ""
        lines.append(f"  {mark} {number:>2} {printable(step.title)}{host}")
    lines.append(f"{known.run} is {look.style(state.status, STATUS_KINDS.get(state.status, 'warn'))}")
    if state.by is not None:
        lines[-1] += f", {_minute(state.started_at)}, {printable(str(state.by))}"
    if state.error and not state.ended:
        lines.append(f"failed: {printable(state.error)}")
    lines.append(f"journal: {known.journal.path}")
    lines += next_steps(known)
    return "\n".join(lines)


def next_steps(known: KnownRun) -> list[str]:
    """What can be done with it, as commands."""
    status = known.state.status
    if known.state.ended:
        return told_of_token(known.state.plan, known.state.results) if known.state.ended == "finished" else []
    if status == "running":
        return [f"watch it: etcdops runs attach {known.run}", f"stop it after its step: etcdops runs stop {known.run}"]
    if known.state.rolling_back:
        return [f"finish taking it back: etcdops runs rollback {known.run}"]
    return [f"go on: etcdops runs resume {known.run}"]


@command.command("attach", cls=OpsCommand, examples=[("for a script", "etcdops runs attach r-0c4f --events json")])
@_RUN
@events_option
@general_options
def attach(run_id: str, events: str) -> int:
    """Follow a run from its first event until nobody works on it. Ctrl-C leaves; the run goes on.

    Exit code 0: it finished, or was taken back. 9: it stopped, failed or was cut off before its end.
    """
    from etcdops.playbooks.follow import follow
    from etcdops.playbooks.runs import find_run

    invocation = current()
    known = find_run(run_id, SystemClock())
    show_event = print_json_event if events == "json" else printer_for(invocation, "text")

    async def watch() -> None:
        async for event in follow(known.journal, known.state.plan):
            show_event(event)

    invocation.run(watch())
    after = find_run(str(known.journal.path), SystemClock())
    if events == "text":
        write(invocation.look.text("\n".join((f"{after.run} is {after.state.status}", *next_steps(after)))))
    return int(ExitCode.OK if after.state.ended in ("finished", "rolled-back") else ExitCode.PARTLY_APPLIED)


@command.command(
    "resume",
    cls=OpsCommand,
    examples=[
        ("from a script", "etcdops runs resume r-0c4f --confirm prod"),
        ("in a process of its own", "etcdops runs resume r-0c4f --confirm prod --detach"),
    ],
)
@_RUN
@click.option("--detach", is_flag=True, help="Go on in a process of its own that outlives this terminal.")
@events_option
@confirm_option
@yes_if_unprotected_option
@cluster_options
@connection_options
@general_options
def resume(run_id: str, detach: bool, events: str, confirm: str | None, yes: bool) -> int:
    """Go on with a run that was cut off, stopped or failed, from its own plan."""
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.journal import run_lock
    from etcdops.playbooks.procedures import resume_run

    invocation = current()
    known = _confirmed(run_id, confirm, yes=yes, quiet_plan=events == "json")
    if detach:
        go_on_alone(invocation, known)
        return int(ExitCode.OK)
    with run_lock(known.lock_folder):
        known = _reread(known)
        stop = StopRequest()
        listener = printer_for(invocation, events)
        access = TypedAccess(invocation)
        access.learn_plan(known.state.plan)
        outcome = work_on(invocation, stop, lambda: resume_run(known, access, listener, stop=stop))
    if invocation.format == "json" and events != "json":
        write(render_json(RUN_SCHEMA, {"run": known.run, "took_s": outcome.took_s, "results": dict(outcome.results)}))
    elif events != "json":
        write(f"{known.run} finished: {known.state.plan.procedure} of {known.state.plan.cluster}")
        write("\n".join((f"journal: {known.journal.path}", *told_of_token(known.state.plan, outcome.results))))
    return int(ExitCode.OK)


@command.command(
    "rollback", cls=OpsCommand, examples=[("from a script", "etcdops runs rollback r-0c4f --confirm prod")]
)
@_RUN
@events_option
@confirm_option
@yes_if_unprotected_option
@cluster_options
@connection_options
@general_options
def rollback(run_id: str, events: str, confirm: str | None, yes: bool) -> int:
    """Take back what a run did, last step first, if each of its steps can be taken back."""
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.journal import run_lock
    from etcdops.playbooks.procedures import roll_back_run

    invocation = current()
    known = _confirmed(run_id, confirm, yes=yes, quiet_plan=events == "json")
    with run_lock(known.lock_folder):
        known = _reread(known)
        stop = StopRequest()
        listener = printer_for(invocation, events)
        access = TypedAccess(invocation)
        access.learn_plan(known.state.plan)
        work_on(invocation, stop, lambda: roll_back_run(known, access, listener, stop=stop))
    if events != "json":
        write(f"{known.run} was taken back; journal: {known.journal.path}")
    return int(ExitCode.OK)


@command.command(
    "stop", cls=OpsCommand, examples=[("and wait until it stands still", "etcdops runs stop r-0c4f --wait")]
)
@_RUN
@click.option("--wait", is_flag=True, help="Return when nobody works on it any more.")
@general_options
def stop_command(run_id: str, wait: bool) -> int:
    """Ask a run to stop after the step it is at. Never in the middle of a step."""
    from etcdops.playbooks.procedures import stop_run
    from etcdops.playbooks.runs import find_run

    invocation = current()
    known = find_run(run_id, SystemClock())
    stop_run(known)
    invocation.note(f"{known.run} will stop after the step it is at; see etcdops runs attach {known.run}")
    if wait:
        deadline = time.monotonic() + (invocation.timeout_s or _STOP_TIMEOUT_S)
        with invocation.waiting(f"waiting until {known.run} stands still ..."):
            while known.state.status == "running" and time.monotonic() < deadline:
                time.sleep(0.1)
                known = find_run(str(known.journal.path), SystemClock())
        write(f"{known.run} is {known.state.status}")
        return int(ExitCode.DEADLINE_PASSED if known.state.status == "running" else ExitCode.OK)
    return int(ExitCode.OK)


command.add_command(unlock)


def _confirmed(run_id: str, confirm: str | None, *, yes: bool, quiet_plan: bool) -> KnownRun:
    """The run, once its plan was shown and confirmed."""
    from etcdops.playbooks.on_hosts import planned_protection
    from etcdops.playbooks.runs import find_run

    invocation = current()
    known = find_run(run_id, SystemClock())
    if known.state.status == "running":
        raise UsageError(f"{known.run} is at work: {known.state.by}", hint=f"etcdops runs attach {known.run}")
    if known.state.ended:
        raise UsageError(f"{known.run} came to its end: {known.state.ended}", hint="etcdops runs list shows the others")
    if invocation.format != "json" and not quiet_plan:
        write(invocation.look.text(render_plan(known.state.plan, known.state, invocation.look)))
    plan = known.state.plan
    require_confirmation(plan.cluster, protection=planned_protection(plan), severe=True, confirm=confirm, yes=yes)
    return known


def _reread(known: KnownRun) -> KnownRun:
    """What the journal says now that nobody else can write to it."""
    from etcdops.playbooks.runs import find_run

    return find_run(str(known.journal.path), SystemClock())


def _minute(at: float) -> str:
    return rfc3339(at)[:16].replace("T", " ") + "Z"


def _run_json(known: KnownRun) -> dict[str, Json]:
    state = known.state
    return {
        "run": known.run,
        "procedure": state.plan.procedure,
        "cluster": state.plan.cluster,
        "status": state.status,
        "steps_done": len(state.results),
        "steps": len(state.plan.steps),
        "started_at": rfc3339(state.started_at),
        "last_event_at": rfc3339(state.last_at),
        "plan_digest": state.plan.digest,
        "by": state.by.to_json() if state.by is not None else None,
        "error": state.error or None,
        "journal": str(known.journal.path),
    }
