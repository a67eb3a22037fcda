"""What can be done on a host: the port between everything that works on hosts and how they are reached.

Implementations: `local.LocalSession` (this machine), `ssh.SSHSession`. tests/contracts/session_port.py is what both
must do.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from etcdops.errors import EtcdopsError
from etcdops.remote.command import Command

COMMAND_TIMEOUT_S = 30.0
OUTPUT_MAX_BYTES = 1 << 20
"""Kept of what a command prints, of stdout and of stderr each; more is read and dropped, and marked as cut."""
FILE_MAX_BYTES = 16 << 20
"""Of a file that is read into memory; bigger ones are downloaded."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    exit_status: int | None
    """None: it was ended by a signal."""
    stdout: bytes
    stderr: bytes
    took_s: float
    signal: str = ""
    """Such as `KILL`."""
    cut: bool = False
    """It printed more than was kept."""

    @property
    def ok(self) -> bool:
        return self.exit_status == 0

    @property
    def text(self) -> str:
        """What it printed, without the last newline; bytes that are no UTF-8 are replaced."""
        return self.stdout.decode(errors="replace").removesuffix("\n")


class CommandFailed(EtcdopsError):
    """A command ran on a host and said that it failed. `host`, `command` and `result` tell the rest."""

    code = "command-failed"

    def __init__(self, host: str, command: Command, result: Result, *, hint: str = "") -> None:
        how = f"ended by signal {result.signal}" if result.exit_status is None else f"exit status {result.exit_status}"
        said = command.masked(result.stderr.decode(errors="replace") or result.text).strip()
        super().__init__(f"{host}: `{command}` failed: {how}", cause="\n".join(said.splitlines()[-5:]), hint=hint)
        self.host = host
        self.command = command
        self.result = result


class CommandTimedOut(EtcdopsError):
    """A command did not end within the time it was given; the host ended it."""

    code = "command-timeout"

    def __init__(self, host: str, command: Command, timeout_s: float) -> None:
        super().__init__(
            f"{host}: `{command}` did not end within {timeout_s:.0f} s and was ended there",
            hint="see what keeps it: a full or slow disk, a service that does not answer",
        )
        self.host = host
        self.command = command


class FileKind(enum.Enum):
    """What a path is; symbolic links are not followed."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileStat:
    """What a host says of a path."""

    kind: FileKind
    size: int
    """Bytes."""
    mode: int
    """Permission bits only, such as 0o600."""
    owner: str
    """Name, or the number when it has none."""
    group: str
    modified_at: float
    """Unix time, by the host's clock."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who may do what with a file. Empty names: whoever writes it."""

    mode: int = 0o600
    owner: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What is at a path, and the content when it is a file or leads to one."""

    stat: FileStat
    content: bytes | None


@dataclass(frozen=True, slots=True)
class FileToWrite:
    """A small file as it should be."""

    path: str
    content: bytes
    ownership: Ownership = field(default_factory=Ownership)


Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class Tunnel(Protocol):
    """A port of this machine that leads to an address as the host sees it."""

    @property
    def address(self) -> tuple[str, int]:
        """Where to connect to, on this machine."""

    async def close(self) -> None: ...


class Session(Protocol):
    """An open way to one host. Safe to use by many tasks at once.

    Every method ends within its deadline. Raises, beside what each one names: Unreachable - the way to the host broke
    or the deadline passed (the message says which, and whether the command may have run); AccessDenied - the host
    does not let this user in, or does not let it become another.
    """

    @property
    def host(self) -> str:
        """The host's name in the inventory: the first word of every message about it."""

    async def run(
        self,
        command: Command,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = True,
        output_max: int = OUTPUT_MAX_BYTES,
    ) -> Result:
        """Run it and wait for its end. At the deadline, whole seconds, the host ends it.

        Raises: CommandFailed - `check`, and its exit status is not 0. CommandTimedOut.
        """

    def stream(self, command: Command, *, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        """Run it and give its stdout line by line as it comes, newlines removed; closing the iterator ends it.

        Lines longer than 64 KiB come in pieces. `timeout_s` None: for as long as the caller reads.
        Raises: CommandFailed - it ended, and not with 0. CommandTimedOut.
        """

    async def read_file(self, path: str, *, user: str = "", max_bytes: int = FILE_MAX_BYTES) -> bytes | None:
        """The whole content, None when there is no such file. Raises: EtcdopsError - it is bigger, or unreadable."""

    async def write_file(self, path: str, content: bytes, ownership: Ownership, *, user: str = "") -> None:
        """Replace or make the file as a whole: written beside it, synced, renamed, folder synced.

        Whoever reads sees the old or the new content; never a mixture, and never the new one with looser permissions.
        """

    async def stat(self, path: str, *, user: str = "") -> FileStat | None:
        """None when nothing is there."""

    async def look(self, paths: Sequence[str], *, user: str = "") -> Mapping[str, SeenFile | None]:
        """`stat` and `read_file` of many small files in one go; None where nothing is.

        Raises: EtcdopsError - they are too big together, or one is unreadable.
        """

    async def write_files(self, files: Sequence[FileToWrite], *, user: str = "") -> None:
        """`write_file` for many small files in one go, in their order; each is whole, those before a failure stay."""

    async def upload(
        self,
        source: Path,
        target: str,
        ownership: Ownership,
        *,
        user: str = "",
        progress: Progress | None = None,
        timeout_s: float,
    ) -> str:
        """Copy a file of this machine to the host; returns its SHA-256 in hex, compared on both sides.

        An upload that was cut off goes on where it stopped. Same guarantee of wholeness as `write_file`.
        """

    async def download(
        self, source: str, target: Path, *, user: str = "", progress: Progress | None = None, timeout_s: float
    ) -> str:
        """Copy a file of the host to this machine, resumed and checked as `upload` does."""

    async def tunnel(self, host: str, port: int) -> Tunnel:
        """Open a port here that leads to `host`:`port` as seen from the host (its localhost included)."""

    async def close(self) -> None:
        """End it. Commands still running are ended."""
