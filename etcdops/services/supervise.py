"""A member under daemontools' `supervise`, or runit's `runsv`: the same folders, other tools."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from etcdops.remote.command import ROOT, command, script
from etcdops.remote.session import Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.places import DEFINITIONS, supervise_run
from etcdops.services.etcd_settings import Start
from etcdops.services.failures import ServiceFailed
from etcdops.services.host_files import HostFiles
from etcdops.services.host_folders import names_in
from etcdops.services.log_file import read_log
from etcdops.services.member_process import effective_config, member_below, started_at
from etcdops.services.port import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Changes,
    EffectiveConfig,
    ServiceStatus,
    State,
)
from etcdops.services.start_script import read_script
from etcdops.services.waiting import wait_started, wait_stopped

SCAN_FOLDERS = ("/etc/service", "/service", "/var/service", "/run/service")
"""Where svscan and runsvdir look for services; the first that exists is used."""
_WHAT = 'for d; do [ -d "$d" ] && { printf "%s\\n" "$d"; break; }; done; command -v svstat; command -v sv; :'
_ASK = """
[ -d "$1" ] || { echo absent; exit; }
[ -e "$1/down" ] && echo off || echo on
[ -e "$2" ] || { echo unlinked; exit; }
exec "$3" $4 "$2" 2>&1
"""
_LINK = """
set -e
# It is not to be started by being seen; nor left off once it is known.
[ -e "$2" ] || { : > "$1/down"; ln -s -- "$1" "$2"; }
i=0
until [ -p "$1/supervise/ok" ] || [ "$i" -ge "$3" ]; do sleep 0.1; i=$((i + 1)); done
[ -p "$1/supervise/ok" ] || exit 3
rm -f -- "$1/down"
"""
_UNLINK = """
cd -- "$1" 2>/dev/null || exit 0
rm -f -- "$2"
[ ! -p supervise/ok ] || "$3" $4 . ${5:+./log}
i=0
while [ "$i" -lt 50 ] && "$6" $7 . 2>&1 | grep -Eq ": (up|down) |^(run|down): "; do
    sleep 0.1; i=$((i + 1))
done
rm -rf -- supervise log/supervise down
cd /
rmdir -- "$1/log" "$1" 2>/dev/null || :
"""
_SCANNED_WITHIN_S = 20
"""svscan and runsvdir look every 5 s."""
_UP = re.compile(r"(?:up|run:).*?\(pid (\d+)\)")
_SECONDS = re.compile(r"(\d+) seconds|(\d+)s\b")
_LOGGER = re.compile(r"\b(?:multilog|svlogd|tinylog|s6-log)\b(.*)")
_YOUNG_S = 1
"""A process that is younger may be one of many: they are started again once a second."""


@dataclass(frozen=True, slots=True)
class _Tools:
    """What the host has."""

    folder: str
    runit: bool

    @property
    def program(self) -> str:
        return "sv" if self.runit else "svc"

    @property
    def asking(self) -> tuple[str, str]:
        return ("sv", "status") if self.runit else ("svstat", "")

    @property
    def up(self) -> str:
        return "up" if self.runit else "-u"

    @property
    def down(self) -> str:
        return "down" if self.runit else "-d"

    @property
    def exit(self) -> str:
        return "exit" if self.runit else "-dx"


class SuperviseService:
    """The service folder `name`, linked into the folder that is scanned on the host of `session`."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._folder = f"{DEFINITIONS}/{name}"
        self._files = HostFiles(session, "supervise", name)

    @property
    def host(self) -> str:
        return self._session.host

    @property
    def name(self) -> str:
        return self._name

    async def compare(self, files: Sequence[RenderedFile]) -> Changes:
        diffs, tools = await asyncio.gather(self._files.compare(files), self._tools())
        return Changes(diffs, await self._linking(tools))

    async def install(self, files: Sequence[RenderedFile]) -> Changes:
        tools = await self._tools()
        diffs = await self._files.write(files)
        actions = await self._linking(tools)
        if actions:
            linked = await self._session.run(
                script(_LINK, self._folder, self._link(tools), str(_SCANNED_WITHIN_S * 10), user=ROOT),
                check=False,
                timeout_s=_SCANNED_WITHIN_S + 20,
            )
            if not linked.ok:
                raise ServiceFailed(
                    self.host,
                    self._name,
                    "was not taken up",
                    reason=f"nobody looked into {tools.folder} within {_SCANNED_WITHIN_S} s\n"
                    + linked.stderr.decode(errors="replace").strip(),
                    hint=f"see that {'runsvdir' if tools.runit else 'svscan'} {tools.folder} runs on {self.host}",
                )
        return Changes(diffs, actions)

    async def _linking(self, tools: _Tools) -> tuple[str, ...]:
        """What remains to be done for it to come back with the host."""
        link, down = await asyncio.gather(
            self._session.stat(self._link(tools), user=ROOT), self._session.stat(f"{self._folder}/down", user=ROOT)
        )
        return () if link is not None and down is None else (f"linked {self._link(tools)}",)

    async def uninstall(self) -> Changes:
        if (await self.status()).pid is not None:
            raise ServiceFailed(self.host, self._name, "is running, so it is not uninstalled", hint="stop it first")
        ours = await self._files.ours()
        diffs = {}
        if ours:
            tools = await self._tools()
            has_log = any("/log/" in path for path in ours)
            diffs = await self._files.remove()
            await self._session.run(
                script(
                    _UNLINK, self._folder, self._link(tools), tools.program, tools.exit, "log" if has_log else "",
                    *tools.asking, user=ROOT,
                )
            )  # fmt: skip
        return Changes(diffs)

    async def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        found = await self.status()
        if found.state is State.ABSENT:
            raise ServiceFailed(
                self.host, self._name, "is not installed", reason=f"there is no {self._folder}", hint="install it first"
            )
        await self._tell("up")
        await wait_started(self, timeout_s=timeout_s)

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        if (await self.status()).state is State.ABSENT:
            return
        await self._tell("down")
        await wait_stopped(self, timeout_s=timeout_s)

    async def restart(self, *, timeout_s: float = START_TIMEOUT_S + STOP_TIMEOUT_S) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self.stop(timeout_s=min(timeout_s, STOP_TIMEOUT_S))
        await self.start(timeout_s=max(deadline - clock(), 1))

    async def status(self) -> ServiceStatus:
        tools = await self._tools()
        asked = await self._session.run(
            script(_ASK, self._folder, self._link(tools), *tools.asking, user=ROOT), check=False
        )
        first, _, said = asked.text.partition("\n")
        if first == "absent":
            return ServiceStatus(State.ABSENT, reason=f"there is no {self._folder}")
        said = said.partition("\n")[0]
        enabled = first == "on" and said != "unlinked"
        # runit tells of the log's process behind a semicolon.
        own = said.partition("; run: log")[0].partition("; down: log")[0]
        if running := _UP.search(own):
            pid = int(running[1])
            age = _SECONDS.search(own)
            young = age is not None and int(age[1] or age[2]) < _YOUNG_S
            state = State.STARTING if young or "want down" in own else State.RUNNING
            return ServiceStatus(state, pid=pid, since=await started_at(self._session, pid), enabled=enabled)
        if said == "unlinked" or re.search(r"\bdown\b", own):
            wanted = "want up" in own
            reason = "it ended and is started again and again" if wanted else ""
            return ServiceStatus(State.FAILED if wanted else State.STOPPED, enabled=enabled, reason=reason)
        return ServiceStatus(State.UNKNOWN, enabled=enabled, reason=own or "nobody supervises it")

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]:
        return self._logs(lines, follow, since)

    async def _logs(self, lines: int, follow: bool, since: float | None) -> AsyncIterator[bytes]:
        folder = _log_folder(await self._read(f"{self._folder}/log/run") or "")
        if not folder:
            return
        path = posixpath.join(f"{self._folder}/log", folder, "current")
        async for line in read_log(self._session, path, lines=lines, follow=follow, since=since):
            yield line

    async def effective_config(self) -> EffectiveConfig:
        status, text = await asyncio.gather(self.status(), self._read(supervise_run(self._name)))
        following = None
        if text is not None:
            start = Start(supervise_run(self._name), (), {}, ROOT, self._folder)
            following = await read_script(text, supervise_run(self._name), start, self._read, self._names)
        pid = await member_below(self._session, status.pid) if status.pid is not None else None
        return await effective_config(self._session, pid, following)

    async def _tell(self, what: str) -> None:
        tools = await self._tools()
        word = tools.up if what == "up" else tools.down
        told = await self._session.run(command(tools.program, word, self._link(tools), user=ROOT), check=False)
        # svc says "unable to control" with status 0 as well.
        said = (told.text + told.stderr.decode(errors="replace")).strip()
        if not told.ok or "unable" in said:
            raise ServiceFailed(
                self.host, self._name, f"cannot be told to go {what}", reason=said,
                hint=f"see that {tools.folder} is scanned, and {self._link(tools)} in it leads to {self._folder}",
            )  # fmt: skip

    async def _tools(self) -> _Tools:
        asked = await self._session.run(script(_WHAT, *SCAN_FOLDERS, user=ROOT))
        folder = next((line for line in asked.text.splitlines() if line in SCAN_FOLDERS), "")
        programs = {posixpath.basename(line) for line in asked.text.splitlines()} - {posixpath.basename(folder)}
        if not folder or not programs & {"svstat", "sv"}:
            raise ServiceFailed(
                self.host,
                self._name,
                "has nobody to supervise it",
                reason=f"the host has none of the folders {', '.join(SCAN_FOLDERS)}"
                if programs
                else "the host has neither daemontools (svstat) nor runit (sv)",
                hint="install daemontools-run or runit on the host, or choose another manager",
            )
        return _Tools(folder, runit="svstat" not in programs)

    def _link(self, tools: _Tools) -> str:
        return f"{tools.folder}/{self._name}"

    async def _names(self, folder: str) -> list[str]:
        return await names_in(self._session, folder)

    async def _read(self, path: str) -> str | None:
        content = await self._session.read_file(path, user=ROOT)
        return content.decode(errors="replace") if content is not None else None


def _log_folder(text: str) -> str:
    """The directory that the logger of a log/run script writes to: its last word that is no option or action."""
    found = [match[1] for line in text.splitlines() if (match := _LOGGER.search(line.partition(" #")[0]))]
    if not found:
        return ""
    words = [word.strip("'\"") for word in found[-1].split()]
    folders = [word for word in words if word.startswith(("/", "./", "."))]
    return folders[-1] if folders else (words[-1] if words else "")
