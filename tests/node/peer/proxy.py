"""A TCP proxy that can be cut and mended: a network between two transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.ports import free_ports


class Proxy:
    """Forwards a loopback port to another one. While cut, it refuses connections and has closed those it had."""

    def __init__(self, port: int, target: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.cut_after_bytes: int | None = None
        """Cut by itself once so many bytes went towards the target."""
        self._port = port
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._drop()
        await asyncio.sleep(0)

    def _drop(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, there_writer}
        try:
            await asyncio.gather(
                self._copy(reader, there_writer, counted=True), self._copy(there_reader, writer, counted=False)
            )
        except OSError:
            pass  # one side is gone, which is what this is for
        finally:
            self._open -= {writer, there_writer}
            writer.transport.abort()
            there_writer.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
            if counted and self.cut_after_bytes is not None:
                self.cut_after_bytes -= len(data)
                if self.cut_after_bytes <= 0:
                    self._drop()
                    return
        if sink.can_write_eof():
            sink.write_eof()


@asynccontextmanager
async def proxy_to(target_port: int) -> AsyncIterator[Proxy]:
    """A working proxy to a loopback port."""
    proxy = Proxy(free_ports(1)[0], target_port)
    await proxy.mend()
    try:
        yield proxy
    finally:
        await proxy.cut()
