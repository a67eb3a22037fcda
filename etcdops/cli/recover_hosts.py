"""`etcdops recover --from-snapshot FILE -i INVENTORY`: the same for members on hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etcdops.cli.inventory_token import told_of_token
from etcdops.cli.options import Invocation
from etcdops.cli.output import Json, render_json, write
from etcdops.cli.recover import SCHEMA, Asked, leftover_lines, proved_line
from etcdops.cli.run_control import TypedAccess, access_arguments, go_on_alone, printer_for, work_on
from etcdops.cli.run_view import render_plan
from etcdops.errors import ExitCode

if TYPE_CHECKING:
    from etcdops.playbooks.procedures import RunOutcome
    from etcdops.playbooks.recover.hosts.procedure import HostRequest, PreparedOnHosts
    from etcdops.playbooks.runs import KnownRun


def recover_on_hosts(
    invocation: Invocation,
    asked: Asked,
    *,
    inventory: tuple[Path, ...],
    cluster: str,
    snapshot: Path,
    last_known_revision: int | None,
    restore_tool: str,
    force_unsafe: frozenset[str],
    new_run: bool,
    update_inventory: bool,
    accept_new: bool,
) -> int:
    """Plan, confirm, carry out. Raises: as `recover.hosts.procedure`."""
    from etcdops.inventory.load import load_inventory
    from etcdops.playbooks.journal import run_lock
    from etcdops.playbooks.recover.hosts.procedure import HostRequest, named_cluster
    from etcdops.playbooks.runs import runs_on_hosts

    access = TypedAccess(invocation, accept_new=accept_new)
    request = HostRequest(
        inventory=inventory,
        cluster=cluster,
        snapshot=snapshot,
        access=access,
        last_known_revision=last_known_revision,
        restore_tool=restore_tool,
        force_unsafe=force_unsafe,
        new_run=new_run,
        update_inventory=update_inventory,
    )
    name = named_cluster(request).name
    access.learn(load_inventory(inventory))
    if asked.detach:
        access_arguments(invocation)  # says now what could not be handed on
    with run_lock(runs_on_hosts(name)):
        detached = _recover(invocation, request, asked)
    if detached is not None:
        go_on_alone(invocation, detached)
    return int(ExitCode.OK)


def _recover(invocation: Invocation, request: HostRequest, asked: Asked) -> KnownRun | None:
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.on_hosts import planned_protection
    from etcdops.playbooks.recover.hosts.procedure import begin, prepare, work

    with invocation.waiting("looking at the hosts ..."):
        prepared = invocation.run(prepare(request))
    as_json, events = invocation.format == "json", asked.events
    state = prepared.known.state if prepared.known is not None else None
    if not as_json and (asked.dry_run or events != "json"):
        write(invocation.look.text(render_plan(prepared.plan, state, invocation.look)))
        _show_changes(invocation, prepared)
    if asked.dry_run:
        if as_json:
            write(render_json(SCHEMA, _plan_json(prepared)))
        return None
    asked.require_confirmation(prepared.plan.cluster, planned_protection(prepared.plan))
    known = begin(prepared)
    if asked.detach:
        known.journal.stopped()  # this process works on it no more
        return known
    stop = StopRequest()
    listener = printer_for(invocation, events)
    outcome = work_on(invocation, stop, lambda: work(known, request.access, listener, stop=stop))
    if events == "json":
        return None
    if as_json:
        body: dict[str, Json] = {
            **_plan_json(prepared),
            "took_s": outcome.took_s,
            "journal": str(known.journal.path),
            "steps": dict(outcome.results),
        }
        write(render_json(SCHEMA, body))
    else:
        write(invocation.look.text(_render_outcome(known, outcome)))
    return None


def _show_changes(invocation: Invocation, prepared: PreparedOnHosts) -> None:
    """What will be written otherwise on each host, as diffs; secrets are not in them."""
    for one in prepared.facts.members if prepared.facts is not None else ():
        for diff in one.changes.diffs.values():
            write(invocation.look.text(f"{one.host}:\n{diff.rstrip()}"))
    if prepared.edit is not None:
        write(invocation.look.text(f"this machine:\n{prepared.edit.diff.rstrip()}"))


def _render_outcome(known: KnownRun, outcome: RunOutcome) -> str:
    from etcdops.playbooks.recover.hosts.procedure import moved_data

    plan, results = known.state.plan, outcome.results
    members = plan.inputs["members"]
    moved = moved_data(outcome, members if isinstance(members, dict) else ())
    return "\n".join(
        [
            proved_line(plan.cluster, outcome.took_s, results),
            *(f"old data of {line}" for line in moved),
            *leftover_lines(results),
            f"journal: {known.journal.path}",
            *told_of_token(plan, results),
        ]
    )


def _plan_json(prepared: PreparedOnHosts) -> dict[str, Json]:
    return {
        "plan": prepared.plan.to_json(),
        "plan_digest": prepared.plan.digest,
        "resumes": str(prepared.known.journal.path) if prepared.known is not None else None,
    }
