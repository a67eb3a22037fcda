"""What mends a cause: commands from one table, with what the finding knows filled in."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from etcdops.diagnosis.causes import LANGUAGES, Cause
from etcdops.diagnosis.finding import Finding
from etcdops.diagnosis.identify import is_id


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a remedy. `console` is the procedure of etcdops that does it; `commands` do it by hand."""

    name: str
    note: Mapping[str, str]
    console: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """An action made ready for one finding."""

    note: str
    commands: tuple[str, ...]


@cache
def actions() -> Mapping[str, Action]:
    """The table, by name."""
    text = (files("etcdops.diagnosis") / "actions.toml").read_text(encoding="utf-8")
    return {name: _action(name, body) for name, body in tomllib.loads(text).items()}


def _action(name: str, body: Mapping[str, object]) -> Action:
    note = {language: str(body[f"note_{language}"]) for language in LANGUAGES}
    return Action(name, note, _lines(body.get("console")), _lines(body.get("commands")))


def _lines(value: object) -> tuple[str, ...]:
    return tuple(str(line) for line in value) if isinstance(value, list) else ()


def steps(cause: Cause, language: str, finding: Finding | None = None) -> tuple[Step, ...]:
    """How to mend `cause`, in order; the console's procedures stand before the commands that do the same by hand."""
    known = _known(finding)
    found = []
    for name in cause.fix:
        action = actions()[name]
        lines = tuple(_filled(line, known) for line in (*action.console, *action.commands))
        found.append(Step(action.note[language], lines))
    return tuple(found)


def _known(finding: Finding | None) -> dict[str, str]:
    """Only what is an ID may be filled in where an ID belongs; a file's name is none."""
    known = {"member": "<member-id>", "peer": "<peer-id>", "data_dir": "<data-dir>"}
    if finding is None:
        return known
    if is_id(finding.peer):
        known["peer"] = finding.peer
    if is_id(finding.member):
        known["member"] = finding.member
    known.update({name: value for name, value in finding.facts if name in known})
    return known


def _filled(line: str, known: Mapping[str, str]) -> str:
    # Not str.format: commands hold braces of their own.
    for name, value in known.items():
        line = line.replace("{" + name + "}", value)
    return line
