"""`etcdops local show|start|stop DIR`: the members of a cluster that `demo` or `recover` left on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.help import OpsCommand, OpsGroup
from etcdops.cli.options import current, general_options
from etcdops.cli.output import Json, Look, printable, render_json, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etcdops.playbooks.cluster_file import ClusterSpec
    from etcdops.playbooks.local_cluster import LocalMember

SCHEMA = "etcdops.local/1"
_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_NAMES = click.argument("names", metavar="[MEMBER]...", nargs=-1)


@click.group(
    "local",
    cls=OpsGroup,
    examples=[
        ("where are the members, and how is each one started?", "etcdops local show DIR"),
        ("end all members", "etcdops local stop DIR"),
        ("start them again, after a reboot say", "etcdops local start DIR"),
    ],
)
def command() -> None:
    """Show, start and stop a cluster of this machine that DIR/cluster.json describes.

    `etcdops demo --keep` and `etcdops recover` write that file.
    """


@command.command("show", cls=OpsCommand, examples=[("for a script", "etcdops local show DIR -w json | jq .members")])
@_DIRECTORY
@general_options
def show(directory: Path) -> None:
    """Where each member is, and how it is started.

    Its process, addresses, data and log, and the exact command. Give that command to a supervisor of your own (a
    systemd unit, say) to have the member started with the machine; stop it here first.
    """
    _print(_load(directory), commands=True)


@command.command(
    "start",
    cls=OpsCommand,
    examples=[
        ("all members that do not run", "etcdops local start DIR"),
        ("only these", "etcdops local start DIR m1 m2"),
    ],
)
@_DIRECTORY
@_NAMES
@general_options
def start(directory: Path, names: tuple[str, ...]) -> None:
    """Start the members that do not run, and wait until they are healthy."""
    from etcdops.playbooks.local_runs import start_members

    invocation = current()
    spec = _load(directory)
    with invocation.waiting(f"starting the members of {spec.name} ..."):
        invocation.run(start_members(spec, names))
    _print(spec)


@command.command("stop", cls=OpsCommand, examples=[("all members", "etcdops local stop DIR")])
@_DIRECTORY
@_NAMES
@general_options
def stop(directory: Path, names: tuple[str, ...]) -> None:
    """Stop the members that run. Their data stays."""
    from etcdops.playbooks.local_runs import stop_members

    spec = _load(directory)
    stop_members(spec, names)
    _print(spec)


def _load(directory: Path) -> ClusterSpec:
    from etcdops.playbooks.cluster_file import load_cluster

    return load_cluster(directory.absolute())


def _print(spec: ClusterSpec, *, commands: bool = False) -> None:
    from etcdops.playbooks.local_cluster import LocalCluster

    invocation = current()
    members = LocalCluster(spec).members
    if invocation.format == "json":
        body: dict[str, Json] = {
            "name": spec.name,
            "directory": str(spec.directory),
            "engine": str(spec.engine.kind),
            "members": [_member_json(member) for member in members],
        }
        write(render_json(SCHEMA, body))
    else:
        write(render_members(members, invocation.look, commands=commands))


def render_members(members: Sequence[LocalMember], look: Look, *, commands: bool) -> str:
    """A line for each member; with `commands` a block, in which the command is one line, to be copied."""
    lines = []
    for member in members:
        process, spec = member.process, member.spec
        state = (f"● runs, pid {process.pid}", "good") if process else ("✖ does not run", "bad")
        line = f"{look.style(printable(spec.name), 'head')}  {look.style(look.text(state[0]), state[1])}"
        if not commands:
            lines.append(f"{line}  {spec.client_url}")
            continue
        lines += [
            line,
            f"  clients  {spec.client_url}",
            f"  peers    {spec.peer_url}",
            f"  data     {printable(str(spec.data_dir))}",
            f"  log      {printable(str(member.log_path))}",
            f"  start    {shlex.join(member.command())}",
        ]
    return "\n".join(lines)


def next_steps(spec: ClusterSpec) -> str:
    """How to end and start again what was left running or lying there, for the last lines of a report."""
    place = shlex.quote(str(spec.directory))
    return (
        f"its members: etcdops local show {place}\n"
        f"  stop them: etcdops local stop {place}\n"
        f"  start them again, after a reboot say: etcdops local start {place}"
    )


def _member_json(member: LocalMember) -> Json:
    process = member.process
    return {
        "name": member.name,
        "pid": process.pid if process else None,
        "client_url": member.spec.client_url,
        "peer_url": member.spec.peer_url,
        "data_dir": str(member.spec.data_dir),
        "log": str(member.log_path),
        "command": member.command(),
    }
