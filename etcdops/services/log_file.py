"""Logs that lie in files: their end, what comes, and which lines are not too old."""

from __future__ import annotations

import datetime
import re
from collections.abc import AsyncIterator

from etcdops.remote.command import ROOT, command
from etcdops.remote.session import Session

_SINCE_LINES_MAX = 100_000
"""Looked through for lines since some time: files have no index."""
_TIMES = (
    # zap, as etcd writes it; Unix seconds, as zap writes them elsewhere; capnslog, the old form of 3.4; the journal's
    re.compile(rb'"ts":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"'),
    re.compile(rb'"ts":(\d+(?:\.\d+)?)'),
    re.compile(rb"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) "),
    re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)) "),
)
_TAI64N = re.compile(rb"^@([0-9a-f]{16})([0-9a-f]{8}) ")
_TAI_EPOCH = 1 << 62
_TAI_AHEAD_S = 10
"""What multilog and svlogd add to Unix time: TAI as it was in 1970, without leap seconds."""


async def read_log(
    session: Session, path: str, *, lines: int, follow: bool = False, since: float | None = None, user: str = ROOT
) -> AsyncIterator[bytes]:
    """The last lines of a file, then what comes, across its rotation; multilog's time stamps are removed.

    Nothing when there is no such file, unless it is followed: then it is waited for.
    """
    wanted = lines if since is None else _SINCE_LINES_MAX
    asked = ("tail", "-n", str(wanted), *(("-F",) if follow else ()), "--", path)
    if not follow and await session.stat(path, user=user) is None:
        return
    kept = _Recent(since)
    recent: list[bytes] = []
    async for raw in session.stream(command(*asked, user=user)):
        line = kept.take(raw)
        if line is None:
            continue
        if since is None or follow:
            yield line
        else:
            recent = [*recent[-lines + 1 :], line] if lines > 1 else [line]
    for line in recent:
        yield line


class _Recent:
    """Lines from some time on. One that tells no time is as old as the one before it."""

    def __init__(self, since: float | None) -> None:
        self._since = since
        self._old = since is not None

    def take(self, raw: bytes) -> bytes | None:
        """The line as the member printed it; None: it is too old."""
        stamp = _TAI64N.match(raw)
        line = raw if stamp is None else raw[stamp.end() :]
        if self._since is not None and (at := _tai(stamp) if stamp else time_of(line)) is not None:
            self._old = at < self._since
        return None if self._old else line


def time_of(line: bytes) -> float | None:
    """Unix time that a line of etcd's log tells; where it names no zone, UTC is taken for it."""
    for pattern in _TIMES:
        match = pattern.search(line)
        if match is None:
            continue
        text = match[1].decode()
        if "-" not in text:
            return float(text)
        try:
            parsed = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp()
    return None


def _tai(stamp: re.Match[bytes]) -> float:
    return int(stamp[1], 16) - _TAI_EPOCH - _TAI_AHEAD_S + int(stamp[2], 16) / 1e9
