"""A systemd unit that runs docker, podman or nerdctl: the container that it makes, whether that is there now or not."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from etcdops.errors import EtcdopsError, UsageError
from etcdops.inventory.model import Manager
from etcdops.remote.command import ROOT, command
from etcdops.remote.session import Session
from etcdops.services.container_command import ContainerCommand, keeper_of, parse_command, started_container
from etcdops.services.container_facts import ImageConfig
from etcdops.services.container_start import Read, member_start, of_arguments, outside, volumes
from etcdops.services.etcd_settings import Placed, Start, config_file, settle
from etcdops.services.port import ProcessConfig, State
from etcdops.services.systemd import SystemdService

_ASK_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class UnitContainer:
    """The container of a unit."""

    unit: str
    """With its `.service`."""
    state: State
    """Of the unit."""
    keeper: Manager
    name: str
    """Of the container; empty: the engine makes one up at each start."""
    command: ContainerCommand | None = None
    """None: the unit starts one that was made before."""
    config: ProcessConfig | None = None
    """What the command starts, in the container's own terms; None: that is not known."""
    folder: str = "/"
    """Where the container starts it."""
    problem: str = ""
    """Why the command cannot be told."""
    notes: tuple[str, ...] = ()
    """What is not known of the container."""

    @property
    def service(self) -> str:
        """What an inventory calls it."""
        return self.name or self.unit.removesuffix(".service")


async def unit_container(session: Session, unit: str) -> UnitContainer | None:
    """The container that a unit of the host makes or starts; None: none, or one that is no member.

    One that was made before may be no member either: only the engine can tell. Raises: as the session.
    """
    service = SystemdService(session, unit)
    status, start = await service.status(), await service.start_command()
    if start is None:
        return None
    words = [Placed(start.program, unit), *start.arguments]
    keeper = keeper_of(start.program)
    if name := started_container(words):
        return UnitContainer(unit, status.state, keeper, name)
    try:
        made = parse_command(words)
    except UsageError as error:
        return UnitContainer(unit, status.state, keeper, "", problem=f"{error.message}: {error.cause}")
    if made is None:
        return None

    async def read(path: str) -> str | None:
        content = await _content(session, posixpath.join(start.folder, path))
        return content.decode(errors="replace") if content is not None else None

    member = await _member(session, start, made, read)
    if member is None:
        return None
    config = await _settled(session, made, replace(member, notes=()))
    return UnitContainer(unit, status.state, keeper, made.name, made, config, member.folder, notes=member.notes)


async def named_volumes(session: Session, made: ContainerCommand) -> Mapping[str, str]:
    """Volume -> its folder on the host, as its engine says; those that it does not know are left out."""
    found: dict[str, str] = {}
    for source, _ in volumes(made.arguments):
        if source and not source.startswith(("/", ".", "~")):
            line = command(made.engine, "volume", "inspect", "--format={{.Mountpoint}}", source, user=ROOT)
            asked = await session.run(line, check=False, timeout_s=_ASK_TIMEOUT_S)
            found |= {source: asked.text} if asked.ok and asked.text.startswith("/") else {}
    return found


async def _member(session: Session, start: Start, made: ContainerCommand, read: Read) -> Start | None:
    asked = await session.run(
        command(made.engine, "image", "inspect", made.arguments.image, user=ROOT),
        check=False,
        timeout_s=_ASK_TIMEOUT_S,
    )
    image = ImageConfig.of_image(asked.stdout) if asked.ok else ImageConfig({})
    return await member_start(await of_arguments(made.arguments, image, read, start.env), read)


async def _settled(session: Session, made: ContainerCommand, member: Start) -> ProcessConfig:
    """With the config file that it would read, where that lies on the host."""
    file = config_file(member)
    place = outside(made.arguments, posixpath.join(member.folder, file.text)) if file is not None else None
    return settle(member, await _content(session, place) if place is not None else None)


async def _content(session: Session, path: str) -> bytes | None:
    try:
        return await session.read_file(path, user=ROOT)
    except EtcdopsError:
        return None  # a folder, or nothing that can be read: whoever needs it says so
