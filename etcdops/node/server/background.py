"""Work that would block the loop (images, hashes, checkpoints), and the moments when none of it may run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_THREADS = 4


class Background:
    """A few threads that open the store by connections of their own. All methods belong to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="background")
        self._running = 0
        self._quiet: deque[Callable[[], None]] = deque()
        self._held: deque[Callable[[], None]] = deque()

    def run(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run `work` on a thread, then `done(result, error)` on the loop. Waits while somebody asked for quiet."""
        if self._quiet:
            self._held.append(lambda: self._start(work, done))
        else:
            self._start(work, done)

    def when_quiet(self, action: Callable[[], None]) -> None:
        """Call `action` as soon as no work runs, at once if none does: it may replace the store's file."""
        self._quiet.append(action)
        self._settle()

    def stop(self) -> None:
        """Wait for what runs; forget what waits."""
        self._quiet.clear()
        self._held.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _start(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        self._running += 1
        future = self._loop.run_in_executor(self._executor, work)

        def finished(ended: asyncio.Future[T]) -> None:
            self._running -= 1
            try:
                if ended.cancelled():
                    done(None, asyncio.CancelledError())
                elif (error := ended.exception()) is not None:
                    done(None, error)
                else:
                    done(ended.result(), None)
            finally:
                self._settle()

        future.add_done_callback(finished)

    def _settle(self) -> None:
        while self._quiet and not self._running:
            self._quiet.popleft()()
        while self._held and not self._quiet:
            self._held.popleft()()
