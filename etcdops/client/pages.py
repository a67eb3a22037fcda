"""What members show over plain HTTP on their client ports: `/metrics`, `/version`, `/health`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from urllib.parse import urlsplit

from etcdops.client import tls
from etcdops.client.metrics import MemberMetrics, NoMetrics, parse_metrics
from etcdops.client.settings import ConnectionSettings
from etcdops.client.sockets import follow
from etcdops.errors import Unreachable

PAGE_SIZE_MAX = 8 * 1024 * 1024
"""etcd's largest page, `/metrics`, is some 100 KB; more than this is something else."""


class Pages:
    """Reads pages, a connection each; the ways of the settings' `routes` count here as for requests.

    Streams of asyncio instead of an HTTP library: aiohttp speaks no TLS through a socket file.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None

    async def read(self, endpoint: str, path: str) -> tuple[int, str]:
        """(status, text) of a page. Raises: Unreachable - no answer within the dial timeout, or one that is no page."""
        if not endpoint.startswith(("http://", "https://")):
            raise Unreachable("not an HTTP address")
        try:
            async with asyncio.timeout(self._settings.dial_timeout_s):
                reader, writer = await self._connect(endpoint)
                try:
                    host = urlsplit(endpoint).netloc
                    writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    await writer.drain()
                    return _parsed(await _whole(reader))
                finally:
                    writer.transport.abort()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError as error:
            raise Unreachable("no answer in time") from error
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"its certificate is not accepted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise Unreachable(f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}") from error
        except ConnectionRefusedError as error:  # asyncio's own text names the call and no reason
            raise Unreachable("connection refused") from error
        except OSError as error:
            raise Unreachable(error.strerror or "no connection") from error
        except ValueError as error:
            raise Unreachable(str(error)) from error

    async def metrics(self, endpoint: str, *, taken_at_s: float | None = None) -> MemberMetrics | NoMetrics:
        """The families of interest, or why they cannot be had. `taken_at_s`: monotonic time, now if left out."""
        address = urlsplit(endpoint).netloc or endpoint
        try:
            status, page = await self.read(endpoint, "/metrics")
            if status != 200:
                return NoMetrics(address, f"HTTP {status}")
            return parse_metrics(page, taken_at_s=time.monotonic() if taken_at_s is None else taken_at_s)
        except Unreachable as error:
            return NoMetrics(address, error.message)
        except ValueError as error:
            return NoMetrics(address, str(error))

    async def versions(self, endpoint: str) -> tuple[str, str]:
        """(server, cluster) as `/version` says. Raises: Unreachable."""
        _, text = await self.read(endpoint, "/version")
        try:
            said = json.loads(text)
            return str(said["etcdserver"]), str(said["etcdcluster"])
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable("/version is not etcd's") from error

    async def trouble(self, endpoint: str) -> str:
        """Why `/health` is not true; "" when it is. Raises: Unreachable."""
        status, text = await self.read(endpoint, "/health")
        with contextlib.suppress(ValueError):
            said = json.loads(text)
            if isinstance(said, dict):
                well = str(said.get("health")).lower() == "true"
                return "" if well else str(said.get("reason") or f"HTTP {status}")
        return f"HTTP {status}"

    async def _connect(self, endpoint: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        context = self._tls() if parts.scheme == "https" else None
        name = (self._settings.server_name or host) if context is not None else None
        route = self._settings.routes.get(endpoint)
        if route is not None:
            return await follow(route, context, name)
        return await asyncio.open_connection(host, port, ssl=context, server_hostname=name)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls.context(self._settings, verify=not self._settings.insecure_skip_tls_verify)
            # the client port would choose HTTP/2, which this is not
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


async def _whole(reader: asyncio.StreamReader) -> bytes:
    page = bytearray()
    while more := await reader.read(64 * 1024):
        page += more
        if len(page) > PAGE_SIZE_MAX:
            raise ValueError(f"the page is larger than {PAGE_SIZE_MAX} bytes")
    return bytes(page)


def _parsed(answer: bytes) -> tuple[int, str]:
    """Source: RFC 1945; a server may answer with 1.1, but not in pieces to a client of 1.0."""
    if not answer:
        raise ValueError("the connection was closed without an answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    return int(words[1]), body.decode("utf-8", "replace")
