"""Logs that exist only in this process: the console's port, fed by a test line by line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from etcdops.tui.log_feed import LogPiece, LogPieces, LogSource, LogTrouble
from tests.fakes.cluster_feed import MEMBER_IDS, START


def zap(at_s: float, message: str, *, level: str = "info", **fields: object) -> str:
    """A line as etcd's logger writes it, `at_s` seconds after START."""
    moment = datetime.fromtimestamp(START + at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    entry = {"level": level, "ts": moment, "caller": "etcdserver/server.go:2101", "msg": message, **named}
    return json.dumps(entry, separators=(",", ":"))


def elected(member: int, leader: int, term: int, at_s: float) -> str:
    """What `member` says when it learns of a leader."""
    who, whom = (format(MEMBER_IDS[number - 1], "x") for number in (member, leader))
    return zap(at_s, f"raft.node: {who} elected leader {whom} at term {term}")


@dataclass
class FakeLogs:
    """Hands on what `put` and `break_off` gave it, in that order."""

    names: Sequence[str] = ("etcd-1", "etcd-2", "etcd-3")
    reason: str = ""
    ended: bool = False
    _pieces: asyncio.Queue[LogPiece | LogTrouble] = field(default_factory=asyncio.Queue)

    def sources(self) -> Sequence[LogSource]:
        return [LogSource(name, f"/var/log/{name}.log") for name in self.names]

    @asynccontextmanager
    async def following(self, *, lines: int) -> AsyncIterator[LogPieces]:
        try:
            yield self._taken()
        finally:
            self.ended = True

    async def _taken(self) -> LogPieces:
        while True:
            yield await self._pieces.get()

    def put(self, name: str, *lines: str) -> None:
        self._pieces.put_nowait(LogPiece(name, lines))

    def break_off(self, name: str, reason: str, next_step: str = "") -> None:
        self._pieces.put_nowait(LogTrouble(name, reason, next_step))
