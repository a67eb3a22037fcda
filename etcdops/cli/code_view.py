"""The page of a live finding: its own words, and those of the cause it proves. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.cli.diagnose_view import WORDS, wrapped
from etcdops.cli.output import Json, Look, render_json
from etcdops.diagnosis.actions import steps
from etcdops.diagnosis.causes import Cause, catalogue
from etcdops.doctor.codes import Code

_SAME = {"en": "in logs", "zh": "日志中"}


def render_code(page: Code, look: Look, *, width: int, language: str) -> str:
    """The page of `etcdops explain CODE`."""
    words = WORDS[language]
    cause = catalogue().get(page.slug)
    lines = [
        look.style(f"{page.title[language]}  [{page.code}]", "head"),
        f"     {words[page.severity.word]}{words[';']}{page.section[language]}",
        *wrapped("", page.cause[language] or (cause.cause[language] if cause else ""), width),
    ]
    for text in cause.check[language] if cause else ():
        lines += wrapped(words["check"], text, width)
    lines += _fix(page, cause, width, language)
    if cause is not None:
        lines += wrapped(_SAME[language], f"{cause.title[language]}: etcdops explain {cause.slug}", width)
        for link in cause.links:
            lines += wrapped(words["links"], link, width)
    return look.text("\n".join(lines))


def _fix(page: Code, cause: Cause | None, width: int, language: str) -> Iterator[str]:
    label = WORDS[language]["fix"]
    if page.fix[language] or cause is None:
        for number, text in enumerate(page.fix[language], 1):
            yield from wrapped(label if number == 1 else "", f"{number}. {text}", width)
        return
    for number, step in enumerate(steps(cause, language), 1):
        yield from wrapped(label if number == 1 else "", f"{number}. {step.note}", width)
        for command in step.commands:
            yield f"       $ {command}"


def code_json(page: Code, language: str) -> str:
    cause = catalogue().get(page.slug)
    fix: list[Json] = list(page.fix[language])
    if not fix and cause is not None:
        fix = [line for step in steps(cause, language) for line in step.commands]
    body: dict[str, Json] = {
        "code": page.code,
        "section": page.section[language],
        "severity": page.severity.word,
        "slug": page.slug or None,
        "title": page.title[language],
        "cause": page.cause[language] or (cause.cause[language] if cause else ""),
        "check": list(cause.check[language]) if cause else [],
        "fix": fix,
        "links": list(cause.links) if cause else [],
    }
    return render_json("etcdops.explain.code/1", body)
