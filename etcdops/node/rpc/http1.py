"""HTTP/1.1 by aiohttp, with the deadlines it leaves out: slow headers, stalled bodies, idle connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from etcdops.node.rpc.limits import Limits

HttpHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _State:
    """What one connection is waiting for."""

    heard_at: float
    header_since: float | None = None  # bytes of a request have come, its header is not complete
    request: web.BaseRequest | None = None  # being answered


class Http1Server:
    """aiohttp's low-level server, fed by connections that turned out to speak HTTP/1.1."""

    def __init__(self, handler: HttpHandler, limits: Limits) -> None:
        self._handler = handler
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._states: dict[asyncio.BaseProtocol, _State] = {}
        self._draining = False
        self._server = web.Server(
            self._handle,
            request_factory=self._make_request,
            keepalive_timeout=limits.http_idle_timeout_s,
            access_log=None,
        )

    def adopt(self, transport: asyncio.Transport) -> asyncio.Protocol:
        """The protocol for a new connection, made and told of its transport."""
        protocol = self._server()
        self._states[protocol] = _State(self._loop.time())
        protocol.connection_made(transport)
        return protocol

    def on_data(self, protocol: asyncio.Protocol) -> None:
        """Bytes are about to be fed to a connection."""
        state = self._states.get(protocol)
        if state is not None:
            state.heard_at = self._loop.time()
            if state.request is None and state.header_since is None:
                state.header_since = state.heard_at

    def forget(self, protocol: asyncio.Protocol) -> None:
        """A connection is gone."""
        self._states.pop(protocol, None)

    def is_busy(self, protocol: asyncio.Protocol) -> bool:
        """Whether a request is being answered."""
        state = self._states.get(protocol)
        return state is not None and state.request is not None

    def tick(self, protocol: asyncio.Protocol, now: float) -> bool:
        """Returns: False when the connection waited too long for its client."""
        state = self._states.get(protocol)
        if state is None:
            return True
        if state.request is not None:
            stalled = not state.request.content.is_eof()
            return not (stalled and now - state.heard_at > 6 * self._limits.http_header_timeout_s)
        if state.header_since is not None:
            return now - state.header_since <= self._limits.http_header_timeout_s
        return now - state.heard_at <= self._limits.http_idle_timeout_s

    def drain(self) -> None:
        """From now on every answer is the last one of its connection."""
        self._draining = True

    async def shutdown(self) -> None:
        """Close what is left."""
        await self._server.shutdown(timeout=0.5)

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: object,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,  # type: ignore[arg-type]  # aiohttp's writer class is not public
            task,
            self._loop,
            client_max_size=self._limits.receive_bytes_max,
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        state = self._states.get(request.protocol)
        if state is None:
            return await self._handler(request)
        state.header_since = None
        state.request = request
        try:
            response = await self._handler(request)
            if self._draining and not response.prepared:
                response.force_close()
            return response
        finally:
            state.request = None
            state.heard_at = self._loop.time()
