"""HTTP requests to other members: one place for TLS, and for what a failed handshake is called."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping

import aiohttp

from etcdops.node.tls.client import ClientTls
from etcdops.node.tls.handshake import ATTEMPT, Attempt
from etcdops.node.tls.words import handshake_words


class Distrusted(aiohttp.ClientError):
    """The other side's certificate is not one to believe; the text says why, as Go would."""


_UNLIMITED = aiohttp.ClientTimeout(total=None)


class Dialer:
    """A session whose connections are made with the certificates that are there now.

    One that is open and waits for its next request is used again only while they are the same.
    """

    def __init__(
        self,
        tls: ClientTls | None = None,
        *,
        timeout: aiohttp.ClientTimeout = _UNLIMITED,
        idle_s: float = 15.0,
    ) -> None:
        """Args: timeout - of requests that name none; idle_s - how long a connection waits for its next request."""
        self._tls = tls
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_s),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        )
        self._timeout = timeout

    async def close(self) -> None:
        """Every connection."""
        await self._session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
        read_buffer_bytes: int = 64 * 1024,
    ) -> aiohttp.ClientResponse:
        """The answer's head; use it with `async with`, or close it. Redirects are not followed.

        Raises: Distrusted, aiohttp.ClientError, OSError, TimeoutError.
        """
        attempt = Attempt()
        before = ATTEMPT.set(attempt)
        tls: ssl.SSLContext | bool = self._tls.current() if self._tls is not None else True
        try:
            return await self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=timeout or self._timeout,
                ssl=tls,
                allow_redirects=False,
                read_bufsize=read_buffer_bytes,
            )
        except (aiohttp.ClientError, OSError):
            if attempt.failure is not None:
                raise Distrusted(handshake_words(attempt.failure)) from attempt.failure
            raise
        finally:
            ATTEMPT.reset(before)
