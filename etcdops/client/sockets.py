"""Ending a connection of ours for good."""

from __future__ import annotations

import asyncio


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close at once, without the goodbye of TLS, and come back when the socket is gone. Never raises for its state."""
    writer.transport.abort()
    try:
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass  # it was broken before; either way it is closed now
