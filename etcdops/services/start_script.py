"""Scripts that start a member, read without running them: `run` files, `sh -c` of a unit, a container's entry point.

A shell can do anything, so this is a reading of what such scripts are made of: assignments, `export`, files that are
sourced, and a last command behind programs that change user, limits or environment. What else stands there is named.
A command that makes a container counts as a start too: `Start.program` is then the engine.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from etcdops.services.container_command import makes_container
from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.member_process import member_words
from etcdops.services.shell_words import ASSIGNMENT, ShellWords

Read = Callable[[str], Awaitable[str | None]]
List = Callable[[str], Awaitable[list[str]]]
"""The names of the files in a folder; none when it cannot be listed."""

_SOURCES_MAX = 8
_NO_VALUE = frozenset({"exec", "nohup", "setsid", "command", "time", "tini", "dumb-init", "--"})
_TAKES_ONE = {"setuidgid": "user", "envuidgid": "", "gosu": "user", "su-exec": "user", "envdir": ""}
_TAKES_OPTIONS = {
    "chpst": frozenset("uUbe/nlLmdopfcrt"),
    "softlimit": frozenset("adsloprcfmt"),
    "nice": frozenset("n"), "ionice": frozenset("cnpP"), "runuser": frozenset("ugG"), "sudo": frozenset("ugCDhpRT"),
    "taskset": frozenset(), "env": frozenset("uCS"), "setpriv": frozenset(),
}  # fmt: skip


@dataclass(slots=True)
class _Shell:
    """What was set so far."""

    env: dict[str, Placed]
    exported: set[str]
    user: str
    folder: str
    notes: list[str] = field(default_factory=list)
    argv: list[Placed] = field(default_factory=list)
    sources: int = 0
    list_folder: List | None = None
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables that were set to something that is not known -> what it is made of."""
    containers: list[Start] = field(default_factory=list)
    """Every command that makes a container, in its order."""

    @classmethod
    def of(cls, start: Start, list_folder: List | None) -> _Shell:
        """As a script that is run with `start` begins."""
        notes = list(start.notes)
        return cls(dict(start.env), set(start.env), start.user, start.folder, notes, list_folder=list_folder)

    @property
    def exports(self) -> dict[str, Placed]:
        return {name: value for name, value in self.env.items() if name in self.exported}

    def start(self, argv: Sequence[Placed], count: int, unset: Sequence[str] = ()) -> Start:
        """Of a command whose program is its first `count` words."""
        program = " ".join(word.text for word in argv[:count])
        names = tuple(dict.fromkeys(unset))
        return Start(program, argv[count:], self.exports, self.user, self.folder, tuple(self.notes), names)


async def read_script(text: str, path: str, start: Start, read: Read, list_folder: List | None = None) -> Start:
    """The start that a script comes to.

    Args: start - what it is run with; read - gives files it sources; list_folder - names in folders of variables.
    """
    shell = await _followed(text, path, start, read, list_folder)
    count = member_words([word.text for word in shell.argv])
    if count is None and shell.containers:
        return shell.containers[-1]
    if count is None:
        what = " ".join(word.text for word in shell.argv) or "nothing"
        note = f"{path}: ends in {what}: no member is seen to be started"
        return Start(start.program, (), shell.exports, shell.user, shell.folder, (*shell.notes, note))
    return shell.start(shell.argv, count)


async def read_containers(text: str, path: str, start: Start, read: Read) -> list[Start]:
    """Every command of a script that makes a container, each with what is set there. Args: as `read_script`."""
    return (await _followed(text, path, start, read, None)).containers


async def _followed(text: str, path: str, start: Start, read: Read, list_folder: List | None) -> _Shell:
    shell = _Shell.of(start, list_folder)
    await _follow(text, path, shell, read)
    return shell


async def read_shell_start(argv: Sequence[Placed], start: Start, read: Read, list_folder: List | None = None) -> Start:
    """`sh -c TEXT` or `sh FILE`, as it stands in a unit or an image."""
    words = list(argv[1:])
    while words and words[0].text.startswith("-") and "c" not in words[0].text:
        words.pop(0)
    if not words:
        return start
    if words[0].text.startswith("-") and len(words) > 1:
        return await read_script(words[1].text, words[1].where, start, read, list_folder)
    path = posixpath.join(start.folder, words[0].text)
    text = await read(path)
    if text is None:
        return replace(start, notes=(*start.notes, f"{path}: cannot be read"))
    return await read_script(text, path, start, read, list_folder)


def runs_another(program: str) -> bool:
    """Whether a program only changes user, limits or environment, and then runs what follows it."""
    return any(posixpath.basename(program) in known for known in (_NO_VALUE, _TAKES_ONE, _TAKES_OPTIONS))


async def read_wrapped(argv: Sequence[Placed], start: Start, read: Read, list_folder: List | None = None) -> Start:
    """A member behind such programs: `envdir DIR etcd ...`, `env A=1 nice -n 5 etcd ...`; else `start` as it is."""
    shell = _Shell.of(start, list_folder)
    left = await _unwrapped(list(argv), "", shell, read)
    count = member_words([word.text for word in left])
    if count is None:
        return replace(shell.start(left, 1), unset=start.unset) if makes_container(left) else start
    program = " ".join(word.text for word in left[:count])
    return Start(program, left[count:], shell.env, shell.user, shell.folder, tuple(shell.notes))


async def _follow(text: str, path: str, shell: _Shell, read: Read) -> None:
    for words, unset in _commands(text, path, shell):
        await _command(words, unset, path, shell, read)


async def _command(words: list[Placed], unset: Sequence[str], path: str, shell: _Shell, read: Read) -> None:
    while words and words[0].text in _KEYWORDS:
        words = words[1:]
    if not words:
        return
    exports = words[0].text == "export"
    rest = words[1:] if exports else words
    while rest and (match := ASSIGNMENT.match(rest[0].text)):
        shell.env[match[1]] = Placed(match[2], rest[0].where)
        shell.unknown.pop(match[1], None)
        if unset:
            shell.unknown[match[1]] = tuple(unset)
        # In front of a command an assignment is for it alone; the member is the only command that counts here.
        if exports or len(rest) > 1 or _EXPORT_ALL in shell.exported:
            shell.exported.add(match[1])
        rest = rest[1:]
    if exports:
        shell.exported |= {word.text for word in rest}
        return
    if not rest:
        return
    name = rest[0].text
    if name == "set":
        _set(rest[1:], shell)
    elif name in (".", "source") and len(rest) > 1:
        await _source(rest[1].text, shell, read)
    elif name == "cd" and len(rest) > 1:
        shell.folder = posixpath.join(shell.folder, rest[-1].text)
    elif name == "unset":
        for word in rest[1:]:
            shell.env.pop(word.text, None)
    elif name not in _HARMLESS:
        argv = await _unwrapped(rest, path, shell, read)
        is_member = member_words([word.text for word in argv]) is not None
        if makes_container(argv):
            shell.containers.append(shell.start(argv, 1, unset))
        if is_member or (argv and not shell.argv and name == "exec"):
            shell.argv = argv


_EXPORT_ALL = "\0all"
_KEYWORDS = frozenset(("if", "then", "else", "elif", "while", "until", "do", "!"))
"""A command follows them."""
_HARMLESS_WORDS = "[ : [[ test true ulimit umask echo printf mkdir chown chmod exit fi for done esac sleep trap"
_HARMLESS = frozenset(_HARMLESS_WORDS.split())


def _set(words: Sequence[Placed], shell: _Shell) -> None:
    """`set -a` exports everything that is assigned from then on."""
    for word in words:
        if (word.text.startswith("-") and "a" in word.text) or word.text == "allexport":
            shell.exported.add(_EXPORT_ALL)
        elif word.text.startswith("+") and "a" in word.text:
            shell.exported.discard(_EXPORT_ALL)


async def _source(path: str, shell: _Shell, read: Read) -> None:
    shell.sources += 1
    full = posixpath.join(shell.folder, path)
    text = await read(full) if shell.sources <= _SOURCES_MAX else None
    if text is not None:
        await _follow(text, full, shell, read)


async def _unwrapped(words: list[Placed], path: str, shell: _Shell, read: Read) -> list[Placed]:
    """The command behind programs that run another one."""
    rest = list(words)
    while rest:
        name = posixpath.basename(rest[0].text)
        if name in _NO_VALUE:
            rest.pop(0)
        elif name in _TAKES_ONE:
            value = rest[1].text if len(rest) > 1 else ""
            if name == "envdir":
                await _environment_folder(value, shell, read)
            elif _TAKES_ONE[name]:
                shell.user = value.partition(":")[0]
            rest = rest[2:]
        elif name in _TAKES_OPTIONS:
            rest = await _without_options(name, rest[1:], shell, read)
        elif match := ASSIGNMENT.match(rest[0].text):
            shell.env[match[1]] = Placed(match[2], rest[0].where)
            shell.exported.add(match[1])
            rest.pop(0)
        else:
            return rest
    return []


async def _without_options(name: str, rest: list[Placed], shell: _Shell, read: Read) -> list[Placed]:
    takes = _TAKES_OPTIONS[name]
    while rest and rest[0].text.startswith("-") and len(rest[0].text) > 1:
        option = rest.pop(0).text
        if option == "--":
            break
        if option.startswith("--"):
            if option.startswith(("--user=", "--reuid=")):
                shell.user = option.partition("=")[2]
            continue
        letter, value = option[1], option[2:]
        if letter in takes and not value and rest:
            value = rest.pop(0).text
        if letter == "u" and name in ("chpst", "sudo", "runuser"):
            shell.user = value.partition(":")[0]
        elif letter == "e" and name == "chpst":
            await _environment_folder(value, shell, read)
        elif letter == "u" and name == "env":
            shell.env.pop(value, None)
    if name == "taskset" and rest:
        rest.pop(0)
    return rest


async def _environment_folder(path: str, shell: _Shell, read: Read) -> None:
    """A file a variable, as envdir and chpst -e read them: its first line is the value; an empty file unsets it."""
    folder = posixpath.normpath(posixpath.join(shell.folder, path))
    names = await shell.list_folder(folder) if shell.list_folder is not None else []
    if not names:
        shell.notes.append(f"{folder}: no variables were found in this folder")
    for name in names:
        if name.startswith(".") or "=" in name:
            continue
        text = await read(posixpath.join(folder, name))
        if text:
            value = text.partition("\n")[0].rstrip(" \t").replace("\0", "\n")
            shell.env[name] = Placed(value, posixpath.join(folder, name))
            shell.exported.add(name)
        elif text == "":
            shell.env.pop(name, None)


def _commands(text: str, path: str, shell: _Shell) -> Iterator[tuple[list[Placed], list[str]]]:
    """(a simple command, what it is made of that nothing sets), one after the other.

    Expanded when they are taken: earlier ones have had their effect.
    """
    reader = ShellWords(text, path, shell.env, shell.unknown)
    words: list[Placed] = []
    for word in reader:
        if word.where:
            words.append(word)
        elif words:
            yield words, reader.unset
            words, reader.unset = [], []
    if words:
        yield words, reader.unset
