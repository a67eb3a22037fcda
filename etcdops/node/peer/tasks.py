"""The transport's tasks: all in one place, so that stopping leaves none behind and no failure goes unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

_logger = logging.getLogger(__name__)


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

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _logger.error("a task of the peer transport failed: %s", task.get_name(), exc_info=error)
            task.get_loop().call_exception_handler({"message": "peer transport", "exception": error, "task": task})

    def cancel(self) -> None:
        """Ask all to end; they do so in the loop's next turns."""
        for task in list(self._running):
            task.cancel()

    async def cancel_and_wait(self) -> None:
        """End all, and wait until they have."""
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
