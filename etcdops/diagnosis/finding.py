"""What a diagnosis says: findings, each with its proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from etcdops.diagnosis.window import LeftOut

if TYPE_CHECKING:
    from etcdops.diagnosis.timeline import Moment


class Severity(IntEnum):
    """How bad it is: from nothing to do, to data or the whole cluster at risk."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line that proves a finding; `source` and `line` are where it stands."""

    source: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A symptom that a finding accounts for."""

    slug: str
    count: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause, with proof. `confidence` is between 0 and 1; times are seconds since 1970, corrected to one clock.

    `member` is who noticed it (an ID, a host or a file's name), `peer` the other side where there is one.
    """

    slug: str
    severity: Severity
    confidence: float
    member: str
    peer: str
    members: tuple[str, ...]
    peers: tuple[str, ...]
    first: float | None
    last: float | None
    count: int
    evidence: tuple[Evidence, ...]
    facts: tuple[tuple[str, str], ...] = ()
    explains: tuple[Explained, ...] = ()
    deadly: bool = False


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """One log that was read: whose it is, how long, and by how much its clock was corrected."""

    name: str
    member: str
    host: str
    lines: int
    first: float | None
    last: float | None
    clock_offset_s: float
    versions: tuple[str, ...]
    is_etcds: bool
    """Whether any line of it is etcd's; without one, no findings say nothing."""
    damage: str = ""
    """Why its end could not be read; what comes before it counts."""
    called: str = ""
    """The member's name, where the log tells."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """Lines outside the time that was asked for."""
    files: tuple[str, ...] = ()
    """Of a log that was rotated, oldest first; empty: it is one file."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings, most probable root cause first, and what was read for them."""

    findings: tuple[Finding, ...]
    sources: tuple[SourceSummary, ...]
    unexplained: tuple[Evidence, ...] = ()
    """Lines a process ended with that no rule knows: trouble, but of an unknown kind."""
    timeline: tuple[Moment, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do."""
        return not self.unexplained and all(finding.severity is Severity.INFO for finding in self.findings)
