"""One observation in, findings out: all checks, causes before symptoms, live evidence beside that of logs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from etcdops.client.metrics import with_quotas
from etcdops.diagnosis.finding import Finding as LogFinding
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.checks.table import CHECKS, Check
from etcdops.doctor.finding import Finding, worst_first
from etcdops.doctor.meet import meet, places_of
from etcdops.doctor.observation import Observation, Unseen
from etcdops.doctor.roots import ANYWHERE, SAME_PLACE

HOST_UNSEEN: Final = "E501"


@dataclass(frozen=True, slots=True)
class Examination:
    """What a doctor says."""

    findings: tuple[Finding, ...]
    """Live, worst first; what another one accounts for is named in it and stands nowhere else."""
    logs: tuple[LogFinding, ...]
    """Of logs, most probable first: those that no live finding is the proof of."""
    unseen: tuple[Unseen, ...]
    observation: Observation
    proofs: Mapping[LogFinding, Finding] = field(default_factory=dict)
    """The live finding that a finding of logs, which stands nowhere else, is told with."""
    below: Mapping[LogFinding, tuple[Finding, ...]] = field(default_factory=dict)
    """Live findings, which stand nowhere else, that one of `logs` accounts for."""

    @property
    def worst(self) -> Severity | None:
        """Of everything there is to do, live and in logs; None: nothing."""
        found = [*(one.severity for one in self.findings), *(one.severity for one in self.logs)]
        found += [Severity.ERROR] if self.unexplained else []
        worst = max(found, default=Severity.INFO)
        return worst if worst > Severity.INFO else None

    @property
    def unseen_besides(self) -> tuple[Unseen, ...]:
        """What was not looked at, without what comes of hosts that a finding of its own tells of."""
        told = {finding.subject for finding in self.findings if finding.code == HOST_UNSEEN}
        return tuple(one for one in self.unseen if one.host not in told)

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
    met = meet(roots_first(found, observation), observation)
    return Examination(worst_first(met.live), met.logs, observation.unseen, observation, met.proofs, met.below)


def roots_first(found: Iterable[Finding], observation: Observation) -> dict[Finding, Finding]:
    """Every finding and the one that it is told with: what accounts for it, or itself.

    Those that are told name the others by code and subject.
    """
    present = list(dict.fromkeys(found))
    above = {finding: _cause(finding, present, observation) for finding in present}
    root = {finding: _root(finding, above) for finding in present}
    told = {one: dataclasses.replace(one, explains=_below(one, root)) for one in set(root.values())}
    return {told.get(finding, finding): told[root[finding]] for finding in present}


def _below(finding: Finding, root: Mapping[Finding, Finding]) -> tuple[str, ...]:
    """What it accounts for: several ways to fail at one member are named once."""
    others = worst_first(one for one, above in root.items() if above is finding and one is not finding)
    return tuple(dict.fromkeys(f"{one.code} {one.subject}" for one in others))


def _cause(symptom: Finding, present: Sequence[Finding], observation: Observation) -> Finding | None:
    fitting = [cause for cause in present if cause is not symptom and _accounts_for(cause, symptom, observation)]
    return worst_first(fitting)[0] if fitting else None


def _accounts_for(cause: Finding, symptom: Finding, observation: Observation) -> bool:
    if symptom.code in ANYWHERE.get(cause.code, ()):
        return True
    return symptom.code in SAME_PLACE.get(cause.code, ()) and symptom.subject in places_of(cause, observation)


def _root(finding: Finding, above: Mapping[Finding, Finding | None]) -> Finding:
    seen = {finding}
    while (cause := above[finding]) is not None and cause not in seen:
        seen.add(cause)
        finding = cause
    return finding
