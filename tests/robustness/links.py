"""Links between members that can be cut, by TCP proxies on loopback: no root is needed.

Each member advertises the address of its proxy, so every connection between members passes one. Who dialled is the
process that owns the other end (owner.py). What a connection carries from A to B belongs to the direction (A, B),
whoever dialled it; each direction can be

- held: nothing is delivered, connections stay open and are accepted (a black hole); what was held comes late, as
  TCP's retransmissions would, unless somebody has hung up by then,
- cut: connections are reset and new ones are accepted and reset at once,
- slow: each piece of data takes longer.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, cast

from tests.support.ports import free_ports
from tests.support.real_etcd import RealMember

T = TypeVar("T")

_ON_THE_WAY_BYTES_MAX = 4 * 1024 * 1024
"""Of one connection in one direction; then its sender has to wait, as for a kernel's buffers."""

_LOOP_TIMEOUT_S = 30.0


@dataclass(eq=False)
class Direction:
    """What happens to data from one member to another."""

    held: bool = False
    cut: bool = False
    delay_s: float = 0.0
    pipes: set[_Pipe] = field(default_factory=set)


class _End(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.out: _Pipe | None = None
        """Where what is received here goes."""
        self.full = False
        """Its peer does not read as fast as it is written to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connection.made(self)

    def data_received(self, data: bytes) -> None:
        assert self.out is not None
        self.out.put(data)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.connection.pump()

    def connection_lost(self, error: Exception | None) -> None:
        # HTTP between members never half closes: when one socket ends, so does the other.
        self.transport = None
        self.connection.reset()


class _Pipe:
    """What one connection carries in one direction, on its way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, direction: Direction, source: _End, sink: _End) -> None:
        self._loop = loop
        self._direction = direction
        self._source = source
        self._sink = sink
        self._pieces: deque[tuple[float, bytes]] = deque()
        """Each with the time when it is due."""
        self._size_bytes = 0
        direction.pipes.add(self)

    def put(self, data: bytes) -> None:
        self._pieces.append((self._loop.time() + self._direction.delay_s, data))
        self._size_bytes += len(data)
        if self._size_bytes > _ON_THE_WAY_BYTES_MAX and self._source.transport is not None:
            self._source.transport.pause_reading()
        self.pump()

    def pump(self) -> None:
        """Deliver what is due and may pass."""
        sink = self._sink.transport
        if self._direction.held or sink is None or self._sink.full:
            return
        while self._pieces and not self._sink.full:
            due, data = self._pieces[0]
            if due > self._loop.time():
                self._loop.call_at(due, self.pump)
                break
            self._pieces.popleft()
            self._size_bytes -= len(data)
            sink.write(data)
        if self._size_bytes <= _ON_THE_WAY_BYTES_MAX and self._source.transport is not None:
            self._source.transport.resume_reading()

    def forget(self) -> None:
        self._direction.pipes.discard(self)
        self._pieces.clear()


class _Connection:
    """`dialler` called `target`."""

    def __init__(self, links: Links, target: str, port: int) -> None:
        self._links = links
        self.target = target
        self._port = port
        self.dialler = ""
        self.near, self.far = _End(self), _End(self)
        self._pipes: list[_Pipe] = []
        self._dialling: asyncio.Task[object] | None = None

    def made(self, end: _End) -> None:
        """One of the two sockets is connected."""
        self._links.connections.add(self)
        if end is self.near:
            self._accepted()
        else:
            self.pump()

    def _accepted(self) -> None:
        assert self.near.transport is not None
        ports = self.near.transport.get_extra_info("peername")[1], self.near.transport.get_extra_info("sockname")[1]
        dialler = self._links.owner_of(*ports)
        if dialler is None:
            self.near.transport.abort()  # its process has ended already
            return
        self.dialler = dialler
        there, back = self._links.directions[dialler, self.target], self._links.directions[self.target, dialler]
        if there.cut or back.cut:
            self.near.transport.abort()
            return
        loop = self._links.loop
        self.near.out = _Pipe(loop, there, self.near, self.far)
        self.far.out = _Pipe(loop, back, self.far, self.near)
        self._pipes = [self.near.out, self.far.out]
        self._dialling = loop.create_task(self._dial())
        self._dialling.add_done_callback(lambda _: self._forget_when_over())

    async def _dial(self) -> None:
        try:
            await self._links.loop.create_connection(lambda: self.far, "127.0.0.1", self._port)
        except OSError:
            self.reset()  # the member is down
            return
        if self.near.transport is None:
            self.reset()  # the dialler has hung up meanwhile

    def pump(self) -> None:
        for pipe in self._pipes:
            pipe.pump()

    def reset(self) -> None:
        """End both sockets; nothing that is on its way arrives."""
        for pipe in self._pipes:
            pipe.forget()
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()
        self._forget_when_over()

    def _forget_when_over(self) -> None:
        over = self.near.transport is None and self.far.transport is None
        if over and (self._dialling is None or self._dialling.done()):
            self._links.connections.discard(self)


class Links:
    """Proxies in front of members, run by a thread of their own. Implements world.Wires.

    Args: owner_of says which member's process has a connection from this local port to that one; None for nobody.
    """

    def __init__(self, owner_of: Callable[[int, int], str | None]) -> None:
        self.owner_of = owner_of
        self.loop = asyncio.new_event_loop()
        self.directions: dict[tuple[str, str], Direction] = defaultdict(Direction)
        self.connections: set[_Connection] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, name="links", daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_LOOP_TIMEOUT_S)
        self.loop.close()

    def listen(self, member: str, port: int) -> int:
        """Open the proxy in front of this member, whose peer port is `port` on loopback; returns the proxy's port."""
        (front,) = free_ports(1)

        async def serve() -> None:
            connection = partial(_Connection, self, member, port)
            self._servers.append(await self.loop.create_server(lambda: connection().near, "127.0.0.1", front))

        self._run(serve())
        return front

    def place(self, member: RealMember) -> None:
        """See world.Wires."""
        member.advertised_peer_url = f"http://127.0.0.1:{self.listen(member.name, member.peer_port)}"

    def hold(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Nothing goes from the first to the second of each pair until `heal`."""

        def hold(direction: Direction) -> None:
            direction.held = True

        self._run(self._change(pairs, hold))

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
            direction.held, direction.cut, direction.delay_s = False, False, 0.0

        self._run(self._change(list(self.directions) if pairs is None else pairs, heal))

    # On the loop.

    async def _change(
        self, pairs: Iterable[tuple[str, str]], change: Callable[[Direction], None], *, reset: bool = False
    ) -> None:
        changed = set(pairs)
        for pair in changed:
            direction = self.directions[pair]
            change(direction)
            for pipe in list(direction.pipes):
                pipe.pump()
        for connection in list(self.connections) if reset else ():
            if {(connection.dialler, connection.target), (connection.target, connection.dialler)} & changed:
                connection.reset()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        # A socket may have been accepted whose transport is still to be made: that is a task too.
        while self.connections or len(asyncio.all_tasks()) > 1:
            for connection in list(self.connections):
                connection.reset()
            await asyncio.sleep(0.01)

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_LOOP_TIMEOUT_S)
