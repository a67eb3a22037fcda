"""`etcdops doctor`: everything a cluster and its hosts show now, judged."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import accept_new_option
from etcdops.cli.language import LANGUAGE_OPTION, terminal_language
from etcdops.cli.members_api import settings_or_reason
from etcdops.cli.options import (
    DEFAULT_WIDTH,
    Invocation,
    cluster_options,
    connection_options,
    current,
    general_options,
)
from etcdops.cli.output import render_json, write
from etcdops.client.settings import parse_seconds
from etcdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from etcdops.cli.inventory_connection import Chosen
    from etcdops.doctor.observation import Observation

SAMPLE_MAX_S = 3600.0


@click.command(
    "doctor",
    cls=OpsCommand,
    examples=[
        ("what is wrong, by everything the members tell", "etcdops doctor --endpoints http://10.0.0.1:2379"),
        ("... and their hosts: services, data, disks, clocks, ways", "etcdops doctor -i etcdops.yaml --cluster prod"),
        ("is it slow now? rates of the next half minute", "etcdops doctor --sample 30"),
        ("before a defragmentation: is this release safe for it?", "etcdops doctor --before defragment"),
        ("for a script (exit 0 nothing to do, 5 findings)", "etcdops doctor --json | jq '.findings[0].code'"),
        ("what does that finding mean?", "etcdops explain E401"),
    ],
)
@click.option("--sample", metavar="SECONDS", help="Judge load by what happens meanwhile, not since members started.")
@click.option("--no-hosts", is_flag=True, help="Leave the hosts of the inventory alone; ask the members only.")
@click.option("--probe", is_flag=True, help="Measure disks: writes a small file on each host for a moment.")
@click.option("--no-hashes", is_flag=True, help="Do not compare the members' data: it reads the whole store.")
@click.option(
    "--backups",
    "folders",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where snapshots of this cluster are kept: is there a recent one, and whole? May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="As -w json: a stable document.")
@click.option(
    "--before", metavar="OPERATION", help="What you are about to do, such as defragment: known faults of it come first."
)
@click.option("--full", is_flag=True, help="All evidence.")
@LANGUAGE_OPTION
@accept_new_option
@cluster_options
@connection_options
@general_options
def command(
    sample: str | None,
    no_hosts: bool,
    probe: bool,
    no_hashes: bool,
    folders: tuple[Path, ...],
    as_json: bool,
    before: str | None,
    full: bool,
    lang: str | None,
    accept_new: bool,
) -> int:
    """Look at everything a cluster shows, and say what is wrong, why, and what to do next.

    Members are asked through the v3 API and their pages; of a cluster of the inventory the hosts are looked at as well,
    over SSH. Nothing is changed. Works without a quorum. Exit 0: nothing to do, whatever is good to know; 5: there is
    something to do, or nobody could look.
    """
    from etcdops.cli.doctor_view import SCHEMA, examination_json, render_examination
    from etcdops.cli.inventory_connection import chosen_cluster
    from etcdops.doctor.examine import examine

    invocation = current()
    sample_s = 0.0 if sample is None else parse_seconds(sample, "--sample")
    if not 0 <= sample_s <= SAMPLE_MAX_S:
        raise UsageError(f"--sample takes up to {SAMPLE_MAX_S:g} seconds, not {sample}")
    chosen = chosen_cluster(invocation.connection, os.environ)
    if probe and (chosen is None or no_hosts):
        raise UsageError("--probe is about hosts, and none are looked at", hint="name a cluster of an inventory")
    observation = _members(invocation, chosen, sample_s, hashes=not no_hashes)
    if chosen is not None and not no_hosts:
        observation = _hosts(invocation, chosen, observation, probe=probe, accept_new=accept_new)
    if folders:
        observation = _backups(invocation, observation, folders)
    examination = examine(dataclasses.replace(observation, operation=_operation(before)))
    language = lang or terminal_language()
    if as_json or invocation.format == "json":
        write(render_json(SCHEMA, examination_json(examination, language)))
    else:
        width = min(shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns, 120)
        write(render_examination(examination, invocation.look, width=width, language=language, full=full))
    return int(ExitCode.OK if examination.healthy else ExitCode.UNHEALTHY)


def _backups(invocation: Invocation, observation: Observation, folders: tuple[Path, ...]) -> Observation:
    from etcdops.doctor.gather.backups import find_backups

    with invocation.waiting("checking the newest backup ..."):
        backups, unread = find_backups(folders)
    return dataclasses.replace(observation, backups=backups, unseen=(*observation.unseen, *unread))


def _operation(text: str | None) -> str:
    """Raises: UsageError - no known fault strikes then; it names what there is."""
    from etcdops.doctor.advisories import operations

    if text is None or text in operations():
        return text or ""
    raise UsageError(f"--before does not know {text!r}", hint=f"one of: {', '.join(operations())}")


def _members(invocation: Invocation, chosen: Chosen | None, sample_s: float, *, hashes: bool) -> Observation:
    """What the members tell. Of a cluster of an inventory, none to be reached is no end: its hosts tell why."""
    from etcdops.doctor.gather.cluster import observe_cluster
    from etcdops.doctor.observation import Observation

    settings, unseen = (invocation.connection_settings(), ()) if chosen is None else settings_or_reason(invocation)
    if settings is None:
        observation = Observation(taken_at=time.time(), unseen=unseen)
    else:
        with invocation.waiting(f"asking {', '.join(settings.endpoints)} ..."):
            observation = invocation.run(observe_cluster(settings, hashes=hashes, sample_s=sample_s))
    if chosen is None:
        return observation
    from etcdops.inventory.model import place

    placed = tuple(place(chosen.read.inventory, chosen.cluster, member) for member in chosen.cluster.members)
    return dataclasses.replace(observation, cluster=chosen.cluster, placed=placed)


def _hosts(
    invocation: Invocation, chosen: Chosen, observation: Observation, *, probe: bool, accept_new: bool
) -> Observation:
    """The same, with what the hosts show. One that does not let us in hides no other."""
    from etcdops.cli.run_control import TypedAccess
    from etcdops.doctor.gather.on_hosts import with_hosts
    from etcdops.remote.pool import Sessions

    inventory, cluster = chosen.read.inventory, chosen.cluster
    access = TypedAccess(invocation, accept_new=accept_new)
    access.learn(inventory)

    async def look() -> Observation:
        with access.connecting(inventory) as connect:
            sessions = Sessions(connect)
            try:
                return await with_hosts(observation, sessions.open, inventory, cluster, probe=probe)
            finally:
                await sessions.close()

    names = ", ".join(dict.fromkeys(member.host for member in cluster.members))
    with invocation.waiting(f"looking at {names} ..."):
        return invocation.run(look())
