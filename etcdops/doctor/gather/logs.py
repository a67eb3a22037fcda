"""A member's log from its host: the lines of a while, and those that come. For all members at once.

Where the log is depends on who keeps the member: the journal, the container engine, a file of its supervisor, a file
of the kubelet; and etcd itself may write files of its own, `--log-outputs`.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from math import ceil, floor
from typing import cast

from etcdops.doctor.gather.pod_logs import pod_log, pod_name
from etcdops.errors import AccessDenied, EtcdopsError
from etcdops.inventory.model import Cluster, Manager, ServiceSpec
from etcdops.remote.command import ROOT, command
from etcdops.remote.pool import Open
from etcdops.remote.session import Session
from etcdops.services.log_file import read_log, time_of
from etcdops.services.managers import service_for
from etcdops.services.port import ProcessConfig

LINES_MAX = 200_000
"""Of one log that is not followed: its last ones."""
FIRST_LINES = 200
"""Of each log before those that come, when nobody says how many."""
_AGAIN_AFTER_S = 5.0
"""A log that broke off is read on after this long, until it is not wanted any more."""
_AHEAD_MAX = 1_000
"""Lines of all followed logs that wait for their reader; then the hosts wait."""
_KEPT_IN_FILES = ("default", "stdout", "stderr", "systemd/journal")


@dataclass(frozen=True, slots=True)
class Logged:
    """Something that writes a log: a member of an inventory, or a service somebody named."""

    member: str
    """How lines and findings call it."""
    host: str
    service: ServiceSpec


@dataclass(frozen=True, slots=True)
class LogPlace:
    """One log. A member has more than one where etcd writes files of its own."""

    logged: Logged
    path: str = ""
    """A file of etcd's own; empty: what its keeper has."""

    @property
    def name(self) -> str:
        """`m1`, `m1:/var/log/etcd/etcd.log`."""
        return f"{self.logged.member}:{self.path}" if self.path else self.logged.member

    @property
    def described(self) -> str:
        """`the journal of etcd.service on h1`, for people."""
        spec, host = self.logged.service, self.logged.host
        if self.path:
            return f"{self.path} on {host}"
        match spec.manager:
            case Manager.SYSTEMD:
                return f"the journal of {unit_of(spec)} on {host}"
            case Manager.DOCKER | Manager.PODMAN:
                return f"{spec.manager.value} logs {spec.name} on {host}"
            case Manager.KUBELET:
                return f"the log of the static pod {pod_name(spec)} on {host}"
        return f"the log of {spec.name} ({spec.manager.value}) on {host}"


def logged_members(cluster: Cluster) -> tuple[Logged, ...]:
    """Those of an inventory's cluster."""
    return tuple(Logged(member.label, member.host, cluster.service) for member in cluster.members)


def unit_of(spec: ServiceSpec) -> str:
    return spec.name if "." in spec.name else f"{spec.name}.service"


async def log_places(session: Session, logged: Logged) -> tuple[LogPlace, ...]:
    """All logs of a member: its keeper's, and the files etcd is told to write. Raises: as the session."""
    first = LogPlace(logged)
    if logged.service.manager is Manager.KUBELET:
        return (first,)
    try:
        config = await service_for(session, logged.service).effective_config()
    except AccessDenied:
        return (first,)  # the log itself may be readable all the same
    seen = config.running or config.next_start
    return (first, *(LogPlace(logged, path) for path in _own_files(seen)))


def _own_files(config: ProcessConfig | None) -> list[str]:
    outputs = (config.value("log-outputs") or "") if config is not None else ""
    paths = [one for one in outputs.split(",") if one and one not in _KEPT_IN_FILES]
    return [posixpath.normpath(path) for path in paths if path.startswith("/")]


async def lines_of(
    session: Session,
    place: LogPlace,
    *,
    since: float | None = None,
    until: float | None = None,
    lines: int = LINES_MAX,
    follow: bool = False,
) -> AsyncGenerator[str, None]:
    """The last lines of a log, oldest first, as they were written; with `follow` also those that come.

    Args: since, until - Unix times by the host's clock; a line that tells no time is as old as the one before it.
    A line of the journal begins with its time, host and program; the others are as etcd wrote them.
    Raises: EtcdopsError - the host cannot be reached or asked, the log cannot be read.
    """
    inside = True
    async with aclosing(_raw(session, place, since, until, lines, follow)) as raw:
        async for line in raw:
            if until is not None and (at := time_of(line)) is not None:
                inside = at <= until
            if inside:
                yield line.decode(errors="replace")


async def _raw(
    session: Session, place: LogPlace, since: float | None, until: float | None, lines: int, follow: bool
) -> AsyncGenerator[bytes, None]:
    spec = place.logged.service
    if place.path:
        source = read_log(session, place.path, lines=lines, follow=follow, since=since)
    elif spec.manager is Manager.SYSTEMD:
        source = _journal(session, unit_of(spec), since, until, lines, follow)
    elif spec.manager is Manager.KUBELET:
        source = pod_log(session, spec, lines=lines, follow=follow, since=since)
    else:
        source = service_for(session, spec).logs(lines=lines, follow=follow, since=since)
    async with _closing(source) as found:
        async for line in found:
            yield line


def _closing(lines: AsyncIterator[bytes]) -> aclosing[AsyncGenerator[bytes, None]]:
    """Sessions and services stream by generators: closed, they end the program on the host."""
    return aclosing(cast("AsyncGenerator[bytes, None]", lines))


async def _journal(
    session: Session, unit: str, since: float | None, until: float | None, lines: int, follow: bool
) -> AsyncGenerator[bytes, None]:
    """With systemd's own words about the unit: why it did not start stands nowhere else."""
    asked = command(
        "journalctl", f"--unit={unit}", f"--lines={lines}", "--no-pager", "--quiet", "--output=short-iso", "--all",
        *(() if since is None else (f"--since=@{floor(since)}",)),
        *(() if until is None else (f"--until=@{ceil(until)}",)),
        *(("--follow",) if follow else ()),
        user=ROOT,
    )  # fmt: skip
    any_yet = False
    try:
        async with _closing(session.stream(asked)) as found:
            async for line in found:
                any_yet = True
                yield line
        return
    except AccessDenied:
        if any_yet:
            raise
    # Who is in the group systemd-journal or adm may read it without being root.
    async with _closing(session.stream(asked.as_user(""))) as found:
        async for line in found:
            yield line


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of somebody's log."""

    place: LogPlace
    text: str

    @property
    def member(self) -> str:
        return self.place.logged.member


@dataclass(frozen=True, slots=True)
class LogTrouble:
    """A log that cannot be read just now, and why. It is tried again."""

    logged: Logged
    error: EtcdopsError

    @property
    def member(self) -> str:
        return self.logged.member


@asynccontextmanager
async def following(
    connect: Open,
    members: Sequence[Logged],
    *,
    since: float | None = None,
    lines: int = FIRST_LINES,
    again_after_s: float = _AGAIN_AFTER_S,
) -> AsyncIterator[AsyncGenerator[LogLine | LogTrouble, None]]:
    """All members' logs as one: each member's last lines, then what comes, in the order in which it arrives.

        async with following(sessions.open, logged_members(cluster)) as events:
            async for event in events: ...

    A member that cannot be read is told of once, as a LogTrouble, and hides no other; it is tried again until the
    context ends, and then goes on after the last line it gave. Within one log the order is the log's. `connect` shares
    its sessions, as `Sessions.open` does, and closes them. A reader that is slow makes the hosts wait.
    """
    queue: asyncio.Queue[LogLine | LogTrouble] = asyncio.Queue(_AHEAD_MAX)

    async def events() -> AsyncGenerator[LogLine | LogTrouble, None]:
        while True:
            yield await queue.get()

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_follow(connect, one, since, lines, again_after_s, queue), name=f"log of {one.member}")
            for one in members
        ]
        try:
            yield events()
        finally:
            for task in tasks:
                task.cancel()


async def _follow(
    connect: Open,
    logged: Logged,
    since: float | None,
    lines: int,
    again_after_s: float,
    queue: asyncio.Queue[LogLine | LogTrouble],
) -> None:
    told: dict[LogPlace, _Told] = {}
    said = ""
    while True:
        try:
            session = await connect(logged.host)
            async with asyncio.TaskGroup() as group:
                for place in await log_places(session, logged):
                    so_far = told.setdefault(place, _Told(since, lines))
                    group.create_task(_follow_place(session, place, so_far, queue))
            said = ""
        except* EtcdopsError as failed:
            error = _first(failed)
            if error.message != said:
                await queue.put(LogTrouble(logged, error))
            said = error.message
        await asyncio.sleep(again_after_s)


async def _follow_place(
    session: Session, place: LogPlace, told: _Told, queue: asyncio.Queue[LogLine | LogTrouble]
) -> None:
    again = Counter(told.recent)
    async with aclosing(lines_of(session, place, since=told.since, lines=told.lines, follow=True)) as found:
        async for text in found:
            if again[text]:
                again[text] -= 1
                continue
            await queue.put(LogLine(place, text))
            told.note(text)


@dataclass(slots=True)
class _Told:
    """How far a log was told: it is gone on with from there after a break."""

    since: float | None
    lines: int
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=_AHEAD_MAX))
    """What was told of the second that `since` is in, which comes again."""

    def note(self, text: str) -> None:
        at = time_of(text.encode())
        if at is not None and (not self.recent or self.since is None or int(at) > int(self.since)):
            self.since = float(int(at))
            self.lines = LINES_MAX
            self.recent.clear()
        self.recent.append(text)


def _first(group: BaseExceptionGroup[EtcdopsError]) -> EtcdopsError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
