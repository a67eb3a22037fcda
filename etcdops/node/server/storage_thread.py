"""The one thread that writes and fsyncs the raft log. The loop hands it jobs and gets their results back on the
loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_Job = Callable[[], None]


class StorageThread:
    """Runs jobs one after the other, in the order of `submit`.

    A job that raises ends the member: `on_failure` is called on the loop with the exception, and later jobs are not
    run, because a raft log whose last write failed may say nothing more (an fsync that failed once must not be tried
    again: the kernel may have dropped the pages).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_failure: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._on_failure = on_failure
        # Bounded by the driver: at most one Ready and a few snapshot jobs are outstanding.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="raft-log", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `job` on the thread; then `done(result)` on the loop."""

        def run() -> None:
            result = job()
            self._post(lambda: done(result))

        self._jobs.put(run)

    def stop(self, timeout_s: float) -> bool:
        """Finish what is queued and end the thread. True when it ended within `timeout_s`."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._failed:
                continue
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the member must stop
                self._failed = True
                failure = error
                self._post(lambda failure=failure: self._on_failure(failure))  # type: ignore[misc]

    def _post(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop is closed: the member is going down and nobody waits for the answer.
            pass
