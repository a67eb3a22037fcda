"""A client that writes all the time, as an application does, and knows what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.errors import EtcdopsError, ResultUnknown

_PAUSE_S = 0.01
_TIMEOUT_S = 15.0


@dataclass
class Writer:
    """Puts `w/N` = `N` one after the other. Takes in new certificate files as they change, as applications do.

    A put whose fate nobody knows is repeated, which does no harm: etcd with TLS cuts off the requests it is at when it
    is stopped. Source: etcd server/embed/etcd.go, stopServers.
    """

    settings: ConnectionSettings
    acknowledged: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    """Writes that failed for good, and why."""
    repeated: int = 0
    """Writes that were sent again because nobody knew."""
    longest_s: float = 0.0

    async def write(self) -> None:
        """Until it is cancelled."""
        client, seen = Client(self.settings), self._files()
        loop = asyncio.get_running_loop()
        try:
            for number in range(1_000_000):
                if (now := self._files()) != seen:
                    await client.close()
                    client, seen = Client(dataclasses.replace(self.settings)), now
                began = loop.time()
                try:
                    await self._put(client, number)
                    self.acknowledged.append(number)
                except EtcdopsError as error:
                    self.failed[number] = f"{error} ({error.cause})"
                self.longest_s = max(self.longest_s, loop.time() - began)
                await asyncio.sleep(_PAUSE_S)
        finally:
            await client.close()

    async def _put(self, client: Client, number: int) -> None:
        try:
            await client.kv.put(f"w/{number}", str(number), timeout=_TIMEOUT_S)
        except ResultUnknown:
            self.repeated += 1
            await client.kv.put(f"w/{number}", str(number), timeout=_TIMEOUT_S)

    def _files(self) -> tuple[bytes, ...]:
        paths = (self.settings.cacert, self.settings.cert)
        return tuple(Path(path).read_bytes() for path in paths if path)

    async def lost(self) -> list[int]:
        """Acknowledged writes that are not there."""
        async with Client(self.settings) as client:
            found = await client.kv.get("w/", prefix=True, timeout=_TIMEOUT_S)
            there = {int(kv.value) for kv in found.kvs}
        return [number for number in self.acknowledged if number not in there]


@asynccontextmanager
async def writing(settings: ConnectionSettings) -> AsyncIterator[Writer]:
    """A writer at work, from its first acknowledged write to the end of the block, which it outlives by one write."""
    writer = Writer(settings)
    task = asyncio.create_task(writer.write())
    try:
        await _more(writer, task)
        yield writer
        await _more(writer, task)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _more(writer: Writer, task: asyncio.Task[None]) -> None:
    before = len(writer.acknowledged)
    async with asyncio.timeout(60):
        while len(writer.acknowledged) == before:
            if task.done():
                await task
            await asyncio.sleep(_PAUSE_S)
