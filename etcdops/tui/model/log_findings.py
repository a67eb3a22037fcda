"""What etcdops.diagnosis finds in the logs, as the console shows it: who, since when, and the next step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from etcdops.diagnosis.actions import steps
from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.finding import Diagnosis, Evidence, Finding
from etcdops.diagnosis.frame import parse_line
from etcdops.numbers import show_age
from etcdops.tui.log_feed import LogTrouble
from etcdops.tui.model.causes import ENGLISH, labelled, page_lines, word_for
from etcdops.tui.model.cluster import SEVERITY_MARKS
from etcdops.tui.model.log_lines import show_moment
from etcdops.tui.model.logs import shown_text
from etcdops.tui.model.text import Line, Span, Tone, clean, clip, clip_words, fit_line, line_width, width, wrap
from etcdops.wording import counted

CURRENT_S = 15 * 60.0
"""A finding whose last line is older belongs to the past, unless its log has said nothing since."""
_END_S = 60.0
_WHOLE = 9
"""More lines for a block than two: as many as its sentences take."""


@dataclass(frozen=True, slots=True)
class LogFinding:
    """One finding with names instead of IDs."""

    finding: Finding
    where: str
    """The members that noticed it; the other side where there is one."""
    members: tuple[str, ...]
    """Those that noticed it."""
    peers: tuple[str, ...]
    """The other sides."""
    current: bool
    """It goes on, or its member has said nothing since."""
    language: str = ENGLISH

    @property
    def title(self) -> str:
        return catalogue()[self.finding.slug].title[self.language]

    @property
    def next_step(self) -> str:
        """The first thing to do; a command where there is one that needs no choice."""
        first = next(iter(steps(catalogue()[self.finding.slug], self.language, self.finding)), None)
        if first is None:
            return f"etcdops explain {self.finding.slug}"
        return f"{first.note}: {first.commands[0]}" if len(first.commands) == 1 else first.note


@dataclass(frozen=True, slots=True)
class LogFindings:
    """Everything a diagnosis says, and what could not be read for it."""

    found: tuple[LogFinding, ...] = ()
    """Most probable root cause first."""
    unexplained: tuple[Evidence, ...] = ()
    """Lines a member ended with that no rule knows."""
    troubles: tuple[LogTrouble, ...] = ()

    @property
    def count(self) -> int:
        return len(self.troubles) + len(self.found) + len(self.unexplained)


def log_findings(
    diagnosis: Diagnosis,
    names: Mapping[str, str],
    troubles: Iterable[LogTrouble],
    now: float,
    language: str = ENGLISH,
) -> LogFindings:
    """Args: names - what the diagnosis calls a member -> its name; now - Unix time."""
    ends = {source.name: source.last for source in diagnosis.sources}
    offsets = {source.name: source.clock_offset_s for source in diagnosis.sources}

    def current(finding: Finding) -> bool:
        if finding.last is None or now - finding.last <= CURRENT_S:
            return True
        logs = {line.source for line in finding.evidence}
        return any((ends.get(log) or 0.0) - offsets.get(log, 0.0) - finding.last <= _END_S for log in logs)

    def named(words: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(clean(names.get(word, word)) for word in words))

    found: list[LogFinding] = []
    for finding in diagnosis.findings:
        here = named(finding.members)
        there = [name for name in named(finding.peers) if name not in here]
        where = ", ".join(here) + (f" → {', '.join(there)}" if there else "")
        found.append(LogFinding(finding, where, here, tuple(there), current(finding), language))
    known = tuple(LogTrouble(trouble.source, clean(trouble.reason), clean(trouble.next_step)) for trouble in troubles)
    return LogFindings(tuple(found), diagnosis.unexplained, known)


def finding_blocks(found: LogFindings, cells: int, rows: int, selected: int, now: float) -> list[tuple[Line, ...]]:
    """A block for each: whole sentences where there is room for all, else two lines, else two only under the cursor."""
    count = found.count
    for depth in (_WHOLE, 2):
        blocks = _blocks(found, cells, now, [depth] * count)
        if sum(map(len, blocks)) <= rows:
            return blocks
    return _blocks(found, cells, now, [2 if index == selected else 1 for index in range(count)])


def _blocks(found: LogFindings, cells: int, now: float, depths: Sequence[int]) -> list[tuple[Line, ...]]:
    left = iter(depths)
    blocks: list[tuple[Line, ...]] = []
    for trouble in found.troubles:
        head = f"{trouble.source}'s log cannot be read: {trouble.reason}"
        blocks.append(_block(Span("?", Tone.UNKNOWN), head, "next", trouble.next_step, cells, next(left)))
    for one in found.found:
        blocks.append(_finding_block(one, cells, now, next(left)))
    for line in found.unexplained:
        head = f"{line.source} ended with words that no rule knows"
        blocks.append(_block(Span("✖", Tone.FAIL), head, "said", _quoted(line), cells, next(left)))
    return blocks


def _block(mark: Span, head: str, label: str, text: str, cells: int, depth: int) -> tuple[Line, ...]:
    heads = wrap(head, cells - 2) if depth == _WHOLE else [clip_words(head, cells - 2)]
    lines = [fit_line((mark if not number else Span(" "), Span(f" {row}")), cells) for number, row in enumerate(heads)]
    return (*lines, *_second(label, text, cells, depth)) if depth > 1 and text else tuple(lines)


def _second(label: str, text: str, cells: int, depth: int) -> list[Line]:
    room = cells - width(label) - 4
    rows = wrap(text, room) if depth == _WHOLE else [clip_words(text, room)]
    margin = Span(" " * (width(label) + 4))
    head = Span(f"  {label}: ", Tone.LABEL)
    return [fit_line((head if not number else margin, Span(row, Tone.DIM)), cells) for number, row in enumerate(rows)]


def _finding_block(one: LogFinding, cells: int, now: float, depth: int) -> tuple[Line, ...]:
    mark = SEVERITY_MARKS[one.finding.severity]
    age = f"{show_age(max(0.0, now - one.finding.last))} ago" if one.finding.last is not None else ""
    tail = (Span(f"  {counted(one.finding.count, 'line')}", Tone.DIM), Span(f" {age:>8}", Tone.DIM))
    room = cells - 2 - line_width(tail)
    where = clip(one.where, max(8, room // 3))
    words = (
        mark,
        Span(" "),
        Span(where, Tone.STRONG),
        Span(" "),
        Span(clip_words(one.title, room - width(where) - 1), mark.tone if one.current else Tone.DIM),
    )
    first = (*fit_line(words, cells - line_width(tail)), *tail)
    return (first, *_second(word_for("next", one.language), one.next_step, cells, depth)) if depth > 1 else (first,)


def findings_title(found: LogFindings) -> Line:
    """How many of which kind."""
    counts: dict[Span, int] = {}
    for severity in sorted((one.finding.severity for one in found.found), reverse=True):
        mark = SEVERITY_MARKS[severity]
        counts[mark] = counts.get(mark, 0) + 1
    marks = (Span(f" {count}{mark.text}", mark.tone) for mark, count in counts.items())
    return (Span("Findings", Tone.TITLE), *marks)


def nothing_found(lines: int, members: int) -> Line:
    """What stands where findings would."""
    if not lines:
        return (Span("no line was read yet", Tone.DIM),)
    return (
        Span("● nothing found", Tone.OK),
        Span(f" in {counted(lines, 'line')} of {counted(members, 'log')}", Tone.DIM),
    )


def finding_page(one: LogFinding, cells: int) -> list[Line]:
    """Everything about one finding: when, how sure, what it accounts for, its lines, and the cause's page."""
    return page_lines(catalogue()[one.finding.slug], cells, one.finding, seen_lines(one, cells), language=one.language)


def seen_lines(one: LogFinding, cells: int) -> list[Line]:
    """When, where and how often it was logged, what it accounts for, and the lines that prove it."""
    finding = one.finding
    lines = labelled("seen", _seen(finding), cells, language=one.language)
    lines += labelled("where", one.where, cells, first=False, language=one.language)
    if finding.explains:
        told = (f"{catalogue()[s.slug].title[one.language]} ({counted(s.count, 'line')})" for s in finding.explains)
        lines += labelled("explains", ", ".join(told), cells, first=False, language=one.language)
    for number, line in enumerate(finding.evidence):
        lines += labelled("lines" if not number else "", _quoted(line), cells, first=not number, language=one.language)
    return lines


def _quoted(evidence: Evidence) -> str:
    """A line as the screens show it."""
    entry = parse_line(evidence.text, evidence.source, evidence.line)
    clock = show_moment(entry.time, dated=True, exact=False) if entry.time is not None else ""
    return " ".join(filter(None, (clock, evidence.source, entry.level, shown_text(entry)[1])))


def _seen(finding: Finding) -> str:
    text = f"{counted(finding.count, 'line')}, {round(finding.confidence * 100)} % sure"
    if finding.first is None or finding.last is None:
        return text
    dated = time.localtime(finding.first)[:3] != time.localtime(finding.last)[:3]
    first, last = (show_moment(at, dated=dated, exact=False) for at in (finding.first, finding.last))
    return f"{text}, at {first}" if first == last else f"{text}, from {first} to {last}"


def trouble_page(trouble: LogTrouble, cells: int) -> list[Line]:
    """Why a log cannot be read."""
    head = f"{trouble.source}'s log cannot be read now. It is tried again; the others are not kept waiting."
    lines: list[Line] = [(Span(row, Tone.STRONG),) for row in wrap(head, cells)]
    lines += labelled("reason", trouble.reason, cells)
    return lines + (labelled("next", trouble.next_step, cells) if trouble.next_step else [])


def unexplained_page(evidence: Evidence, cells: int) -> list[Line]:
    """The last words of a member that no rule knows."""
    head = f"The log of {evidence.source} ends with a line that ends the process, and no rule knows it."
    lines: list[Line] = [(Span(row, Tone.STRONG),) for row in wrap(head, cells)]
    lines += labelled("line", _quoted(evidence), cells)
    return lines + labelled("next", "look at the lines before it (Esc, then e), and at the service on its host", cells)
