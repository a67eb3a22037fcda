"""Simulated time: an asyncio loop whose clock jumps to the next timer, and each member's own view of it.

Production code runs on it as on any loop (tasks, timers, futures), so what is simulated is time and nothing else. Order
depends on what was scheduled, never on the machine.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

Work = Callable[..., object]
Arguments = tuple[Any, ...]


TURN_S = 20e-6
"""How long a turn of the loop takes: so that messages arrive between the steps of what takes several."""


class Timer:
    """What `call_later` gives: it can be cancelled."""

    __slots__ = ("_arguments", "_callback", "cancelled")

    def __init__(self, callback: Work, arguments: Arguments) -> None:
        self._callback = callback
        self._arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self) -> None:
        if not self.cancelled:
            self._callback(*self._arguments)


class _Soon:
    """What `call_soon` gives."""

    def cancel(self) -> NoReturn:
        raise NotImplementedError("nobody takes back what is about to happen")


_SOON = _Soon()


class SimLoop(asyncio.BaseEventLoop):
    """Virtual seconds from 0. What callbacks raise is kept in `errors` and stops the run.

    As in asyncio what is ready now runs in one turn, and what that makes ready in the next one; timers that are due
    come in between, in their order. With nothing ready the clock jumps to the next timer. This replaces BaseEventLoop's
    own queues, which would cost a third of a run. Callbacks run in no context of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.errors: list[BaseException | str] = []
        self._soon: deque[tuple[Work, Arguments]] = deque()
        self._timers: list[tuple[float, int, Work, Arguments]] = []
        self._number = 0
        self._over = False
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]  # a Handle costs more than most callbacks
        self, callback: Work, *arguments: Any, context: contextvars.Context | None = None
    ) -> _Soon:
        self._soon.append((callback, arguments))
        return _SOON

    def call_at(  # type: ignore[override]  # as call_soon
        self, when: float, callback: Work, *arguments: Any, context: contextvars.Context | None = None
    ) -> Timer:
        timer = Timer(callback, arguments)
        self.after(when - self.now, timer.fire)
        return timer

    def call_later(  # type: ignore[override]  # as call_soon
        self, delay: float, callback: Work, *arguments: Any, context: contextvars.Context | None = None
    ) -> Timer:
        timer = Timer(callback, arguments)
        self.after(delay, timer.fire)
        return timer

    def after(self, delay_s: float, callback: Work, *arguments: Any) -> None:
        """`call_later` for what is never cancelled."""
        self._number += 1
        heappush(self._timers, (self.now + (delay_s if delay_s > 0.0 else 0.0), self._number, callback, arguments))

    def stop(self) -> None:
        self._over = True

    def run_forever(self) -> None:
        """Until `stop`. Raises: RuntimeError when nothing could ever happen again."""
        soon, timers = self._soon, self._timers
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._over = False
        try:
            while not self._over:
                while timers and timers[0][0] <= self.now:
                    soon.append(heappop(timers)[2:])
                if soon:
                    self._turn(len(soon))
                    self.now += TURN_S
                elif timers:
                    self.now = timers[0][0]
                else:
                    raise RuntimeError("the simulation waits for nothing: no timer, no callback")
        finally:
            asyncio._set_running_loop(before)

    def _turn(self, count: int) -> None:
        for _ in range(count):
            callback, arguments = self._soon.popleft()
            try:
                callback(*arguments)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  # a broken promise, or an error of ours
                self.errors.append(error)
                self._over = True
            if self._over:
                return

    def close(self) -> None:
        """Forget what was to happen."""
        self._soon.clear()
        self._timers.clear()
        super().close()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or str(context.get("message")))
        self.stop()


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
        self._kept: list[tuple[Work, Arguments]] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    def time(self) -> float:
        return self._epoch + self.loop.now * self.rate

    def run(self, callback: Work, *arguments: object) -> None:
        """Run now, unless this life is over; later, if it is paused."""
        if self.paused:
            self._kept.append((callback, arguments))
        elif not self.dead:
            try:
                callback(*arguments)
            except Exception:
                # What a life says while its power fails is heard by nobody.
                if not self.dead:
                    raise

    def resume(self, draw: random.Random | None = None) -> None:
        """SIGCONT: what came due meanwhile runs now, in its order or in any."""
        self.paused = False
        kept, self._kept = self._kept, []
        if draw is not None and draw.random() < 0.5:
            draw.shuffle(kept)
        for callback, arguments in kept:
            self.loop.call_soon(self.run, callback, *arguments)

    def call_soon(self, callback: Work, *arguments: object, context: contextvars.Context | None = None) -> _Soon:
        return self.loop.call_soon(self.run, callback, *arguments)

    def call_later(self, delay_s: float, callback: Work, *arguments: object) -> Timer:
        timer = Timer(callback, arguments)
        self.loop.after(delay_s / self.rate, self.run, timer.fire)
        return timer

    def call_at(self, when: float, callback: Work, *arguments: object) -> Timer:
        return self.call_later(max(0.0, when - self.time()), callback, *arguments)

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

        self.loop.after(self._background_s(), self.run, finish)
        return future

    def kill(self) -> None:
        """This life is over."""
        self.dead = True
        self.paused = False
        self._kept.clear()
        for task in sorted(self.tasks, key=lambda task: task.get_name()):
            task.cancel()
