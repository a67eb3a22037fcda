"""A host that is only told of: files in memory, and answers to commands that are written down before."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.remote.command import Command
from etcdops.remote.session import (
    COMMAND_TIMEOUT_S,
    FILE_MAX_BYTES,
    OUTPUT_MAX_BYTES,
    CommandFailed,
    FileKind,
    FileStat,
    FileToWrite,
    Ownership,
    Progress,
    Result,
    SeenFile,
    Tunnel,
)

Answer = Callable[[Command], Result]


def said(stdout: str = "", *, status: int = 0, stderr: str = "") -> Result:
    """How a command ended."""
    return Result(status, stdout.encode(), stderr.encode(), 0.0)


@dataclass
class FakeFile:
    """A file of the fake host."""

    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    modified_at: float = field(default_factory=time.time)


class FakeSession:
    """A session to nowhere. What is asked and was not written down is a test's mistake, and fails as one."""

    def __init__(self, host: str = "h1", files: dict[str, str] | None = None) -> None:
        self._host = host
        self.files = {path: FakeFile(text.encode()) for path, text in (files or {}).items()}
        self.ran: list[Command] = []
        self._answers: list[tuple[tuple[str, ...], Result | Answer]] = []

    def answer(self, *words: str, result: Result | Answer) -> None:
        """Commands whose arguments hold these texts, in this order, end so; what is written down later comes first."""
        self._answers.insert(0, (words, result))

    @property
    def host(self) -> str:
        return self._host

    async def run(
        self,
        command: Command,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = True,
        output_max: int = OUTPUT_MAX_BYTES,
    ) -> Result:
        self.ran.append(command)
        result = self._result(command)
        if check and not result.ok:
            raise CommandFailed(self._host, command, result)
        return result

    def _result(self, command: Command) -> Result:
        for words, answer in self._answers:
            left = iter(map(str, command.argv))
            if all(any(word in argument for argument in left) for word in words):
                return answer if isinstance(answer, Result) else answer(command)
        raise AssertionError(f"nobody said what `{command}` answers")

    async def stream(self, command: Command, *, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        result = await self.run(command, check=False)
        for line in result.stdout.splitlines():
            yield line
        if not result.ok:
            raise CommandFailed(self._host, command, result)

    async def read_file(self, path: str, *, user: str = "", max_bytes: int = FILE_MAX_BYTES) -> bytes | None:
        file = self.files.get(path)
        if file is not None and len(file.content) > max_bytes:
            raise EtcdopsError(f"{self._host}: {path} is bigger than {max_bytes} bytes")
        return file.content if file is not None else None

    async def write_file(self, path: str, content: bytes, ownership: Ownership, *, user: str = "") -> None:
        owner, group = ownership.owner or user or "root", ownership.group or user or "root"
        self.files[path] = FakeFile(content, ownership.mode, owner, group)

    async def stat(self, path: str, *, user: str = "") -> FileStat | None:
        file = self.files.get(path)
        if file is not None:
            size = len(file.content)
            return FileStat(FileKind.FILE, size, file.mode, file.owner, file.group, file.modified_at)
        if any(other.startswith(f"{path.rstrip('/')}/") for other in self.files):
            return FileStat(FileKind.FOLDER, 0, 0o755, "root", "root", 0.0)
        return None

    async def look(self, paths: Sequence[str], *, user: str = "") -> Mapping[str, SeenFile | None]:
        found: dict[str, SeenFile | None] = {}
        for path in paths:
            stat = await self.stat(path, user=user)
            file = self.files.get(path)
            found[path] = SeenFile(stat, file.content if file is not None else None) if stat is not None else None
        return found

    async def write_files(self, files: Sequence[FileToWrite], *, user: str = "") -> None:
        for file in files:
            await self.write_file(file.path, file.content, file.ownership, user=user)

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
        raise NotImplementedError("large files belong on a real session")

    async def download(
        self, source: str, target: Path, *, user: str = "", progress: Progress | None = None, timeout_s: float
    ) -> str:
        raise NotImplementedError("large files belong on a real session")

    async def tunnel(self, host: str, port: int) -> Tunnel:
        raise NotImplementedError("there is nothing at the other end")

    async def close(self) -> None:
        pass
