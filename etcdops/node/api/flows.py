"""Answers that take several requests and waits one after the other: written as coroutines, run without tasks.

A coroutine here awaits only `Step`s. It goes on from the callback that ends a step, on the event loop's thread, so it
costs a waiting client one suspended frame.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Generic, TypeVar, cast

from etcdops.node.rpc.service import RpcError

T = TypeVar("T")
_T_co = TypeVar("_T_co", covariant=True)

Done = Callable[[T], None]
Failed = Callable[[RpcError], None]
GiveUp = Callable[[], None]


class Step(Generic[_T_co]):
    """One thing to wait for.

    Args: start - begins it; calls `done(result)` or `failed(error)` once, at once or later, and returns what gives it
        up. Awaiting the step gives the result, or raises the error.
    """

    def __init__(self, start: Callable[[Done[_T_co], Failed], GiveUp]) -> None:
        self._start = cast(Callable[[Done[object], Failed], GiveUp], start)

    def __await__(self) -> Generator[Step[object], object, _T_co]:
        return cast(_T_co, (yield self))

    def start(self, done: Done[object], failed: Failed) -> GiveUp:
        return self._start(done, failed)


class Flow:
    """Runs one coroutine from the first line to its end, error, or cancellation.

    Args: failed - called when the coroutine raises RpcError; what it has to say otherwise it says itself.
    """

    def __init__(self, coroutine: Coroutine[Step[object], object, None], failed: Failed) -> None:
        self._coroutine = coroutine
        self._failed = failed
        self._turn = 0
        self._give_up: GiveUp | None = None
        self._run(lambda: coroutine.send(None))

    def cancel(self) -> None:
        """Nobody waits for the answer any more: the coroutine ends where it waits, through its `finally`."""
        self._turn += 1
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()
        self._coroutine.close()

    def _run(self, go_on: Callable[[], Step[object]]) -> None:
        self._turn += 1
        self._give_up = None
        try:
            step = go_on()
        except StopIteration:
            return
        except RpcError as error:
            self._failed(error)
            return
        turn = self._turn
        give_up = step.start(
            lambda result: self._resume(turn, lambda: self._coroutine.send(result)),
            lambda error: self._resume(turn, lambda: self._coroutine.throw(error)),
        )
        if self._turn == turn:  # else the step has ended already, and the next one is under way
            self._give_up = give_up

    def _resume(self, turn: int, go_on: Callable[[], Step[object]]) -> None:
        """A step of a flow that was cancelled meanwhile ends in nothing."""
        if self._turn == turn:
            self._run(go_on)
