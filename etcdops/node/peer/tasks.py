"""The transport's tasks: all in one place, so that stopping leaves none behind and no failure goes unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

_logger = logging.getLogger(__name__)

AGAIN_AFTER_S = 1.0
"""Between a failure nobody foresaw and the next try."""

_FAILED = "a task of the peer transport failed: %s"


class Tasks:
    """Owner of background tasks that come and go at run time. (A TaskGroup would end all when one fails.)"""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Run `work` until it ends or is cancelled."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, work: Callable[[], Coroutine[None, None, None]], name: str) -> asyncio.Task[None]:
        """Run `work()` until it ends or is cancelled; if it fails it begins again, after a pause.

        For a link's own work: without it this member would go on and never hear from that one again.
        """
        return self.spawn(_kept(work, name), name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _logger.error(_FAILED, task.get_name(), exc_info=error)

    def cancel(self) -> None:
        """Ask all to end; they do so in the loop's next turns."""
        for task in list(self._running):
            task.cancel()

    async def cancel_and_wait(self) -> None:
        """End all, and wait until they have."""
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def _kept(work: Callable[[], Coroutine[None, None, None]], name: str) -> None:
    while True:
        try:
            await work()
        except Exception as error:
            _logger.error(_FAILED, name, exc_info=error)
            await asyncio.sleep(AGAIN_AFTER_S)
        else:
            return
