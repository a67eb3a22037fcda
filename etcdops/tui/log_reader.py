"""Follows the members' logs for as long as the console runs: takes lines in, a little at a time, and tells of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from textual.message import Message

from etcdops.clock import Clock
from etcdops.errors import EtcdopsError
from etcdops.tui.log_feed import LogFeed, LogPiece, LogTrouble
from etcdops.tui.model.logs import LINES_KEPT, LogBook

TICK_S = 0.2
"""How often the screens hear of new lines: a stream that is redrawn more often cannot be read anyway."""
CONCLUDE_S = 1.0
"""How often findings are asked for again."""
LINES_AT_ONCE = 100
"""Taken in before the keyboard and the screen get their turn: some 5 ms."""
_WAITING_MAX = 2_000
"""Lines that wait to be taken in; then their logs wait."""
_BACK_MAX = 5_000
"""Lines of one log from before the console began."""


class LogsGrown(Message):
    """Lines came, or a log cannot be read any more; `findings` = what is wrong may be told in another way too."""

    def __init__(self, *, findings: bool) -> None:
        super().__init__()
        self.findings = findings


class LogReader:
    """Reads a feed into a book. `run` ends only when it is cancelled."""

    def __init__(self, feed: LogFeed, post: Callable[[Message], object], *, clock: Clock) -> None:
        self.feed = feed
        self.book = LogBook([source.name for source in feed.sources()])
        self.troubles: dict[str, LogTrouble] = {}
        """By source: those that cannot be read now."""
        self._post = post
        self._clock = clock
        self._waiting: deque[tuple[str, Sequence[str]]] = deque()
        self._lines_waiting = 0
        self._came = asyncio.Event()
        self._room = asyncio.Event()
        self._changed = False
        self._troubled = False

    async def run(self) -> None:
        if self.feed.reason:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="logs")
            group.create_task(self._take_in(), name="lines")

    async def _follow(self) -> None:
        sources = len(self.feed.sources())
        back = min(_BACK_MAX, LINES_KEPT // max(1, sources))
        try:
            async with self.feed.following(lines=back) as pieces:
                async for piece in pieces:
                    await self._put(piece)
        except* EtcdopsError as failed:
            # The feed as a whole: for instance no way to log in anywhere.
            why = failed.exceptions[0]
            for source in self.feed.sources():
                await self._put(LogTrouble(source.name, str(why), getattr(why, "hint", "")))

    async def _put(self, piece: LogPiece | LogTrouble) -> None:
        if isinstance(piece, LogTrouble):
            self.troubles[piece.source] = piece
            self._changed = self._troubled = True
        else:
            self._troubled = self.troubles.pop(piece.source, None) is not None or self._troubled
            self._changed = self._changed or self._troubled
            for start in range(0, len(piece.lines), LINES_AT_ONCE):
                self._waiting.append((piece.source, piece.lines[start : start + LINES_AT_ONCE]))
            self._lines_waiting += len(piece.lines)
        self._came.set()
        while self._lines_waiting > _WAITING_MAX:
            self._room.clear()
            await self._room.wait()

    async def _take_in(self) -> None:
        loop = asyncio.get_running_loop()
        told_s = concluded_s = float("-inf")
        while True:
            began_s = loop.time()
            self._take_some()
            now_s = loop.time()
            due = self.book.news and now_s - concluded_s >= CONCLUDE_S
            if due and (not self._waiting or now_s - concluded_s >= 5 * CONCLUDE_S):
                self.book.conclude()
                concluded_s = loop.time()
                self._post(LogsGrown(findings=True))
                told_s, self._changed = concluded_s, False
            elif self._changed and now_s - told_s >= TICK_S:
                self._post(LogsGrown(findings=self._troubled))
                told_s, self._changed, self._troubled = now_s, False, False
            if self._waiting:
                # As long a rest as the work took: half of the time is everybody else's.
                await asyncio.sleep(loop.time() - began_s)
            elif self._changed or self.book.news:
                await asyncio.sleep(TICK_S / 4)
            else:
                self._came.clear()
                await self._came.wait()

    def _take_some(self) -> None:
        """Lines of one log, as many as have come together, up to LINES_AT_ONCE."""
        if not self._waiting:
            return
        source, first = self._waiting.popleft()
        lines = list(first)
        while self._waiting and self._waiting[0][0] == source and len(lines) < LINES_AT_ONCE:
            lines += self._waiting.popleft()[1]
        self.book.add(source, lines, self._clock.wall())
        self._lines_waiting -= len(lines)
        self._changed = True
        self._room.set()
