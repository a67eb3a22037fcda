"""Which faults an etcd release has, for the operation at hand: a table, offline."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from etcdops.diagnosis.causes import LANGUAGES

ALWAYS = "always"
Release = tuple[int, int, int]

SUPPORTED_LINES = ((3, 5), (3, 6), (3, 7))
"""Source: etcd's CHANGELOG/README; 3.4 ended with 3.4.45 (2026-06-01)."""
SAFE_RELEASES: Mapping[tuple[int, int], Release] = {(3, 5): (3, 5, 33), (3, 6): (3, 6, 14), (3, 7): (3, 7, 1)}
"""The first release of each supported line without any fault of the table: what to upgrade to. (2026-07-23)"""
_NUMBER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Advisory:
    """One fault."""

    name: str
    kind: str
    """`corruption`, `security` or `operation`."""
    operation: str
    """When it strikes: `defragment`, `member add` ...; `always`: at any time."""
    affects: tuple[tuple[int, int], ...]
    """Release lines that had it."""
    fixed: Mapping[tuple[int, int], Release]
    """By line; a line without one never got the correction."""
    needs: str
    """`auth` or `tls`: it matters only where that is in use; "" = everywhere."""
    title: Mapping[str, str]
    source: str

    def concerns(self, release: Release) -> bool:
        """Whether that release has the fault."""
        line = release[:2]
        if line not in self.affects:
            return line < min(self.affects) and self.kind == "security"
        return line not in self.fixed or release < self.fixed[line]


@cache
def advisories() -> tuple[Advisory, ...]:
    """The table, in its order."""
    text = (files("etcdops.doctor") / "advisories.toml").read_text(encoding="utf-8")
    return tuple(_advisory(name, body) for name, body in tomllib.loads(text).items())


def _advisory(name: str, body: Mapping[str, object]) -> Advisory:
    affects, fixed = body["affects"], body["fixed"]
    assert isinstance(affects, list)
    assert isinstance(fixed, dict)
    return Advisory(
        name=name,
        kind=str(body["kind"]),
        operation=str(body["operation"]),
        affects=tuple(_line(str(line)) for line in affects),
        fixed={_line(str(line)): parse_release(str(release)) or (0, 0, 0) for line, release in fixed.items()},
        needs=str(body.get("needs", "")),
        title={language: str(body[f"title_{language}"]) for language in LANGUAGES},
        source=str(body["source"]),
    )


def operations() -> tuple[str, ...]:
    """What an operator may have in mind: `defragment`, `member add` ..."""
    return tuple(sorted({one.operation for one in advisories()} - {ALWAYS}))


def _line(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def parse_release(text: str) -> Release | None:
    """`3.5.16`, `v3.6.0-rc.1`; None: no version."""
    match = _NUMBER.match(text.strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match is not None else None


def concerning(release: Release, *, unused: Collection[str] = ()) -> tuple[Advisory, ...]:
    """The faults of a release, those that lose data first. `unused`: of "auth" and "tls", what is known to be off."""
    order = ("corruption", "security", "operation")
    found = [one for one in advisories() if one.concerns(release) and one.needs not in unused]
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def show_release(release: Release) -> str:
    return ".".join(map(str, release))
