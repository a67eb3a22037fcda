"""Background work and the moments of quiet in which a store may be replaced; the thread of the raft log."""

from __future__ import annotations

import asyncio
import threading

import pytest

from etcdops.node.server.background import Background
from etcdops.node.server.storage_thread import StorageThread

DEADLINE_S = 10.0


class _Gate:
    """Work that ends when the test lets it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._open = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self._open.wait(DEADLINE_S)
        return "done"

    def open(self) -> None:
        self._open.set()


async def _until(condition: threading.Event | asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE_S):
        if isinstance(condition, asyncio.Event):
            await condition.wait()
        else:
            await asyncio.to_thread(condition.wait, DEADLINE_S)


async def test_results_and_errors_arrive_on_the_loop() -> None:
    """Exactly one of both is given."""
    background = Background(asyncio.get_running_loop())
    told: list[tuple[object, object]] = []
    both = asyncio.Event()

    def done(result: object, error: BaseException | None) -> None:
        told.append((result, type(error)))
        assert threading.current_thread() is threading.main_thread()
        if len(told) == 2:
            both.set()

    background.run(lambda: 7, done)
    background.run(lambda: 1 // 0, done)
    await _until(both)
    assert sorted(told, key=str) == [(7, type(None)), (None, ZeroDivisionError)]
    background.stop()


async def test_quiet_waits_for_what_runs_and_holds_what_comes() -> None:
    """A store is never replaced under a reader, and no reader opens it in the middle of that."""
    background = Background(asyncio.get_running_loop())
    events: list[str] = []
    finished = asyncio.Event()
    gate = _Gate()
    background.run(gate, lambda result, error: events.append("first"))
    await _until(gate.begun)
    background.when_quiet(lambda: events.append("quiet"))

    def second(result: object, error: BaseException | None) -> None:
        events.append("second")
        finished.set()

    background.run(lambda: events.append("second runs"), second)
    await asyncio.sleep(0.01)
    assert events == []
    gate.open()
    await _until(finished)
    assert events == ["first", "quiet", "second runs", "second"]
    background.stop()


async def test_quiet_is_there_at_once_when_nothing_runs() -> None:
    """Without a turn of the loop in between."""
    background = Background(asyncio.get_running_loop())
    events: list[str] = []
    background.when_quiet(lambda: events.append("quiet"))
    assert events == ["quiet"]
    background.stop()


async def test_a_callback_that_raises_does_not_keep_quiet_away() -> None:
    """Its error is the loop's to report; the one who waits for quiet has nothing to do with it."""
    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
    background = Background(loop)
    gate, quiet = _Gate(), asyncio.Event()

    def fail(result: object, error: BaseException | None) -> None:
        raise RuntimeError("a bug")

    background.run(gate, fail)
    background.when_quiet(quiet.set)
    gate.open()
    await _until(quiet)
    assert reported == ["a bug"]
    background.stop()


async def test_jobs_run_in_order_and_a_failure_stops_them() -> None:
    """A raft log whose last write failed may say nothing more."""
    failures: list[BaseException] = []
    failed = asyncio.Event()
    ran: list[int] = []

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    thread = StorageThread(asyncio.get_running_loop(), on_failure)
    for number in (1, 2):
        thread.submit(lambda number=number: ran.append(number), lambda _: None)  # type: ignore[misc]  # bound now

    def fail() -> None:
        raise OSError("the disk")

    thread.submit(fail, lambda _: pytest.fail("it did not work"))
    thread.submit(lambda: ran.append(3), lambda _: pytest.fail("it was not to be run"))
    await _until(failed)
    assert thread.stop(DEADLINE_S)
    assert ran == [1, 2]
    assert [str(error) for error in failures] == ["the disk"]
