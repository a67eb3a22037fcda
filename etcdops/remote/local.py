"""This machine as a host: the same lines in the same shell as over SSH, without SSH."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.remote.become import Become
from etcdops.remote.running import CHUNK_BYTES, Ended, Printed, Running
from etcdops.remote.shell_session import ShellSession

_AHEAD_MAX = 16
"""Pieces of output read ahead of whoever takes them."""
_END_TIMEOUT_S = 3.0
"""What was told to end and has not by then is killed."""


class LocalSession(ShellSession):
    """A session on this machine."""

    def __init__(self, host: str = "localhost", become: Become | None = None) -> None:
        super().__init__(host, getpass.getuser(), become or Become())
        self._started: set[_LocalRunning] = set()

    async def _spawn(self, line: str) -> Running:
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                line,
                cwd=_home(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise EtcdopsError(f"{self.host}: no shell can be started", cause=str(error)) from error
        running = _LocalRunning(process)
        self._started = {one for one in self._started if not one.has_ended} | {running}
        return running

    async def tunnel(self, host: str, port: int) -> _NoTunnel:
        return _NoTunnel((host, port))

    async def close(self) -> None:
        started, self._started = self._started, set()
        for running in started:
            running.abandon()
        # A process that nobody waits for keeps its pipes open beyond the end of the event loop.
        await asyncio.gather(*(running.gone() for running in started))


class _NoTunnel:
    """An address of this machine needs no way to it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    @property
    def address(self) -> tuple[str, int]:
        return self._address

    async def close(self) -> None:
        pass


class _LocalRunning:
    """A shell of this machine and everything under it, which is a session of its own to the kernel."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ahead: asyncio.Queue[Printed | None] = asyncio.Queue(_AHEAD_MAX)
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(process.stdout, is_error=False)),
            asyncio.create_task(self._read(process.stderr, is_error=True)),
        ]

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def _read(self, pipe: asyncio.StreamReader, *, is_error: bool) -> None:
        while data := await pipe.read(CHUNK_BYTES):
            await self._ahead.put(Printed(data, is_error))
        await self._ahead.put(None)

    async def feed(self, data: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it does not want more: its exit status says whether that is right

    async def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def printed(self) -> AsyncIterator[Printed]:
        still_open = len(self._readers)
        while still_open:
            piece = await self._ahead.get()
            if piece is None:
                still_open -= 1
            else:
                yield piece

    async def ended(self) -> Ended:
        status = await self._process.wait()
        return Ended(status) if status >= 0 else Ended(None, signal.Signals(-status).name.removeprefix("SIG"))

    def abandon(self) -> None:
        for reader in self._readers:
            reader.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._signal(signal.SIGTERM)

    async def gone(self) -> None:
        """Wait until what was abandoned has ended, but not for long."""
        for number in (signal.SIGKILL, None):
            try:
                async with asyncio.timeout(_END_TIMEOUT_S):
                    await self._process.wait()
                    return
            except TimeoutError:
                if number is not None:
                    self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        if self.has_ended:
            return
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # gone; or it became another user, and ends with its standard input or its deadline


def _home() -> Path:
    """Where a login starts."""
    home = Path.home()
    return home if home.is_dir() else Path("/")
