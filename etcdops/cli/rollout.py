"""`etcdops rollout plan|apply`: from bare hosts to a healthy cluster, and back to what the inventory says."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from etcdops.cli.confirm import require_confirmation
from etcdops.cli.help import OpsCommand, OpsGroup
from etcdops.cli.host_options import accept_new_option, cluster_option, confirm_option, inventory_option, yes_option
from etcdops.cli.options import Invocation, connection_options, current, general_options
from etcdops.cli.output import Json, Look, printable, render_json, write
from etcdops.cli.rollout_facts import fact_lines, facts_json
from etcdops.cli.run_control import TypedAccess, events_option, printer_for, work_on
from etcdops.cli.run_view import render_plan
from etcdops.errors import ExitCode

if TYPE_CHECKING:
    from etcdops.cli.host_run import MakePlan
    from etcdops.playbooks.on_hosts import RunHosts
    from etcdops.playbooks.plan import Plan
    from etcdops.playbooks.procedures import RunOutcome
    from etcdops.playbooks.rollout.judging import Refusal
    from etcdops.playbooks.rollout.procedure import Prepared, RolloutRequest
    from etcdops.playbooks.runs import KnownRun

SCHEMA = "etcdops.rollout/1"
ACCEPTED_DOWNTIME = "downtime"
"""The code that lets one or two members be restarted, where nobody can write meanwhile."""
F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    inventory_option,
    cluster_option,
    accept_new_option,
    click.option("--force-unsafe", multiple=True, metavar="CODE", help="Go on in spite of the refusal with this code."),
)  # fmt: skip


def _options(function: F) -> F:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group(
    "rollout",
    cls=OpsGroup,
    examples=[
        ("what would be done on which host?", "etcdops rollout plan -i prod.yaml"),
        ("do it", "etcdops rollout apply -i prod.yaml"),
        ("has anybody changed a host?", "etcdops rollout plan -i prod.yaml"),
    ],
)
def command() -> None:
    """Make a cluster on the hosts of an inventory, and keep its hosts as the inventory says."""


@command.command(
    "plan", cls=OpsCommand, examples=[("from a script: 7 means changes", "etcdops rollout plan -i prod.yaml -w json")]
)
@_options
@connection_options
@general_options
def plan_command(given: tuple[Path, ...], name: str, accept_new: bool, force_unsafe: tuple[str, ...]) -> int:
    """Look at every host and say what would be done, with the difference for each file that is there.

    Nothing is changed. Exit code 0: every host is as it should be. 6: something has to be mended first. 7: there is
    something to do.
    """
    invocation = current()
    request, access = _request(given, name, accept_new, force_unsafe)
    prepared = _prepare(invocation, request, access)
    _show(invocation, prepared, request)
    prepared.require_allowed()
    if prepared.restarts and invocation.format != "json":
        _show_rolling(invocation, given, request, access)
    return int(ExitCode.CHANGES_PENDING if prepared.plan is not None or prepared.restarts else ExitCode.OK)


@command.command(
    "apply",
    cls=OpsCommand,
    examples=[
        ("from a script, on hosts that are new", "etcdops rollout apply -i prod.yaml --yes --accept-new"),
        ("an unfinished one goes on", "etcdops rollout apply -i prod.yaml"),
    ],
)
@_options
@click.option("--new-run", is_flag=True, help="Give up an unfinished rollout and begin anew from what is there.")
@confirm_option
@yes_option
@events_option
@connection_options
@general_options
def apply_command(
    given: tuple[Path, ...],
    name: str,
    accept_new: bool,
    force_unsafe: tuple[str, ...],
    new_run: bool,
    confirm: str | None,
    yes: bool,
    events: str,
) -> int:
    """Do what `plan` says, and prove the outcome. Repeated, it changes nothing; interrupted, it goes on.

    Members that run with something else than they should are changed one by one, the leader last, each only while all
    the others are well.
    """
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.journal import run_lock
    from etcdops.playbooks.rollout.procedure import apply
    from etcdops.playbooks.runs import runs_on_hosts

    invocation = current()
    request, access = _request(given, name, accept_new, force_unsafe)
    request = dataclasses.replace(request, new_run=new_run)
    with run_lock(runs_on_hosts(request.cluster.name)):
        prepared = _prepare(invocation, request, access)
        rolls_only = prepared.plan is None and bool(prepared.restarts)  # which shows a plan, and a result, of its own
        if events != "json" and not (rolls_only and invocation.format == "json"):
            _show(invocation, prepared, request)
        prepared.require_allowed()
        if prepared.plan is not None:
            protection = request.cluster.protection
            require_confirmation(request.cluster.name, protection=protection, severe=False, confirm=confirm, yes=yes)
            stop = StopRequest()
            listener = printer_for(invocation, events)
            known, outcome = work_on(invocation, stop, lambda: apply(prepared, request, access, listener, stop=stop))
            if events != "json":
                _show_outcome(invocation, prepared, request, known, outcome)
    if prepared.restarts:  # it takes the lock, so ours had to go first
        return _roll(invocation, given, request, confirm, yes=yes, accept_new=accept_new, events=events)
    return int(ExitCode.OK)


def _show_rolling(
    invocation: Invocation, given: tuple[Path, ...], request: RolloutRequest, access: TypedAccess
) -> None:
    """The rolling change that `apply` would make. Raises: ClusterUnsafe, Unhealthy - it would be refused, and why."""
    from etcdops.cli.host_run import named_hosts

    hosts = named_hosts(given, request.cluster.name, os.environ)
    with invocation.waiting("looking at the members ..."):
        plan = invocation.run(hosts.reach(access, _rolling_plan(request)))
    if plan is not None:
        write(invocation.look.text(render_plan(plan, None, invocation.look)))


def _rolling_plan(request: RolloutRequest) -> MakePlan:
    from etcdops.playbooks.rolling.procedure import plan_change

    accepted = ACCEPTED_DOWNTIME in request.force_unsafe

    async def make(run: RunHosts) -> Plan | None:
        return await plan_change(run, accept_downtime=accepted)

    return make


def _roll(
    invocation: Invocation,
    given: tuple[Path, ...],
    request: RolloutRequest,
    confirm: str | None,
    *,
    yes: bool,
    accept_new: bool,
    events: str,
) -> int:
    """The rolling change of the members that run with something else than they should."""
    from etcdops.cli.host_run import HostRunRequest, carry_out_on_hosts

    rolling = HostRunRequest(given, request.cluster.name, accept_new, False, events, yes=yes, confirm=confirm)
    return carry_out_on_hosts(invocation, rolling, _rolling_plan(request), SCHEMA)


def _request(
    given: tuple[Path, ...], name: str, accept_new: bool, force_unsafe: tuple[str, ...]
) -> tuple[RolloutRequest, TypedAccess]:
    from etcdops.cli.host_run import named_hosts
    from etcdops.playbooks.rollout.procedure import RolloutRequest

    hosts = named_hosts(given, name, os.environ)
    access = TypedAccess(current(), accept_new)
    # before anything runs: a person who is asked for a password may answer with Ctrl-C
    access.learn(hosts.inventory)
    return RolloutRequest(hosts.inventory, hosts.cluster, hosts.source.paths, frozenset(force_unsafe)), access


def _prepare(invocation: Invocation, request: RolloutRequest, access: TypedAccess) -> Prepared:
    from etcdops.playbooks.rollout.procedure import prepare

    with invocation.waiting(f"looking at the hosts of {request.cluster.name} ..."):
        return invocation.run(prepare(request, access))


def _show(invocation: Invocation, prepared: Prepared, request: RolloutRequest) -> None:
    if invocation.format == "json":
        write(render_json(SCHEMA, _json(prepared, request)))
        return
    write(invocation.look.text("\n".join(_lines(prepared, request, invocation.look))))


def _lines(prepared: Prepared, request: RolloutRequest, look: Look) -> Iterator[str]:
    if prepared.facts and (prepared.refused or (prepared.plan is not None and prepared.plan.inputs["is_new"])):
        yield look.style("Hosts:", "head")
        yield from fact_lines(prepared.facts)
    for found in (*prepared.overridden, *prepared.warned):
        mark = look.style("▲", "warn")
        yield f"{mark} {printable(str(found))} ({printable(found.why)}; {printable(found.next_step)})"
    for refusal in prepared.refused:
        yield f"{look.style('✖', 'bad')} [{refusal.id}] {printable(str(refusal))}"
    if prepared.refused:
        return
    plan = prepared.plan
    if plan is None:
        if not prepared.restarts:
            yield f"{request.cluster.name}: every host is as the inventory says; nothing to do"
    else:
        yield render_plan(plan, prepared.unfinished.state if prepared.unfinished else None, look)
        yield look.style("Steps:", "head")
        for number, step in enumerate(plan.steps, 1):
            yield f"  {number:>2} {printable(step.title)}{f'  on {printable(step.host)}' if step.host else ''}"
    for member, survey in prepared.surveys.items():
        shown = {path: diff for path, diff in survey.diffs.items() if "--- /dev/null" not in diff}
        for path, diff in shown.items():
            yield look.style(f"{member}: {path} differs:", "head")
            yield from (f"  {printable(line)}" for line in diff.splitlines())
    for member, reasons in prepared.restarts.items():
        yield from (f"{look.style('▲', 'warn')} {member} has to be restarted: {printable(why)}" for why in reasons)


def _json(prepared: Prepared, request: RolloutRequest) -> dict[str, Json]:
    return {
        "cluster": request.cluster.name,
        "plan": prepared.plan.to_json() if prepared.plan is not None else None,
        "plan_digest": prepared.plan.digest if prepared.plan is not None else None,
        "resumes": prepared.unfinished.run if prepared.unfinished is not None else None,
        "refused": [_refusal_json(one) for one in prepared.refused],
        "warnings": [_refusal_json(one) for one in (*prepared.overridden, *prepared.warned)],
        "differences": {name: dict(survey.diffs) for name, survey in prepared.surveys.items() if survey.diffs},
        "restarts": {name: list(reasons) for name, reasons in prepared.restarts.items()},
        "facts": facts_json(prepared.facts),
    }


def _refusal_json(refusal: Refusal) -> dict[str, Json]:
    return {
        "code": refusal.id,
        "host": refusal.host or None,
        "what": refusal.what,
        "why": refusal.why,
        "next": refusal.next_step,
        "overridable": refusal.overridable,
    }


def _show_outcome(
    invocation: Invocation, prepared: Prepared, request: RolloutRequest, known: KnownRun, outcome: RunOutcome
) -> None:
    if invocation.format == "json":
        done: dict[str, Json] = {
            "run": known.run,
            "journal": str(known.journal.path),
            "took_s": round(outcome.took_s, 3),
            "steps": dict(outcome.results),
        }
        write(render_json(SCHEMA, {**_json(prepared, request), **done}))
        return
    proved = outcome.results.get("verify:members", {})
    write(
        f"{known.state.plan.cluster} is healthy: {proved.get('members')} members, cluster ID"
        f" {proved.get('cluster_id')}; took {outcome.took_s:.1f} s"
    )
    write(f"journal: {known.journal.path}")
