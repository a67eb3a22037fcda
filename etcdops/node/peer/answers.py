"""Answers of the peer port in the form Go's net/http gives them, and request bodies within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from etcdops.node.peer.port import Answer

BODY_TIMEOUT_S = 30.0
"""How long the next portion of a request's body may take to arrive."""

BODY_ERRORS = (web.RequestPayloadError, OSError, EOFError)
"""What reading a body raises when the sender breaks off, stalls or does not speak HTTP."""


class BodyTooLong(OSError):
    """More than is read of such a request."""


def plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Source: Go net/http, Error."""
    return web.Response(
        status=status,
        body=text.encode() + b"\n",
        headers={
            **(headers or {}),
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        },
    )


def not_found() -> web.Response:
    """Source: Go net/http, NotFound."""
    return plain(404, "404 page not found")


def wrong_method(allowed: str) -> web.Response:
    """Any method but the one that a path has."""
    return plain(405, "Method Not Allowed", {"Allow": allowed})


def refused(answer: Answer, headers: Mapping[str, str]) -> web.Response:
    """A refusal with its text."""
    return plain(answer.status, answer.body.decode(errors="replace"), headers)


async def chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises: BODY_ERRORS."""
    while True:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


async def read_body(request: web.BaseRequest, *, size_max: int) -> bytes:
    """The whole body. Memory grows only with what arrives. Raises: BODY_ERRORS, BodyTooLong among them."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks(request):
        parts.append(chunk)
        size += len(chunk)
        if size > size_max:
            raise BodyTooLong(f"the body is longer than {size_max} bytes")
    return b"".join(parts)
