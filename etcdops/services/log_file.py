"""Logs that lie in files: their end, what comes, and which lines are not too old."""

from __future__ import annotations

import datetime
import re
from collections.abc import AsyncIterator, Sequence

from etcdops.remote.command import ROOT, Command, command, script
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


_PARTS = """
lines=$1; shift
for file; do
    case $file in *.gz) gzip -dc -- "$file" ;; *) cat -- "$file" ;; esac
done 2>/dev/null | tail -n "$lines"
"""
_FOLLOWED = """
lines=$1 siblings=$2 count=$3; shift 3
eval "written=\\${$count}"
left=$(( lines - $(tail -n "$lines" -- "$written" | wc -l) ))
while [ "$count" -gt 1 ]; do
    case $1 in *.gz) gzip -dc -- "$1" ;; *) cat -- "$1" ;; esac
    shift; count=$(( count - 1 ))
done 2>/dev/null | tail -n "$left"
while [ "$1" != "$written" ]; do shift; done
newest=$(ls -td $siblings 2>/dev/null | head -n 1)
tail -q -n "$lines" -F -- "$@" 2>/dev/null &
tail=$!
trap 'kill "$tail"; exit' TERM HUP INT
while kill -0 "$tail" && [ "$(ls -td $siblings | head -n 1)" = "$newest" ]; do sleep 3 & wait $!; done 2>/dev/null
kill "$tail"
"""
"""Arguments: lines, a pattern of folders, how many parts, the parts, then further files that may come."""


async def read_log(
    session: Session, path: str, *, lines: int, follow: bool = False, since: float | None = None, user: str = ROOT
) -> AsyncIterator[bytes]:
    """The last lines of a file, then what comes, across its rotation; multilog's time stamps are removed.

    Nothing when there is no such file, unless it is followed: then it is waited for.
    """
    asked = ("tail", "-n", str(_looked_through(lines, since)), *(("-F",) if follow else ()), "--", path)
    if not follow and await session.stat(path, user=user) is None:
        return
    async for line in _kept(session, command(*asked, user=user), lines, since, follow):
        yield line


async def read_parts(
    session: Session,
    paths: Sequence[str],
    *,
    lines: int,
    since: float | None = None,
    follow: Sequence[str] = (),
    until_newer: str = "",
    user: str = ROOT,
) -> AsyncIterator[bytes]:
    """The last lines of a log that lies in several files, oldest first, some of them packed with gzip.

    Args: follow - the last of `paths`, and files that may come: what is written to them is told as well; until_newer -
        and no more once another folder of this pattern is the newest.
    """
    wanted = str(_looked_through(lines, since))
    if follow:
        more = (wanted, until_newer, str(len(paths)), *paths, *follow[1:])
        asked = script(_FOLLOWED, *more, user=user)
    else:
        asked = script(_PARTS, wanted, *paths, user=user)
    async for line in _kept(session, asked, lines, since, bool(follow)):
        yield line


def _looked_through(lines: int, since: float | None) -> int:
    return lines if since is None else _SINCE_LINES_MAX


async def _kept(
    session: Session, asked: Command, lines: int, since: float | None, follow: bool
) -> AsyncIterator[bytes]:
    """Of what a command prints: the lines from some time on, the last so many of them unless it goes on."""
    kept = _Recent(since)
    recent: list[bytes] = []
    async for raw in session.stream(asked):
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
