"""What `etcdops diagnose` reads: of which time, and that it can tell of an etcd at all.

No findings look like health, so a log that says nothing of an etcd, or nothing of the time that was asked for, is an
error of whoever gave it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from etcdops.cli.diagnostics import warn
from etcdops.errors import UsageError

if TYPE_CHECKING:
    from etcdops.diagnosis.finding import Diagnosis, SourceSummary
    from etcdops.diagnosis.window import Window

NAMED_MAX = 3
"""Files that a message names."""
GIVEN_HINT = "give what etcd itself writes, such as: journalctl -u etcd | etcdops diagnose -"
FETCHED_HINT = "name what writes it, with --unit or --container; or leave out --logs-only, to look at members and hosts"


def window_of(since: str | None, until: str | None) -> Window:
    """Raises: UsageError - one of them is no time."""
    from etcdops.diagnosis.window import Window

    return Window(moment(since, "--since"), moment(until, "--until"))


def moment(text: str | None, option: str) -> float | None:
    """A clock reading, or how long ago (2h, 30m), as Unix time. Raises: UsageError - it is neither."""
    if text is None:
        return None
    from etcdops.diagnosis.times import parse_clock, parse_duration

    reading = text if len(text) > 10 else f"{text}T00:00:00"
    if len(reading) == 16:
        reading += ":00"
    at, _ = parse_clock(reading)
    if at is not None:
        return at
    ago = parse_duration(text.lstrip("-"))
    if ago is None:
        raise UsageError(f"{option} {text!r} is no time", hint="e.g. 2026-01-31T08:00:00Z, 2026-01-31, 90m, 2h")
    return time.time() - ago


def require_lines(diagnosis: Diagnosis, hint: str = GIVEN_HINT) -> None:
    """Raises: UsageError - there is nothing to read."""
    if not any(source.lines for source in diagnosis.sources):
        raise UsageError(f"not one line is in {_few([source.name for source in diagnosis.sources])}", hint=hint)


def require_lines_of_then(diagnosis: Diagnosis, window: Window) -> None:
    """Logs that have lines, but none of that time, are named. Raises: UsageError - it is all of them."""
    read = [source for source in diagnosis.sources if source.lines]
    empty = [source for source in read if source.left_out.lines == source.lines]
    if not empty:
        return
    from etcdops.diagnosis.times import show_clock

    names = _few([source.name for source in empty])
    first, last = (show_clock(edge(_edges(empty))) for edge in (min, max))
    if len(empty) < len(read):
        warn(f"no line in {names} is {_told(window)}: it was written from {first} to {last}")
        return
    raise UsageError(
        f"nothing was looked at: no line in {names} is {_told(window)}",
        cause=f"what is there was written from {first} to {last}",
        hint=f"give --since {first}, or neither --since nor --until",
    )


def _edges(sources: list[SourceSummary]) -> Iterator[float]:
    for source in sources:
        yield from (at for at in (source.left_out.first, source.left_out.last) if at is not None)


def _told(window: Window) -> str:
    from etcdops.diagnosis.times import show_clock

    if window.since is None:
        return f"from before {show_clock(window.until)}"
    if window.until is None:
        return f"from after {show_clock(window.since)}"
    return f"from between {show_clock(window.since)} and {show_clock(window.until)}"


def require_etcds(diagnosis: Diagnosis) -> None:
    """Logs of something else are named. Raises: UsageError - it is all of them, or nothing is in them."""
    require_lines(diagnosis)
    strange = [source.name for source in diagnosis.sources if source.lines and not source.is_etcds]
    if not strange:
        return
    if diagnosis.healthy and len(strange) == len(diagnosis.sources):
        raise UsageError(f"no line of etcd's is in {_few(strange)}", hint=GIVEN_HINT)
    warn(f"no line of etcd's is in {_few(strange)}")


def _few(names: list[str]) -> str:
    """The first of them: a folder may hold hundreds of files."""
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
