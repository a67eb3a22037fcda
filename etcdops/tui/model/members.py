"""The details of one member, a tab at a time."""

from __future__ import annotations

from collections.abc import Callable

from etcdops.client.metrics import (
    LEADER_CHANGES,
    OPEN_FILES,
    PROPOSALS_FAILED,
    PROPOSALS_PENDING,
    RESIDENT,
    SLOW_APPLIES,
    MemberMetrics,
    NoMetrics,
)
from etcdops.doctor.checks.cluster import LAG_WARNING
from etcdops.ids import NO_MEMBER, format_id, padded_id
from etcdops.numbers import show_age, show_bytes, show_clock, show_count, show_duration, show_rate
from etcdops.tui.model.causes import word_for
from etcdops.tui.model.cluster import MemberRow, quota_tone
from etcdops.tui.model.history import sparkline
from etcdops.tui.model.state import ConsoleState
from etcdops.tui.model.table import bar
from etcdops.tui.model.text import Line, Span, Tone, fit, fit_line, line_width, wrap

LABEL_CELLS = 16

Fact = tuple[str, Line]


def tab_title(selected: int, cells: int) -> Line:
    """The names of all tabs, the selected one marked by brackets as well as by tone."""
    spans: list[Span] = []
    for index, (name, _) in enumerate(TABS):
        if index == selected:
            spans += [Span(f"[{name}]", Tone.TITLE)]
        else:
            spans += [Span(f" {name} ", Tone.LABEL)]
    return fit_line(tuple(spans), cells) if line_width(spans) > cells else tuple(spans)


def detail_lines(
    state: ConsoleState, row: MemberRow, tab: int, *, zoom: int, now_s: float, now_wall_s: float, cells: int
) -> list[Line]:
    """The selected tab of one member. Silent members show what they said last and say that it is old."""
    lines: list[Line] = []
    if not row.member.answered:
        lines += _silence(row, now_wall_s, cells)
    for label, value in TABS[tab][1](state, row, zoom, now_s, cells - LABEL_CELLS):
        lines += _fact_lines(label, value, cells)
    return lines


def _silence(row: MemberRow, now_wall_s: float, cells: int) -> list[Line]:
    reason = row.member.error or row.member.silence.value or "no answer"
    text = [Span(part, Tone.FAIL) for part in wrap(reason, max(10, cells - LABEL_CELLS))]
    lines: list[Line] = [
        (Span(fit(row.mark.text, LABEL_CELLS), row.mark.tone), text[0]),
        *((Span(" " * LABEL_CELLS), t) for t in text[1:]),
    ]
    if row.status is not None and row.age_s is not None and row.member.last_seen is not None:
        seen = f"values below are {show_age(row.age_s)} old, from {show_clock(row.member.last_seen)}"
        lines.append((Span(" " * LABEL_CELLS), Span(seen, Tone.DIM)))
    elif row.status is None:
        lines.append((Span(" " * LABEL_CELLS), Span("it has not answered since this console was started", Tone.DIM)))
    return [*lines, ()]


def _fact_lines(label: str, value: Line, cells: int) -> list[Line]:
    head = Span(fit(label, LABEL_CELLS), Tone.LABEL)
    room = cells - LABEL_CELLS
    if len(value) == 1 and line_width(value) > room > 8:
        parts = wrap(value[0].text, room)
        rest = [(Span(" " * LABEL_CELLS), Span(part, value[0].tone)) for part in parts[1:]]
        return [(head, Span(parts[0], value[0].tone)), *rest]
    return [fit_line((head, *value), cells)]


def _status_tab(state: ConsoleState, row: MemberRow, zoom: int, now_s: float, cells: int) -> list[Fact]:
    member, status = row.member, row.status
    facts: list[Fact] = [
        ("name", (Span(member.name or "(none: it never started)", Tone.STRONG),)),
        ("ID", (Span(padded_id(member.id) if member.id else "unknown"),)),
        ("role", (Span(row.role),)),
        ("health", (row.mark,)),
        ("version", (Span(status.version if status else "-"),)),
    ]
    facts.append(("alarms", (Span(", ".join(row.alarms), Tone.FAIL) if row.alarms else Span("none"),)))
    errors = status.errors if status else ()
    facts.append(("errors", (Span("; ".join(errors), Tone.WARN) if errors else Span("none"),)))
    entry = state.metrics.get(member.label)
    if isinstance(entry, MemberMetrics):
        facts.append(("memory", (Span(_number(entry, RESIDENT, show_bytes)),)))
        facts.append(("open files", (Span(_number(entry, OPEN_FILES, show_count)),)))
    findings = [finding for finding in state.findings if finding.subject == member.label]
    for finding in findings:
        facts.append((finding.code, (Span(finding.told(state.language).summary),)))
        facts.append(
            ("", (Span(f"{word_for('next', state.language)}: {finding.told(state.language).next_step}", Tone.DIM),))
        )
    return facts


def _urls_tab(state: ConsoleState, row: MemberRow, zoom: int, now_s: float, cells: int) -> list[Fact]:
    member = row.member
    facts: list[Fact] = [("asked at", (Span(member.endpoint or "no address to ask"),))]
    facts += [("client URL" if not i else "", (Span(url),)) for i, url in enumerate(member.client_urls)]
    if not member.client_urls:
        facts.append(("client URL", (Span("none known", Tone.WARN),)))
    facts += [("peer URL" if not i else "", (Span(url),)) for i, url in enumerate(member.peer_urls)]
    entry = state.metrics.get(member.label)
    if isinstance(entry, NoMetrics):
        facts.append(("metrics", (Span(f"{entry.address}: {entry.reason}", Tone.WARN),)))
    return facts


def _raft_tab(state: ConsoleState, row: MemberRow, zoom: int, now_s: float, cells: int) -> list[Fact]:
    status, view = row.status, state.view
    if status is None or view is None:
        return [("raft", (Span("nothing known", Tone.DIM),))]
    leader = view.member(status.leader)
    names = leader.label if leader else format_id(status.leader)
    follows = Span("itself" if status.leader == row.member.id else names)
    if status.leader == NO_MEMBER:
        follows = Span("nobody: it knows no leader", Tone.FAIL)
    lag = Span("-", Tone.DIM) if row.lag is None else Span(show_count(row.lag))
    if row.lag is not None and row.lag > LAG_WARNING:
        lag = Span(f"{show_count(row.lag)} entries behind", Tone.WARN)
    facts: list[Fact] = [
        ("follows", (follows,)),
        ("term", (Span(str(status.raft_term)),)),
        ("committed index", (Span(str(status.raft_index)),)),
        ("applied index", (Span(str(status.raft_applied_index)),)),
        ("lag", (lag,)),
        ("revision", (Span(str(status.revision)),)),
    ]
    entry = state.metrics.get(row.member.label)
    if isinstance(entry, MemberMetrics):
        rates = state.rates_of(row.member)
        facts += [
            ("proposals", (Span("-" if rates.proposals_per_s is None else show_rate(rates.proposals_per_s)),)),
            ("pending", (Span(_number(entry, PROPOSALS_PENDING, show_count)),)),
            ("failed", (Span(_number(entry, PROPOSALS_FAILED, show_count)),)),
            ("leader changes", (Span(_number(entry, LEADER_CHANGES, show_count)),)),
            ("slow applies", (Span(_number(entry, SLOW_APPLIES, show_count)),)),
        ]
    return facts


def _db_tab(state: ConsoleState, row: MemberRow, zoom: int, now_s: float, cells: int) -> list[Fact]:
    status = row.status
    if status is None:
        return [("database", (Span("nothing known", Tone.DIM),))]
    free = max(0, status.db_size_bytes - status.db_size_in_use_bytes)
    facts: list[Fact] = [
        ("size", (Span(show_bytes(status.db_size_bytes)),)),
        ("in use", (Span(show_bytes(status.db_size_in_use_bytes)),)),
        ("free pages", (Span(f"{show_bytes(free)} (a defragmentation gives them back)"),)),
    ]
    if status.db_quota_bytes:
        share = status.db_size_bytes / status.db_quota_bytes
        filled, empty = bar(share, max(8, min(30, cells - 8)))
        gauge = (Span(filled, quota_tone(share)), Span(empty, Tone.EMPTY), Span(f" {share:.1%}"))
        facts += [("quota", (Span(show_bytes(status.db_quota_bytes)),)), ("used", gauge)]
    else:
        facts.append(("quota", (Span("this member does not tell it", Tone.DIM),)))
    rates = state.rates_of(row.member)
    if rates.commit_p99_s is not None or rates.fsync_p99_s is not None:
        facts.append(("commit p99", (Span(_duration(rates.commit_p99_s)),)))
        facts.append(("fsync p99", (Span(_duration(rates.fsync_p99_s)),)))
    if row.member.hash:
        value = row.member.hash
        facts.append(("hash", (Span(f"{value.hash} at revision {value.hash_revision}"),)))
    return facts


def _rtt_tab(state: ConsoleState, row: MemberRow, zoom: int, now_s: float, cells: int) -> list[Fact]:
    member, view = row.member, state.view
    history = state.history(f"rtt:{member.label}")
    spark = sparkline(history.cells(zoom, max(8, min(40, cells - 10)), now_s), least_span=0.005)
    facts: list[Fact] = [
        ("from here", (Span(f"{_duration(member.rtt_s if member.answered else None):>8}  "), Span(spark, Tone.FILLED)))
    ]
    entry = state.metrics.get(member.label)
    if isinstance(entry, NoMetrics):
        return [
            *facts,
            ("to its peers", (Span(f"unknown: no /metrics at {entry.address}: {entry.reason}", Tone.WARN),)),
        ]
    for peer, rtt in state.rates_of(member).peer_rtt_p99_s.items():
        other = next((m for m in (view.members if view else ()) if m.id and format_id(m.id) == peer), None)
        name = other.label if other else peer
        facts.append(
            (
                f"to {name}"[: LABEL_CELLS - 1],
                (Span(f"{_duration(rtt):>8}"), Span("  p99 of the last minute", Tone.DIM)),
            )
        )
    if len(facts) == 1:
        facts.append(("to its peers", (Span("not measured yet: needs two readings", Tone.DIM),)))
    return facts


TABS: tuple[tuple[str, Callable[[ConsoleState, MemberRow, int, float, int], list[Fact]]], ...] = (
    ("status", _status_tab),
    ("URLs", _urls_tab),
    ("raft", _raft_tab),
    ("db", _db_tab),
    ("RTT", _rtt_tab),
)


def _number(entry: MemberMetrics, name: str, show: Callable[[float], str]) -> str:
    value = entry.numbers.get(name)
    return "-" if value is None else show(value)


def _duration(value: float | None) -> str:
    return "-" if value is None else show_duration(value)
