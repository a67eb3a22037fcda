"""A host over SSH, by paramiko. One connection a host; commands are channels of it.

paramiko blocks: connecting, feeding and waiting happen in threads, and one thread a running command reads what it
prints. Nothing of paramiko that may wait is called on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import select
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import paramiko

from etcdops.errors import Unreachable
from etcdops.remote import ssh_channel
from etcdops.remote.become import Become
from etcdops.remote.host_keys import HostKeyPolicy
from etcdops.remote.running import CHUNK_BYTES, Ended, Printed, Running
from etcdops.remote.shell_session import ShellSession
from etcdops.remote.ssh_channel import OrderedTransport
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.ssh_login import log_in
from etcdops.remote.target import Target
from etcdops.remote.tunnel import SSHTunnel
from etcdops.remote.way import USUAL, KeepAlive

_OPEN_TIMEOUT_S = 10.0
_AHEAD_MAX = 16
_POLL_S = 0.5
_THREADS_MAX = 64
"""Commands that are started, fed and read at once in all sessions of one connector; more wait."""
_CHANNELS_MAX = 10
"""Commands that run at once on one host; more wait. OpenSSH's default for `MaxSessions`: it refuses those above."""
_REFUSED_RETRY_S = 0.1
_REFUSED_TIMEOUT_S = 20.0
_NO_REASON_KEPT = "Unable to open channel."
_CONNECT_FAILED = 2
"""RFC 4254, 5.1. What sshd says above `MaxSessions`, which may be lower, and until it has seen the end of others."""

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs what it raises: every error is told once, by us


class Connector:
    """Opens sessions, all with the same known hosts and `~/.ssh/config`."""

    def __init__(self, policy: HostKeyPolicy, config: SSHConfig, times: KeepAlive = USUAL) -> None:
        """Args: times - how soon a host that vanished is known to be gone."""
        self._policy = policy
        self._config = config
        self._times = times
        self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="ssh")

    async def connect(self, target: Target) -> SSHSession:
        """Log in and see that the host can be worked with.

        Raises: Unreachable - refused, no route, no answer, name unknown: which is said. AccessDenied - its host key, or
            our user, key or password. UsageError - the key file or `~/.ssh/config` cannot be used.
        """
        loop = asyncio.get_running_loop()
        transports = await loop.run_in_executor(self._threads, log_in, target, self._policy, self._config, self._times)
        session = SSHSession(target.name, transports, target.become, self._threads)
        try:
            await session.prepare()
        except BaseException:
            await session.close()
            raise
        return session

    def close(self) -> None:
        """Let the threads go; sessions are closed before."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class SSHSession(ShellSession):
    """A session over one connection. Made by `Connector.connect`."""

    def __init__(
        self, host: str, transports: tuple[OrderedTransport, ...], become: Become, threads: ThreadPoolExecutor
    ) -> None:
        super().__init__(host, transports[0].get_username() or "", become)
        self._transports = transports
        self._threads = threads
        self._room = asyncio.Semaphore(_CHANNELS_MAX)
        self._tunnels: list[SSHTunnel] = []

    @property
    def alive(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._transports[0].is_active()

    async def _spawn(self, line: str) -> Running:
        await self._room.acquire()
        try:
            channel = await self._channel(line)
            return _SSHRunning(channel, self._threads, self._room.release, self._broken)
        except BaseException:
            self._room.release()
            raise

    async def _channel(self, line: str) -> paramiko.Channel:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _REFUSED_TIMEOUT_S
        while True:
            try:
                return await loop.run_in_executor(self._threads, self._open_channel, line)
            except (paramiko.SSHException, OSError, EOFError) as error:
                if not self._refused(error) or loop.time() >= deadline:
                    raise self._broken(error) from error
            await asyncio.sleep(_REFUSED_RETRY_S)

    def _refused(self, error: Exception) -> bool:
        """Whether it is only that too many commands run at once. Of two refusals at once paramiko keeps one reason."""
        if isinstance(error, paramiko.ChannelException):
            return error.code == _CONNECT_FAILED
        return str(error) == _NO_REASON_KEPT and self.alive

    def _open_channel(self, line: str) -> paramiko.Channel:
        channel = self._transports[0].open_session(timeout=_OPEN_TIMEOUT_S)
        channel.exec_command(line)
        return channel

    def _broken(self, error: Exception) -> Unreachable:
        """The error for a connection that was there and is not any more; its ways may know more than `error` says."""
        broke = next((transport.way.broke for transport in self._transports if transport.way.broke), "")
        return Unreachable(
            f"{self.host}: the SSH connection broke",
            cause=broke or str(error) or type(error).__name__,
            hint="see whether the host is up; what ran there may have ended or not: look before it is done again",
        )

    async def tunnel(self, host: str, port: int) -> SSHTunnel:
        opened = SSHTunnel(lambda: self._transports[0], (host, port))
        self._tunnels.append(opened)
        return opened

    async def close(self) -> None:
        for opened in self._tunnels:
            await opened.close()
        for transport in self._transports:
            await asyncio.to_thread(transport.close)


class _SSHRunning:
    """A command in a channel, and the thread that reads it."""

    def __init__(
        self,
        channel: paramiko.Channel,
        threads: ThreadPoolExecutor,
        on_abandon: Callable[[], None],
        broken: Callable[[Exception], Unreachable],
    ) -> None:
        self._channel = channel
        self._on_abandon = on_abandon
        self._broken = broken
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._ahead: asyncio.Queue[Printed | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD_MAX)  # bounds `_ahead`, for the thread that fills it
        self._abandoned = False
        self._reader = self._loop.run_in_executor(threads, self._read)

    def _read(self) -> None:
        """In a thread: hand on what arrives, no faster than it is taken."""
        channel = self._channel
        while not self._abandoned:
            select.select([channel.fileno()], [], [], _POLL_S)
            read = False
            for ready, receive, is_error in (
                (channel.recv_ready, channel.recv, False),
                (channel.recv_stderr_ready, channel.recv_stderr, True),
            ):
                if ready() and (data := receive(CHUNK_BYTES)):
                    self._hand_on(Printed(data, is_error))
                    read = True
            if not read and (channel.eof_received or channel.closed):
                break
        self._hand_on(None)

    def _hand_on(self, piece: Printed | None) -> None:
        while not self._abandoned:
            if self._room.acquire(timeout=_POLL_S):
                try:
                    self._loop.call_soon_threadsafe(self._ahead.put_nowait, piece)
                except RuntimeError:
                    pass  # the loop has ended, and with it everybody who would read
                return

    async def feed(self, data: bytes) -> None:
        await self._call(lambda: ssh_channel.send_all(self._channel, data))

    async def close_stdin(self) -> None:
        await self._call(lambda: ssh_channel.end_sending(self._channel))

    async def _call(self, function: Callable[[], object]) -> None:
        try:
            await self._loop.run_in_executor(self._threads, function)
        except (OSError, EOFError):
            pass  # closed from the other side: how it ended says whether that is right

    async def printed(self) -> AsyncIterator[Printed]:
        while (piece := await self._ahead.get()) is not None:
            self._room.release()
            yield piece

    async def ended(self) -> Ended:
        await self._reader
        status = await self._loop.run_in_executor(self._threads, self._channel.recv_exit_status)
        if status >= 0:
            return Ended(status)
        transport = self._channel.get_transport()
        if transport is None or not transport.is_active():
            raise self._broken(EOFError("the connection closed before the command ended"))
        return Ended(None, "unknown")  # paramiko does not tell which

    def abandon(self) -> None:
        if not self._abandoned:
            self._on_abandon()
        self._abandoned = True
        ssh_channel.close(self._channel)
