"""Which time of a log counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The time that counts, in seconds since 1970; entries without a time belong to the entry before them."""

    since: float | None = None
    until: float | None = None

    @property
    def limited(self) -> bool:
        return self.since is not None or self.until is not None

    def holds(self, moment: float | None) -> bool:
        if moment is None:
            return True
        return (self.since is None or moment >= self.since) and (self.until is None or moment <= self.until)
