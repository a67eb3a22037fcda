"""Files the API needs for the length of one call, beside the member's state: same disk, same owner, same fate."""

from __future__ import annotations

from itertools import count
from pathlib import Path

_PREFIX = "call-"


class WorkFiles:
    """Names for them. What a crash left behind goes at the next start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)
        for leftover in directory.glob(_PREFIX + "*"):
            leftover.unlink(missing_ok=True)

    def new(self, purpose: str) -> Path:
        """A path nobody uses. Whoever makes the file deletes it."""
        return self._directory / f"{_PREFIX}{purpose}-{next(self._numbers)}.db"
