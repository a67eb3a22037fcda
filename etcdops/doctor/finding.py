"""What a live check says: a stable code, whom it is about, what was seen, the next step, and what forbids it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etcdops.diagnosis.finding import Severity
from etcdops.doctor.codes import known

if TYPE_CHECKING:
    from collections.abc import Iterable

CLUSTER = "cluster"
"""The subject of what is about no single member or host."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an operator should know, and what to do about it."""

    code: str
    """One of the catalogue's: `etcdops explain CODE`."""
    subject: str
    """The member's name, the host's, or "cluster"."""
    summary: str
    """One line, no full stop."""
    next_step: str
    """What to do now; a command where there is one."""
    detail: str = ""
    """More of what is known, for the screen that explains it."""
    blocked: str = ""
    """Why the next step must wait; "" = it may be done now."""
    evidence: tuple[str, ...] = ()
    """What was seen and where, one line each: `h3: /var/lib/etcd is member 91bc3c398fb3c146`."""
    explains: tuple[str, ...] = ()
    """Findings that this one accounts for and that are shown nowhere else: `E201 m3`."""

    @property
    def severity(self) -> Severity:
        return known(self.code).severity

    @property
    def slug(self) -> str:
        """The cause of `etcdops.diagnosis` that this is the live proof of; "" = logs know no such cause."""
        return known(self.code).slug

    @property
    def is_urgent(self) -> bool:
        """Something does not work now: more than a warning."""
        return self.severity >= Severity.ERROR


def worst_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """By severity, then by code and subject: the order they are shown in."""
    return tuple(sorted(found, key=lambda finding: (-finding.severity, finding.code, finding.subject)))
