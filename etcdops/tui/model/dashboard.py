"""The dashboard as lines: header, members, charts, findings, events, and how the rows of the terminal are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.client.view import ClusterView
from etcdops.diagnosis.finding import Severity
from etcdops.ids import padded_id
from etcdops.numbers import (
    show_age,
    show_bytes,
    show_bytes_short,
    show_clock,
    show_count,
    show_duration,
    show_rate,
)
from etcdops.tui.model.causes import word_for
from etcdops.tui.model.changes import Event
from etcdops.tui.model.cluster import HEALTH_MARKS, SEVERITY_MARKS
from etcdops.tui.model.history import ZOOMS, sparkline
from etcdops.tui.model.problems import Problem
from etcdops.tui.model.state import ConsoleState
from etcdops.tui.model.text import Line, Span, Tone, clip, clip_words, fit, fit_line, line_width, spread, width, wrap
from etcdops.wording import counted

WIDE = 100
"""From this many columns on, everything is shown."""
TALL = 30

LINE_MIN_WIDTH, LINE_MIN_HEIGHT = 60, 16
"""Below this, one line of status is all there is room for."""


@dataclass(frozen=True, slots=True)
class Chrome:
    """What the header shows besides the cluster."""

    title: str
    screen: str
    read_only: bool
    paused: bool
    interval_s: float
    now_wall_s: float
    now_s: float


def header_lines(state: ConsoleState, chrome: Chrome, cells: int) -> tuple[Line, Line]:
    """The two lines on top of every screen, each exactly `cells` wide."""
    return _first_line(state, chrome, cells), _second_line(state, chrome, cells)


def _first_line(state: ConsoleState, chrome: Chrome, cells: int) -> Line:
    mode = (Span("PAUSED ", Tone.WARN),) if chrome.paused else ()
    gate = Span("RO", Tone.ACCENT) if chrome.read_only else Span("RW", Tone.DIM)
    right = (Span("  "), *mode, gate, Span(f"  {show_clock(chrome.now_wall_s)} ", Tone.DIM))
    name = clip(chrome.title, max(12, cells // 4))
    left: Line = (Span(f" {name}", Tone.TITLE), Span(" ▸ ", Tone.DIM), Span(chrome.screen, Tone.TITLE))
    gap = Span(" " * (8 if cells >= WIDE else 4))
    words = _verdict(state, wide=cells >= WIDE)
    if line_width((*left, gap, *words, *right)) > cells:
        gap = Span("  ")
    return spread((*left, gap, *words), right, cells)


def _verdict(state: ConsoleState, *, wide: bool) -> Line:
    view = state.view
    if state.unasked:
        return (Span("LOGS ONLY", Tone.STRONG),)
    if view is None:
        return (Span("… CONNECTING", Tone.UNKNOWN),) if not state.failure else (Span("✖ NO ANSWER", Tone.FAIL),)
    quorum = view.quorum
    if not view.members_known:
        count = f"{len(view.answering)} of {len(view.members)} endpoints answer"
        return (HEALTH_MARKS[view.health], Span(f"  {count} · member list unknown" if wide else f" {count}"))
    if not view.has_quorum:
        tail = f"  {quorum.present}/{quorum.voters} voters answer · {quorum.needed} needed"
        short = f" {quorum.present}/{quorum.voters} · needs {quorum.needed}"
        return (HEALTH_MARKS[view.health], Span(tail if wide else short))
    if not wide:
        return (HEALTH_MARKS[view.health], Span(f" {quorum.present}/{quorum.voters} · tolerates {view.tolerates}"))
    failures = "failure" if view.tolerates == 1 else "failures"
    text = f"  {quorum.present}/{quorum.voters} voters answer · {view.tolerates} more {failures} tolerated"
    return (HEALTH_MARKS[view.health], Span(text))


def _second_line(state: ConsoleState, chrome: Chrome, cells: int) -> Line:
    view = state.view
    if view is None:
        reason = state.unasked or state.failure or "asking the endpoints"
        return fit_line((Span(" " + reason, Tone.DIM),), cells)
    age_s = chrome.now_s - state.at_s
    if state.failure:
        age = (Span(f"  data {show_age(age_s)} old ", Tone.WARN),)
        return spread((Span(f" looking failed: {state.failure}", Tone.FAIL),), age, cells)
    wide = cells >= WIDE
    leader = view.leader_member
    facts: list[tuple[str, Span]] = [
        ("leader", Span(clip(leader.label, 24), Tone.STRONG) if leader else Span("none", Tone.FAIL)),
        ("term", Span(str(view.term))),
        ("rev", Span(str(view.max_revision))),
    ]
    version = ("etcd", Span(" / ".join(view.versions) or "?", Tone.WARN if len(view.versions) > 1 else Tone.PLAIN))
    facts.insert(0 if wide else 3, version)
    if wide:
        facts.insert(0, ("id", Span(padded_id(view.cluster_id) if view.cluster_id else "unknown")))
    facts.append(("alarms", Span(str(len(view.alarms)), Tone.FAIL if view.alarms else Tone.PLAIN)))
    stale = age_s > 3 * chrome.interval_s + 1
    facts.append(("data", Span(f"{show_age(age_s)} old", Tone.WARN if stale else Tone.PLAIN)))
    if wide:
        facts.append(("every", Span(f"{chrome.interval_s:g}s")))
    gap = "   " if wide else "  "
    spans: list[Span] = []
    for label, value in facts:
        spans += [Span(gap if spans else " "), Span(label + " ", Tone.LABEL), value]
    return fit_line(tuple(spans), cells)


def one_line(state: ConsoleState, chrome: Chrome, cells: int) -> list[Line]:
    """All that fits a very small terminal."""
    words = (Span(clip(chrome.title, 16), Tone.TITLE), Span(" "), *_verdict(state, wide=False))
    note = Span(f"enlarge to {LINE_MIN_WIDTH}x{LINE_MIN_HEIGHT} for the screens", Tone.DIM)
    return [fit_line(words, cells), fit_line((note,), cells)]


@dataclass(frozen=True, slots=True)
class Heights:
    """Rows of each part of the dashboard; charts 0 = one line instead of two panes."""

    members: int
    charts: int
    findings: int
    events: int

    @property
    def total(self) -> int:
        return self.members + max(1, self.charts) + self.findings + self.events


CHART_ROWS = 5
CODE_CELLS = 4
"""Of a finding's code."""


def share_rows(columns: int, rows: int, *, members: int, findings: int, blocked: int = 0) -> Heights:
    """How `rows` (without header and footer) are shared: every pane keeps its frame, the events take what is left."""
    charts = CHART_ROWS + 2 if columns >= WIDE and rows >= 24 else 0
    left = rows - max(1, charts)
    members_rows = min(members, max(1, left - 8)) + 3
    left -= members_rows
    per_finding = 2 if rows >= 24 else 1
    more = blocked if per_finding > 1 else min(1, findings)  # why not now, beside what; the one under the cursor
    wanted = max(1, findings * per_finding + more)
    findings_rows = max(3, min(wanted, max(1, left - 5), left * 3 // 5) + 2) if left >= 6 else max(0, left)
    return Heights(members_rows, charts, findings_rows, max(0, left - findings_rows))


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of a chart pane: a history with its name, its newest value and how high its bars are to be read."""

    series: str
    label: str
    short: str
    unit: str
    least_span: float = 0.0
    from_zero: bool = True

    def show(self, value: float | None, *, short: bool = False) -> str:
        if value is None:
            return "-"
        match self.unit:
            case "s":
                return show_duration(value).replace(" ", "") if short else show_duration(value)
            case "B":
                return show_bytes_short(value) if short else show_bytes(value)
            case "/s":
                return show_rate(value).replace(" ", "") if short else show_rate(value)
            case _:
                return show_count(value)


LATENCY = (
    Measure("rtt", "probe RTT", "rtt", "s", 0.005),
    Measure("commit", "commit p99", "commit", "s", 0.005),
    Measure("fsync", "fsync p99", "fsync", "s", 0.005),
    Measure("peer_rtt", "peer RTT p99", "peer", "s", 0.005),
    Measure("proposals", "proposals", "load", "/s", 10.0),
)
SIZES = (
    Measure("db_size", "db size", "db", "B", 1024 * 1024, from_zero=False),
    Measure("in_use", "in use", "used", "B", 1024 * 1024, from_zero=False),
    Measure("keys", "keys", "keys", "", 10.0, from_zero=False),
    Measure("watchers", "watchers", "watch", "", 4.0),
    Measure("leader_changes", "leader changes", "elect", "", 2.0, from_zero=False),
)
ONE_LINE = (LATENCY[0], LATENCY[1], LATENCY[2], SIZES[0])


def chart_lines(state: ConsoleState, measures: Sequence[Measure], zoom: int, now_s: float, cells: int) -> list[Line]:
    """A chart pane's rows: label, newest value, sparkline over the zoom's span."""
    label_cells = max(width(measure.label) for measure in measures) + 1
    value_cells = 8
    spark_cells = max(0, cells - label_cells - value_cells - 2)
    shown: list[Line] = []
    for measure in measures:
        history = state.history(measure.series)
        spark = _spark(state, measure, zoom, now_s, spark_cells)
        shown.append(
            (
                Span(fit(measure.label, label_cells), Tone.LABEL),
                Span(f"{measure.show(history.latest):>{value_cells}}"),
                Span("  "),
                Span(spark, Tone.FILLED),
            )
        )
    return shown


def metrics_note(state: ConsoleState, cells: int) -> list[Line]:
    """Why some numbers are missing; nothing when every answering member's `/metrics` could be read."""
    gaps = state.metrics_gaps()
    if not gaps:
        return []
    where = gaps[0].address if len(gaps) == 1 else f"{gaps[0].address} and {len(gaps) - 1} more"
    return [(Span(row, Tone.WARN),) for row in wrap(f"no /metrics at {where}: {gaps[0].reason}", cells)]


def latency_lines(state: ConsoleState, zoom: int, now_s: float, cells: int, rows: int) -> list[Line]:
    """The latency pane. Where metrics are missing, the reason takes the place of rows that have nothing to show."""
    lines = chart_lines(state, LATENCY, zoom, now_s, cells)
    note = metrics_note(state, cells)
    if not note:
        return lines
    known = [
        line for line, measure in zip(lines, LATENCY, strict=True) if state.history(measure.series).latest is not None
    ]
    if len(known) <= 1:
        return [*lines[:1], (), *note[:2], (Span("showing the probes' round trips only", Tone.DIM),)]
    return [*known[: rows - 1], note[0]]


def chart_one_line(state: ConsoleState, zoom: int, now_s: float, cells: int) -> Line:
    """The charts of a small terminal."""
    heads = [
        f"{measure.short} {measure.show(state.history(measure.series).latest, short=True)}" for measure in ONE_LINE
    ]
    spare = cells - 1 - sum(width(head) for head in heads) - 3 * len(heads)
    spark_cells = max(0, min(20, spare // len(heads)))
    spans: list[Span] = [Span(" ")]
    for measure, head in zip(ONE_LINE, heads, strict=True):
        name, _, value = head.partition(" ")
        spans += [Span(name + " ", Tone.LABEL), Span(value + " ")]
        spans += [Span(_spark(state, measure, zoom, now_s, spark_cells), Tone.FILLED), Span("  ")]
    return fit_line(tuple(spans), cells)


def zoom_name(zoom: int) -> str:
    return ZOOMS[zoom].name


def _spark(state: ConsoleState, measure: Measure, zoom: int, now_s: float, cells: int) -> str:
    values = state.history(measure.series).cells(zoom, cells, now_s) if cells else []
    return sparkline(values, floor=0.0 if measure.from_zero else None, least_span=measure.least_span)


def members_title(view: ClusterView | None, cells: int) -> Line:
    """The members pane's title."""
    if view is None:
        return (Span("Members", Tone.TITLE),)
    voters, learners = len(view.voters), len(view.learners)
    if cells < WIDE:
        return (Span("Members", Tone.TITLE), Span(f" {voters}" + (f"+{learners}" if learners else "")))
    return (Span("Members", Tone.TITLE), Span(f" {counted(voters, 'voter')}, {counted(learners, 'learner')}"))


def findings_title(findings: Sequence[Problem], cells: int) -> Line:
    """The findings pane's title: how many of which kind, by word or symbol."""
    counts: dict[str, int] = {}
    tones: dict[str, Tone] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity):
        mark = SEVERITY_MARKS[finding.severity]
        kind = _KINDS[finding.severity] if cells >= WIDE else mark.text
        counts[kind] = counts.get(kind, 0) + 1
        tones.setdefault(kind, mark.tone)
    spans: list[Span] = [Span("Findings", Tone.TITLE)]
    for kind, count in counts.items():
        gap = " · " if cells >= WIDE and len(spans) > 1 else " "
        told = f"{count}{kind}" if cells < WIDE else f"{count} {kind}" if kind == "critical" else counted(count, kind)
        spans += [Span(gap), Span(told, tones[kind])]
    return tuple(spans)


_KINDS = {Severity.CRITICAL: "critical", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def finding_block(finding: Problem, cells: int, *, rows: int) -> tuple[Line, ...]:
    """One finding in at most `rows` rows: what is wrong; what forbids the next step, else the step; then both."""
    mark = SEVERITY_MARKS[finding.severity]
    code = Span(f" {fit(finding.code, CODE_CELLS)} ", mark.tone)
    first = fit_line((mark, code, Span(clip_words(finding.summary, cells - CODE_CELLS - 3))), cells)
    told = [(word_for("next", finding.language), finding.next_step)]
    if finding.blocked:
        wait = (word_for("blocked", finding.language), finding.blocked)
        told = [*told, wait] if rows > 2 else [wait]
    return (first, *(_told(word, text, cells) for word, text in told[: rows - 1]))


def _told(word: str, text: str, cells: int) -> Line:
    margin = CODE_CELLS + 3
    room = cells - margin - width(word) - 2
    return fit_line((Span(" " * margin), Span(f"{word}: ", Tone.LABEL), Span(clip_words(text, room), Tone.DIM)), cells)


def finding_blocks(findings: Sequence[Problem], cells: int, rows: int, selected: int) -> list[tuple[Line, ...]]:
    """All findings for a pane of `rows` rows: further lines go first where it is tight, the selected one's last."""
    if not findings:
        return [((Span("● nothing found", Tone.OK), Span(" in the latest look", Tone.DIM)),)]
    for each in (3, 2):
        blocks = [finding_block(finding, cells, rows=each) for finding in findings]
        if sum(map(len, blocks)) <= rows:
            return blocks
    chosen = 2 if len(findings) + 1 <= max(rows, 2) else 1
    return [finding_block(one, cells, rows=chosen if index == selected else 1) for index, one in enumerate(findings)]


def event_line(event: Event, cells: int) -> Line:
    """One event: when, how bad, who, what."""
    subject_cells = 10 if cells >= WIDE - 4 else 8
    return fit_line(
        (
            Span(show_clock(event.at) + " ", Tone.DIM),
            SEVERITY_MARKS[event.severity],
            Span(" " + fit(event.subject, subject_cells) + " ", Tone.STRONG),
            Span(clip_words(event.text, cells - 13 - subject_cells)),
        ),
        cells,
    )
