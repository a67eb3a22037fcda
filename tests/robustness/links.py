"""Links between members that can be cut, by TCP proxies on loopback: no root is needed.

Each member advertises the address of its proxy, so every connection between members passes one. Who dialled is found
in /proc: the process that owns the other end. What a connection carries from A to B belongs to the direction (A, B),
whoever dialled it; each direction can be

- held: nothing is delivered, connections stay open and are accepted (a black hole); what was held comes late, as
  TCP's retransmissions would, unless somebody has hung up by then,
- cut: connections are reset and new ones are accepted and reset at once,
- slow: each piece of data takes longer.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.support.ports import free_ports
from tests.support.real_etcd import RealMember

T = TypeVar("T")

_PIECE_BYTES = 64 * 1024
_DIAL_TIMEOUT_S = 5.0
_LOOP_TIMEOUT_S = 10.0


@dataclass
class Direction:
    """What happens to data from one member to another."""

    passing: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        self.passing.set()


@dataclass(eq=False)
class _Connection:
    """`dialler` called `target`."""

    dialler: str
    target: str
    transports: list[asyncio.WriteTransport]

    def reset(self) -> None:
        for transport in self.transports:
            transport.abort()


class Links:
    """Proxies in front of members, run by a thread of their own. Implements world.Wires.

    Args: owner_of says which member's process has a connection from this local port to that one; None for nobody.
    """

    def __init__(self, owner_of: Callable[[int, int], str | None]) -> None:
        self._owner_of = owner_of
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._directions: dict[tuple[str, str], Direction] = defaultdict(Direction)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LOOP_TIMEOUT_S)
        self._loop.close()

    def listen(self, member: str, port: int) -> int:
        """Open the proxy in front of this member, whose peer port is `port` on loopback; returns the proxy's port."""
        (front,) = free_ports(1)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._accept(member, port, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        async def serve() -> None:
            self._servers.append(await asyncio.start_server(accept, "127.0.0.1", front))

        self._run(serve())
        return front

    def place(self, member: RealMember) -> None:
        """See world.Wires."""
        member.advertised_peer_url = f"http://127.0.0.1:{self.listen(member.name, member.peer_port)}"

    def hold(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Nothing goes from the first to the second of each pair until `heal`."""
        self._run(self._change(pairs, lambda direction: direction.passing.clear()))

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Connections that carry these directions are reset, until `heal`."""

        def cut(direction: Direction) -> None:
            direction.cut = True

        self._run(self._change(pairs, cut, reset=True))

    def slow(self, pairs: Iterable[tuple[str, str]], delay_s: float) -> None:
        """Each piece of data of these directions takes `delay_s` longer, until `heal`."""

        def slow(direction: Direction) -> None:
            direction.delay_s = delay_s

        self._run(self._change(pairs, slow))

    def heal(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """These directions, or all, are as they were at first."""

        def heal(direction: Direction) -> None:
            direction.cut, direction.delay_s = False, 0.0
            direction.passing.set()

        self._run(self._change(list(self._directions) if pairs is None else pairs, heal))

    # On the loop.

    async def _change(
        self, pairs: Iterable[tuple[str, str]], change: Callable[[Direction], None], *, reset: bool = False
    ) -> None:
        changed = set(pairs)
        for pair in changed:
            change(self._directions[pair])
        for connection in list(self._connections) if reset else ():
            if {(connection.dialler, connection.target), (connection.target, connection.dialler)} & changed:
                connection.reset()

    async def _accept(self, target: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(target, port, reader, writer)
        except (OSError, TimeoutError):
            pass  # one end has gone
        finally:
            await _abort(writer)

    async def _carry(self, target: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialler = self._owner_of(writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1])
        if dialler is None:
            return  # its process has ended already
        there, back = self._directions[dialler, target], self._directions[target, dialler]
        if there.cut or back.cut:
            return
        far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), _DIAL_TIMEOUT_S)
        connection = _Connection(dialler, target, [writer.transport, far_writer.transport])
        self._connections.add(connection)
        pumps = [
            asyncio.ensure_future(_pump(reader, far_writer, there)),
            asyncio.ensure_future(_pump(far_reader, writer, back)),
        ]
        try:
            # When one direction ends, so does the other: HTTP between members never half closes.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._connections.discard(connection)
            await _abort(far_writer)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        while self._tasks:
            # More than once: asyncio.wait_for forgets a cancellation that comes when its work has just been done.
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LOOP_TIMEOUT_S)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
    while data := await reader.read(_PIECE_BYTES):
        if direction.delay_s:
            await asyncio.sleep(direction.delay_s)
        await direction.passing.wait()
        writer.write(data)
        await writer.drain()


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    try:
        await writer.wait_closed()
    except OSError:
        pass  # it was reset


def owner_of_connection(local_port: int, remote_port: int, pids: dict[str, int]) -> str | None:
    """Which of these processes has a TCP connection over IPv4 with these ports."""
    inode = _inode_of(local_port, remote_port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for name, pid in pids.items():
        try:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if str(descriptor.readlink()) == wanted:
                        return name
                except OSError:
                    continue  # closed meanwhile
        except OSError:
            continue  # the process has ended
    return None


def _inode_of(local_port: int, remote_port: int) -> str | None:
    """Of an open connection; one that waits to be forgotten belongs to nobody."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(address.partition(":")[2], 16) for address in fields[1:3])
        if ports == (local_port, remote_port) and fields[9] != "0":
            return fields[9]
    return None
