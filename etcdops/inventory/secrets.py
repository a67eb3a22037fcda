"""Where a secret comes from. The inventory holds this, never the secret itself."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etcdops.errors import AccessDenied, UsageError
from etcdops.inventory.local_path import LocalPath
from etcdops.secret import Secret

_COMMAND_TIMEOUT_S = 30.0


class SecretSource(BaseModel):
    """Exactly one of its fields is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """A program and its arguments: the first line it prints is the secret. No shell is involved."""
    file: LocalPath | None = None
    """Its first line is the secret. Nobody but its owner may read it."""
    env: Annotated[str, Field(min_length=1)] | None = None
    """Name of an environment variable."""
    keyring: Annotated[str, Field(pattern=r"^[^/]+/.+$")] | None = None
    """`service/user` in the desktop's keyring, read by `secret-tool` (Linux) or `security` (macOS)."""
    prompt: Annotated[str, Field(min_length=1)] | None = None
    """What to ask the person at the terminal."""

    @model_validator(mode="after")
    def _one_of_them(self) -> SecretSource:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("name exactly one source: command, file, env, keyring or prompt")
        return self

    def read(self) -> Secret:
        """Fetch it. May take as long as a person needs to type.

        Raises: UsageError - the source cannot be used. AccessDenied - it gives nothing.
        """
        if self.command is not None:
            return _from_program(self.command)
        if self.file is not None:
            return _from_file(self.file.expanduser())
        if self.env is not None:
            return _from_environment(self.env)
        if self.keyring is not None:
            service, user = self.keyring.split("/", 1)
            return _from_program(_keyring_command(service, user))
        assert self.prompt is not None
        return _from_person(self.prompt)


def _keyring_command(service: str, user: str) -> tuple[str, ...]:
    if sys.platform == "darwin":
        return ("security", "find-generic-password", "-w", "-s", service, "-a", user)
    return ("secret-tool", "lookup", "service", service, "username", user)


def _from_program(argv: tuple[str, ...]) -> Secret:
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise UsageError(f"there is no program {argv[0]}, which the inventory reads a secret with") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{argv[0]}, which the inventory reads a secret with, does not end", cause=str(error)
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise AccessDenied(f"{argv[0]} gives no secret: exit status {done.returncode}", cause=said[-300:])
    return _first_line(done.stdout, argv[0])


def _from_file(path: Path) -> Secret:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the secret in {path} cannot be read", cause=error.strerror or str(error)) from error
    if mode & 0o077:
        raise UsageError(f"others may read the secret in {path}", hint=f"chmod 600 {path}")
    return _first_line(content, str(path))


def _from_environment(name: str) -> Secret:
    text = os.environ.get(name)
    if not text:
        raise UsageError(f"the environment variable {name} is not set", hint="the inventory reads a secret from it")
    return Secret(text)


def _from_person(question: str) -> Secret:
    if not sys.stdin.isatty():
        raise UsageError(
            f"nobody is at a terminal to ask for: {question}", hint="use command, file, env or keyring in the inventory"
        )
    return Secret(getpass.getpass(f"{question}: "))


def _first_line(content: bytes, source: str) -> Secret:
    line = content.split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise AccessDenied(f"{source} gives an empty secret")
    return Secret(line.decode(errors="surrogateescape"))
