"""One observation in, findings out: all checks, causes before symptoms, live evidence beside that of logs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from etcdops.client.metrics import with_quotas
from etcdops.diagnosis.finding import Finding as LogFinding
from etcdops.diagnosis.finding import Severity
from etcdops.diagnosis.roots import EXPLAINS
from etcdops.doctor.checks.table import CHECKS, Check
from etcdops.doctor.finding import Finding, worst_first
from etcdops.doctor.observation import Observation, Unseen
from etcdops.doctor.roots import ANYWHERE, SAME_PLACE

LINES_TAKEN = 3
"""Of a log, as further proof of a live finding."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What a doctor says."""

    findings: tuple[Finding, ...]
    """Live, worst first; what another one accounts for is named in it and stands nowhere else."""
    logs: tuple[LogFinding, ...]
    """Of logs, most probable first: those that no live finding is the proof of."""
    unseen: tuple[Unseen, ...]
    observation: Observation

    @property
    def worst(self) -> Severity | None:
        """Of everything there is to do, live and in logs; None: nothing."""
        found = [*(one.severity for one in self.findings), *(one.severity for one in self.logs)]
        found += [Severity.ERROR] if self.unexplained else []
        worst = max(found, default=Severity.INFO)
        return worst if worst > Severity.INFO else None

    @property
    def unexplained(self) -> int:
        """How many processes ended with a line that nobody can explain."""
        return len(self.observation.logs.unexplained) if self.observation.logs is not None else 0

    @property
    def looked(self) -> bool:
        """Whether anybody could look: at a cluster's members, or at hosts where only hosts were named."""
        seen = self.observation
        if seen.view is not None:
            return True
        return seen.cluster is None and any(not host.error for host in seen.hosts.values())

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do. Not, where nobody could look."""
        return self.looked and self.worst is None


def examine(observation: Observation, checks: Sequence[Check] = CHECKS) -> Examination:
    """All checks over one observation. Pure."""
    if observation.view is not None:
        view = with_quotas(observation.view, observation.metrics)
        observation = dataclasses.replace(observation, view=view)
    found = [finding for check in checks for finding in check(observation)]
    live, logs = _met(roots_first(found, observation), observation)
    return Examination(worst_first(live), logs, observation.unseen, observation)


def roots_first(found: Iterable[Finding], observation: Observation) -> list[Finding]:
    """The findings that no other accounts for, each with those it accounts for, by code and subject."""
    present = list(dict.fromkeys(found))
    above = {finding: _cause(finding, present, observation) for finding in present}
    explained: dict[Finding, list[Finding]] = {}
    for finding in present:
        root = _root(finding, above)
        if root is not finding:
            explained.setdefault(root, []).append(finding)
    return [
        dataclasses.replace(finding, explains=tuple(_name(one) for one in worst_first(explained.get(finding, ()))))
        for finding in present
        if above[finding] is None
    ]


def _name(finding: Finding) -> str:
    return f"{finding.code} {finding.subject}"


def _cause(symptom: Finding, present: Sequence[Finding], observation: Observation) -> Finding | None:
    fitting = [cause for cause in present if cause is not symptom and _accounts_for(cause, symptom, observation)]
    return worst_first(fitting)[0] if fitting else None


def _accounts_for(cause: Finding, symptom: Finding, observation: Observation) -> bool:
    if symptom.code in ANYWHERE.get(cause.code, ()):
        return True
    return symptom.code in SAME_PLACE.get(cause.code, ()) and symptom.subject in _places(cause.subject, observation)


def _places(subject: str, observation: Observation) -> set[str]:
    """The subject and, if it is a host, this cluster's members that live on it."""
    members = {member.name for member in observation.wanted_on(subject)}
    return {subject, *members, *(name for host, _, name in observation.ours if host.host == subject)}


def _root(finding: Finding, above: Mapping[Finding, Finding | None]) -> Finding:
    seen = {finding}
    while (cause := above[finding]) is not None and cause not in seen:
        seen.add(cause)
        finding = cause
    return finding


def _met(live: Sequence[Finding], observation: Observation) -> tuple[list[Finding], tuple[LogFinding, ...]]:
    """Live findings with what logs say of the same cause, and the log findings that are left.

    A cause seen both ways is one finding, its proof the lines and the look; symptoms in logs of a cause that is seen
    live are named under it.
    """
    said = observation.logs.findings if observation.logs is not None else ()
    proved: dict[Finding, list[LogFinding]] = {}
    left: list[LogFinding] = []
    for log in said:
        same = next((one for one in live if one.slug and one.slug == log.slug), None)
        cause = same or next((one for one in live if one.is_urgent and log.slug in EXPLAINS.get(one.slug, ())), None)
        if cause is None:
            left.append(log)
        else:
            proved.setdefault(cause, []).append(log)
    return [_with_lines(one, proved.get(one, ())) for one in live], tuple(left)


def _with_lines(live: Finding, logs: Sequence[LogFinding]) -> Finding:
    if not logs:
        return live
    lines = [
        f"{line.source}:{line.line}: {line.text}"
        for log in logs
        if log.slug == live.slug
        for line in log.evidence[:LINES_TAKEN]
    ]
    symptoms = [f"{log.slug} ({log.count})" for log in logs if log.slug != live.slug]
    return dataclasses.replace(
        live, evidence=(*live.evidence, *lines), explains=(*live.explains, *dict.fromkeys(symptoms))
    )
