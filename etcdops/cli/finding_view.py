"""How live findings read, in every command that shows them: lines for a terminal, or JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from etcdops.cli.output import Json, Look, cell_width, printable
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.finding import Finding
from etcdops.doctor.words import Said, Value, in_words, say
from etcdops.wording import Texts, words_of

EVIDENCE_SHOWN = 3
_INDENT = " " * 7
MARKS = {
    Severity.CRITICAL: ("✖", "bad"),
    Severity.ERROR: ("✖", "bad"),
    Severity.WARNING: ("▲", "warn"),
    Severity.INFO: ("·", "dim"),
}
"""Symbol and colour."""


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
    told = finding.told(language)

    def part(label: str, text: str) -> str:
        head = f"{_INDENT}{in_words(say(f'label.{label}'), language)}: " if label else _INDENT
        return head + wrap(look.text(printable(text)), width - cell_width(head), " " * cell_width(head))

    mark, kind = MARKS[finding.severity]
    label = look.style(look.text(f"{mark} {finding.code}"), kind)
    yield f"{label} {wrap(look.text(printable(told.summary)), width - 7, _INDENT)}"
    if told.detail and (finding.is_urgent or full):
        yield part("", told.detail)
    if proof:
        shown = told.evidence if full else told.evidence[:EVIDENCE_SHOWN]
        for line in shown:
            yield look.style(part("seen", line), "dim")
        if more := len(told.evidence) - len(shown):
            yield look.style(part("seen", in_words(say("label.more", count=more), language)), "dim")
        if finding.explains:
            yield part("explains", ", ".join(finding.explains))
    yield part("next", told.next_step)
    if told.blocked:
        yield part("wait", told.blocked)


def finding_json(finding: Finding, language: str = "en") -> Mapping[str, Json]:
    """Fields are only ever added. `case` and `fields` are the same in every language: bytes, seconds, RFC 3339."""
    told = finding.told(language)
    return {
        "code": finding.code,
        "severity": finding.severity.word,
        "subject": finding.subject,
        "title": told.title,
        "summary": told.summary,
        "detail": told.detail or None,
        "next": told.next_step,
        "blocked": told.blocked or None,
        "slug": finding.slug or None,
        "evidence": list(told.evidence),
        "explains": list(finding.explains),
        "case": finding.case or None,
        "fields": {name: _neutral(value) for name, value in finding.fields if not isinstance(value, Texts)},
        "blocked_by": _neutral(finding.blocked) if finding.blocked is not None else None,
    }


def _neutral(value: Value) -> Json:
    """What no language changes; a phrase is its name and what fills it."""
    if isinstance(value, Said):
        filled = {name: _neutral(part) for name, part in value.fields if not isinstance(part, Texts)}
        return {"phrase": value.key, **filled}
    if isinstance(value, tuple):
        return [_neutral(one) for one in value if not isinstance(one, Texts)]
    if isinstance(value, Texts):
        return None
    return value if value != "" else None


def wrap(text: str, width: int, indent: str) -> str:
    """`text` broken between words into lines of at most `width` cells; only the later ones get `indent`."""
    lines, line = [], ""
    for gap, word in _words(text, width):
        if line and cell_width(line + gap + word) > width:
            lines.append(line)
            line = ""
        line += (gap if line else "") + word
    return ("\n" + indent).join([*lines, line])


def _words(text: str, width: int) -> Iterator[tuple[str, str]]:
    """Each word with the blanks before it; commands in a sentence are words as any other.

    A list without blanks that is wider than a line, as `--initial-cluster` takes it, is broken behind its commas.
    """
    for gap, word in words_of(text):
        parts = word.split(",") if cell_width(word) > width else [word]
        yield gap, ",".join(parts[:1]) + ("," if len(parts) > 1 else "")
        yield from (("", f"{part},") for part in parts[1:-1])
        yield from (("", part) for part in parts[1:][-1:])
