"""How live findings read, in every command that shows them: lines for a terminal, or JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from etcdops.cli.output import Json, Look, cell_width, printable
from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.codes import known
from etcdops.doctor.finding import Finding

EVIDENCE_SHOWN = 3
_INDENT = " " * 7
_WORD = re.compile(r"( *)([\u2e80-\uffef]|[^ \u2e80-\uffef]+)")
_MARKS = {
    Severity.CRITICAL: ("✖", "bad"),
    Severity.ERROR: ("✖", "bad"),
    Severity.WARNING: ("▲", "warn"),
    Severity.INFO: ("·", "dim"),
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {"seen": "seen", "next": "next", "wait": "wait", "explains": "explains", "more": "more with --full"},
    "zh": {"seen": "依据", "next": "处理", "wait": "等待", "explains": "可解释", "more": "更多见 --full"},
}


def render_findings(
    findings: Iterable[Finding],
    look: Look,
    width: int,
    *,
    proof: bool = False,
    full: bool = False,
    language: str = "en",
) -> str:
    """One block for each: what, why it matters when urgent, the next step, what forbids it.

    Args: proof - also what was seen, a few lines, or with `full` all of them, and what else it accounts for.
    """
    return "\n".join(line for one in findings for line in _block(one, look, width, proof, full, language))


def _block(finding: Finding, look: Look, width: int, proof: bool, full: bool, language: str) -> Iterator[str]:
    words = _WORDS[language]

    def part(label: str, text: str) -> str:
        head = f"{_INDENT}{label}: " if label else _INDENT
        return head + wrap(look.text(printable(text)), width - cell_width(head), " " * cell_width(head))

    mark, kind = _MARKS[finding.severity]
    label = look.style(look.text(f"{mark} {finding.code}"), kind)
    if language == "en":
        yield f"{label} {wrap(look.text(printable(finding.summary)), width - 7, _INDENT)}"
    else:
        yield f"{label} {known(finding.code).title[language]}"
        yield part("", finding.summary)
    about = finding.detail if language == "en" else _cause(finding, language)
    if about and (finding.is_urgent or full):
        yield part("", about)
    if proof:
        shown = finding.evidence if full else finding.evidence[:EVIDENCE_SHOWN]
        for line in shown:
            yield look.style(part(words["seen"], line), "dim")
        if len(finding.evidence) > len(shown):
            yield look.style(f"{_INDENT}{words['seen']}: {len(finding.evidence) - len(shown)} {words['more']}", "dim")
        if finding.explains:
            yield part(words["explains"], ", ".join(finding.explains))
    yield part(words["next"], finding.next_step)
    if finding.blocked:
        yield part(words["wait"], finding.blocked)


def _cause(finding: Finding, language: str) -> str:
    """What the page says, or that of the cause it proves."""
    cause = catalogue().get(finding.slug)
    return known(finding.code).cause[language] or (cause.cause[language] if cause is not None else "")


def finding_json(finding: Finding, language: str = "en") -> Mapping[str, Json]:
    """Fields are only ever added."""
    page = known(finding.code)
    return {
        "code": finding.code,
        "severity": finding.severity.word,
        "subject": finding.subject,
        "title": page.title[language],
        "summary": finding.summary,
        "detail": finding.detail or None,
        "next": finding.next_step,
        "blocked": finding.blocked or None,
        "slug": finding.slug or None,
        "evidence": list(finding.evidence),
        "explains": list(finding.explains),
    }


def wrap(text: str, width: int, indent: str) -> str:
    """`text` broken at blanks into lines of at most `width` cells; only the later ones get `indent`.

    Chinese has no blanks to break at: its characters are words.
    """
    lines, line = [], ""
    for gap, word in _words(text):
        if line and cell_width(line + gap + word) > width:
            lines.append(line)
            line = ""
        line += (gap if line else "") + word
    return ("\n" + indent).join([*lines, line])


def _words(text: str) -> list[tuple[str, str]]:
    """Each word with the blanks before it; commands in a sentence are words as any other."""
    return [(match[1], match[2]) for match in _WORD.finditer(text)]
