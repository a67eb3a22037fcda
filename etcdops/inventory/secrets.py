"""Where a secret comes from. The inventory holds this, never the secret itself."""

from __future__ import annotations

import getpass
import importlib
import os
import shutil
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
    """`service/user` in a keyring: by Python's `keyring`, if it is installed here, whatever its backend; else by
    `secret-tool` (Linux) or `security` (macOS)."""
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
            return _from_keyring(service, user)
        assert self.prompt is not None
        return _from_person(self.prompt)


def _from_keyring(service: str, user: str) -> Secret:
    try:
        library = importlib.import_module("keyring")
    except ImportError:
        return _from_keyring_program(service, user)
    try:
        text = library.get_password(service, user)
    except Exception as error:  # its backends are anybody's, and raise what they like
        raise UsageError(
            f"the keyring gives no secret {service}/{user}",
            cause=f"{type(error).__name__}: {error}",
            hint="see `keyring diagnose`; without a desktop it needs another backend, or use file or command",
        ) from error
    if not text:
        raise AccessDenied(
            f"the keyring has no secret {service}/{user}", hint=f"put it there: keyring set {service} {user}"
        )
    return Secret(str(text))


def _from_keyring_program(service: str, user: str) -> Secret:
    argv = _keyring_command(service, user)
    if shutil.which(argv[0]) is None:
        raise UsageError(
            f"there is no keyring here to read {service}/{user} from",
            cause=f"neither Python's keyring nor {argv[0]} is installed",
            hint="pip install keyring where etcdops is, or use command, file, env or prompt in the inventory",
        )
    try:
        return _from_program(argv)
    except AccessDenied as error:
        raise AccessDenied(
            f"the keyring has no secret {service}/{user}", cause=error.cause or error.message,
            hint=f"put it there: {_KEYRING_STORE[argv[0]]}".format(service=service, user=user),
        ) from error  # fmt: skip


_KEYRING_STORE = {
    "secret-tool": "secret-tool store --label=etcdops service {service} username {user}",
    "security": "security add-generic-password -s {service} -a {user} -w",
}


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
        raise UsageError(
            f"there is no program {argv[0]}, which the inventory reads a secret with",
            hint="install it, or correct the secret's `command` in the inventory",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{argv[0]}, which the inventory reads a secret with, does not end",
            cause=str(error),
            hint="run it by hand: it may ask something, and nobody answers it here",
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise AccessDenied(
            f"{argv[0]} gives no secret: exit status {done.returncode}",
            cause=said[-300:],
            hint="run it by hand: its first line of output has to be the secret",
        )
    return _first_line(done.stdout, argv[0])


def _from_file(path: Path) -> Secret:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the secret in {path} cannot be read",
            cause=error.strerror or str(error),
            hint="correct the secret's `file` in the inventory; relative paths begin beside it",
        ) from error
    if mode & 0o077:
        raise UsageError(f"others may read the secret in {path}", hint=f"chmod 600 {path}")
    return _first_line(content, str(path))


def _from_environment(name: str) -> Secret:
    text = os.environ.get(name)
    if not text:
        raise UsageError(
            f"the environment variable {name} is not set",
            cause="the inventory reads a secret from it",
            hint=f"export {name}, or use command, file, keyring or prompt in the inventory",
        )
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
        raise AccessDenied(f"{source} gives an empty secret", hint="its first line has to be the secret")
    return Secret(line.decode(errors="surrogateescape"))
