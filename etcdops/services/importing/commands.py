"""Members that a command of docker, podman or nerdctl makes, to evidence: from scripts, notes, and units' texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from etcdops.errors import UsageError
from etcdops.services.container_command import ContainerCommand, keeper_of, parse_command, started_container
from etcdops.services.container_facts import ImageConfig
from etcdops.services.container_start import member_start, of_arguments, volumes
from etcdops.services.etcd_settings import Placed, Start, config_file
from etcdops.services.importing.container import Published, container_evidence, places, published_ports
from etcdops.services.importing.evidence import Evidence
from etcdops.services.start_script import read_containers

_COMMAND = re.compile(
    r"^[^#\n]*(?:\b|/)(?:docker|podman|nerdctl)\s(?:[^#\n]*\s)?(?:run|create)\s", re.MULTILINE
)  # fmt: skip
_PROMPT = re.compile(r"^[ \t]*\$[ \t]+", re.MULTILINE)
_ARGUMENTS = ("@", "*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Given:
    """The files that came along. A command finds them by the last part of the path that it names."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self.used: set[str] = set()

    async def read(self, path: str) -> str | None:
        wanted = PurePosixPath(path).name
        found = next((one for one in self._texts if PurePosixPath(one).name == wanted), None)
        if found is None:
            return None
        self.used.add(found)
        return self._texts[found]


def is_command(text: str) -> bool:
    """Whether a text, which is no unit, holds a command that makes a container."""
    return _COMMAND.search(text.replace("\\\n", " ")) is not None


async def commanded(text: str, path: str, given: Given) -> list[Evidence]:
    """Of a script, or of any text with such commands in it; those that start something else are passed over.

    Raises: UsageError - none of them starts etcd, or one of them cannot be told.
    """
    begin = Start("sh", (), {})
    commands = await read_containers(_PROMPT.sub("", text.replace("\r\n", "\n")), path, begin, given.read)
    found = [one for start in commands if (one := await of_start(start, given)) is not None]
    if not found:
        raise UsageError(
            f"no command of {path} starts etcd in a container",
            cause=f"{len(commands)} of its commands make one" if commands else "",
            hint="is it the right file? A container that is there says more: docker inspect NAME > FILE",
        )
    return found


async def of_start(start: Start, given: Given, *, unit: str = "") -> Evidence | None:
    """The member whose container a command makes; None: it makes another. Args: unit - the one that runs it.

    Raises: UsageError - the command cannot be told, or needs what was not given.
    """
    words = [Placed(start.program, start.arguments[0].where if start.arguments else ""), *start.arguments]
    if name := started_container(words):
        raise UsageError(
            f"{unit or words[0].where}: the container {name} was made before, and what with is not written there",
            hint=f"on its host: {start.program} container inspect {name} > FILE, and import FILE; or --host HOST",
        )
    unset = [one for one in start.unset if one not in _ARGUMENTS]
    try:
        command = parse_command(words)
    except UsageError as error:
        raise (_unset(words[0].where, unset, unit) if unset else error) from error
    if command is None:
        return None
    contained = await of_arguments(command.arguments, ImageConfig({}), given.read, start.env)
    member = await member_start(contained, given.read)
    if member is None:
        return None
    if unset:
        raise _unset(words[0].where, unset, unit)
    notes = [*([kept_by(unit, command.engine)] if unit else ()), *start.notes, *told(command)]
    if len(unset) < len(start.unset):
        notes.append(f"{words[0].where}: what the script itself is called with is not known, and is missing here")
    return container_evidence(
        member,
        await _config_file(member, given),
        unit or f"{command.where}",
        manager=keeper_of(command.engine),
        service=command.name or unit.removesuffix(".service") or "etcd",
        image=command.arguments.image,
        outside=places(volumes(command.arguments), {}, "where the command is run", notes),
        published=ports(command),
        notes=notes,
    )


def ports(command: ContainerCommand) -> Published | None:
    """What is published; None: the ports are the host's, or belong to what it shares a network with."""
    network = command.option("network")
    if network == "host" or network.startswith(("container:", "ns:")) or command.option("pod"):
        return None
    return published_ports(
        one for option in command.arguments.options("--publish") for one in option.text.split(",")
    )  # fmt: skip


def kept_by(unit: str, engine: str) -> str:
    """What a reader must know of a container that a unit makes or starts."""
    return (
        f"systemd's {unit.removesuffix('.service')}.service runs the container: stop and start the member with"
        f" systemctl, for what {engine} alone stops, systemd may start again"
    )


def told(command: ContainerCommand) -> list[str]:
    """What a reader of the inventory must know of a container that a command makes."""
    notes = [f"{command.where}: read as what {command.engine} makes of {command.arguments.image}"]
    if not command.name:
        notes.append(f"{command.where}: the container is given no name: the service's is a guess")
    if command.engine == "nerdctl":
        notes.append("nerdctl keeps the container, and an inventory cannot say so: docker stands for it")
    if command.elsewhere:
        notes.append(
            f"{command.where}: {command.engine} is called with {' '.join(command.elsewhere)}: the container is there,"
            " which may be another machine"
        )
    shared = command.option("pod") or command.option("network")
    if command.option("pod") or shared.startswith(("container:", "ns:")):
        notes.append(f"it shares the network of {shared}: which ports are published is said there")
    elif command.option("publish-all") == "true":
        notes.append("--publish-all: the engine chooses the ports of the host")
    notes += [f"volumes of {one.text} are not known here" for one in command.arguments.options("--volumes-from")]
    return notes


async def _config_file(member: Start, given: Given) -> bytes | None:
    """Raises: UsageError - it was not given."""
    named = config_file(member)
    if named is None:
        return None
    text = await given.read(named.text)
    if text is None:
        raise UsageError(
            f"etcd would read {named.text}, which was not given",
            cause=f"{named.where}; the config file replaces all flags and variables",
            hint="give that file too",
        )
    return text.encode()


def _unset(where: str, names: Sequence[str], unit: str) -> UsageError:
    first = next((name for name in names if _NAME.match(name)), "")
    if unit:
        hint = "give the environment file that the unit reads too, or import the host itself: --host"
    elif first:
        hint = f"write {first}=VALUE above the command, in a copy of the file"
    else:
        hint = "write what it comes to in its place, in a copy of the file"
    return UsageError(
        f"{where}: the command uses {', '.join(names)}: nothing that was given says what it is", hint=hint
    )
