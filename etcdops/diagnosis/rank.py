"""From candidates of all members to findings in order: roots first, symptoms under what explains them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.duplicates import identities
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.finding import Evidence, Explained, Finding, Severity
from etcdops.diagnosis.identify import is_id
from etcdops.diagnosis.roots import ELSEWHERE, EXPLAINS
from etcdops.diagnosis.tally import Tally

EVIDENCE_KEPT = 5
NEWS_S = 120.0
"""How much earlier than its cause a symptom may end: lines are written late, and retried in rounds."""
_EXPLAINER_CONFIDENCE = 0.5
_LEAST_CONFIDENCE = 0.4
"""Less sure candidates are no findings."""
_LINE_LENGTH_MAX = 2000
_REASONS = ("peer-no-route", "peer-io-timeout", "peer-connection-refused")
"""Why one peer is not reached; what they have in common is another slug."""


@dataclass(slots=True)
class Candidate:
    """All tallies of one cause."""

    slug: str
    severity: Severity
    tallies: list[Tally] = field(default_factory=list)
    first: float | None = None
    last: float | None = None

    def add(self, tally: Tally, offset: float) -> None:
        """Take in a tally whose clock is ahead by `offset` seconds."""
        self.tallies.append(tally)
        if tally.first is not None and tally.last is not None:
            first, last = tally.first - offset, tally.last - offset
            self.first = first if self.first is None else min(self.first, first)
            self.last = last if self.last is None else max(self.last, last)

    @property
    def confidence(self) -> float:
        return max(tally.confidence for tally in self.tallies)

    @property
    def count(self) -> int:
        return sum(tally.count for tally in self.tallies)

    @property
    def deadly(self) -> bool:
        return any(tally.deadly for tally in self.tallies)

    @property
    def sources(self) -> set[str]:
        return {tally.source for tally in self.tallies}

    def score(self) -> float:
        """What decides between two roots: did the process die of it, how sure, how bad, how often."""
        often = min(1.0, math.log10(self.count) / 3) if self.count else 0.0
        return (
            4.0 * self.deadly * (self.confidence >= _EXPLAINER_CONFIDENCE)
            + self.severity
            + 4.0 * self.confidence
            + often
        )


def rank(
    tallies: Iterable[Tally],
    logs: Mapping[str, SourceLog],
    offsets: Mapping[str, float],
    severity_of: Mapping[str, Severity],
) -> tuple[Finding, ...]:
    """Findings, most probable root cause first; what another finding explains is listed there and nowhere else."""
    candidates: dict[str, Candidate] = {}
    for tally in tallies:
        slug = tally.sign
        candidate = candidates.setdefault(slug, Candidate(slug, severity_of[slug]))
        candidate.add(tally, offsets.get(tally.source, 0.0))
    present = {slug: found for slug, found in candidates.items() if found.confidence >= _LEAST_CONFIDENCE}
    under = {slug: _explainer(found, present, logs) for slug, found in present.items()}
    roots = [found for slug, found in present.items() if under[slug] is None]
    explained: dict[str, list[Candidate]] = {}
    for slug, found in present.items():
        if under[slug] is not None:
            explained.setdefault(_root_of(slug, under), []).append(found)
    roots.sort(key=lambda found: (-found.score(), found.first or 0.0, found.slug))
    return tuple(_finding(found, explained.get(found.slug, ()), logs) for found in roots)


def _explainer(symptom: Candidate, present: Mapping[str, Candidate], logs: Mapping[str, SourceLog]) -> str | None:
    """The best cause present that accounts for `symptom`."""
    sure = [found for found in present.values() if found is not symptom and found.confidence >= _EXPLAINER_CONFIDENCE]
    fitting = [cause for cause in sure if _explains(cause, symptom)]
    down = [cause for cause in sure if cause not in fitting and _keeps_down(cause, symptom)]
    if _are_of(down, symptom, logs):
        fitting += down
    best = max(fitting, key=lambda cause: (cause.score(), cause.slug), default=None)
    return best.slug if best else None


def _too_late(cause: Candidate, symptom: Candidate) -> bool:
    """Whether the symptom was over before the cause began."""
    return cause.first is not None and symptom.last is not None and cause.first > symptom.last + NEWS_S


def _explains(cause: Candidate, symptom: Candidate) -> bool:
    if _too_late(cause, symptom) or _is_of_another(cause, symptom):
        return False
    return symptom.slug in EXPLAINS.get(cause.slug, ()) and cause.severity > Severity.INFO


def _is_of_another(cause: Candidate, symptom: Candidate) -> bool:
    """Whether one log tells why a peer is not reached, and of another only that it is not."""
    if symptom.slug != "peer-unreachable" or cause.slug not in _REASONS or len(cause.sources | symptom.sources) > 1:
        return False
    reasons = {tally.peer for tally in cause.tallies}
    return all(map(is_id, reasons)) and any(
        is_id(tally.peer) and tally.peer not in reasons for tally in symptom.tallies
    )


def _keeps_down(cause: Candidate, symptom: Candidate) -> bool:
    """Whether others may say this of a member because of the cause."""
    elsewhere = symptom.slug in ELSEWHERE.get(cause.slug, ()) and bool(symptom.sources - cause.sources)
    return elsewhere and not _too_late(cause, symptom)


def _are_of(causes: Sequence[Candidate], symptom: Candidate, logs: Mapping[str, SourceLog]) -> bool:
    """Whether these causes are those of all the members that the symptom is about, as far as IDs tell."""
    own = [identities(logs[name]) for cause in causes for name in cause.sources]
    peers = {tally.peer for tally in symptom.tallies if is_id(tally.peer)}
    return not all(own) or peers <= frozenset[str]().union(*own)


def _root_of(slug: str, under: Mapping[str, str | None]) -> str:
    seen = {slug}
    while (above := under[slug]) is not None and above not in seen:
        seen.add(above)
        slug = above
    return slug


def _finding(found: Candidate, symptoms: Sequence[Candidate], logs: Mapping[str, SourceLog]) -> Finding:
    tallies = sorted(found.tallies, key=lambda tally: (-tally.confidence, -tally.count, tally.source))
    members = tuple(dict.fromkeys(_name(logs[tally.source]) for tally in tallies))
    peers = tuple(dict.fromkeys(tally.peer for tally in tallies if tally.peer))
    worst = max(tally.worst for tally in tallies)
    return Finding(
        slug=found.slug,
        severity=found.severity,
        confidence=round(found.confidence, 2),
        member=members[0],
        peer=peers[0] if peers else "",
        members=members,
        peers=peers,
        first=found.first,
        last=found.last,
        count=found.count,
        evidence=_evidence(tallies),
        facts=_facts(worst, logs[tallies[0].source]),
        explains=tuple(Explained(s.slug, s.count) for s in sorted(symptoms, key=lambda s: -s.score())),
        deadly=found.deadly,
    )


def _facts(worst: float, log: SourceLog) -> tuple[tuple[str, str], ...]:
    found = {"worst_s": f"{worst:.3f}" if worst else "", "data_dir": log.data_dir}
    return tuple((name, value) for name, value in found.items() if value)


def _name(log: SourceLog) -> str:
    return log.member or log.host or log.name


def _evidence(tallies: Sequence[Tally]) -> tuple[Evidence, ...]:
    """Lines in turn from each tally, so that no member or peer crowds the others out."""
    lines = [list(tally.lines()) for tally in tallies]
    chosen: list[Entry] = []
    for turn in range(max(len(group) for group in lines)):
        for group in lines:
            if turn < len(group) and len(chosen) < EVIDENCE_KEPT:
                chosen.append(group[turn])
    chosen.sort(key=lambda entry: (entry.source, entry.number))
    return tuple(Evidence(entry.source, entry.number, entry.raw.strip()[:_LINE_LENGTH_MAX]) for entry in chosen)
