"""Simulated time: an asyncio loop whose clock jumps to the next timer, and each member's own view of it.

Production code runs on it as on any loop (tasks, timers, futures), so what is simulated is time and nothing else. Order
depends on what was scheduled, never on the machine.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

Wrap = Callable[[Callable[[], None]], None]


class _Waiting:
    """In the place of a selector: nothing ever arrives, so waiting is moving the clock to the next timer."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise RuntimeError("the simulation waits for nothing: no timer, no callback")
        if timeout > 0:
            self._loop.jump()
        return []


class SimLoop(asyncio.BaseEventLoop):
    """Virtual seconds from 0. What callbacks raise is kept in `errors` and stops the run."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Waiting(self)
        self.errors: list[BaseException | str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """To the first timer that waits."""
        scheduled = self._scheduled  # type: ignore[attr-defined]  # BaseEventLoop's heap of timers
        self._now = max(self._now, scheduled[0].when())

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or str(context.get("message")))
        self.stop()

    def _process_events(self, events: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Everything is on one thread: nobody has to be woken."""


class Timer:
    """What `call_later` gives: it can be cancelled."""

    __slots__ = ("_handle", "cancelled")

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        self.cancelled = False

    def set(self, handle: asyncio.TimerHandle) -> Timer:
        self._handle = handle
        return self

    def cancel(self) -> None:
        self.cancelled = True
        if self._handle is not None:
            self._handle.cancel()


class MemberLoop:
    """The loop as one life of one member sees it: its clock may be fast or slow, and it may be paused or dead.

    While paused (SIGSTOP) callbacks are kept and time goes on; once dead, nothing of this life ever runs again.
    """

    def __init__(self, loop: SimLoop, *, epoch: float, rate: float, background_s: Callable[[], float]) -> None:
        """Args: epoch is what the member's monotonic clock shows now; rate is its seconds for each real one;
        background_s draws how long a piece of background work takes."""
        self.loop = loop
        self.rate = rate
        self._epoch = epoch - loop.time() * rate
        self._background_s = background_s
        self.dead = False
        self.paused = False
        self._kept: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    def time(self) -> float:
        return self._epoch + self.loop.time() * self.rate

    def run(self, callback: Callable[..., object], *arguments: object) -> None:
        """Run now, unless this life is over; later, if it is paused."""
        if self.paused:
            self._kept.append((callback, arguments))
        elif not self.dead:
            callback(*arguments)

    def resume(self, draw: random.Random | None = None) -> None:
        """SIGCONT: what came due meanwhile runs now, in its order or in any."""
        self.paused = False
        kept, self._kept = self._kept, []
        if draw is not None and draw.random() < 0.5:
            draw.shuffle(kept)
        for callback, arguments in kept:
            self.loop.call_soon(self.run, callback, *arguments)

    def call_soon(
        self, callback: Callable[..., object], *arguments: object, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.loop.call_soon(self.run, callback, *arguments, context=context)

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: object) -> Timer:
        timer = Timer()
        return timer.set(self.loop.call_later(delay_s / self.rate, self._fire, timer, callback, arguments))

    def call_at(self, when: float, callback: Callable[..., object], *arguments: object) -> Timer:
        return self.call_later(max(0.0, when - self.time()), callback, *arguments)

    def _fire(self, timer: Timer, callback: Callable[..., object], arguments: tuple[object, ...]) -> None:
        def fire() -> None:
            if not timer.cancelled:
                callback(*arguments)

        self.run(fire)

    def create_future(self) -> asyncio.Future[Any]:
        return self.loop.create_future()

    def create_task(self, work: Any) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def run_in_executor(self, executor: object, work: Callable[[], T]) -> asyncio.Future[T]:
        """Background work happens at one moment, some time from now."""
        future: asyncio.Future[T] = self.loop.create_future()

        def finish() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  # handed on, as a thread pool does
                if not self.dead:
                    future.set_exception(error)
            else:
                if not self.dead:
                    future.set_result(result)

        self.loop.call_later(self._background_s(), self.run, finish)
        return future

    def kill(self) -> None:
        """This life is over."""
        self.dead = True
        self.paused = False
        self._kept.clear()
        for task in sorted(self.tasks, key=lambda task: task.get_name()):
            task.cancel()
