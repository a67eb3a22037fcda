"""A cause of etcdops.diagnosis as lines to read: what it means, what to check, how to mend it."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.diagnosis.actions import Step, steps
from etcdops.diagnosis.causes import Cause
from etcdops.diagnosis.finding import Finding, Severity
from etcdops.doctor.words import in_words, say
from etcdops.tui.model.text import Line, Span, Tone, clean, fit, wrap

ENGLISH = "en"
"""What the screens themselves speak; findings and their pages also Chinese."""
LABEL_CELLS = 9
_TONES = {
    Severity.INFO: Tone.ACCENT,
    Severity.WARNING: Tone.WARN,
    Severity.ERROR: Tone.FAIL,
    Severity.CRITICAL: Tone.FAIL,
}


def page_lines(
    cause: Cause,
    cells: int,
    finding: Finding | None = None,
    seen: Sequence[Line] = (),
    *,
    language: str = ENGLISH,
) -> list[Line]:
    """The page of a cause; `seen` stands before what to do. What `finding` knows is filled into the commands."""
    lines: list[Line] = [
        (Span(cause.title[language], Tone.STRONG), Span(f"  {cause.slug}", Tone.DIM)),
        (Span(cause.severity.word, _TONES[cause.severity]),),
        (),
        *((Span(row),) for row in wrap(clean(cause.cause[language]), cells)),
        *seen,
    ]
    for number, text in enumerate(cause.check[language]):
        lines += labelled("check" if not number else "", text, cells, first=not number, language=language)
    lines += step_lines(steps(cause, language, finding), cells, language)
    for number, link in enumerate(cause.links):
        lines += labelled("read" if not number else "", link, cells, first=not number, language=language)
    return lines


def step_lines(steps: Sequence[Step], cells: int, language: str = ENGLISH) -> list[Line]:
    """A remedy, step by step, with its commands."""
    lines: list[Line] = []
    for number, step in enumerate(steps, 1):
        lines += labelled(
            "fix" if number == 1 else "", f"{number}. {step.note}", cells, first=number == 1, language=language
        )
        for command in step.commands:
            rows = wrap(clean(command), max(10, cells - LABEL_CELLS - 5))
            lines += [
                (Span(" " * LABEL_CELLS + ("   $ " if not row else "     "), Tone.DIM), Span(text, Tone.KEY))
                for row, text in enumerate(rows)
            ]
    return lines


def labelled(label: str, text: str, cells: int, *, first: bool = True, language: str = ENGLISH) -> list[Line]:
    """A paragraph with its label in the margin; an empty line before it when it is the first of its kind."""
    margin = word_for(label, language) if label else ""
    rows = wrap(clean(text), max(10, cells - LABEL_CELLS))
    made: list[Line] = [
        (Span(fit(margin if not index else "", LABEL_CELLS), Tone.LABEL), Span(row)) for index, row in enumerate(rows)
    ]
    return [(), *made] if first else made


def word_for(label: str, language: str) -> str:
    """A label as that language has it."""
    return label if language == ENGLISH else in_words(say(f"margin-label.{label}"), language)
