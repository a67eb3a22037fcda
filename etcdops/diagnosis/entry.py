"""One line of a log, understood: when, who, how bad, and the words that rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

QUIET_LEVELS = frozenset({"debug", "info"})
DEADLY_LEVELS = frozenset({"fatal", "panic"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a log without its frame.

    `time` is in seconds since 1970 as the writer's clock had it (None: the line carries none; a time without a zone
    counts as UTC). `text` is the message followed by its fields; rules look only at that. `level` is zap's word
    (debug, info, warn, error, panic, fatal) or empty. `program` and `host` come from the journal or a pod's prefix.
    """

    source: str
    number: int
    raw: str
    time: float | None = None
    level: str = ""
    program: str = ""
    host: str = ""
    package: str = ""
    message: str = ""
    text: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    zoned: bool = False

    @property
    def deadly(self) -> bool:
        """Whether the process ends with this line."""
        return self.level in DEADLY_LEVELS

    def moved(self, lines: int, source: str) -> Entry:
        """The same line, that many lines further down, in a log of that name."""
        return replace(self, number=self.number + lines, source=source)
