"""The catalogue of live findings: one page for each code, in two languages.

A code is never reused. E = broken, W = not yet, I = good to know; 1xx is about the cluster and what its members say,
2xx and 3xx about members, 4xx about identities and configuration on hosts, 5xx about hosts, 6xx about the network and
certificates, 7xx about versions, 8xx about care: auth and backups.
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
from etcdops.errors import UsageError

_CODE = re.compile(r"[EWI]\d{3}")


@dataclass(frozen=True, slots=True)
class Code:
    """One page. Texts are by language; where `slug` names a cause, its page may say the rest."""

    code: str
    section: str
    severity: Severity
    slug: str
    title: Mapping[str, str]
    cause: Mapping[str, str]
    """Empty: what the cause's page says."""
    fix: Mapping[str, tuple[str, ...]]
    """Empty: the remedy of the cause's page."""


@cache
def codes() -> Mapping[str, Code]:
    """All pages by code, in order."""
    found: dict[str, Code] = {}
    folder = files("etcdops.doctor") / "codes"
    for page in sorted(folder.iterdir(), key=lambda item: item.name):
        if page.name.endswith(".toml"):
            read = tomllib.loads(page.read_text(encoding="utf-8"))
            section = str(read.pop("section"))
            found.update({code: _code(code, section, body) for code, body in read.items()})
    return dict(sorted(found.items(), key=lambda item: item[0][1:] + item[0]))


def _code(code: str, section: str, body: Mapping[str, object]) -> Code:
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
        title=texts("title"),
        cause=texts("cause"),
        fix=lists("fix"),
    )


def known(code: str) -> Code:
    """The page of a code that a check uses. Raises: KeyError - a check with a code that the catalogue lacks."""
    return codes()[code]


def is_code(word: str) -> bool:
    """Whether it looks like a code, known or not: E101."""
    return _CODE.fullmatch(word.strip().upper()) is not None


def find_code(word: str) -> Code:
    """The page of that code. Raises: UsageError, naming the nearest ones."""
    found = codes().get(word.strip().upper())
    if found is not None:
        return found
    near = difflib.get_close_matches(word.upper(), list(codes()), n=3, cutoff=0.75)
    raise UsageError(
        f"there is no finding {word!r}", hint=f"did you mean {' or '.join(near)}?" if near else "etcdops explain --list"
    )
