"""Connections of our own to members: made, and ended for good."""

from __future__ import annotations

import asyncio
import ssl

from etcdops.client.endpoints import Endpoint
from etcdops.client.settings import ConnectionSettings


async def dial(
    endpoint: Endpoint, settings: ConnectionSettings, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to an endpoint, along its route if it has one. Raises: OSError, ssl.SSLError; the caller's deadline."""
    name = (settings.server_name or endpoint.host or "localhost") if context is not None else None
    route = settings.routes.get(endpoint.url)
    if route:
        return await follow(route, context, name)
    if endpoint.path:
        return await asyncio.open_unix_connection(endpoint.path, ssl=context, server_hostname=name)
    return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context, server_hostname=name)


async def follow(
    route: str, context: ssl.SSLContext | None, name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect along a route of `ConnectionSettings.routes`. Raises: as `dial`."""
    if route.startswith("/"):
        return await asyncio.open_unix_connection(route, ssl=context, server_hostname=name)
    host, _, port = route.rpartition(":")
    return await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close at once, without the goodbye of TLS, and come back when the socket is gone. Never raises for its state."""
    writer.transport.abort()
    try:
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass  # it was broken before; either way it is closed now
