"""What the console knows: the newest look, what silent members said last, histories, events and findings.

Immutable: every look gives a new state, so a paused screen simply keeps the one it has.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from etcdops.client.metrics import (
    KEYS,
    LEADER_CHANGES,
    WATCHERS,
    MemberMetrics,
    NoMetrics,
    Rates,
    keep_window,
    rates_between,
    with_quotas,
)
from etcdops.client.view import ClusterView, MemberStatus, MemberView, Silence
from etcdops.diagnosis.finding import Diagnosis
from etcdops.doctor.examine import examine
from etcdops.doctor.finding import Finding, worst_first
from etcdops.doctor.observation import Observation
from etcdops.ids import MemberID
from etcdops.tui.model.changes import EVENTS_MAX, Event, changes, first_look
from etcdops.tui.model.history import Series
from etcdops.tui.model.log_findings import LogFindings
from etcdops.tui.model.problems import Problem, problems
from etcdops.tui.model.text import clean
from etcdops.wording import Texts

MetricsByMember = Mapping[str, MemberMetrics | NoMetrics]
"""By `MemberView.label`."""

SERIES = ("rtt", "commit", "fsync", "peer_rtt", "proposals", "db_size", "in_use", "keys", "watchers", "leader_changes")
"""The cluster's histories. Latencies and sizes are those of the worst member."""

_NO_SERIES = Series()
_NO_RATES = Rates()


@dataclass(frozen=True, slots=True)
class Look:
    """One poll's result, as the poller posts it."""

    view: ClusterView
    metrics: MetricsByMember
    at_s: float
    """Monotonic time when the look was complete."""


@dataclass(frozen=True, slots=True)
class ConsoleState:
    """Everything the screens show."""

    view: ClusterView | None = None
    """None until the first look came back."""
    at_s: float = 0.0
    """Monotonic time of that look."""
    looks: int = 0
    language: str = "en"
    """In which findings are told; the screens themselves speak English."""
    unasked: str = ""
    """Why no cluster is looked at, and what would change that; "" = one is."""
    failure: str = ""
    """Why the latest poll brought nothing at all; "" = it brought a look."""
    findings: tuple[Finding, ...] = ()
    """Of live checks."""
    logged: LogFindings = field(default_factory=LogFindings)
    """What the logs say."""
    problems: tuple[Problem, ...] = ()
    """`findings` and `logged` as one list."""
    events: tuple[Event, ...] = ()
    """Newest first, at most EVENTS_MAX."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """By name from SERIES, and `rtt:<label>` for each member."""
    metrics: MetricsByMember = field(default_factory=dict)
    rates: Mapping[str, Rates] = field(default_factory=dict)
    readings: Mapping[str, tuple[MemberMetrics, ...]] = field(default_factory=dict)
    """Each member's readings of the last minute, for `rates`."""

    def after(self, look: Look) -> ConsoleState:
        """The state once `look` is known."""
        view = with_quotas(_keep_known(cleaned(look.view), self.view), look.metrics, _quotas_before(self.view))
        news = changes(self.view, view) if self.view else first_look(view)
        readings = _readings(self.readings, look)
        rates = {label: rates_between(kept[0], kept[-1]) for label, kept in readings.items() if len(kept) > 1}
        state = ConsoleState(
            view=view,
            at_s=look.at_s,
            looks=self.looks + 1,
            language=self.language,
            events=(*news, *self.events)[:EVENTS_MAX],
            series=_grown(self.series, _measures(view, look.metrics, rates), look.at_s),
            metrics=look.metrics,
            rates=rates,
            readings=readings,
        )
        return state.with_logs(self.logged)

    def after_failure(self, reason: str) -> ConsoleState:
        """The state after a poll that broke: what was known stays, and grows old."""
        return dataclasses.replace(self, failure=clean(reason))

    def with_logs(self, logged: LogFindings) -> ConsoleState:
        """The state once the logs say this: what was seen live is examined together with it."""
        if self.view is None:
            return dataclasses.replace(
                self, logged=logged, problems=problems((), logged.found, None, language=self.language)
            )
        seen = Observation(
            taken_at=self.view.taken_at,
            view=self.view,
            metrics=self.metrics,
            earlier_metrics={label: kept[0] for label, kept in self.readings.items() if len(kept) > 1},
            logs=Diagnosis(tuple(one.finding for one in logged.found if one.current), ()),
        )
        found = examine(seen)
        # Here what a cause in the logs accounts for is shown too, under it.
        findings = worst_first((*found.findings, *itertools.chain(*found.below.values())))
        rows = problems(findings, logged.found, self.view, alone=found.logs, language=self.language)
        return dataclasses.replace(self, findings=findings, logged=logged, problems=rows)

    def history(self, name: str) -> Series:
        return self.series.get(name, _NO_SERIES)

    def rates_of(self, member: MemberView) -> Rates:
        return self.rates.get(member.label, _NO_RATES)

    def metrics_gaps(self) -> tuple[NoMetrics, ...]:
        """The answering members whose `/metrics` could not be read."""
        members = self.view.members if self.view else ()
        found = (self.metrics.get(member.label) for member in members if member.answered)
        return tuple(entry for entry in found if isinstance(entry, NoMetrics))


def cleaned(view: ClusterView) -> ClusterView:
    """`view` with every text from the network made safe to draw; the one place where that happens."""
    return dataclasses.replace(
        view,
        members=tuple(_clean_member(member) for member in view.members),
        alarms=tuple(dataclasses.replace(alarm, type=clean(alarm.type)) for alarm in view.alarms),
        problems=tuple(Texts(clean(problem.en), clean(problem.zh)) for problem in view.problems),
    )


def _clean_member(member: MemberView) -> MemberView:
    return dataclasses.replace(
        member,
        name=clean(member.name),
        peer_urls=tuple(clean(url) for url in member.peer_urls),
        client_urls=tuple(clean(url) for url in member.client_urls),
        endpoint=clean(member.endpoint),
        error=clean(member.error),
        hash_error=clean(member.hash_error),
        status=_clean_status(member.status),
        last_status=_clean_status(member.last_status),
    )


def _clean_status(status: MemberStatus | None) -> MemberStatus | None:
    if status is None:
        return None
    errors = tuple(clean(error) for error in status.errors)
    return dataclasses.replace(status, version=clean(status.version), errors=errors)


def _keep_known(view: ClusterView, before: ClusterView | None) -> ClusterView:
    """`view`, never without a member that was known: when no member list can be read, the last one goes on counting."""
    if before is None:
        return view
    if view.members_known or not before.members_known or view.cluster_id not in (None, before.cluster_id):
        return view.remembering(before)
    members = tuple(_merged(member, view) for member in before.members)
    return dataclasses.replace(
        view, members=members, members_known=True, cluster_id=before.cluster_id, alarms=view.alarms or before.alarms
    )


def _merged(known: MemberView, view: ClusterView) -> MemberView:
    for seen in view.members:
        if (seen.id is not None and seen.id == known.id) or seen.endpoint in {known.endpoint, *known.client_urls}:
            break
    else:
        seen = dataclasses.replace(known, status=None, error="no answer", silence=Silence.UNREACHABLE)
    return dataclasses.replace(
        known,
        status=seen.status,
        error=seen.error,
        silence=seen.silence,
        rtt_s=seen.rtt_s,
        last_seen=seen.last_seen if seen.answered else known.last_seen,
        last_status=seen.status or known.last_status,
    )


def _quotas_before(before: ClusterView | None) -> Mapping[MemberID | None, int]:
    members = before.members if before is not None else ()
    return {member.id: member.last_status.db_quota_bytes for member in members if member.last_status}


def _readings(before: Mapping[str, tuple[MemberMetrics, ...]], look: Look) -> Mapping[str, tuple[MemberMetrics, ...]]:
    kept: dict[str, tuple[MemberMetrics, ...]] = {}
    for label, entry in look.metrics.items():
        newest = (entry,) if isinstance(entry, MemberMetrics) else ()
        kept[label] = keep_window((*before.get(label, ()), *newest), look.at_s)
    return kept


def _measures(view: ClusterView, metrics: MetricsByMember, rates: Mapping[str, Rates]) -> dict[str, float | None]:
    """This look's value of every series; None = a gap."""
    known = [entry for entry in metrics.values() if isinstance(entry, MemberMetrics)]
    fresh = [rates[label] for label, entry in metrics.items() if isinstance(entry, MemberMetrics) and label in rates]
    answering = view.answering
    measures: dict[str, float | None] = {
        "rtt": _largest([member.rtt_s for member in answering]),
        "commit": _largest([rate.commit_p99_s for rate in fresh]),
        "fsync": _largest([rate.fsync_p99_s for rate in fresh]),
        "peer_rtt": _largest([rate.worst_peer_rtt_s for rate in fresh]),
        "proposals": _largest([rate.proposals_per_s for rate in fresh]),
        "db_size": _largest([float(member.status.db_size_bytes) for member in answering if member.status]),
        "in_use": _largest([float(member.status.db_size_in_use_bytes) for member in answering if member.status]),
        "keys": _largest([entry.numbers.get(KEYS) for entry in known]),
        "watchers": _sum([entry.numbers.get(WATCHERS) for entry in known]),
        "leader_changes": _largest([entry.numbers.get(LEADER_CHANGES) for entry in known]),
    }
    measures |= {f"rtt:{member.label}": member.rtt_s if member.answered else None for member in view.members}
    return measures


def _grown(series: Mapping[str, Series], measures: Mapping[str, float | None], at_s: float) -> Mapping[str, Series]:
    """Every series one look longer. Those of members that left the cluster are dropped, so memory stays bounded."""
    return {name: series.get(name, _NO_SERIES).add(at_s, value) for name, value in measures.items()}


def _largest(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
