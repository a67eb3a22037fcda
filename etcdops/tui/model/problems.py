"""What is wrong, from both sides: live checks and logs as one list, each cause before what comes of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from etcdops.client.view import ClusterView
from etcdops.diagnosis.actions import steps
from etcdops.diagnosis.causes import Cause, catalogue
from etcdops.diagnosis.finding import Evidence, Severity
from etcdops.diagnosis.finding import Finding as LogCause
from etcdops.diagnosis.roots import EXPLAINS
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.codes import codes
from etcdops.doctor.finding import Finding
from etcdops.doctor.words import in_words, say
from etcdops.tui.model.causes import ENGLISH, labelled, page_lines, step_lines
from etcdops.tui.model.log_findings import LogFinding, finding_page, seen_lines
from etcdops.tui.model.text import Line, Span, Tone, wrap

FROM_LOGS = "log"
"""In the place of a code: what only logs tell has its cause's name instead, too long for a column."""
STOPS = {"en": ".", "zh": "。"}
_SILENT = frozenset({"E201", "W202"})
_UNREACHED = frozenset(
    {"peer-connection-refused", "peer-io-timeout", "peer-no-route", "peer-unreachable", "network-unreachable"}
)
"""Causes by which the logs of others say no more than this."""
_NEEDS_QUORUM = re.compile(
    r"\b(?:etcdctl|etcdops ctl)\b[^\n]*? (?:member (?:add|remove|update|promote)|alarm disarm|compact|move-leader)\b"
)
_PAUSES_A_MEMBER = re.compile(r"\bsystemctl (?:restart|stop)\b|\bdefrag\b|\betcdops (?:rollout|reclaim-space)\b")


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of the findings: a live finding, one of the logs, or both where one proves the other."""

    live: Finding | None = None
    logged: LogFinding | None = None
    blocked: str = ""
    """Why the next step must wait; "" = it may be done now."""
    under: str = ""
    """The problem above that accounts for this one; "" = none, so far as we know."""
    language: str = ENGLISH

    @property
    def code(self) -> str:
        return self.live.code if self.live else FROM_LOGS

    @property
    def severity(self) -> Severity:
        return max(one for one in (self._live_severity, self._logged_severity) if one is not None)

    @property
    def _live_severity(self) -> Severity | None:
        return self.live.severity if self.live else None

    @property
    def _logged_severity(self) -> Severity | None:
        return self.logged.finding.severity if self.logged else None

    @property
    def summary(self) -> str:
        """One line, no full stop."""
        if self.live:
            return self.live.told(self.language).summary
        assert self.logged is not None
        return f"{self.logged.where}: {self.logged.title}"

    @property
    def next_step(self) -> str:
        if self.under:
            return in_words(say("wait.cause", cause=self.under), self.language)
        if self.live:
            return self.live.told(self.language).next_step
        assert self.logged is not None
        return self.logged.next_step


def problems(
    live: Sequence[Finding],
    logged: Sequence[LogFinding],
    view: ClusterView | None,
    *,
    alone: Collection[LogCause] | None = None,
    language: str = ENGLISH,
) -> tuple[Problem, ...]:
    """Worst first; what comes of a cause that only logs know stands right under it.

    Args: alone - of the logs' findings those that no live one is the proof or the cause of, as `doctor.examine` says;
        None = all.
    """
    now = [one for one in logged if one.current]
    rows = [Problem(one, _proof(one, now), one.told(language).blocked, language=language) for one in live]
    shown = [row.logged for row in rows]
    for one in now:
        if one in shown:
            continue
        if one.finding.severity > Severity.INFO and (alone is None or one.finding in alone):
            rows.append(Problem(logged=one, blocked=_blocked(one, view, language), language=language))
    rows.sort(key=lambda row: -row.severity)  # live before logged where they are equally bad
    causes = [row for row in rows if row.logged and not (row.live and row.live.code in _SILENT)]
    under = {
        id(row): next((cause for cause in causes if cause is not row and _explains(cause, row)), None) for row in rows
    }
    roots = [row for row in rows if under[id(row)] is None]
    groups = [(root, [row for row in rows if _root(row, under) is root]) for root in roots]
    groups.sort(key=lambda group: -max(row.severity for row in group[1]))
    ordered: list[Problem] = []
    for root, group in groups:
        ordered.append(root)
        ordered += [replace(row, under=root.logged.title if root.logged else "") for row in group if row is not root]
    return tuple(ordered)


def _proof(live: Finding, logged: Sequence[LogFinding]) -> LogFinding | None:
    """What logs say of the same: the same cause, or that peers do not reach the member that does not answer us."""
    for one in logged:
        if live.slug and one.finding.slug == live.slug:
            return one
        if live.code in _SILENT and one.peers == (live.subject,) and one.finding.slug in _UNREACHED:
            return one
    return None


def _root(row: Problem, under: dict[int, Problem | None]) -> Problem:
    seen = {id(row)}
    while (above := under[id(row)]) is not None and id(above) not in seen:
        seen.add(id(above))
        row = above
    return row


def _explains(cause: Problem, symptom: Problem) -> bool:
    """Whether the logs know `cause` and it accounts for something seen live: a member's death, or a known symptom."""
    if symptom.live is None or cause.logged is None:
        return False
    if symptom.live.code in _SILENT:
        return cause.logged.finding.deadly and symptom.live.subject in cause.logged.members
    return bool(symptom.live.slug) and symptom.live.slug in EXPLAINS.get(cause.logged.finding.slug, ())


def _blocked(one: LogFinding, view: ClusterView | None, language: str) -> str:
    """Why the remedy of a finding of the logs would be unsafe now, as far as a look at the cluster tells."""
    cause = catalogue()[one.finding.slug]
    first = next(iter(steps(cause, language, one.finding)), None)
    if view is None or first is None:
        return ""
    commands = "\n".join(first.commands)
    if _NEEDS_QUORUM.search(commands) and view.members_known and not view.has_quorum:
        return in_words(say("wait.remedy-quorum"), language)
    silent = {voter.label for voter in view.voters if not voter.answered}
    if _PAUSES_A_MEMBER.search(commands) and silent - set(one.members):
        return in_words(unsafe_reason(view), language)
    return ""


def problem_page(problem: Problem, cells: int) -> list[Line]:
    """Everything about one: what was seen, what to do, what forbids it, and the page of its code or cause."""
    if problem.live is None:
        assert problem.logged is not None
        head = _next_lines(problem, cells) if problem.under or problem.blocked else []
        return [*finding_page(problem.logged, cells), *head]
    finding, language = problem.live, problem.language
    told = finding.told(language)
    words = told.summary
    if not words.startswith((finding.subject, "etcd ")):  # names are as they are
        words = words[:1].upper() + words[1:]
    lines: list[Line] = [(Span(row, Tone.STRONG),) for row in wrap(f"{words}{STOPS[language]}", cells)]
    lines += _next_lines(problem, cells)
    if told.detail:
        lines += labelled("about", told.detail, cells, language=language)
    lines_shown = {f"{line.source}:{line.line}: {line.text}" for line in _evidence(problem.logged)}
    for number, proof in enumerate(proof for proof in told.evidence if proof not in lines_shown):
        lines += labelled("seen" if not number else "", proof, cells, first=not number, language=language)
    if finding.explains:
        lines += labelled("explains", ", ".join(finding.explains), cells, language=language)
    if problem.logged:
        lines += [(), (Span("In the logs", Tone.TITLE),), *seen_lines(problem.logged, cells)]
    return lines + _code_lines(finding, problem.logged, cells, language)


def _evidence(logged: LogFinding | None) -> tuple[Evidence, ...]:
    return logged.finding.evidence if logged else ()


def _next_lines(problem: Problem, cells: int) -> list[Line]:
    language = problem.language
    lines = labelled("next", problem.next_step, cells, language=language)
    return lines + labelled("blocked", problem.blocked, cells, language=language) if problem.blocked else lines


def _code_lines(finding: Finding, logged: LogFinding | None, cells: int, language: str) -> list[Line]:
    page = codes().get(finding.code)
    if page is None:
        return []
    cause: Cause | None = catalogue().get(page.slug)
    lines: list[Line] = [(), (Span(page.title[language], Tone.TITLE), Span(f"  {finding.code}", Tone.DIM))]
    if not page.cause[language] and cause is not None:
        return [*lines[:1], *page_lines(cause, cells, logged.finding if logged else None, language=language)]
    lines += [(Span(row),) for row in wrap(page.cause[language], cells) if row]
    for number, text in enumerate(page.fix[language]):
        lines += labelled("fix" if not number else "", text, cells, first=not number, language=language)
    if not page.fix[language] and cause is not None:
        lines += step_lines(steps(cause, language, logged.finding if logged else None), cells, language)
    return lines
