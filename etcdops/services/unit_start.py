"""How a systemd unit starts its member: its files on the host, read as systemd would at the next start."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable, Mapping, Sequence

from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.host_folders import names_in
from etcdops.services.member_process import member_words
from etcdops.services.start_script import List, read_shell_start, read_wrapped, runs_another
from etcdops.services.unit_file import (
    Assignment,
    effective,
    expand_specifiers,
    expand_variables,
    last,
    parse_environment_file,
    parse_unit,
    specifiers,
    split_words,
    strip_prefixes,
    unset_variables,
)

_SHELLS = ("sh", "bash", "dash")
SCRIPT = ".sh"
"""So ends the name of a program that is read as a script."""
_LIST_FILES = 'IFS=; for pattern; do for file in $pattern; do [ -f "$file" ] && printf "%s\\n" "$file"; done; done; :'

Read = Callable[[str], Awaitable[str | None]]
"""The text of a file; None when there is none."""
Matching = Callable[[Sequence[str]], Awaitable[list[str]]]
"""The files that the patterns of `EnvironmentFile=` name."""


async def unit_start(session: Session, unit: str, paths: Sequence[str]) -> Start | None:
    """What the unit of a host runs; None when it runs nothing.

    Args: unit - with its `.service`; paths - its file, and its drop-ins in systemd's order.
    """
    texts = await asyncio.gather(*(_read(session, path) for path in paths))
    assignments = [one for path, text in zip(paths, texts, strict=True) if text for one in parse_unit(text, path)]

    async def read(path: str) -> str | None:
        return await _read(session, path)

    async def matching(patterns: Sequence[str]) -> list[str]:
        return await _matching(session, patterns)

    async def list_folder(folder: str) -> list[str]:
        return await names_in(session, folder)

    return await start_of(assignments, unit, session.host, read, matching, list_folder)


async def start_of(
    assignments: Sequence[Assignment],
    unit: str,
    host: str,
    read: Read,
    matching: Matching,
    list_folder: List | None = None,
) -> Start | None:
    """The same from a unit's assignments, wherever they and the files they name were read."""
    commands = effective(assignments, "Service", "ExecStart")
    if not commands:
        return None
    user = last(assignments, "Service", "User")
    values = specifiers(unit, host, user)
    env = await _environment(assignments, values, read, matching)
    words = [Placed(expand_specifiers(word.text, values), word.where) for word in split_words(commands[-1].lines)]
    argv = expand_variables(words, env)
    argv = [Placed(strip_prefixes(argv[0].text), argv[0].where), *argv[1:]]
    folder = expand_specifiers(last(assignments, "Service", "WorkingDirectory"), values).lstrip("-")
    count = member_words([word.text for word in argv]) or 1
    program = " ".join(word.text for word in argv[:count])
    unset = unset_variables(words, env)
    start = Start(program, argv[count:], env, user or ROOT, values["h"] if folder == "~" else folder or "/", (), unset)
    if runs_another(program):
        return await read_wrapped(argv, start, read, list_folder)
    if posixpath.basename(program) in _SHELLS:
        return await read_shell_start(argv, start, read, list_folder)
    if program.endswith(SCRIPT):
        return await read_shell_start([Placed("sh", argv[0].where), *argv], start, read, list_folder)
    return start


async def _environment(
    assignments: Sequence[Assignment], values: Mapping[str, str], read: Read, matching: Matching
) -> dict[str, Placed]:
    """`Environment=`, over it the files, and `UnsetEnvironment=` last."""
    env: dict[str, Placed] = {}
    for one in effective(assignments, "Service", "Environment"):
        for word in split_words(one.lines):
            name, equals, value = expand_specifiers(word.text, values).partition("=")
            if equals:
                env[name] = Placed(value, word.where)
    files = effective(assignments, "Service", "EnvironmentFile")
    for path in await matching([expand_specifiers(one.value, values).removeprefix("-") for one in files]):
        env |= parse_environment_file(await read(path) or "", path)
    for one in effective(assignments, "Service", "UnsetEnvironment"):
        for word in split_words(one.lines):
            name, equals, value = word.text.partition("=")
            if name in env and (not equals or env[name].text == value):
                del env[name]
    return env


async def _matching(session: Session, patterns: Sequence[str]) -> list[str]:
    """Files of the host that `EnvironmentFile=` names, whose patterns are the shell's."""
    if not any(set("*?[") & set(pattern) for pattern in patterns):
        return list(patterns)
    listed = await session.run(script(_LIST_FILES, *patterns, user=ROOT))
    return listed.text.splitlines()


async def _read(session: Session, path: str) -> str | None:
    content = await session.read_file(path, user=ROOT)
    return content.decode(errors="replace") if content is not None else None
