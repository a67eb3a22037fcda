"""A member as a plain process: no manager, only a file that says which process it is.

A watching shell stays above the member and writes down how it ended. The file holds the process's start time and the
boot beside its number, so that a number which belongs to another process by now is never taken for it.
It does not come back when it ends or the host starts.
"""

from __future__ import annotations

import asyncio
import math
import posixpath
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.rendering import places
from etcdops.rendering.files import RenderedFile
from etcdops.services.etcd_settings import Start
from etcdops.services.failures import ServiceFailed
from etcdops.services.host_files import KEPT, HostFiles
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
from etcdops.services.waiting import wait_started

_SAME = """
same() {  # the process $1 is the one that was started at $2 ticks after the boot $3
    [ "$3" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 1
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- "$2" ${stat##*) }
    [ "$1" = "${21}" ] && [ "$2" != Z ]
}
"""
_STATUS = f"""{_SAME}
[ -e "$1" ] || {{ echo none; exit; }}
read -r pid ticks boot < "$1"
if same "$pid" "$ticks" "$boot"; then echo "alive $pid"
elif [ "$boot" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then echo rebooted
elif [ -e "$1.ended" ]; then echo "ended $(cat "$1.ended")"
else echo gone; fi
"""
_START = f"""{_SAME}
run=$1 pidfile=$2 log=$3
umask 022
mkdir -p -- "$(dirname -- "$pidfile")" "$(dirname -- "$log")" || exit 1
exec 9>>"$pidfile.lock"
if command -v flock >/dev/null; then flock 9 || exit 1; fi
if [ -e "$pidfile" ]; then
    read -r pid ticks boot < "$pidfile"
    same "$pid" "$ticks" "$boot" && exit 0
fi
rm -f -- "$pidfile" "$pidfile.ended"
setsid /bin/sh -c '
    umask 022
    "$1" </dev/null >>"$3" 2>&1 9>&- &
    pid=$!
    stat=$(cat "/proc/$pid/stat")
    set -- "$@" ${{stat##*) }}
    echo "$pid ${{23}} $(cat /proc/sys/kernel/random/boot_id)" >"$2.part" && mv -f -- "$2.part" "$2"
    exec 9>&- >/dev/null 2>&1
    wait "$pid"
    echo "$?" >"$2.ended"
' sh "$run" "$pidfile" "$log" </dev/null &
i=0
until [ -e "$pidfile" ] || [ "$i" -ge 100 ]; do sleep 0.1; i=$((i + 1)); done
[ -e "$pidfile" ]
"""
_STOP = f"""{_SAME}
[ -e "$1" ] || exit 0
read -r pid ticks boot < "$1"
i=0
while same "$pid" "$ticks" "$boot"; do
    if [ "$i" = 0 ]; then kill -TERM "$pid"; fi
    if [ "$i" -ge "$2" ]; then kill -KILL "$pid"; fi
    sleep 0.1; i=$((i + 1))
done
rm -f -- "$1" "$1.ended"
"""
_KILL_AFTER_S = 3.0
"""Time that is left for the kill itself when a member does not end by TERM."""


@dataclass(frozen=True, slots=True)
class ProcessPlaces:
    """Where the runner's files are."""

    run: str
    pid: str
    log: str
    kept: str = KEPT

    @classmethod
    def of(cls, name: str) -> ProcessPlaces:
        return cls(places.run_script(name), f"/run/etcdops/{name}.pid", places.log_file(name))


class ProcessService:
    """The process that the script `places.run` becomes. Args: user - who does all this; the script may change again."""

    def __init__(self, session: Session, name: str, *, places: ProcessPlaces | None = None, user: str = ROOT) -> None:
        self._session = session
        self._name = name
        self._places = places or ProcessPlaces.of(name)
        self._user = user
        self._files = HostFiles(session, "process", name, kept=self._places.kept, user=user)

    @property
    def host(self) -> str:
        return self._session.host

    @property
    def name(self) -> str:
        return self._name

    async def compare(self, files: Sequence[RenderedFile]) -> Changes:
        return Changes(await self._files.compare(files))

    async def install(self, files: Sequence[RenderedFile]) -> Changes:
        return Changes(await self._files.write(files))

    async def uninstall(self) -> Changes:
        if (await self.status()).pid is not None:
            raise ServiceFailed(self.host, self._name, "is running, so it is not uninstalled", hint="stop it first")
        pid = self._places.pid
        diffs = await self._files.remove()
        await self._session.run(script('exec rm -f -- "$1" "$1.ended" "$1.part" "$1.lock"', pid, user=self._user))
        return Changes(diffs)

    async def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        found = await self.status()
        if found.state is State.ABSENT:
            raise ServiceFailed(
                self.host,
                self._name,
                "is not installed",
                reason=f"there is no {self._places.run}",
                hint="install it first",
            )
        if found.pid is None:
            await self._session.run(
                script(_START, self._places.run, self._places.pid, self._places.log, user=self._user)
            )
        await wait_started(self, timeout_s=timeout_s)

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        patience = max(math.floor((timeout_s - _KILL_AFTER_S) * 10), 1)
        asked = script(_STOP, self._places.pid, str(patience), user=self._user)
        await self._session.run(asked, timeout_s=timeout_s + _KILL_AFTER_S)

    async def restart(self, *, timeout_s: float = START_TIMEOUT_S + STOP_TIMEOUT_S) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self.stop(timeout_s=min(timeout_s, STOP_TIMEOUT_S))
        await self.start(timeout_s=max(deadline - clock(), 1))

    async def status(self) -> ServiceStatus:
        asked, installed = await asyncio.gather(
            self._session.run(script(_STATUS, self._places.pid, user=self._user)),
            self._session.stat(self._places.run, user=self._user),
        )
        word, _, number = asked.text.partition(" ")
        if word == "alive":
            pid = int(number)
            return ServiceStatus(State.RUNNING, pid=pid, since=await started_at(self._session, pid), enabled=False)
        if word == "ended":
            return ServiceStatus(State.FAILED, enabled=False, reason=_ended(int(number or 0)))
        if word == "gone":
            return ServiceStatus(State.FAILED, enabled=False, reason="its process is gone; nobody saw how it ended")
        if installed is None:
            return ServiceStatus(State.ABSENT, reason=f"there is no {self._places.run}")
        reason = "the host was started after it; nobody starts it again" if word == "rebooted" else ""
        return ServiceStatus(State.STOPPED, enabled=False, reason=reason)

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]:
        return read_log(self._session, self._places.log, lines=lines, follow=follow, since=since, user=self._user)

    async def effective_config(self) -> EffectiveConfig:
        status, text = await asyncio.gather(self.status(), self._read(self._places.run))
        following = None
        if text is not None:
            folder = posixpath.dirname(self._places.run)
            start = Start(self._places.run, (), {}, self._user, folder)
            following = await read_script(text, self._places.run, start, self._read, self._names)
        pid = await member_below(self._session, status.pid) if status.pid is not None else None
        return await effective_config(self._session, pid, following)

    async def _names(self, folder: str) -> list[str]:
        return await names_in(self._session, folder)

    async def _read(self, path: str) -> str | None:
        content = await self._session.read_file(path, user=self._user)
        return content.decode(errors="replace") if content is not None else None


def _ended(status: int) -> str:
    """A shell adds 128 to the number of the signal that ended a process."""
    return f"killed by signal {status - 128}, exit status {status}" if status > 128 else f"exit status {status}"
