"""Scripts that start a member, read without running them: `run` files, `sh -c` of a unit, a container's entry point.

A shell can do anything, so this is a reading of what such scripts are made of: assignments, `export`, files that are
sourced, and a last command behind programs that change user, limits or environment. What else stands there is named.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.member_process import member_words

Read = Callable[[str], Awaitable[str | None]]
List = Callable[[str], Awaitable[list[str]]]
"""The names of the files in a folder; none when it cannot be listed."""

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::?([-+])(.*))?\Z", re.DOTALL)
_SEPARATORS = frozenset({";", "&&", "||", "\n", "&", "|"})
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


async def read_script(text: str, path: str, start: Start, read: Read, list_folder: List | None = None) -> Start:
    """The start that a script comes to.

    Args: start - what it is run with; read - gives files it sources; list_folder - names in folders of variables.
    """
    shell = _Shell(
        dict(start.env), set(start.env), start.user, start.folder, list(start.notes), list_folder=list_folder
    )
    await _follow(text, path, shell, read)
    env = {name: value for name, value in shell.env.items() if name in shell.exported}
    count = member_words([word.text for word in shell.argv])
    if count is None:
        what = " ".join(word.text for word in shell.argv) or "nothing"
        note = f"{path}: ends in {what}: no member is seen to be started"
        return Start(start.program, (), env, shell.user, shell.folder, (*shell.notes, note))
    program = " ".join(word.text for word in shell.argv[:count])
    return Start(program, shell.argv[count:], env, shell.user, shell.folder, tuple(shell.notes))


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
    shell = _Shell(
        dict(start.env), set(start.env), start.user, start.folder, list(start.notes), list_folder=list_folder
    )
    left = await _unwrapped(list(argv), "", shell, read)
    count = member_words([word.text for word in left])
    if count is None:
        return start
    program = " ".join(word.text for word in left[:count])
    return Start(program, left[count:], shell.env, shell.user, shell.folder, tuple(shell.notes))


async def _follow(text: str, path: str, shell: _Shell, read: Read) -> None:
    for words in _commands(text, path, shell.env):
        await _command(words, path, shell, read)


async def _command(words: list[Placed], path: str, shell: _Shell, read: Read) -> None:
    while words and words[0].text in _KEYWORDS:
        words = words[1:]
    if not words:
        return
    exports = words[0].text == "export"
    rest = words[1:] if exports else words
    while rest and (match := _ASSIGNMENT.match(rest[0].text)):
        shell.env[match[1]] = Placed(match[2], rest[0].where)
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
        elif match := _ASSIGNMENT.match(rest[0].text):
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


def _commands(text: str, path: str, env: dict[str, Placed]) -> Iterator[list[Placed]]:
    """Simple commands, one after the other. Expanded when they are taken: earlier ones have had their effect."""
    words: list[Placed] = []
    for word in _Words(text, path, env):
        if word.where:
            words.append(word)
        elif words:
            yield words
            words = []
    if words:
        yield words


class _Words:
    """Words of a script, expanded; a `Placed` without a place is the end of a command."""

    def __init__(self, text: str, path: str, env: dict[str, Placed]) -> None:
        self._text = text
        self._path = path
        self._env = env
        self._at = 0

    def __iter__(self) -> Iterator[Placed]:
        text = self._text
        while self._at < len(text):
            character = text[self._at]
            if text.startswith("\\\n", self._at):
                self._at += 2
            elif character == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif character in "\n;&|(){}" and not text.startswith("${", self._at - 1 if self._at else 0):
                self._at += 1
                yield Placed(character, "")
            elif character.isspace():
                self._at += 1
            else:
                yield from self._word()

    def _word(self) -> Iterator[Placed]:
        """One word, or those that an expansion without quotes falls apart into. Redirections are left out."""
        where = f"{self._path}:{self._text.count(chr(10), 0, self._at) + 1}" if "/" in self._path else self._path
        parts: list[str] = []
        plain: list[bool] = []
        text = self._text
        while self._at < len(text) and (text[self._at] not in " \t\n;&|()" or self._redirects()):
            character = text[self._at]
            if character == "'":
                end = text.find("'", self._at + 1)
                end = len(text) if end < 0 else end
                self._add(parts, plain, text[self._at + 1 : end], quoted=True)
                self._at = end + 1
            elif character == '"':
                self._at += 1
                self._add(parts, plain, self._double_quoted(), quoted=True)
            elif character == "\\":
                self._add(parts, plain, text[self._at + 1 : self._at + 2].replace("\n", ""), quoted=True)
                self._at += 2
            elif character == "$":
                self._add(parts, plain, self._expansion(), quoted=bool(parts and _ASSIGNMENT.match("".join(parts))))
            else:
                self._add(parts, plain, character, quoted=True)
                self._at += 1
        yield from _fields(parts, plain, where)

    def _redirects(self) -> bool:
        """`2>&1` is one word."""
        return self._text[self._at] == "&" and self._text[self._at - 1 : self._at] in (">", "<")

    @staticmethod
    def _add(parts: list[str], plain: list[bool], text: str, *, quoted: bool) -> None:
        parts.append(text)
        plain.append(not quoted)

    def _double_quoted(self) -> str:
        value: list[str] = []
        text = self._text
        while self._at < len(text) and text[self._at] != '"':
            if text[self._at] == "\\":
                escaped = text[self._at + 1 : self._at + 2]
                value.append(escaped if escaped in '"\\$`' else "" if escaped == "\n" else f"\\{escaped}")
                self._at += 2
            elif text[self._at] == "$":
                value.append(self._expansion())
            else:
                value.append(text[self._at])
                self._at += 1
        self._at += 1
        return "".join(value)

    def _expansion(self) -> str:
        """What `$NAME`, `${NAME}` and `${NAME:-other}` are now; other forms stay as they are written."""
        text = self._text
        self._at += 1
        if text.startswith("{", self._at):
            end = text.find("}", self._at)
            end = len(text) if end < 0 else end
            inside = text[self._at + 1 : end]
            self._at = end + 1
            return self._parameter(inside)
        if text.startswith("(", self._at):
            begin, depth = self._at, 0
            while self._at < len(text):
                depth += {"(": 1, ")": -1}.get(text[self._at], 0)
                self._at += 1
                if depth == 0:
                    break
            return f"${text[begin : self._at]}"
        match = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]").match(text, self._at)
        if match is None:
            return "$"
        self._at = match.end()
        found = self._env.get(match[0])
        return found.text if found is not None else ""

    def _parameter(self, inside: str) -> str:
        match = _PARAMETER.match(inside)
        if match is None:
            return f"${{{inside}}}"
        found = self._env.get(match[1])
        if match[2] == "+":
            return match[3] if found is not None and found.text else ""
        if match[2] == "-" and (found is None or not found.text):
            return match[3]
        return found.text if found is not None else ""


def _fields(parts: Sequence[str], plain: Sequence[bool], where: str) -> Iterator[Placed]:
    """Join the parts of a word; where an expansion stood without quotes, its spaces separate words."""
    words: list[str] = [""]
    seen = False
    for part, splits in zip(parts, plain, strict=True):
        if not splits:
            words[-1] += part
            seen = True
            continue
        pieces = part.split()
        if part[:1].isspace() and words[-1]:
            words.append("")
        for index, piece in enumerate(pieces):
            if index:
                words.append("")
            words[-1] += piece
        if part[-1:].isspace() and words[-1]:
            words.append("")
    for index, word in enumerate(words):
        empty = seen and index == 0 and len(words) == 1
        if (word or empty) and not re.match(r"\d*[<>]", word):
            yield Placed(word, where)
