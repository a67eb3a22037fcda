"""A `SingleMember` on a real port, in a thread of its own: for grpcio, etcdctl and curl."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from etcdops.clock import SystemClock
from etcdops.node.api.port import Limits
from etcdops.node.api.services import EtcdServices
from etcdops.node.lease.expiry import INTERVAL_S
from etcdops.node.rpc.listener import serve
from tests.fakes.single_member import SingleMember, Timer

T = TypeVar("T")

_START_TIMEOUT_S = 20.0


class LoopMember(SingleMember):
    """Runs on an event loop and by the machine's clock instead of by `settle` and `advance`."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(1)
        super().__init__(directory, limits=limits, clock=SystemClock())

    def close(self) -> None:
        self._threads.shutdown()
        super().close()

    def call_soon(self, callback: Callable[[], None]) -> object:
        return self._loop.call_soon(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._loop.call_later(delay_s, timer.fire)
        return timer

    def run_in_background(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        future = self._loop.run_in_executor(self._threads, work)
        future.add_done_callback(
            lambda ended: done(None, error) if (error := ended.exception()) else done(ended.result(), None)
        )


class ServedMember:
    """Use as a context; `address` is host:port of its client port."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self._directory = directory
        self._limits = limits or Limits()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="served-member")
        self.address = ""
        self.member: LoopMember | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(_START_TIMEOUT_S), "the served member did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_TIMEOUT_S)
        assert not self._thread.is_alive(), "the served member did not stop"

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        member = self.member = LoopMember(self._directory, self._limits)
        services = EtcdServices(member)
        listener = await serve([("127.0.0.1", 0)], services.methods(), services.http.handle)
        self.address = "{}:{}".format(*listener.addresses[0])
        expiry = asyncio.create_task(self._expire(services))
        self._started.set()
        await self._stop.wait()
        expiry.cancel()
        await listener.stop(1.0)
        member.close()

    async def _expire(self, services: EtcdServices) -> None:
        while True:
            services.lease_expiry.tick()
            await asyncio.sleep(INTERVAL_S)
