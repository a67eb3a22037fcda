"""The peer port's sockets: HTTP/1.1 by aiohttp, with limits that keep strangers from holding connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from etcdops.errors import StartRefused
from etcdops.node.config.urls import host_and_port
from etcdops.node.peer.urls import parse_peer_urls
from etcdops.node.sockets import bind_refused, listening_socket
from etcdops.node.tls.port import TlsPort
from etcdops.node.tls.server import ServerTls

FIRST_REQUEST_TIMEOUT_S = 10.0
"""How long a new connection may take to say what it wants, TLS handshake included."""

IDLE_TIMEOUT_S = 30.0
"""How long a connection is kept for a next request. Longer than any member waits between two probes."""

STOP_TIMEOUT_S = 1.0

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class PeerListener:
    """Listens on every peer URL and gives requests to `handle`, whose task is cancelled when the requester is gone."""

    def __init__(self, handle: Handle, tls: ServerTls | None) -> None:
        self._handle = handle
        self._tls = tls
        self._web = _Server(handle)
        self._sockets: list[asyncio.Server] = []
        self._tls_ports: list[TlsPort] = []

    async def start(self, listen_urls: Sequence[str]) -> None:
        """Bind every URL, or none. Raises: StartRefused."""
        try:
            for url in listen_urls:
                await self._listen(url)
        except StartRefused:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the ports and end every request."""
        for listening in self._sockets:
            listening.close()
        for port in self._tls_ports:
            await port.close()
        self._tls_ports.clear()
        self._web.pre_shutdown()  # idle connections end now instead of after the timeout
        await asyncio.sleep(0)
        await self._web.shutdown(STOP_TIMEOUT_S)
        for listening in self._sockets:
            await listening.wait_closed()
        self._sockets.clear()

    async def _listen(self, url: str) -> None:
        try:
            (parsed,) = parse_peer_urls([url])
            host, port = host_and_port(parsed)
        except ValueError as error:
            raise StartRefused(
                f"cannot listen for peers on {url}",
                cause=str(error),
                hint="use http://IP:PORT or https://IP:PORT in --listen-peer-urls",
            ) from error
        secure = parsed.startswith("https://")
        if secure and self._tls is None:
            raise StartRefused(
                f"cannot listen for peers on {url}",
                cause="the URL is https and no certificate is configured",
                hint="give --peer-cert-file and --peer-key-file, or use http in --listen-peer-urls",
            )
        try:
            if secure and self._tls is not None:
                self._tls_ports.append(TlsPort(listening_socket(host, port), self._web, self._tls))
            else:
                loop = asyncio.get_running_loop()
                self._sockets.append(await loop.create_server(self._web, sock=listening_socket(host, port)))
        except OSError as error:
            raise bind_refused(host, port, error) from error


class _Server(web.Server):
    """aiohttp's server, which by itself lets a connection that never asks anything stay for ever."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(
            self._serve,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_TIMEOUT_S,
            lingering_time=2.0,
        )
        self._handle = handle
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self._heard(request.protocol)
        return await self._handle(request)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        later = asyncio.get_running_loop().call_later
        self._silent[handler] = later(FIRST_REQUEST_TIMEOUT_S, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._heard(handler)
        super().connection_lost(handler, exc)

    def _heard(self, handler: web.RequestHandler) -> None:
        timer = self._silent.pop(handler, None)
        if timer is not None:
            timer.cancel()
