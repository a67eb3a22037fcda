"""A line that runs in a shell somewhere: what a session needs of it, whichever way it was started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

CHUNK_BYTES = 1 << 16


class Printed(NamedTuple):
    """A piece of what a program printed."""

    data: bytes
    is_error: bool
    """Whether it came on stderr."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: with a status, or by a signal."""

    exit_status: int | None
    signal: str = ""
    """Such as `KILL`."""


class Running(Protocol):
    """A started line. Its owner calls `abandon` in the end, whatever happened.

    Raises, all methods: Unreachable - the way to the host broke.
    """

    async def feed(self, data: bytes) -> None:
        """Send to its standard input; waits while the other side does not read. Nothing happens once it has ended."""

    async def close_stdin(self) -> None: ...

    def printed(self) -> AsyncIterator[Printed]:
        """What it prints, until it closes both of its outputs. To be read once."""

    async def ended(self) -> Ended:
        """Wait for the end, after everything printed was read."""

    def abandon(self) -> None:
        """Close all that is open towards it. Safe to repeat, and after the end."""
