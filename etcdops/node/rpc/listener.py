"""One port for gRPC (HTTP/2, known by its preface) and HTTP/1.1 (handed to aiohttp).

The only asyncio of this package: sockets, the timer that watches over them, and one write for all answers of a loop
turn. A connection costs no task; `Listener.stop` ends everything it started.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, cast

from aiohttp import web

from etcdops.errors import StartRefused
from etcdops.node.rpc.deadlines import Deadlines
from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.http1 import Http1Server
from etcdops.node.rpc.http2 import PREFACE, PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.server_connection import ServerConnection
from etcdops.node.rpc.service import Methods, RpcError, StatusCode
from etcdops.node.sockets import bind_refused, listening_socket
from etcdops.node.tls.server import ServerTls
from etcdops.node.zap_log import fields

_P = ParamSpec("_P")

_logger = logging.getLogger(__name__)

HttpHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_RESERVED_FILES = 150  # for the member's own files and peers. Source: etcd server/embed/serve.go, reservedInternalFDNum
_ACCEPTED_A_TURN_MAX = 64
_TICK_S = 1.0
_LINGER_S = 1.0
_WRITE_HIGH_BYTES = 256 * 1024
_UNREAD_BYTES_MAX = 4 * 1024 * 1024
_STOPPED = RpcError(StatusCode.UNAVAILABLE, "etcdserver: server stopped")


async def serve(
    addresses: Sequence[tuple[str, int]],
    methods: Methods,
    http_handler: HttpHandler,
    limits: Limits | None = None,
    *,
    tls: ServerTls | None = None,
    port_factory: PortFactory = FramePort,
    tick_s: float = _TICK_S,
) -> Listener:
    """Accept clients on every address (host, port); port 0 takes a free one.

    Args: http_handler answers HTTP/1.1 requests; limits - see Limits; tls - with it the port speaks only TLS;
        tick_s - how often silent connections are looked at, which is how precise their deadlines are.
    Raises: StartRefused with etcd's words - an address that is in use or not this machine's.
    """
    listener = Listener(methods, http_handler, limits or Limits(), tls, port_factory, tick_s)
    listener.open(addresses)
    return listener


class Listener:
    """Open ports and their connections. Lives on one event loop."""

    def __init__(
        self,
        methods: Methods,
        http_handler: HttpHandler,
        limits: Limits,
        tls: ServerTls | None,
        port_factory: PortFactory,
        tick_s: float,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.methods = methods
        self.limits = limits
        self.port_factory = port_factory
        self.deadlines = Deadlines(self._wake_at)
        self.http1 = Http1Server(http_handler, limits)
        self._tls = tls
        self._connections: dict[_Connection, None] = {}
        self._connections_max = limits.connections_max or _connections_possible()
        self._room = asyncio.Event()
        self._sockets: list[socket.socket] = []
        self._addresses: list[tuple[str, int]] = []
        self._acceptors: list[asyncio.Task[None]] = []
        self._adoptions: set[asyncio.Task[None]] = set()
        self._deadline_timer: asyncio.TimerHandle | None = None
        self.tick_s = tick_s
        self._tick_timer = self.loop.call_later(tick_s, self._tick)
        self._all_gone = asyncio.Event()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, or did before it was stopped, with the ports that were chosen."""
        return list(self._addresses)

    @property
    def connections_open(self) -> int:
        """Connections of both protocols."""
        return len(self._connections)

    def open(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Bind and start to accept. Raises: StartRefused; nothing stays open then."""
        try:
            for host, port in addresses:
                self._sockets.append(_listen(host, port))
        except StartRefused:
            self._tick_timer.cancel()
            for listening in self._sockets:
                listening.close()
            raise
        self._addresses = [listening.getsockname()[:2] for listening in self._sockets]
        self._room.set()
        self._acceptors = [self.loop.create_task(self._accept(listening)) for listening in self._sockets]
        for acceptor in self._acceptors:
            acceptor.add_done_callback(self._acceptor_ended)

    def _acceptor_ended(self, acceptor: asyncio.Task[None]) -> None:
        if not acceptor.cancelled() and (error := acceptor.exception()) is not None:
            # Nobody would be let in any more.
            self.loop.call_exception_handler({"message": "accepting clients ended", "exception": error})

    async def stop(self, grace_s: float) -> None:
        """Accept nobody more, let open calls finish for `grace_s` seconds, then end what is left as UNAVAILABLE."""
        self.http1.drain()
        for acceptor in self._acceptors:
            acceptor.cancel()
        await asyncio.gather(*self._acceptors, return_exceptions=True)
        if self._adoptions:
            await asyncio.wait(self._adoptions, timeout=1.0)
        for listening in self._sockets:
            listening.close()
        for connection in list(self._connections):
            connection.drain()
        if self._connections and grace_s > 0:
            await self._wait_all_gone(grace_s)
        for connection in list(self._connections):
            connection.end()
        await self.http1.shutdown()
        if self._connections:
            await self._wait_all_gone(1.0)
        for connection in list(self._connections):
            connection.abort()
        self._tick_timer.cancel()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()

    async def _wait_all_gone(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_gone.wait()
        except TimeoutError:
            pass  # the caller ends what is left

    async def _accept(self, listening: socket.socket) -> None:
        """Accept while there is room. Clients beyond it wait in the kernel's queue, as with etcd's limit listener."""
        async with asyncio.TaskGroup() as handshakes:
            while True:
                await self._room.wait()
                try:
                    accepted, address = await self.loop.sock_accept(listening)
                except OSError as error:
                    # out of files, or the client hung up already: neither may end the loop
                    _logger.warning("failed to accept a connection", extra=fields(error=error))
                    await asyncio.sleep(0.1 if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM) else 0)
                    continue
                self._take(accepted, address, handshakes)
                self._accept_waiting(listening, handshakes)

    def _accept_waiting(self, listening: socket.socket, handshakes: asyncio.TaskGroup) -> None:
        """Accept who waits already: at full load a turn of the loop takes long, and each would wait for the others."""
        for _ in range(_ACCEPTED_A_TURN_MAX - 1):
            if not self._room.is_set():
                return
            try:
                accepted, address = listening.accept()
            except OSError:
                return  # nobody waits; or it is a failure that the next wait meets again and tells
            self._take(accepted, address, handshakes)

    def _take(self, accepted: socket.socket, address: object, handshakes: asyncio.TaskGroup) -> None:
        """Serve a client, without keeping others waiting meanwhile."""
        self._set_options(accepted)
        connection = _Connection(self)
        self._add(connection)
        if self._tls is not None:
            handshakes.create_task(self._adopt_tls(accepted, address, connection, self._tls))
        else:
            # A few turns of the loop, and not to be cancelled in the middle: `stop` waits for it.
            task = self.loop.create_task(self._adopt(accepted, connection))
            self._adoptions.add(task)
            task.add_done_callback(self._adoptions.discard)

    async def _adopt(self, accepted: socket.socket, connection: _Connection) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, accepted)
        except Exception as error:  # noqa: BLE001 - of one client: the others are to be let in
            self.remove(connection)
            accepted.close()
            _logger.warning("rejected connection on client endpoint", extra=fields(error=error))

    async def _adopt_tls(
        self, accepted: socket.socket, address: object, connection: _Connection, tls: ServerTls
    ) -> None:
        let_in = False
        try:
            let_in = await tls.accept(accepted, address, lambda: connection, self.limits.first_bytes_timeout_s)
        except Exception as error:  # noqa: BLE001 - of one client: the others are to be let in
            _logger.warning("rejected connection on client endpoint", extra=fields(error=error))
        finally:
            if not let_in:
                self.remove(connection)

    def _set_options(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        timeout_ms = int(self.limits.keepalive_timeout_s * 1000)
        try:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if timeout_ms and hasattr(socket, "TCP_USER_TIMEOUT"):
                # bytes nobody acknowledges: the other side is gone without a word
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        except OSError:
            pass  # the client has hung up meanwhile; the first read will tell

    def _add(self, connection: _Connection) -> None:
        self._connections[connection] = None
        self._all_gone.clear()
        if len(self._connections) >= self._connections_max:
            self._room.clear()

    def remove(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)
        if len(self._connections) < self._connections_max:
            self._room.set()
        if not self._connections:
            self._all_gone.set()

    def _tick(self) -> None:
        now = self.loop.time()
        self._tick_timer = self.loop.call_later(self.tick_s, self._tick)
        for connection in list(self._connections):
            connection.guarded(connection.tick, now)

    def _wake_at(self, when: float) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline_timer = self.loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._deadline_timer = None
        self.deadlines.expire(self.loop.time())


class _Connection(asyncio.Protocol):
    """One socket: finds out what the client speaks, then moves bytes."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = listener.loop
        self._transport: asyncio.Transport | None = None
        self._first_bytes = b""
        self._opened_at = listener.loop.time()
        self._grpc: ServerConnection | None = None
        self._http1: asyncio.Protocol | None = None
        self._writable = True
        self._reading_paused = False
        self._in_receive = False
        self._flush_planned = False
        self._closing_ticks = 0
        self._lingering = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._grpc is not None:
            self._in_receive = True
            try:
                self._grpc.receive(data)
            finally:
                self._in_receive = False
            self._flush()
        elif self._http1 is not None:
            self._listener.http1.on_data(self._http1)
            self._http1.data_received(data)
        else:
            self._sniff(self._first_bytes + data)

    def eof_received(self) -> bool | None:
        return self._http1.eof_received() if self._http1 is not None else None

    def pause_writing(self) -> None:
        self._writable = False
        if self._grpc is not None:
            self._grpc.set_writable(False)
        elif self._http1 is not None:
            self._http1.pause_writing()

    def resume_writing(self) -> None:
        self._writable = True
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._grpc is not None:
            self._grpc.set_writable(True)
            self._flush()
        elif self._http1 is not None:
            self._http1.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.remove(self)
        self._transport = None
        if self._grpc is not None:
            self._grpc.lost()
        elif self._http1 is not None:
            self._listener.http1.forget(self._http1)
            self._http1.connection_lost(exc)

    # What the listener asks

    def tick(self, now: float) -> None:
        """Close the connection if its client is silent for too long."""
        limits = self._listener.limits
        if self._lingering:
            return
        if self._transport is not None and self._transport.is_closing():
            # it was closed before, and its client takes the last bytes too slowly
            self._closing_ticks += 1
            if self._closing_ticks * self._listener.tick_s > limits.first_bytes_timeout_s:
                self.abort()
        elif self._grpc is not None:
            if not self._grpc.tick(now):
                self.abort()
        elif self._http1 is not None:
            if not self._listener.http1.tick(self._http1, now):
                self.abort()
        elif now - self._opened_at > limits.first_bytes_timeout_s:
            self.abort()

    def guarded(self, work: Callable[_P, None], *arguments: _P.args, **named: _P.kwargs) -> None:
        """Do what the loop calls by itself; where it fails this client alone is let go."""
        try:
            work(*arguments, **named)
        except Exception as error:
            _logger.error("closed a connection after an internal error", exc_info=error)
            self.abort()

    def drain(self) -> None:
        """Begin a graceful end."""
        if self._grpc is not None:
            self._grpc.drain()
            self._plan_flush()
        elif self._http1 is None or not self._listener.http1.is_busy(self._http1):
            self.end()

    def end(self) -> None:
        """End it now; the client is told what it can be told."""
        if self._grpc is not None:
            self._grpc.end_calls(_STOPPED)
            self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop it without a word."""
        if self._transport is not None:
            self._transport.abort()

    # Inside

    def _sniff(self, data: bytes) -> None:
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._first_bytes = data
            return
        transport = self._transport
        if transport is None:
            return
        self._first_bytes = b""
        if data.startswith(PREFACE):
            self._grpc = ServerConnection(
                self._listener.methods,
                self._listener.limits,
                _peer_name(transport),
                now=self._loop.time,
                deadlines=self._listener.deadlines,
                wake=self._plan_flush,
                port_factory=self._listener.port_factory,
            )
            self._grpc.set_writable(self._writable)
        else:
            self._http1 = self._listener.http1.adopt(transport)
        self.data_received(data)

    def _plan_flush(self) -> None:
        """Write at the end of this loop turn, once for everybody who asks."""
        if not self._in_receive and not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self.guarded, self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        grpc, transport = self._grpc, self._transport
        if grpc is None or transport is None or transport.is_closing() or self._lingering:
            return
        while data := grpc.pull():
            transport.write(data)
            if not self._writable:
                break
        if grpc.closed:
            self._linger(transport)
        elif not self._writable and not self._reading_paused and transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            # a client that asks and asks and reads no answer is not listened to until it does
            self._reading_paused = True
            transport.pause_reading()

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close once the client has closed too, or after `_LINGER_S`.

        A socket closed with bytes in it that nobody read resets the connection, and what was written last, why the
        connection ends, is lost on the way to a client that is still sending.
        """
        if not transport.can_write_eof():
            transport.close()
            return
        self._lingering = True
        transport.write_eof()
        self._loop.call_later(_LINGER_S, self._end_of_linger)

    def _end_of_linger(self) -> None:
        self._lingering = False
        if self._transport is not None:
            self._transport.close()


def _connections_possible() -> int:
    """Source: etcd server/embed/serve.go, configureClientListeners."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - _RESERVED_FILES, 100) if soft != resource.RLIM_INFINITY else 1_000_000


def _peer_name(transport: asyncio.BaseTransport) -> str:
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple) or len(name) < 2:
        return "unknown"
    host = str(name[0]).removeprefix("::ffff:")
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listening_socket(host, port)
    except OSError as error:
        raise bind_refused(host, port, error) from error
