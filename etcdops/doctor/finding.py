"""What a live check says: a stable code, whom it is about, what was seen, and what forbids the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etcdops.diagnosis.finding import Severity
from etcdops.doctor.codes import known
from etcdops.doctor.words import Value, in_words, require_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etcdops.doctor.words import Said

CLUSTER = "cluster"
"""The subject of what is about no single member or host."""


@dataclass(frozen=True, slots=True)
class Told:
    """A finding as people read it, in one language."""

    title: str
    """What it is, whomever it is about."""
    summary: str
    """What was seen, in one line without a full stop."""
    detail: str
    """More of what is known, for the screen that explains it; "" = nothing."""
    next_step: str
    """What to do now; a command where there is one."""
    blocked: str
    """Why the next step must wait; "" = it may be done now."""
    evidence: tuple[str, ...]
    """What was seen and where, one line each: `h3: /var/lib/etcd is member 91bc3c398fb3c146`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an operator should know. Its words are those of its code's page; made by `finding`."""

    code: str
    """One of the catalogue's: `etcdops explain CODE`."""
    subject: str
    """The member's name, the host's, or "cluster"."""
    case: str = ""
    """Which of the page's texts; "" = the page has one."""
    fields: tuple[tuple[str, Value], ...] = ()
    """What was seen, by the names that the texts use; sizes are bytes, times seconds, moments RFC 3339."""
    blocked: Said | None = None
    """Why the next step must wait; None = it may be done now."""
    evidence: tuple[Value, ...] = ()
    """What was seen and where, one line each."""
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

    @property
    def values(self) -> Mapping[str, Value]:
        """What fills the texts."""
        return {"subject": self.subject, **dict(self.fields)}

    def told(self, language: str = "en") -> Told:
        """As people read it."""
        page, values = known(self.code), self.values
        words = page.cases[self.case]
        return Told(
            title=page.title[language],
            summary=words.summary[language].fill(values, language).strip(),
            detail=words.detail[language].fill(values, language).strip() if words.detail else "",
            next_step=words.next_step[language].fill(values, language).strip(),
            blocked=in_words(self.blocked, language),
            evidence=tuple(in_words(one, language) for one in self.evidence),
        )


def finding(
    code: str,
    subject: str,
    case: str = "",
    /,
    *,
    evidence: Iterable[Value] = (),
    blocked: Said | None = None,
    **fields: Value,
) -> Finding:
    """What a check found.

    Args: case - which of the page's texts, where it has several; fields - everything they tell.
    Raises: KeyError - the catalogue has no such code, or no such case; ValueError - the texts tell what is not given.
    """
    require_fields({"subject", *fields}, known(code).cases[case].fields, f"{code} {case}".strip())
    return Finding(code, subject, case, tuple(fields.items()), blocked, tuple(evidence))


def worst_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """By severity, then by code and subject: the order they are shown in."""
    return tuple(sorted(found, key=lambda one: (-one.severity, one.code, one.subject)))
