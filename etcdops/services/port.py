"""What can be done with a member's service, whoever keeps it running.

tests/contracts/service_port.py is what every implementation must do.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from etcdops.rendering.files import RenderedFile

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 100.0
"""Longer than systemd's own 90 s: an etcd that lost its peers can ignore SIGTERM until it is killed."""


class State(enum.StrEnum):
    """What a service is doing."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
    FAILED = "failed"
    """It ended by itself and is not being started again, or is started again and again."""
    ABSENT = "absent"
    """The manager knows no such service."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service as its manager sees it."""

    state: State
    pid: int | None = None
    since: float | None = None
    """Unix time of the last change of state, by the host's clock."""
    restarts: int | None = None
    """By the manager itself; None: it does not count."""
    enabled: bool | None = None
    """Whether it comes back when the host starts; None: not known."""
    reason: str = ""
    """Why it is in this state, in the manager's words made readable: `exit status 1`, `killed by signal KILL`."""
    detail: tuple[str, ...] = ()
    """Further lines for people, such as the last of its log."""


class Origin(enum.StrEnum):
    """Where etcd took a setting from."""

    FLAG = "flag"
    VARIABLE = "env"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one flag and where it stands."""

    value: str
    origin: Origin
    where: str = ""
    """`/etc/default/etcd:3`, `command line`; empty for defaults."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What a member is, or would be, started with."""

    program: str
    """Path of the binary, or the image and its command."""
    flags: Mapping[str, Setting]
    """By etcd's names without dashes; only what is set."""
    user: str = ""
    ignored: tuple[str, ...] = ()
    """What is written down without effect, or not understood, and why: `ETCD_NAME: the config file replaces it`."""
    outdated: bool = False
    """Its config file was written after it started: `flags` show the file, not what it runs with."""

    def value(self, flag: str) -> str | None:
        found = self.flags.get(flag)
        return found.value if found is not None else None


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """What the member really runs with, and what it would run with after a restart."""

    running: ProcessConfig | None
    """None: it does not run."""
    next_start: ProcessConfig | None
    """None: nothing is installed."""

    @property
    def pending(self) -> tuple[str, ...]:
        """Flags that a restart would change; `config-file` also when it may change any of those in the file."""
        running, following = self.running, self.next_start
        if running is None or following is None:
            return ()
        names = sorted({*running.flags, *following.flags})
        changed = {name for name in names if running.value(name) != following.value(name)}
        return tuple(name for name in names if name in changed or (name == "config-file" and running.outdated))


@dataclass(frozen=True, slots=True)
class Changes:
    """What was, or would be, changed on a host."""

    diffs: Mapping[str, str] = field(default_factory=dict)
    """Path -> unified diff; permissions as a line of their own. Secrets are never shown."""
    actions: tuple[str, ...] = ()
    """Beside files: `enabled etcd.service`, `pulled image ...`."""

    def __bool__(self) -> bool:
        return bool(self.diffs or self.actions)


class Service(Protocol):
    """One service on one host.

    Raises, all methods: what the session raises, and EtcdopsError naming host, service, what happened and what to do.
    """

    @property
    def name(self) -> str: ...

    async def compare(self, files: Sequence[RenderedFile]) -> Changes:
        """What `install` would change. Changes nothing."""

    async def install(self, files: Sequence[RenderedFile]) -> Changes:
        """Write what differs, make the manager read it, have it started with the host; starts and stops nothing.

        Safe to repeat: then the changes are empty.
        """

    async def uninstall(self) -> Changes:
        """Undo `install` for a stopped service. Data directories are never touched."""

    async def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start it and wait until its manager calls it running and it stays so. Running already: nothing happens.

        Raises: EtcdopsError - it ended again or did not get there; with the last lines of its log.
        """

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop it and wait until its process is gone. Stopped already: nothing happens."""

    async def restart(self, *, timeout_s: float = START_TIMEOUT_S + STOP_TIMEOUT_S) -> None: ...

    async def status(self) -> ServiceStatus: ...

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]:
        """The last lines of its log, oldest first; then, with `follow`, what comes. `since`: Unix time."""

    async def effective_config(self) -> EffectiveConfig:
        """Read from the process itself, and from everything the next start would read."""
