"""A member as the kernel of its host knows it: which process it is, and what it was started with."""

from __future__ import annotations

import asyncio
import base64
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace

from etcdops.errors import EtcdopsError
from etcdops.remote.command import ROOT, command, script
from etcdops.remote.session import Session
from etcdops.services.etcd_settings import COMMAND_LINE, ENVIRONMENT, Placed, Start, config_file, settle
from etcdops.services.port import EffectiveConfig, Origin, ProcessConfig, Setting

TICKS_PER_S = 100
"""Linux's USER_HZ, on every architecture: the unit of times in /proc."""
_OURS = re.compile(r"etcdops([-_.][\w.+-]*)?\Z")
_MEMBERS = r"(^|/)(etcd|etcdops[A-Za-z0-9_.+-]*)$"
_FIND = """
grep -lazE "$1" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r path; do
    printf "%s " "$path"; base64 < "$path" 2>/dev/null | tr -d "\\n"; echo
done
:
"""
_START_TIME = 'cat "/proc/$1/stat" && grep "^btime" /proc/stat'
_IDENTITY = 'cat /proc/sys/kernel/random/boot_id "/proc/$1/stat"'
_CHILDREN = 'grep -l "^PPid:[[:space:]]$1\\$" /proc/[0-9]*/status 2>/dev/null || :'
_DEPTH_MAX = 4


def member_words(argv: Sequence[str]) -> int | None:
    """How many of the first words of a command line are the program; None: it is no member.

    `etcd ...` is one; `python3 -m etcdops node ...`, `etcdops node ...` or `python3 etcdops.pyz node ...` have more.
    """
    if not argv:
        return None
    if posixpath.basename(argv[0]) == "etcd":
        return 1
    for index, word in enumerate(argv[:4]):
        if _OURS.match(posixpath.basename(word)) and argv[index + 1 : index + 2] == ["node"]:
            return index + 2
    return None


async def find_members(session: Session) -> list[int]:
    """Process IDs of all members on the host, in containers too, in no order that means anything."""
    found = await session.run(script(_FIND, _MEMBERS, user=ROOT))
    pids: list[int] = []
    for line in found.text.splitlines():
        path, _, content = line.partition(" ")
        if member_words(_nul_separated(base64.b64decode(content))) is not None:
            pids.append(int(path.split("/")[2]))
    return pids


async def command_line(session: Session, pid: int) -> list[str]:
    """Empty when there is no such process, or it ended."""
    try:
        content = await session.read_file(f"/proc/{pid}/cmdline", user=ROOT)
    except EtcdopsError:
        return []  # it ended while it was read
    return _nul_separated(content)


async def member_below(session: Session, pid: int, *, depth: int = _DEPTH_MAX) -> int | None:
    """The member that `pid` is or has started: start scripts and the like stay above it."""
    if member_words(await command_line(session, pid)) is not None:
        return pid
    if depth == 0:
        return None
    children = await session.run(script(_CHILDREN, str(pid), user=ROOT))
    for path in children.text.split():
        if found := await member_below(session, int(path.split("/")[2]), depth=depth - 1):
            return found
    return None


async def started_at(session: Session, pid: int) -> float | None:
    """Unix time, by the host's clock; None when the process is gone."""
    result = await session.run(script(_START_TIME, str(pid), user=ROOT), check=False)
    if not result.ok:
        return None
    stat, _, boot = result.text.rpartition("\n")
    # The name may hold anything, closing parentheses too: count from the last one.
    ticks = int(stat.rpartition(")")[2].split()[19])
    return int(boot.split()[1]) + ticks / TICKS_PER_S


async def identity_of(session: Session, pid: int) -> str:
    """What no other process has had or will have, on whatever host; empty when it is gone."""
    result = await session.run(script(_IDENTITY, str(pid), user=ROOT), check=False)
    if not result.ok:
        return ""
    boot, _, stat = result.text.partition("\n")
    return f"{boot.strip()}/{pid}/{stat.rpartition(')')[2].split()[19]}"


async def effective_config(
    session: Session, pid: int | None, next_start: Start | ProcessConfig | None
) -> EffectiveConfig:
    """The configuration of the process `pid`, and the one that `next_start` comes to."""
    running = await running_config(session, pid) if pid is not None else None
    following = await settled(session, next_start) if isinstance(next_start, Start) else next_start
    if running is not None and following is not None:
        running = _with_places(running, following)
    return EffectiveConfig(running, following)


async def settled(session: Session, start: Start) -> ProcessConfig:
    """What a start comes to, its config file read from the host."""
    file = config_file(start)
    content = None
    if file is not None:
        content = await session.read_file(posixpath.join(start.folder, file.text), user=ROOT)
    return settle(start, content)


async def running_config(session: Session, pid: int) -> ProcessConfig | None:
    """What the process really has; None when it is gone or no member."""
    try:
        argv, environ, stat = await asyncio.gather(
            command_line(session, pid),
            session.read_file(f"/proc/{pid}/environ", user=ROOT),
            session.stat(f"/proc/{pid}", user=ROOT),
        )
    except EtcdopsError:
        if not await command_line(session, pid):
            return None
        raise
    words = member_words(argv)
    if words is None or stat is None:
        return None
    env = dict(pair.split("=", 1) for pair in _nul_separated(environ) if "=" in pair)
    start = Start(
        program=await _program(session, pid, argv[:words]),
        arguments=[Placed(word, COMMAND_LINE) for word in argv[words:]],
        env={name: Placed(value, ENVIRONMENT) for name, value in env.items()},
        user=stat.owner,
    )
    file = config_file(start)
    if file is None:
        return settle(start, None)
    return await _with_config_file(session, pid, start, file.text)


async def _with_config_file(session: Session, pid: int, start: Start, path: str) -> ProcessConfig:
    """As the process sees the file: in its folder, and inside its container."""
    seen = f"/proc/{pid}/root{path}" if path.startswith("/") else f"/proc/{pid}/cwd/{path}"
    content, since, stat = await asyncio.gather(
        session.read_file(seen, user=ROOT), started_at(session, pid), session.stat(seen, user=ROOT)
    )
    config = settle(start, content)
    if stat is None or since is None or stat.modified_at <= since + 1:
        return config
    return replace(
        config,
        outdated=True,
        ignored=(f"{path}: written after the member started; it runs with what was there before", *config.ignored),
    )


async def _program(session: Session, pid: int, words: Sequence[str]) -> str:
    if len(words) > 1:
        return " ".join(words)
    found = await session.run(command("readlink", f"/proc/{pid}/exe", user=ROOT), check=False)
    return found.text if found.ok else words[0]


def _with_places(running: ProcessConfig, following: ProcessConfig) -> ProcessConfig:
    """A process does not know which file its settings came from: where nothing changed, the next start does."""
    flags = {name: _place(setting, following.flags.get(name)) for name, setting in running.flags.items()}
    return replace(running, flags=flags)


def _place(setting: Setting, following: Setting | None) -> Setting:
    if following is None or setting.origin is Origin.FILE or setting.value != following.value:
        return setting
    return replace(setting, where=following.where) if setting.origin is following.origin else setting


def _nul_separated(content: bytes | None) -> list[str]:
    return [part.decode(errors="replace") for part in (content or b"").rstrip(b"\0").split(b"\0")] if content else []
