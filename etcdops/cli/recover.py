"""`etcdops recover --from-snapshot FILE`: bring back a cluster whose quorum is gone for good."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from etcdops.cli.confirm import require_confirmation
from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import confirm_option, dry_run_option, yes_if_unprotected_option
from etcdops.cli.local import next_steps
from etcdops.cli.options import Invocation, connection_options, current, general_options
from etcdops.cli.output import Json, render_json, write
from etcdops.cli.run_control import events_option, go_on_alone, printer_for, work_on
from etcdops.cli.run_view import render_plan
from etcdops.errors import ExitCode, UsageError
from etcdops.inventory.protection import Protection
from etcdops.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etcdops.client.settings import ConnectionSettings
    from etcdops.playbooks.cluster_file import ClusterSpec
    from etcdops.playbooks.plan import Result
    from etcdops.playbooks.recover.procedure import Outcome, Prepared, RecoverRequest
    from etcdops.playbooks.runs import KnownRun

SCHEMA = "etcdops.recover/1"
_PATH = click.Path(path_type=Path)


@click.command(
    "recover",
    cls=OpsCommand,
    examples=[
        ("a cluster that etcdops started in DIR", "etcdops recover --from-snapshot backup.db --local DIR"),
        ("what would be done, and what would be lost?", "etcdops recover --from-snapshot backup.db --local DIR -n"),
        (
            "a cluster on the hosts of an inventory",
            "etcdops recover --from-snapshot backup.db -i prod.yaml --cluster prod",
        ),
        (
            "members of any etcd on this machine",
            "etcdops recover --from-snapshot backup.db --etcd /usr/bin/etcd "
            "--member m1=/data/m1,http://127.0.0.1:2379,http://127.0.0.1:2380 --cluster prod",
        ),
        ("from a script", "etcdops recover --from-snapshot backup.db --local DIR --confirm demo"),
    ],
)
@click.option("--from-snapshot", "snapshot", type=_PATH, required=True, metavar="FILE", help="The state to go back to.")
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="NAME=DATA-DIR,CLIENT-URL,PEER-URL",
    help="A member on this machine; once for each.",
)
@click.option(
    "-i",
    "--inventory",
    "inventory",
    multiple=True,
    type=_PATH,
    metavar="PATH",
    help="File or directory the cluster's hosts are in (see inventory).",
)
@click.option("--cluster", "name", metavar="NAME", help="Of the inventory; with --member: what to call it (cluster).")
@click.option("--accept-new", is_flag=True, help="With -i: trust host keys not seen before; never changed ones.")
@click.option("--dir", "directory", type=_PATH, metavar="DIR", help="With --member: for logs, pids and journals.")
@click.option("--engine", type=click.Choice(["node", "etcd"]), help="With --member: what they run (etcd with --etcd).")
@click.option("--etcd", type=_PATH, metavar="PATH", help="With --member: etcd's binary.")
@click.option("--restore-tool", type=_PATH, metavar="PATH", help="etcdutl (etcdctl before 3.6); with -i: on the hosts.")
@click.option("--last-known-revision", type=click.IntRange(min=1), metavar="N", help="From monitoring, if higher.")
@click.option("--new-run", is_flag=True, help="Give up an unfinished recovery and begin a new one.")
@click.option("--update-inventory", is_flag=True, help="With -i: write the cluster's new token into it, as last step.")
@click.option("--force-unsafe", multiple=True, metavar="CODE", help="Override the check with this code.")
@confirm_option
@yes_if_unprotected_option
@dry_run_option
@click.option("--detach", is_flag=True, help="Once confirmed, go on in a process that outlives this terminal.")
@events_option
@connection_options
@general_options
def command(
    snapshot: Path,
    members: tuple[str, ...],
    inventory: tuple[Path, ...],
    name: str | None,
    accept_new: bool,
    directory: Path | None,
    engine: str | None,
    etcd: Path | None,
    restore_tool: Path | None,
    last_known_revision: int | None,
    new_run: bool,
    update_inventory: bool,
    force_unsafe: tuple[str, ...],
    confirm: str | None,
    yes: bool,
    dry_run: bool,
    detach: bool,
    events: str,
) -> int:
    """Make a lost cluster anew from a snapshot, and prove that it is right.

    Prints what it will do and what is lost before anything is touched. Old data is moved aside, never deleted. Run the
    same command again after an interruption: it goes on where it was.
    """
    from etcdops.playbooks.cluster_file import load_cluster
    from etcdops.playbooks.journal import run_lock
    from etcdops.playbooks.recover.procedure import RecoverRequest

    invocation = current()
    local = invocation.connection.get("local")
    on_hosts = bool(inventory) or bool(name and not local and not members)
    if sum((bool(local), bool(members), on_hosts)) != 1:
        raise UsageError(
            "which cluster? give either --local DIR, or --cluster NAME of an inventory, or --member for each member",
            hint="etcdops recover --help shows all",
        )
    asked = Asked(confirm, yes, dry_run, detach, events)
    if on_hosts:
        from etcdops.cli.recover_hosts import recover_on_hosts
        from etcdops.inventory.find import inventory_paths

        return recover_on_hosts(
            invocation,
            asked,
            inventory=inventory_paths(inventory, os.environ),
            cluster=name or "",
            snapshot=snapshot,
            last_known_revision=last_known_revision,
            restore_tool=str(restore_tool or ""),
            force_unsafe=frozenset(force_unsafe),
            new_run=new_run,
            update_inventory=update_inventory,
            accept_new=accept_new,
        )
    if update_inventory:
        raise UsageError("--update-inventory is about hosts of an inventory", hint="give -i, or leave it out")
    cluster = (
        load_cluster(Path(local).absolute()) if local else describe(members, name or "cluster", directory, engine, etcd)
    )
    request = RecoverRequest(
        cluster=cluster,
        snapshot=snapshot,
        settings=_settings(invocation, cluster),
        last_known_revision=last_known_revision,
        restore_tool=restore_tool,
        force_unsafe=frozenset(force_unsafe),
        new_run=new_run,
    )
    with run_lock(cluster.runs):
        detached = _recover(invocation, request, asked)
    if detached is not None:
        go_on_alone(invocation, detached)  # it takes the lock, so ours had to go first
    return int(ExitCode.OK)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """How much is to be done, and how it is told: the same wherever the members run."""

    confirm: str | None
    yes: bool
    dry_run: bool
    detach: bool
    events: str

    def require_confirmation(self, cluster: str, protection: Protection) -> None:
        """Raises: NotConfirmed."""
        require_confirmation(cluster, protection=protection, severe=True, confirm=self.confirm, yes=self.yes)


def _recover(invocation: Invocation, request: RecoverRequest, asked: Asked) -> KnownRun | None:
    """Returns: the run, if it is to go on in a process of its own."""
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.recover.procedure import begin, carry_out, prepare, require_own_members

    prepared = invocation.run(prepare(request))
    as_json, events = invocation.format == "json", asked.events
    if not as_json and (asked.dry_run or events != "json"):
        write(
            invocation.look.text(
                render_plan(prepared.plan, prepared.known.state if prepared.known else None, invocation.look)
            )
        )
    if asked.dry_run:
        if as_json:
            write(render_json(SCHEMA, _plan_json(prepared)))
        return None
    invocation.run(require_own_members(request))
    asked.require_confirmation(request.cluster.name, Protection.NORMAL)
    if asked.detach:
        known = begin(request, prepared)
        known.journal.stopped()  # this process works on it no more
        return known
    stop = StopRequest()
    listener = printer_for(invocation, events)
    outcome = work_on(invocation, stop, lambda: carry_out(request, prepared, listener, stop=stop))
    if events == "json":
        return None
    if as_json:
        write(render_json(SCHEMA, {**_plan_json(prepared), **_outcome_json(outcome)}))
    else:
        write(invocation.look.text(render_outcome(request.cluster, outcome)))
    return None


def render_outcome(cluster: ClusterSpec, outcome: Outcome) -> str:
    """What was proved, what needs a person, and what next."""
    results = outcome.results
    moved = [
        str(found["moved_to"]) for step, found in results.items() if step.startswith("aside:") and found["moved_to"]
    ]
    lines = [
        proved_line(cluster.name, outcome.took_s, results),
        *(f"old data: {path}" for path in moved),
        *leftover_lines(results),
    ]
    lines.append(f"journal: {outcome.journal}")
    lines.append(next_steps(cluster))
    lines.append(f"next: etcdops --endpoints {','.join(cluster.endpoints)} status")
    return "\n".join(lines)


def proved_line(cluster: str, took_s: float, results: Mapping[str, Result]) -> str:
    """What was done and proved, in a sentence."""
    return (
        f"recovered {cluster} in {took_s:.1f} s: {results['verify:keys'].get('keys')} keys as in the"
        f" snapshot, HashKV {results['verify:hash'].get('hash_kv')} on all members"
    )


def leftover_lines(results: Mapping[str, Result]) -> list[str]:
    """What came along from the snapshot and needs a person."""
    left, lines = results.get("verify:leftovers", {}), []
    if alarms := left.get("alarms"):
        lines.append(f"alarms came along from the snapshot: {alarms}; see etcdops status")
    if isinstance(leases := left.get("leases"), int) and leases:
        lines.append(f"{counted(leases, 'lease')} came along, with the full time to live again")
    if left.get("auth_enabled"):
        lines.append(f"authentication is on, with the {left['users']} users and passwords of the snapshot")
    return lines


def describe(
    members: tuple[str, ...], name: str, directory: Path | None, engine: str | None, etcd: Path | None
) -> ClusterSpec:
    """The cluster that `--member` options describe. Raises: UsageError."""
    from etcdops.playbooks.cluster_file import FILE_NAME, ClusterSpec, Engine, EngineKind, MemberSpec, load_cluster

    specs = []
    for text in members:
        member, equals, rest = text.partition("=")
        parts = rest.split(",")
        if not equals or len(parts) != 3 or not all("://" in url for url in parts[1:]):
            raise UsageError(
                f"--member {text!r} is not NAME=DATA-DIR,CLIENT-URL,PEER-URL",
                hint="write m1=/var/lib/etcd,http://127.0.0.1:2379,http://127.0.0.1:2380",
            )
        if elsewhere := next((url for url in parts[1:] if not _is_of_this_machine(url)), None):
            raise UsageError(
                f"--member {member}: {elsewhere} is not an address of this machine",
                hint="run this on that member's host, or describe the hosts in an inventory (etcdops inventory --help)",
            )
        specs.append(MemberSpec(member, Path(parts[0]).absolute(), parts[1], parts[2]))
    for field in ("name", "data_dir", "client_url", "peer_url"):
        if len({getattr(spec, field) for spec in specs}) != len(specs):
            raise UsageError(
                f"two --member options have the same {field.replace('_', ' ')}",
                hint="each member has a name, a data directory and URLs of its own",
            )
    kind = EngineKind(engine) if engine else EngineKind.ETCD if etcd else None
    if kind is None or (kind is EngineKind.ETCD) != (etcd is not None):
        raise UsageError(
            "what do the members run?", hint="--etcd PATH for real etcd, --engine node for the bundled member"
        )
    place = (
        directory or Path(os.path.commonpath([spec.data_dir.parent for spec in specs])) / f"{name}.etcdops"
    ).absolute()
    described = ClusterSpec(name, place, Engine(kind, etcd.absolute() if etcd else None), "unknown", tuple(specs))
    if (place / FILE_NAME).is_file():
        known = load_cluster(place)
        if dataclasses.replace(known, token=described.token) == described:
            return known  # from an earlier recovery, with its token
    return described


def _is_of_this_machine(url: str) -> bool:
    """Whether a member could listen there. A host name may be: for one, members listen on all addresses."""
    host = urlsplit(url).hostname or ""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return True
    with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _settings(invocation: Invocation, cluster: ClusterSpec) -> ConnectionSettings:
    """The members' own URLs, with the user and password that were given."""
    if "endpoints" in invocation.connection:
        raise UsageError("--endpoints is not needed here", hint="the members' own client URLs are asked")
    invocation.connection["endpoints"] = ",".join(cluster.endpoints)
    invocation.connection.pop("local", None)
    return dataclasses.replace(
        invocation.connection_settings(), endpoints=cluster.endpoints, source=f"cluster {cluster.name}"
    )


def _plan_json(prepared: Prepared) -> dict[str, Json]:
    return {
        "plan": prepared.plan.to_json(),
        "plan_digest": prepared.plan.digest,
        "resumes": str(prepared.known.journal.path) if prepared.known else None,
    }


def _outcome_json(outcome: Outcome) -> dict[str, Json]:
    return {"took_s": outcome.took_s, "journal": str(outcome.journal), "steps": dict(outcome.results)}
