"""A member in a container: docker and podman, whose command lines are the same.

What a container is made with cannot be changed, so installing writes the arguments, and the next start makes the
container anew when they are others than those it was made with; its label says which those are. A container that
holds data which is on no volume is never removed.
"""

from __future__ import annotations

import asyncio
import datetime
import posixpath
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from etcdops.remote.command import ROOT, command
from etcdops.remote.session import CommandFailed, Result, Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.places import container_arguments
from etcdops.services.container_arguments import Arguments
from etcdops.services.container_facts import MADE_WITH, Container, ImageConfig
from etcdops.services.container_start import behind_scripts, of_arguments, of_container, outside
from etcdops.services.etcd_settings import Placed, Start, config_file, settle
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
from etcdops.services.waiting import failed, wait_started, wait_stopped

_CREATE_TIMEOUT_S = 600.0
"""An image may have to be fetched first."""
_RESTARTED_WITHIN_S = 1.0
_STOPPED_WITHIN_S = 5.0
"""After the engine's `stop`, which returns when it has ended."""
_ABSENT = re.compile(r"no such (object|container)|no container with name", re.IGNORECASE)
_PODMAN_UNIT = "podman-restart.service"
_ENABLES = f"enabled {_PODMAN_UNIT}, which starts containers with --restart=always when the host starts"


class ContainerService:
    """The container `name` of `engine` ("docker" or "podman") on the host of `session`."""

    def __init__(self, session: Session, name: str, engine: str) -> None:
        self._session = session
        self._name = name
        self._engine = engine
        self._path = container_arguments(name)
        self._files = HostFiles(session, engine, name)

    @property
    def host(self) -> str:
        return self._session.host

    @property
    def name(self) -> str:
        return self._name

    async def compare(self, files: Sequence[RenderedFile]) -> Changes:
        diffs, boots = await asyncio.gather(self._files.compare(files), self._boots(files))
        return Changes(diffs, () if boots else (_ENABLES,))

    async def install(self, files: Sequence[RenderedFile]) -> Changes:
        boots = await self._boots(files)
        diffs = await self._files.write(files)
        if not boots:
            await self._session.run(command("systemctl", "enable", "--quiet", _PODMAN_UNIT, user=ROOT))
        return Changes(diffs, () if boots else (_ENABLES,))

    async def _boots(self, files: Sequence[RenderedFile]) -> bool:
        """Whether nothing is to be enabled for the container to come back when the host starts.

        docker's daemon starts containers itself. podman has none: its own podman-restart.service starts those with
        `--restart=always`. A unit for each container would be a second owner of its life beside the engine, and
        Quadlet, which makes such units, is younger than the podman of many hosts. A host without the service, or
        where somebody masked it, has nothing to enable: `status` tells that the container does not come back.
        """
        arguments = next((self._parse(file.content) for file in files if file.path == self._path), None)
        policies = arguments.options("--restart") if arguments is not None else []
        if self._engine == "docker" or not policies or policies[-1].text != "always":
            return True
        return await self._boot_unit() != "disabled"

    async def _boot_unit(self) -> str:
        """`enabled`, `disabled`, ...; empty: the host has no such unit."""
        found = await self._session.run(command("systemctl", "is-enabled", _PODMAN_UNIT), check=False)
        return "" if found.text == "not-found" else found.text

    async def uninstall(self) -> Changes:
        found = await self._inspect()
        if found is not None and found.pid is not None:
            raise ServiceFailed(self.host, self._name, "is running, so it is not uninstalled", hint="stop it first")
        actions: tuple[str, ...] = ()
        if found is not None:
            await self._remove(found)
            actions = (f"removed the container {self._name}",)
        return Changes(await self._files.remove(), actions)

    async def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        found, arguments = await asyncio.gather(self._inspect(), self._arguments())
        if found is None and arguments is None:
            raise ServiceFailed(
                self.host,
                self._name,
                "is not installed",
                reason=f"there is neither such a container nor {self._path}",
                hint="install it first",
            )
        running = found is not None and found.pid is not None
        if not running:
            if arguments is not None and (found is None or found.label != arguments.digest):
                if found is not None:
                    await self._remove(found)
                await self._create(arguments)
            started = await self._run("start", self._name, check=False)
            if not started.ok:
                raise await failed(
                    self,
                    "did not start",
                    ServiceStatus(State.FAILED, reason=started.stderr.decode(errors="replace").strip()),
                    "correct what the engine says, then start it again",
                )
        await wait_started(self, timeout_s=timeout_s, hint=_hint)

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        while (found := await self._inspect()) is not None:
            left_s = max(deadline - clock(), 1)
            # Told also when it does not run now: it may be about to be started again.
            if found.was_started:
                # The engine kills it after this long.
                await self._run("stop", f"--time={max(int(left_s) - 3, 1)}", self._name, timeout_s=left_s + 5)
            try:
                await wait_stopped(self, timeout_s=min(left_s, _STOPPED_WITHIN_S))
            except ServiceFailed:
                # The engine saw it end, so this is a start that was under way: it is told again.
                if clock() >= deadline:
                    raise
                continue
            if not await self._started_again():
                return
            if clock() >= deadline:
                raise ServiceFailed(
                    self.host, self._name, "is started again and again", reason=f"by {self._engine}",
                    hint=f"see its restart policy: {self._engine} container inspect {self._name}",
                )  # fmt: skip

    async def _started_again(self) -> bool:
        """Whether a start that was under way, because it failed before, came after the stop."""
        found = await self._inspect()
        if found is None or found.state is not State.FAILED or found.restart_policy == "no":
            return found is not None and found.pid is not None
        await asyncio.sleep(_RESTARTED_WITHIN_S)
        after = await self._inspect()
        return after is not None and (after.pid is not None or after.since != found.since)

    async def restart(self, *, timeout_s: float = START_TIMEOUT_S + STOP_TIMEOUT_S) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self.stop(timeout_s=min(timeout_s, STOP_TIMEOUT_S))
        await self.start(timeout_s=max(deadline - clock(), 1))

    async def status(self) -> ServiceStatus:
        found, arguments = await asyncio.gather(self._inspect(), self._session.stat(self._path, user=ROOT))
        if found is None:
            if arguments is not None:
                return ServiceStatus(State.STOPPED, enabled=False, reason="its container is made at the first start")
            return ServiceStatus(State.ABSENT, reason=f"{self._engine} knows no such container")
        return ServiceStatus(
            found.state,
            pid=found.pid,
            since=found.since,
            restarts=found.restarts,
            enabled=await self._comes_back(found.restart_policy),
            reason=found.reason,
        )

    async def _comes_back(self, policy: str) -> bool:
        """docker's daemon starts them by itself; podman has none, but a unit for those that are always restarted."""
        if self._engine == "docker":
            return policy in ("always", "unless-stopped")
        return policy == "always" and await self._boot_unit() == "enabled"

    def logs(self, *, lines: int = 100, follow: bool = False, since: float | None = None) -> AsyncIterator[bytes]:
        return self._logs(lines, follow, since)

    async def _logs(self, lines: int, follow: bool, since: float | None) -> AsyncIterator[bytes]:
        found = await self._inspect()
        if found is None:
            return
        if found.log_driver == "journald":
            # podman cannot follow those unless its own events go to the journal as well
            argv: tuple[str, ...] = (
                "journalctl", f"CONTAINER_NAME={self._name}", f"--lines={lines}", "--quiet", "--output=cat",
                *(() if since is None else (f"--since=@{since:.6f}",)),
            )  # fmt: skip
        else:
            begin = () if since is None else (f"--since={_stamp(since)}",)
            argv = (self._engine, "logs", f"--tail={lines}", *begin)
        on = ("--follow",) if follow else ()
        name = () if argv[0] == "journalctl" else (self._name,)
        # Both outputs of the member in the order they came: the engine keeps them apart.
        together = command("sh", "-c", 'exec "$@" 2>&1', "sh", *argv, *on, *name, user=ROOT)
        async for line in self._session.stream(together):
            # conmon gives the journal every line with its newline, which makes an empty one of it
            if line or found.log_driver != "journald":
                yield line

    async def effective_config(self) -> EffectiveConfig:
        found, arguments = await asyncio.gather(self._inspect(), self._arguments())
        pid = found.pid if found is not None else None
        member = await member_below(self._session, pid) if pid is not None else None
        following = await self._next_start(found, arguments)
        if following is None:
            return await effective_config(self._session, member, None)
        config = settle(following, await self._config_file(following, found, arguments))
        return await effective_config(self._session, member, config)

    async def on_host(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Where paths inside the container lie on its host; those that are on no volume are left out."""
        found, arguments = await asyncio.gather(self._inspect(), self._arguments())
        places = {path: found.outside(path) if found is not None else _place(arguments, path) for path in paths}
        return {path: outside for path, outside in places.items() if outside is not None}

    async def _next_start(self, found: Container | None, arguments: Arguments | None) -> Start | None:
        if arguments is not None and (found is None or found.label != arguments.digest):
            return await self._of_arguments(arguments)
        return await self._of_container(found, arguments) if found is not None else None

    async def _of_container(self, found: Container, arguments: Arguments | None) -> Start:
        """A container keeps what it was made with; where that was written, only the arguments can tell."""
        inspected = f"{self._engine} inspect {self._name}"
        made = of_container(found.image, found.config, inspected)
        places = {word.text: word.where for word in arguments.words} if arguments is not None else {}
        variables = arguments.options("--env", "-e") if arguments is not None else []
        by_name = {option.text.partition("=")[0]: option.where for option in variables}
        words = [Placed(word.text, places.get(word.text, inspected)) for word in made.words]
        env = {name: Placed(value.text, by_name.get(name, inspected)) for name, value in made.env.items()}
        return await behind_scripts(replace(made, words=words, env=env).start, self._read)

    async def _of_arguments(self, arguments: Arguments) -> Start:
        asked = await self._run("image", "inspect", arguments.image, check=False)
        image = ImageConfig.of_image(asked.stdout) if asked.ok else ImageConfig({})
        return await behind_scripts((await of_arguments(arguments, image, self._read)).start, self._read)

    async def _config_file(self, start: Start, found: Container | None, arguments: Arguments | None) -> bytes | None:
        """The config file that the next start would read: through a volume, or from inside the running container."""
        file = config_file(start)
        if file is None:
            return None
        path = posixpath.join(start.folder, file.text)
        outside = found.outside(path) if found is not None else _place(arguments, path)
        if outside is None and found is not None and found.pid is not None:
            outside = f"/proc/{found.pid}/root{path}"
        return await self._session.read_file(outside, user=ROOT) if outside is not None else None

    async def _create(self, arguments: Arguments) -> None:
        words = (word.text for word in arguments.words)
        made = await self._run(
            "create",
            f"--name={self._name}",
            f"--label={MADE_WITH}={arguments.digest}",
            *words,
            check=False,
            timeout_s=_CREATE_TIMEOUT_S,
        )
        if not made.ok:
            said = made.stderr.decode(errors="replace").strip()
            raise ServiceFailed(
                self.host,
                self._name,
                "cannot be made",
                reason="\n".join(said.splitlines()[-5:]),
                hint=f"see that the image {arguments.image} is on the host or can be fetched, and {self._path}",
            )

    async def _remove(self, found: Container) -> None:
        """Remove the stopped container; volumes stay. Raises: ServiceFailed - it holds data itself."""
        start = await self._of_container(found, None)
        config = settle(start, await self._config_file(start, found, None))
        data_dir = config.value("data-dir") or f"{config.value('name') or 'default'}.etcd"
        paths = [posixpath.join(start.folder, path) for path in (data_dir, config.value("wal-dir")) if path]
        inside = [path for path in paths if found.outside(path) is None]
        if inside and found.was_started:
            raise ServiceFailed(
                self.host,
                self._name,
                "is not removed",
                reason=f"its data is in the container itself: {', '.join(inside)} is on no volume",
                hint=f"copy it out first: {self._engine} cp {self._name}:{inside[0]} ./{self._name}-data; "
                f"then {self._engine} rm {self._name}",
            )
        await self._run("rm", self._name)

    async def _inspect(self) -> Container | None:
        # Not `inspect` of anything: an image may have the same name.
        result = await self._run("container", "inspect", self._name, check=False)
        if result.ok:
            return Container.parse(result.stdout)
        said = result.stderr.decode(errors="replace")
        if _ABSENT.search(said):
            return None
        raise ServiceFailed(
            self.host,
            self._name,
            f"cannot be asked for: {self._engine} failed",
            reason="\n".join(said.strip().splitlines()[-3:]),
            hint=f"see that {self._engine} is installed and its daemon, if any, runs",
        )

    async def _arguments(self) -> Arguments | None:
        content = await self._session.read_file(self._path, user=ROOT)
        return None if content is None else self._parse(content)

    def _parse(self, content: bytes) -> Arguments:
        try:
            parsed = Arguments.parse(content.decode(), self._path)
        except ValueError as error:
            raise ServiceFailed(
                self.host,
                self._name,
                f"cannot be made from {self._path}",
                reason=str(error),
                hint="correct its quoting",
            ) from error
        if not parsed.image:
            raise ServiceFailed(
                self.host, self._name, f"cannot be made from {self._path}", reason="it names no image",
                hint="write options as --option=value, then the image, then the member's arguments",
            )  # fmt: skip
        return parsed

    async def _run(self, *argv: str, check: bool = True, timeout_s: float = 60.0) -> Result:
        asked = command(self._engine, *argv, user=ROOT)
        try:
            return await self._session.run(asked, check=check, timeout_s=timeout_s)
        except CommandFailed as error:
            raise ServiceFailed(
                self.host, self._name, f"`{self._engine} {argv[0]}` failed", reason=error.cause,
                hint=f"see `{self._engine} logs {self._name}` on {self.host}",
            ) from error  # fmt: skip

    async def _read(self, path: str) -> str | None:
        content = await self._session.read_file(path, user=ROOT)
        return content.decode(errors="replace") if content is not None else None


def _place(arguments: Arguments | None, path: str) -> str | None:
    return outside(arguments, path) if arguments is not None else None


def _hint(found: ServiceStatus) -> str:
    if "out of memory" in found.reason:
        return "give the container (--memory) or the host more memory"
    return "correct what its log says, then start it again"


def _stamp(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat()
