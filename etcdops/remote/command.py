"""What is run on a host, and the one place where it becomes a line for a shell.

SSH knows only a string that the login shell of the user splits again. Every string of that kind is made by
`shell_line`; nothing else in the project joins arguments.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from etcdops.errors import UsageError
from etcdops.secret import Secret

Argument: TypeAlias = str | Secret

ROOT = "root"
_NOTHING: Mapping[str, Argument] = MappingProxyType({})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHOWN_MAX = 2000


@dataclass(frozen=True, slots=True)
class Command:
    """One program with its arguments, to be run on some host.

    Arguments are given to the program as they are: spaces, quotes, `$()`, newlines mean nothing to anybody on the way.
    A `Secret` may stand anywhere; other users of the host can see it in the list of processes, so prefer `stdin`.

    Raises: UsageError - no argument at all, a NUL byte (no program can be given one), a name that is no variable.
    """

    argv: tuple[Argument, ...]
    env: Mapping[str, Argument] = field(default_factory=lambda: _NOTHING)
    """Set for this program only. Never replaces the host's own variables of other names."""
    cwd: str = ""
    """Where to run it; empty: where the session starts, the login user's home."""
    stdin: bytes = b""
    user: str = ""
    """Whom to become for it, such as `root`; empty: the login user. How is the session's business."""

    def __post_init__(self) -> None:
        if not self.argv or not _text(self.argv[0]):
            raise UsageError("a command needs a program to run")
        for name in self.env:
            if not _VARIABLE.match(name):
                raise UsageError(f"{name!r} cannot be the name of an environment variable")
        for text in (*map(_text, self.argv), *map(_text, self.env.values()), self.cwd, self.user):
            if "\0" in text:
                raise UsageError(f"the command {self} holds a NUL byte", hint="no program can be given one")

    def as_user(self, user: str) -> Command:
        """The same command, run by somebody else."""
        return replace(self, user=user)

    def masked(self, text: str) -> str:
        """`text`, such as what the program printed, without the secrets this command was given."""
        for secret in _secrets((*self.argv, *self.env.values())):
            text = text.replace(secret, "***")
        return text

    def __str__(self) -> str:
        """The command for people, in a form that can be pasted, with `***` for secrets; long ones are cut."""
        shown = " ".join(
            [
                *(f"{name}={_shown(value)}" for name, value in self.env.items()),
                *(_shown(argument) for argument in self.argv),
            ]
        )
        return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}… ({len(shown)} characters)"


def command(*argv: Argument, **options: object) -> Command:
    """`Command` with its arguments written one by one: `command("systemctl", "start", unit, user=ROOT)`."""
    return Command(argv, **options)  # type: ignore[arg-type]  # the dataclass names and types its options


def script(text: str, *arguments: Argument, user: str = "", stdin: bytes = b"") -> Command:
    """Some lines of POSIX shell. Values never go into `text`: they are `arguments`, there called `"$1"`, `"$2"`, ..."""
    return Command(("/bin/sh", "-c", text, "sh", *arguments), user=user, stdin=stdin)


def shell_line(argv: Sequence[Argument], *, env: Mapping[str, Argument] | None = None, cwd: str = "") -> str:
    """The line that makes a POSIX shell run exactly `argv`: the only place where quoting is done.

    Secrets are in it in plain text: it is for the wire, never for a message.
    """
    words = [shlex.quote(_text(argument)) for argument in argv]
    if env:
        words = ["env", *(shlex.quote(f"{name}={_text(value)}") for name, value in env.items()), *words]
    line = " ".join(words)
    if not cwd:
        return line
    # `cd --` and the leading "./" keep a directory called "-" or "-P" from being an option or "the one before"
    place = cwd if cwd.startswith("/") else f"./{cwd}"
    return f"cd -- {shlex.quote(place)} && exec {line}"


def _text(argument: Argument) -> str:
    return argument.reveal() if isinstance(argument, Secret) else argument


def _shown(argument: Argument) -> str:
    return "***" if isinstance(argument, Secret) else shlex.quote(argument)


def _secrets(arguments: Iterable[Argument]) -> list[str]:
    """Longest first, so that one that is part of another leaves nothing of the longer one behind."""
    found = {argument.reveal() for argument in arguments if isinstance(argument, Secret) and argument}
    return sorted(found, key=len, reverse=True)
