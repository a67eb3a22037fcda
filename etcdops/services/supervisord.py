"""A member as a program of supervisord."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Sequence

from etcdops.remote.command import ROOT, command
from etcdops.remote.session import Result, Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.places import supervisord_program
from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.failures import ServiceFailed
from etcdops.services.host_files import HostFiles
from etcdops.services.host_folders import names_in
from etcdops.services.log_file import read_log
from etcdops.services.member_process import effective_config, member_below, member_words, started_at
from etcdops.services.port import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Changes,
    EffectiveConfig,
    ServiceStatus,
    State,
)
from etcdops.services.start_script import List, Read, read_shell_start, read_wrapped, runs_another
from etcdops.services.supervisord_file import CONFIG_FILES, Program, programs
from etcdops.services.waiting import wait_started, wait_stopped

_CALL_TIMEOUT_S = 60.0
_STATUS = re.compile(r"\S+\s+(STOPPED|STARTING|RUNNING|BACKOFF|STOPPING|EXITED|FATAL|UNKNOWN)\s*(.*)")
_PID = re.compile(r"pid (\d+)")
_UNKNOWN_PROGRAM = "no such process"
_STATES = {
    "STOPPED": State.STOPPED,
    "STARTING": State.STARTING,
    "RUNNING": State.RUNNING,
    "BACKOFF": State.FAILED,
    "STOPPING": State.RUNNING,
    "EXITED": State.FAILED,
    "FATAL": State.FAILED,
}


class SupervisordService:
    """The program `name` of the supervisord on the host of `session`. Args: path - of the file that defines it."""

    def __init__(self, session: Session, name: str, *, path: str = "") -> None:
        self._session = session
        self._name = name
        self._path = path or supervisord_program(name)
        self._files = HostFiles(session, "supervisord", name)

    @property
    def host(self) -> str:
        return self._session.host

    @property
    def name(self) -> str:
        return self._name

    async def compare(self, files: Sequence[RenderedFile]) -> Changes:
        return Changes(await self._files.compare(files))

    async def install(self, files: Sequence[RenderedFile]) -> Changes:
        # Only `add` and `update` make supervisord act on it, and they start the program: they belong to `start`.
        return Changes(await self._files.write(files))

    async def uninstall(self) -> Changes:
        if (await self.status()).pid is not None:
            raise ServiceFailed(self.host, self._name, "is running, so it is not uninstalled", hint="stop it first")
        diffs = await self._files.remove()
        if diffs:
            await self._ctl("stop", self._name)
            await self._ctl("reread")
            await self._ctl("remove", self._name)
        return Changes(diffs)

    async def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        found = await self.status()
        if found.state is State.ABSENT:
            raise ServiceFailed(
                self.host, self._name, "is not installed", reason=f"there is no {self._path}", hint="install it first"
            )
        if found.pid is None:
            # A program that failed keeps its old definition until it is removed.
            await self._ctl("stop", self._name)
            await self._expect(await self._ctl("reread"), "reread")
            await self._expect(await self._ctl("update", self._name), "update")
            await self._ctl("start", self._name)
        await wait_started(self, timeout_s=timeout_s)

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        if (await self.status()).state in (State.ABSENT, State.STOPPED):
            return
        await self._ctl("stop", self._name, timeout_s=timeout_s)
        await wait_stopped(self, timeout_s=timeout_s)

    async def restart(self, *, timeout_s: float = START_TIMEOUT_S + STOP_TIMEOUT_S) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self.stop(timeout_s=min(timeout_s, STOP_TIMEOUT_S))
        await self.start(timeout_s=max(deadline - clock(), 1))

    async def status(self) -> ServiceStatus:
        asked, program = await asyncio.gather(self._ctl("status", self._name), self._program())
        enabled = program.autostart if program is not None else False
        match = _STATUS.match(asked.text)
        if match is None:
            if _UNKNOWN_PROGRAM not in asked.text:
                await self._expect(asked, "status")
            if program is None:
                return ServiceStatus(State.ABSENT, reason=f"there is no {self._path}")
            return ServiceStatus(State.STOPPED, enabled=enabled, reason="supervisord has not read it yet")
        word, detail = match[1], match[2]
        pid = int(found[1]) if (found := _PID.search(detail)) else None
        state = _STATES.get(word, State.UNKNOWN)
        return ServiceStatus(
            state,
            pid=pid,
            since=await started_at(self._session, pid) if pid is not None else None,
            enabled=enabled,
            reason=f"{word}: {detail}" if state in (State.FAILED, State.UNKNOWN) else "",
        )

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]:
        return self._logs(lines, follow, since)

    async def _logs(self, lines: int, follow: bool, since: float | None) -> AsyncIterator[bytes]:
        program = await self._program()
        if program is None:
            return
        if not program.log:
            raise ServiceFailed(
                self.host, self._name, "has no log of its own", reason=f"{self._path} names no stdout_logfile",
                hint="set stdout_logfile and redirect_stderr=true",
            )  # fmt: skip
        async for line in read_log(self._session, program.log, lines=lines, follow=follow, since=since):
            yield line

    async def effective_config(self) -> EffectiveConfig:
        status, program = await asyncio.gather(self.status(), self._program())
        pid = await member_below(self._session, status.pid) if status.pid is not None else None
        following = await start_of(program, self._read, self._names) if program is not None and program.argv else None
        return await effective_config(self._session, pid, following)

    async def _program(self) -> Program | None:
        text = await self._read(self._path)
        if text is None:
            return None
        try:
            found = programs(text, self._path)
        except ValueError as error:
            raise ServiceFailed(
                self.host, self._name, f"cannot be read from {self._path}", reason=str(error), hint="correct it"
            ) from error
        return next((program for program in found if program.name == self._name), None)

    async def _names(self, folder: str) -> list[str]:
        return await names_in(self._session, folder)

    async def _read(self, path: str) -> str | None:
        content = await self._session.read_file(path, user=ROOT)
        return content.decode(errors="replace") if content is not None else None

    async def _ctl(self, *arguments: str, timeout_s: float = _CALL_TIMEOUT_S) -> Result:
        asked = command("supervisorctl", *arguments, user=ROOT)
        return await self._session.run(asked, check=False, timeout_s=timeout_s)

    async def _expect(self, result: Result, verb: str) -> None:
        """supervisorctl tells by words what went wrong, and by its status only sometimes."""
        said = (result.text + result.stderr.decode(errors="replace")).strip()
        if result.ok and "ERROR" not in said:
            return
        raise ServiceFailed(
            self.host, self._name, f"cannot be managed: `supervisorctl {verb}` failed",
            reason="\n".join(said.splitlines()[-5:]),
            hint=f"see that supervisord is installed and runs, and what it reads: {' or '.join(CONFIG_FILES)}",
        )  # fmt: skip


async def start_of(program: Program, read: Read, list_folder: List | None = None) -> Start:
    """What a program starts. Args: read, list_folder - give files of the host, for programs that are scripts."""
    argv = program.argv
    words = [word.text for word in argv]
    count = member_words(words)
    if count is not None:
        return Start(" ".join(words[:count]), argv[count:], program.env, program.user or ROOT, program.folder)
    start = Start(words[0], argv[1:], program.env, program.user or ROOT, program.folder)
    if runs_another(words[0]):
        return await read_wrapped(argv, start, read, list_folder)
    shell = posixpath.basename(words[0]) in ("sh", "bash", "dash")
    return await read_shell_start(argv if shell else [Placed("sh", ""), *argv], start, read, list_folder)
