"""Looks at the cluster again and again, and posts what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.message import Message

from etcdops.clock import Clock
from etcdops.errors import EtcdopsError
from etcdops.tui.feed import ClusterFeed
from etcdops.tui.model.state import Look


class Looked(Message):
    """A look came back."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look


class LookFailed(Message):
    """A poll brought nothing at all; the next one is on its way."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Poller:
    """One look every `interval_s`, never two at a time. `run` ends only when it is cancelled."""

    def __init__(
        self, feed: ClusterFeed, post: Callable[[Message], object], *, interval_s: float, clock: Clock
    ) -> None:
        self._feed = feed
        self._post = post
        self._interval_s = interval_s
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now instead of at the end of the interval."""
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            self._post(await self._look())
            try:
                # Not wait_for: before Python 3.12 it loses a cancellation that arrives together with the wake.
                async with asyncio.timeout(self._interval_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look(self) -> Message:
        try:
            view = await self._feed.observe()
            metrics = await self._feed.metrics(view)
        except EtcdopsError as error:
            return LookFailed(error.message)
        except Exception as error:  # noqa: BLE001  # a console that stops looking is worse than any bug in one look
            return LookFailed(f"{type(error).__name__}: {error}")
        return Looked(Look(view, metrics, self._clock.monotonic()))
