"""The catalogue of causes: how bad each is, what it means, what to check, how to mend it. In two languages."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from etcdops.diagnosis.finding import Severity
from etcdops.errors import UsageError

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Cause:
    """One page of the catalogue. Texts are by language; `fix` names actions of `actions.py` in the order to take them.

    `versions` are the releases that can show it, `source` the parts of etcd (or of the system) that say it.
    """

    slug: str
    section: Mapping[str, str]
    severity: Severity
    title: Mapping[str, str]
    cause: Mapping[str, str]
    check: Mapping[str, tuple[str, ...]]
    fix: tuple[str, ...]
    versions: str
    source: str
    links: tuple[str, ...]


@cache
def catalogue() -> Mapping[str, Cause]:
    """All causes by slug, in the order of the catalogue."""
    found: dict[str, Cause] = {}
    folder = files("etcdops.diagnosis") / "catalogue"
    for page in sorted(folder.iterdir(), key=lambda item: item.name):
        if page.name.endswith(".toml"):
            read = tomllib.loads(page.read_text(encoding="utf-8"))
            section = {language: str(read.pop(f"section_{language}")) for language in LANGUAGES}
            found.update({slug: _cause(slug, section, body) for slug, body in read.items()})
    return found


def _cause(slug: str, section: Mapping[str, str], body: Mapping[str, object]) -> Cause:
    def texts(name: str) -> dict[str, str]:
        return {language: str(body[f"{name}_{language}"]) for language in LANGUAGES}

    def lists(name: str) -> dict[str, tuple[str, ...]]:
        return {language: _strings(body.get(f"{name}_{language}")) for language in LANGUAGES}

    return Cause(
        slug=slug,
        section=section,
        severity=Severity[str(body["severity"]).upper()],
        title=texts("title"),
        cause=texts("cause"),
        check=lists("check"),
        fix=_strings(body.get("fix")),
        versions=str(body.get("versions", "")),
        source=str(body.get("source", "")),
        links=_strings(body.get("links")),
    )


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


@cache
def severities() -> Mapping[str, Severity]:
    return {slug: cause.severity for slug, cause in catalogue().items()}


def find_cause(word: str) -> Cause:
    """The cause of that slug. Raises: UsageError, naming the nearest slugs."""
    found = catalogue().get(word.strip().lower())
    if found:
        return found
    near = difflib.get_close_matches(word.lower(), list(catalogue()), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "etcdops explain --list"
    raise UsageError(f"there is no cause {word!r}", hint=hint)
