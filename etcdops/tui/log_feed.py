"""Where the lines of the Logs screen come from: a port.

`live_logs.py` has the real ones, `tests/fakes/log_feed.py` the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogSource:
    """One log."""

    name: str
    """What the screens call it: the member's name, or the file's. Differs from every other source's."""
    where: str
    """What is read, for people: `the journal of etcd.service on h1`, `/var/log/etcd.log`."""


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Lines of one log that came, oldest first, without their newlines."""

    source: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class LogTrouble:
    """A log that cannot be read, at least for now. It ends with the next piece of this source."""

    source: str
    reason: str
    next_step: str = ""


LogPieces = AsyncIterator[LogPiece | LogTrouble]


class LogFeed(Protocol):
    """The logs of one cluster's members, each followed by itself, so that one that cannot be read hides no other."""

    @property
    def reason(self) -> str:
        """Why there is nothing to read, and how it would be otherwise; "" = there is."""

    def sources(self) -> Sequence[LogSource]:
        """The logs that are known; a member may turn out to have further ones when it is read."""

    def following(self, *, lines: int) -> AbstractAsyncContextManager[LogPieces]:
        """Each log's last `lines` lines, then what comes, in the order of arrival, as long as the context lasts.

        What goes wrong with one log is a LogTrouble and tried again. A reader that is slow makes the logs wait.
        """


class NoLogs:
    """A feed of nothing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def sources(self) -> Sequence[LogSource]:
        return ()

    @asynccontextmanager
    async def following(self, *, lines: int) -> AsyncIterator[LogPieces]:
        yield _nothing()


async def _nothing() -> LogPieces:
    return
    yield LogPiece("", ())  # makes it a generator
