"""What becomes of an exception that nobody caught: asyncio would log it and go on with a member that is half alive.

the member's own work      timers, turns of the driver and of the watch hub, results of threads, tasks of the
                           server, the accepting of clients: the member ends, loudly, as etcd does after a panic.
                           What it was about to do is not done, and nobody would ever do it: a supervisor that
                           starts it again is better than a member that votes and answers nothing
one connection             a client's or a member's: the loop closes it, and the member goes on. Whoever can reach
                           a port must not be able to end the member with what he sends
a link to another member   its tasks begin again after a pause (`peer/tasks.py`)
a library's own            without a line of ours on the stack: logged
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import TypedDict

from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

_OURS = "etcdops.node."


class Context(TypedDict, total=False):
    """What asyncio's loops say, as far as it matters here."""

    message: str
    exception: BaseException
    transport: object
    protocol: object


class LoopErrors:
    """The loop's exception handler. `failed` hears of what the member cannot go on after."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on, until the loop ends."""
        loop.set_exception_handler(lambda _, context: self.handle(Context(**context)))  # type: ignore[typeddict-item]  # keys are asyncio's

    def handle(self, context: Context) -> None:
        """Called by the loop."""
        message, error = context.get("message", "unhandled exception in event loop"), context.get("exception")
        if error is None:
            log.warning("event loop: %s", message)
        elif "transport" in context or "protocol" in context:
            log.error("closed a connection after an internal error", exc_info=error, extra=fields(error=message))
        elif _is_ours(error.__traceback__):
            self._failed(error)
        else:
            log.error("event loop: %s", message, exc_info=error)


def _is_ours(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__", "")).startswith(_OURS):
            return True
        traceback = traceback.tb_next
    return False
