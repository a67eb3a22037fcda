"""What a member is started with, from texts alone: copies of its unit, its environment file, its config file.

Together they describe one member, combined as systemd and etcd do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from etcdops.errors import UsageError
from etcdops.services.container_command import is_engine
from etcdops.services.etcd_settings import CONFIG_FILE, Placed, Start, config_file, settle
from etcdops.services.port import ProcessConfig
from etcdops.services.unit_file import last, parse_environment_file, parse_unit
from etcdops.services.unit_start import SCRIPT, start_of

_SHOWN_MAX = 3
_SECTION = re.compile(r"^\s*\[(Unit|Service|Install)\]\s*$", re.MULTILINE)
_VARIABLE = re.compile(r"^\s*(export\s+)?[A-Za-z_][A-Za-z0-9_]*=", re.MULTILINE)
_HOST_SPECIFIER = re.compile(r"(?<!%)(?:%%)*%[Hlq]")


@dataclass(frozen=True, slots=True)
class Written:
    """A member as its files describe it."""

    config: ProcessConfig
    unit: str = ""
    """Name of its systemd unit without `.service`; empty: no unit was given."""
    user: str = ""
    group: str = ""
    folder: str = ""
    """Where it is started; empty: not known."""
    notes: tuple[str, ...] = ()
    container: Start | None = None
    """The command of a container engine that the unit runs: `config` is not the member's then, and says nothing."""


@dataclass(slots=True)
class _Sorted:
    units: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    """That a unit runs, by the last part of their paths."""
    environments: dict[str, str] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)


async def read_written(texts: Mapping[str, str]) -> Written:
    """The member that files describe, by path -> text. What each file is, its text says; drop-ins follow their unit.

    Raises: UsageError - they describe no member, or more than one.
    """
    given = _sorted(texts)
    if len(given.configs) > 1:
        raise UsageError(f"{' and '.join(given.configs)} are two config files", hint="import one member at a time")
    written = await (_with_unit(given) if given.units else _without_unit(given))
    if not written.unit and not {*written.config.flags} - {CONFIG_FILE}:
        first, more = written.config.ignored[:_SHOWN_MAX], len(written.config.ignored) - _SHOWN_MAX
        raise UsageError(
            f"{', '.join(texts)}: no setting of etcd is in it",
            cause="; ".join(first) + (f"; and {more} more" if more > 0 else ""),
            hint="give the files that the member is started with: unit, environment file, etcd.conf.yml, compose file",
        )
    return written


def _sorted(texts: Mapping[str, str]) -> _Sorted:
    given = _Sorted()
    for path, text in texts.items():
        if _SECTION.search(text):
            given.units[path] = text
        elif text.startswith("#!"):
            given.scripts[PurePath(path).name] = text
        elif _VARIABLE.search(text):
            given.environments[path] = text
        else:
            given.configs[path] = text
    return given


async def _without_unit(given: _Sorted) -> Written:
    env: dict[str, Placed] = {}
    for path, text in given.environments.items():
        env |= parse_environment_file(text, path)
    return Written(_settled(Start("etcd", (), env), given))


async def _with_unit(given: _Sorted) -> Written:
    first = next(iter(given.units))
    reads: list[str] = []
    unit = PurePath(first).name if first.endswith(".service") else "etcd.service"
    assignments = [one for path, text in given.units.items() for one in parse_unit(text, path)]
    notes: list[str] = []

    async def read(path: str) -> str | None:
        return given.environments.get(path, given.scripts.get(PurePath(path).name))

    async def matching(patterns: Sequence[str]) -> list[str]:
        reads.extend(patterns)
        known = {PurePath(path).name for path in given.environments}
        notes.extend(
            f"the unit reads {pattern}, which was not given: what it sets is missing here"
            for pattern in patterns
            if PurePath(pattern).name not in known and len(patterns) > len(given.environments)
        )
        return list(given.environments) if patterns else []

    start = await start_of(assignments, unit, "localhost", read, matching)
    if start is None:
        raise UsageError(f"{first} starts nothing", hint="give the unit itself too, before its drop-ins")
    if any(_HOST_SPECIFIER.search(text) for text in given.units.values()):
        notes.append("the unit uses the host's name (%H, %l or %q), which is not known here: localhost stands for it")
    if is_engine(start.program):
        return Written(ProcessConfig(start.program, {}, start.user), unit, notes=tuple(notes), container=start)
    if start.program.endswith(SCRIPT):
        raise UsageError(
            f"{first} runs {start.program}, which was not given, or starts no etcd that is seen",
            cause="; ".join(start.notes),
            hint="give that script too, and what it reads",
        )
    if given.environments and not reads:
        notes.append(f"the unit reads no environment file: {', '.join(given.environments)} was passed over")
    folder = last(assignments, "Service", "WorkingDirectory")
    return Written(
        _settled(start, given),
        unit.removesuffix(".service"),
        last(assignments, "Service", "User") or "root",
        last(assignments, "Service", "Group"),
        start.folder if folder else "/",
        tuple(notes),
    )


def _settled(start: Start, given: _Sorted) -> ProcessConfig:
    if given.configs:
        [(path, text)] = given.configs.items()
        if config_file(start) is None:
            if start.env or start.arguments:
                raise UsageError(
                    f"nothing that was given makes etcd read {path}",
                    hint="etcd takes a config file or flags and variables, never both: import one of them",
                )
            start = replace(start, arguments=(Placed(f"--{CONFIG_FILE}={path}", path),))
        return settle(start, text.encode())
    named = config_file(start)
    if named is not None:
        raise UsageError(
            f"etcd would read {named.text}, which was not given",
            cause=f"{named.where}; the config file replaces all flags and variables",
            hint="give that file too",
        )
    return settle(start, None)
