"""Evidence meets evidence: what logs say is held against what was seen live, so that one cause is one finding.

They meet in three ways. The same cause is seen both ways: the live finding takes the log's lines as further proof. A
cause is seen live, and logs show what came of it: that is named under it. Or only logs know the cause, and the look
shows what came of it: then the live findings stand under the log's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from etcdops.diagnosis.finding import Finding as LogFinding
from etcdops.diagnosis.finding import Severity
from etcdops.diagnosis.roots import ELSEWHERE, EXPLAINS
from etcdops.diagnosis.shown import readable
from etcdops.doctor.codes import codes, known
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.roots import DOWN, SAME_PLACE
from etcdops.ids import format_id

LINES_TAKEN = 3
"""Of a log, as further proof of a live finding."""


@dataclass(frozen=True, slots=True)
class Met:
    """Live findings and those of logs, each cause once."""

    live: tuple[Finding, ...]
    """With the lines of logs that prove the same, and the symptoms in logs that they account for."""
    logs: tuple[LogFinding, ...]
    """Those that no live finding is the proof or the cause of."""
    proofs: Mapping[LogFinding, Finding]
    """The live finding that a finding of logs is told with."""
    below: Mapping[LogFinding, tuple[Finding, ...]]
    """Live findings that a cause which only logs know accounts for; they stand nowhere else."""


def meet(roots: Mapping[Finding, Finding], observation: Observation) -> Met:
    """`roots`: every live finding, those that others account for too, and the one that it is told with."""
    said = observation.logs.findings if observation.logs is not None else ()
    live = list(dict.fromkeys(roots.values()))
    told: dict[Finding, list[LogFinding]] = {}
    proofs: dict[LogFinding, Finding] = {}
    below: dict[LogFinding, tuple[Finding, ...]] = {}
    nested: set[Finding] = set()
    for log in said:
        places = _about(log, observation)
        same = _nearest((one for one in roots if one.slug and one.slug == log.slug), places, observation)
        if same is None and (under := [one for one in live if _comes_of(log, one, places, observation)]):
            below[log] = tuple(under)
            nested.update(under)
            continue
        causes = (one for one in live if one.is_urgent and _leads_to(one, log, places, observation))
        cause = roots[same] if same is not None else _nearest(causes, places, observation)
        if cause is not None:
            told.setdefault(cause, []).append(log)
    finished = {one: _with_logs(one, told.get(one, ()), roots) for one in live if one not in nested}
    for cause, logs in told.items():
        proofs.update((log, finished[cause]) for log in logs if cause in finished)
    left = tuple(log for log in said if log not in proofs)
    return Met(tuple(finished.values()), left, proofs, below)


def _about(log: LogFinding, observation: Observation) -> frozenset[str]:
    """Which members a finding of logs is about: the peers that are complained of, else who complains of itself."""
    listed = observation.view.members if observation.view is not None else ()
    names = {format_id(member.id): member.label for member in listed if member.id}
    if log.peers:
        return frozenset(names.get(one.lstrip("0"), one) for one in log.peers)
    writers = {line.source.partition(":")[0] for line in log.evidence}
    return frozenset({names.get(one.lstrip("0"), one) for one in log.members} | writers)


def places_of(finding: Finding, observation: Observation) -> set[str]:
    """Whom it is about: its subject, other hosts that it names, and this cluster's members that live on them."""
    hosts = finding.values.get("hosts", ())
    named = {finding.subject, *(str(host) for host in (hosts if isinstance(hosts, tuple) else ()))}
    wanted = {member.name for host in named for member in observation.wanted_on(host)}
    return named | wanted | {name for host, _, name in observation.ours if host.host in named}


def _nearest(found: Iterable[Finding], places: frozenset[str], observation: Observation) -> Finding | None:
    """One that hurts now before one that only warns, and about those members before one about others."""
    return min(
        found,
        key=lambda one: (not one.is_urgent, places.isdisjoint(places_of(one, observation))),
        default=None,
    )


def _leads_to(live: Finding, log: LogFinding, places: frozenset[str], observation: Observation) -> bool:
    """Whether a cause that is seen live accounts for one in logs: anywhere, or as it would if it were seen live."""
    if log.slug in EXPLAINS.get(live.slug, ()):
        return True
    slugs = {known(code).slug for code in SAME_PLACE.get(live.code, ())}
    return log.slug in slugs and bool(places) and places <= places_of(live, observation)


def _comes_of(log: LogFinding, live: Finding, places: frozenset[str], observation: Observation) -> bool:
    """Whether a cause in logs accounts for a live finding: at its own place, and not of the whole cluster."""
    if log.severity < Severity.ERROR or live.code not in _symptoms(log.slug):
        return False
    return bool(places & places_of(live, observation))


def _symptoms(slug: str) -> frozenset[str]:
    """Codes that a cause makes appear at its own place, by those that prove it; one that ends its member makes all."""
    proving = (code for code, page in codes().items() if page.slug == slug and page.severity >= Severity.ERROR)
    known = {symptom for code in proving for symptom in SAME_PLACE.get(code, ())}
    return frozenset(known | set(DOWN if slug in ELSEWHERE else ()))


def _with_logs(live: Finding, logs: Sequence[LogFinding], roots: Mapping[Finding, Finding]) -> Finding:
    """With the lines that prove it, or what it accounts for live, and with the symptoms that logs tell of."""
    if not logs:
        return live
    own = {one.slug for one, root in roots.items() if root is live}
    lines = [line for log in logs if log.slug in own for line in _lines(log)]
    symptoms = [f"{log.slug} ({log.count})" for log in logs if log.slug != live.slug]
    return dataclasses.replace(
        live, evidence=(*live.evidence, *lines), explains=(*live.explains, *dict.fromkeys(symptoms))
    )


def _lines(log: LogFinding) -> Iterator[str]:
    for line in log.evidence[:LINES_TAKEN]:
        yield f"{line.source}:{line.line}: {readable(line.text)}"
