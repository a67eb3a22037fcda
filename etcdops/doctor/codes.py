"""The catalogue of live findings: one page for each code with all its words, in two languages.

A page has a title, what it means and how to mend it, and the texts of its findings: `summary`, `next` and perhaps
`detail`. Where a check sees one thing in several ways, tables below the page are its cases, each with texts of its own;
what a case leaves out the page says, and what a page leaves out the one it is `like`. A code is never reused.
E = broken, W = not yet, I = good to know; 1xx is about the cluster and what its members say, 2xx and 3xx about
members, 4xx about identities and configuration on hosts, 5xx about hosts, 6xx about the network and certificates, 7xx
about versions, 8xx about care: auth and backups.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from etcdops.diagnosis.causes import LANGUAGES
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.words import Wording, parse_wording
from etcdops.errors import UsageError

_ENDINGS = tuple(f"_{language}" for language in LANGUAGES)
_CODE = re.compile(r"[EWI]\d{3}")


@dataclass(frozen=True, slots=True)
class Words:
    """What findings of one kind say."""

    summary: Wording
    next_step: Wording
    detail: Wording | None

    @property
    def fields(self) -> frozenset[str]:
        """What must be known to say it."""
        wordings = (self.summary, self.next_step, self.detail)
        return frozenset().union(*(wording["en"].fields for wording in wordings if wording is not None))


@dataclass(frozen=True, slots=True)
class Code:
    """One page. Texts are by language; where `slug` names a cause, its page may say the rest."""

    code: str
    section: Mapping[str, str]
    severity: Severity
    slug: str
    was: str
    """The code that it had while it was thought worse or better; "" = none."""
    title: Mapping[str, str]
    cause: Mapping[str, str]
    """Empty: what the cause's page says."""
    fix: Mapping[str, tuple[str, ...]]
    """Empty: the remedy of the cause's page."""
    cases: Mapping[str, Words]
    """What its findings say, by case; "" where there is one case only, or one without a name."""


@cache
def codes() -> Mapping[str, Code]:
    """All pages by code, in order. Raises: ValueError - a text is missing in a language, or tells other fields."""
    read: dict[str, tuple[Mapping[str, str], dict[str, object]]] = {}
    folder = files("etcdops.doctor") / "codes"
    for page in sorted(folder.iterdir(), key=lambda item: item.name):
        if page.name.endswith(".toml"):
            bodies = tomllib.loads(page.read_text(encoding="utf-8"))
            section = {language: str(bodies.pop(f"section_{language}")) for language in LANGUAGES}
            read.update({code: (section, body) for code, body in bodies.items()})
    found = {
        code: _code(code, section, _with_texts_of(read[str(body["like"])][1], body) if "like" in body else body)
        for code, (section, body) in read.items()
    }
    return dict(sorted(found.items(), key=lambda item: item[0][1:] + item[0]))


def _with_texts_of(other: Mapping[str, object], body: Mapping[str, object]) -> dict[str, object]:
    """What a page leaves unsaid; severity and cause are its own affair."""
    texts = {key: value for key, value in other.items() if key.endswith(_ENDINGS) or isinstance(value, dict)}
    found = {**texts, **body}
    for key, value in body.items():
        above = texts.get(key)
        if isinstance(value, dict) and isinstance(above, dict):
            found[key] = {**above, **value}
    return found


def _code(code: str, section: Mapping[str, str], body: Mapping[str, object]) -> Code:
    def texts(name: str) -> dict[str, str]:
        return {language: str(body.get(f"{name}_{language}", "")) for language in LANGUAGES}

    def lists(name: str) -> dict[str, tuple[str, ...]]:
        values = {language: body.get(f"{name}_{language}", []) for language in LANGUAGES}
        return {key: tuple(map(str, value)) if isinstance(value, list) else () for key, value in values.items()}

    return Code(
        code=code,
        section=section,
        severity=Severity[str(body["severity"]).upper()],
        slug=str(body.get("slug", "")),
        was=str(body.get("was", "")),
        title=texts("title"),
        cause=texts("cause"),
        fix=lists("fix"),
        cases=_cases(code, body),
    )


def _cases(code: str, body: Mapping[str, object]) -> Mapping[str, Words]:
    """The page's own texts as case "", if it has a summary, and those of its tables."""
    own = {key: value for key, value in body.items() if not isinstance(value, dict)}
    tables = {name: {**own, **table} for name, table in body.items() if isinstance(table, dict)}
    if "summary_en" in own:
        tables[""] = own
    return {name: _words(f"{code} {name}".strip(), table) for name, table in tables.items()}


def _words(where: str, table: Mapping[str, object]) -> Words:
    def wording(name: str) -> Wording:
        texts = {language: str(table.get(f"{name}_{language}", "")) for language in LANGUAGES}
        return parse_wording(texts, f"{where}: {name}")

    has_detail = any(f"detail_{language}" in table for language in LANGUAGES)
    return Words(wording("summary"), wording("next"), wording("detail") if has_detail else None)


def known(code: str) -> Code:
    """The page of a code that a check uses. Raises: KeyError - a check with a code that the catalogue lacks."""
    return codes()[code]


def is_code(word: str) -> bool:
    """Whether it looks like a code, known or not: E101."""
    return _CODE.fullmatch(word.strip().upper()) is not None


def find_code(word: str) -> Code:
    """The page of that code, or of the one that stands in its place. Raises: UsageError, naming the nearest ones."""
    code = word.strip().upper()
    found = codes().get(code) or next((page for page in codes().values() if page.was == code), None)
    if found is not None:
        return found
    near = difflib.get_close_matches(word.upper(), list(codes()), n=3, cutoff=0.75)
    raise UsageError(
        f"there is no finding {word!r}", hint=f"did you mean {' or '.join(near)}?" if near else "etcdops explain --list"
    )
