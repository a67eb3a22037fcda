"""`--insecure-skip-tls-verify`, which gRPC for Python has no switch for.

gRPC talks plain HTTP/2 to a socket file in a private folder; behind it we open the TLS connection without verification.
It is not "anything goes" for long: the first certificate an endpoint presents is remembered, shown with its
fingerprint, and the only one accepted from that endpoint afterwards, so nobody can step in between later. Pinning it in
gRPC instead would still refuse expired certificates, and those are a common reason to use the option.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from etcdops.client import tls
from etcdops.client.endpoints import Endpoint
from etcdops.client.settings import ConnectionSettings
from etcdops.client.sockets import dial, hang_up

_CHUNK_BYTES = 1 << 16


class UnverifiedTunnel:
    """One endpoint's tunnel. `error` is why the last connection failed, "" when it did not.

    Args: notify - told once in a sentence which certificate is trusted.
    """

    def __init__(self, endpoint: Endpoint, settings: ConnectionSettings, notify: Callable[[str], None]) -> None:
        self.endpoint = endpoint
        self.error = ""
        self._context = tls.context(settings, verify=False)
        self._settings = settings
        self._timeout_s = settings.dial_timeout_s
        self._notify = notify
        self._fingerprint = ""
        self._folder = ""
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; returns the target for gRPC."""
        # Made with mode 0700, so only we can use the tunnel.
        self._folder = tempfile.mkdtemp(prefix="etcdops-")
        path = str(Path(self._folder) / "tls")
        self._server = await asyncio.start_unix_server(self._accept, path)
        return f"unix:{path}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # closing: asyncio's stream server would report it as an error of ours
        finally:
            await hang_up(writer)
            self._pipes.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                member_reader, member_writer = await dial(self.endpoint, self._settings, self._context)
        except (OSError, TimeoutError) as error:
            self.error = _describe(error, self._timeout_s)
            return
        try:
            if self._accepts(member_writer):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, member_writer))
                    group.create_task(_copy(member_reader, writer))
        finally:
            await hang_up(member_writer)

    def _accepts(self, writer: asyncio.StreamWriter) -> bool:
        presented = writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
        fingerprint = hashlib.sha256(presented).hexdigest()
        if not self._fingerprint:
            self._fingerprint = fingerprint
            self._notify(
                f"{self.endpoint.url}: certificate not verified; trusting the one it presents now, sha256 {fingerprint}"
            )
        if fingerprint != self._fingerprint:
            self.error = (
                "it presents another certificate than at first "
                f"(sha256 {fingerprint[:16]}... instead of {self._fingerprint[:16]}...); "
                "start again if it was renewed"
            )
            return False
        self.error = ""
        return True


def _describe(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no connection within {timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "Connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake failed: {error.reason or error}"
    return str(error)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until either side ends; then end the other one too, which ends the opposite copy."""
    try:
        while data := await source.read(_CHUNK_BYTES):
            target.write(data)
            await target.drain()
    except (OSError, ssl.SSLError):
        pass  # a broken connection is told to gRPC by closing ours
    finally:
        target.close()
