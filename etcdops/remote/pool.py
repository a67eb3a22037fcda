"""Many hosts at once: one session a host, work on all of them with a bound, answers in the order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from etcdops.errors import EtcdopsError
from etcdops.remote.session import Session

AT_ONCE = 8

Value = TypeVar("Value")
Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Subject, Value]):
    """What came of the work on one subject: a value or an error, never both."""

    subject: Subject
    value: Value | None = None
    error: EtcdopsError | None = None


Open = Callable[[str], Awaitable[Session]]
"""Connect to a host, by its name in the inventory."""


class Sessions:
    """The sessions of one run: opened when first asked for, shared, opened again when their connection broke."""

    def __init__(self, connect: Open) -> None:
        self._connect = connect
        self._opening: dict[str, asyncio.Task[Session]] = {}

    async def open(self, host: str) -> Session:
        """The session to a host. Who asks while it is being opened waits for the same one.

        Raises: as the connector does. A failure is not remembered: the next one who asks tries again.
        """
        task = self._opening.get(host)
        if task is not None and task.done() and (task.cancelled() or task.exception() or not _alive(task.result())):
            task = None
        if task is None:
            task = asyncio.create_task(self._open(host), name=f"session to {host}")
            self._opening[host] = task
        return await asyncio.shield(task)

    async def _open(self, host: str) -> Session:
        return await self._connect(host)

    async def close(self) -> None:
        """Close all of them, also those that are just being opened."""
        tasks, self._opening = list(self._opening.values()), {}
        for task in tasks:
            if not task.done():
                task.cancel()
        for opened in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(opened, BaseException):
                await opened.close()


def _alive(session: Session) -> bool:
    return bool(getattr(session, "alive", True))


async def on_all(
    subjects: Sequence[Subject], work: Callable[[Subject], Awaitable[Value]], *, at_once: int = AT_ONCE
) -> list[Outcome[Subject, Value]]:
    """Do something for each, `at_once` at a time; outcomes in the order of `subjects`.

    One failure hides no other and stops nobody. Errors that are not ours, such as a cancellation, stop everything.
    """
    room = asyncio.Semaphore(at_once)

    async def one(subject: Subject) -> Outcome[Subject, Value]:
        async with room:
            try:
                return Outcome(subject, value=await work(subject))
            except EtcdopsError as error:
                return Outcome(subject, error=error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(subject)) for subject in subjects]
    return [task.result() for task in tasks]
