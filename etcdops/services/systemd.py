"""A member as a systemd unit."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from etcdops.errors import EtcdopsError
from etcdops.remote.command import ROOT, command, script
from etcdops.remote.session import Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.places import UNITS
from etcdops.rendering.places import unit as unit_path
from etcdops.services.etcd_settings import Start
from etcdops.services.failures import ServiceFailed
from etcdops.services.host_files import HostFiles
from etcdops.services.member_process import effective_config, member_below
from etcdops.services.port import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Changes,
    EffectiveConfig,
    ServiceStatus,
    State,
)
from etcdops.services.systemd_reasons import explain, next_step
from etcdops.services.unit_start import unit_start
from etcdops.services.waiting import SETTLE_S, wait_started, wait_stopped

_ASKED = (
    "LoadState", "ActiveState", "SubState", "Result", "MainPID", "ExecMainStatus", "ExecMainCode", "NRestarts",
    "UnitFileState", "StateChangeTimestamp", "Type", "FragmentPath", "DropInPaths", "NeedDaemonReload", "LoadError",
)  # fmt: skip
_STATES = {
    "active": State.RUNNING,
    "reloading": State.RUNNING,
    "activating": State.STARTING,
    "deactivating": State.RUNNING,  # the process, and its hold on the data directory, is still there
    "inactive": State.STOPPED,
    "failed": State.FAILED,
}


class SystemdService:
    """The unit `name`.service on the host of `session`."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._unit = name if "." in name and name.rpartition(".")[2] == "service" else f"{name}.service"
        self._files = HostFiles(session, "systemd", name)

    @property
    def host(self) -> str:
        return self._session.host

    @property
    def name(self) -> str:
        return self._unit

    async def compare(self, files: Sequence[RenderedFile]) -> Changes:
        diffs, shown = await asyncio.gather(self._files.compare(files), self._show())
        return Changes(diffs, self._enabling(shown, files))

    async def install(self, files: Sequence[RenderedFile]) -> Changes:
        diffs = await self._files.write(files)
        shown = await self._show()
        actions = self._enabling(shown, files)
        enabled = bool(actions) and shown["LoadState"] in _USABLE
        if enabled:
            # By itself it would make systemd read all units again, which the next command does once for both.
            await self._systemctl("--no-reload", "enable", self._unit)
        # Not only when something was written now: an install that was cut off before it is repeated.
        if enabled or any(map(_is_unit_file, diffs)) or shown["NeedDaemonReload"] == "yes":
            await self._systemctl("daemon-reload")
            shown = await self._show()
        if shown["LoadState"] not in _USABLE:
            raise ServiceFailed(
                self.host,
                self._unit,
                f"cannot be used: systemd says {shown['LoadState']}",
                reason=shown["LoadError"],
                hint=_LOAD_HINTS.get(shown["LoadState"], f"see `systemd-analyze verify {self._unit}` on the host"),
            )
        if actions and not enabled:
            await self._systemctl("enable", self._unit)
        return Changes(diffs, actions)

    def _enabling(self, shown: Mapping[str, str], files: Sequence[RenderedFile]) -> tuple[str, ...]:
        there = shown["LoadState"] == "loaded" or any(file.path == unit_path(self._name) for file in files)
        # "static" and the like have no [Install] section: somebody else starts them.
        wanting = shown["UnitFileState"] in ("", "disabled", "enabled-runtime")
        return (f"enabled {self._unit}",) if there and wanting else ()

    async def uninstall(self) -> Changes:
        shown = await self._show()
        if int(shown["MainPID"] or 0):
            raise ServiceFailed(self.host, self._unit, "is running, so it is not uninstalled", hint="stop it first")
        actions: tuple[str, ...] = ()
        if shown["UnitFileState"] in ("enabled", "enabled-runtime"):
            await self._systemctl("disable", self._unit)
            actions = (f"disabled {self._unit}",)
        diffs = await self._files.remove()
        if diffs:
            folder = f"{unit_path(self._unit.removesuffix('.service'))}.d"
            await self._session.run(script('rmdir -- "$1" 2>/dev/null || :', folder, user=ROOT))
            await self._systemctl("daemon-reload")
            await self._systemctl("reset-failed", self._unit, check=False)
        return Changes(diffs, actions)

    async def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        shown = await self._show()
        if shown["LoadState"] == "not-found":
            raise self._absent()
        if shown["ActiveState"] != "active":
            # A unit that failed too often is refused for a while, whatever was repaired since.
            await self._systemctl("reset-failed", self._unit, check=False)
            await self._systemctl("start", "--no-block", self._unit)
        # A member that tells systemd when it is ready (Type=notify) needs no further watching.
        settle_s = 0 if shown["Type"] in ("notify", "notify-reload") else SETTLE_S
        await wait_started(self, timeout_s=timeout_s, settle_s=settle_s, hint=next_step)

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        shown = await self._show()
        if shown["LoadState"] == "not-found":
            return
        if shown["ActiveState"] != "inactive":
            await self._systemctl("stop", "--no-block", self._unit)
        await wait_stopped(self, timeout_s=timeout_s)
        # What was stopped on purpose has not failed, even where it had to be killed.
        await self._systemctl("reset-failed", self._unit, check=False)

    async def restart(self, *, timeout_s: float = START_TIMEOUT_S + STOP_TIMEOUT_S) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self.stop(timeout_s=min(timeout_s, STOP_TIMEOUT_S))
        await self.start(timeout_s=max(deadline - clock(), 1))

    async def status(self) -> ServiceStatus:
        shown = await self._show()
        if shown["LoadState"] == "not-found" and shown["ActiveState"] == "inactive":
            return ServiceStatus(State.ABSENT, reason="systemd knows no such unit")
        state = _STATES.get(shown["ActiveState"], State.UNKNOWN)
        if shown["SubState"] == "auto-restart":
            state = State.FAILED
        pid = int(shown["MainPID"] or 0) or None
        return ServiceStatus(
            state,
            pid=pid,
            since=_time(shown["StateChangeTimestamp"]),
            restarts=int(shown["NRestarts"]) if shown["NRestarts"].isdigit() else None,
            enabled=shown["UnitFileState"] in ("enabled", "static", "alias", "generated"),
            reason=explain(shown),
        )

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]:
        begin = () if since is None else (f"--since=@{since:.6f}",)
        on = ("--follow",) if follow else ()
        return self._session.stream(
            command(
                "journalctl",
                f"--unit={self._unit}",
                f"--lines={lines}",
                "--no-pager",
                "--quiet",
                "--output=cat",
                *begin,
                *on,
                user=ROOT,
            )
        )

    async def effective_config(self) -> EffectiveConfig:
        shown = await self._show()
        pid = int(shown["MainPID"] or 0) or None
        member = await member_below(self._session, pid) if pid is not None else None
        return await effective_config(self._session, member, await self._next_start(shown))

    async def start_command(self) -> Start | None:
        """The command line of the next start, whatever it is, as its files say; None: it runs nothing."""
        return await self._next_start(await self._show())

    async def _next_start(self, shown: Mapping[str, str]) -> Start | None:
        paths = [path for path in (shown["FragmentPath"], *shown["DropInPaths"].split()) if path]
        start = await unit_start(self._session, self._unit, paths)
        if start is None or shown["NeedDaemonReload"] != "yes":
            return start
        note = f"{self._unit}: systemd has not read these files yet; it does at `systemctl daemon-reload`"
        return replace(start, notes=(*start.notes, note))

    async def _show(self) -> dict[str, str]:
        # Every version of systemd prints times in the time zone of who asks; newer ones only print Unix times.
        asked = command("systemctl", "show", f"--property={','.join(_ASKED)}", self._unit, env={"TZ": "UTC"})
        try:
            result = await self._session.run(asked)
        except EtcdopsError as error:
            if "not found" in error.cause or "not been booted" in error.cause or "No such file" in error.cause:
                raise ServiceFailed(
                    self.host, self._unit, "cannot be asked for", reason=error.cause, hint="the host has no systemd"
                ) from error
            raise
        said = dict(line.split("=", 1) for line in result.text.splitlines() if "=" in line)
        return {name: said.get(name, "") for name in _ASKED}

    async def _systemctl(self, *arguments: str, check: bool = True) -> None:
        try:
            await self._session.run(command("systemctl", *arguments, user=ROOT), check=check)
        except EtcdopsError as error:
            raise ServiceFailed(
                self.host, self._unit, f"`systemctl {' '.join(arguments)}` failed", reason=error.cause or error.message,
                hint=f"see `systemctl status {self._unit}` on {self.host}",
            ) from error  # fmt: skip

    def _absent(self) -> ServiceFailed:
        return ServiceFailed(
            self.host, self._unit, "is not installed", reason="systemd knows no such unit", hint="install it first"
        )


_USABLE = ("loaded", "not-found")
_LOAD_HINTS = {"masked": "somebody forbade it on purpose; `systemctl unmask` allows it again"}


def _is_unit_file(path: str) -> bool:
    """Whether systemd keeps what is in it; an environment file is read at each start."""
    return path.startswith(UNITS + "/")


def _time(text: str) -> float | None:
    """`Sat 2026-11-21 15:14:32 UTC` as Unix time."""
    try:
        parsed = datetime.datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return None
    return parsed.replace(tzinfo=datetime.UTC).timestamp()
