"""Secrets come from where the inventory says, and nowhere else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from pydantic import ValidationError

from etcdops.errors import AccessDenied, UsageError
from etcdops.inventory.secrets import SecretSource


def test_every_source_gives_its_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Program, file, variable."""
    (tmp_path / "secret").write_text("from file\nnot this\n")
    (tmp_path / "secret").chmod(0o600)
    monkeypatch.setenv("SUDO_PASSWORD", "from env")
    assert SecretSource(command=("printf", "from $(program)\r\nx")).read().reveal() == "from $(program)"
    assert SecretSource(file=tmp_path / "secret").read().reveal() == "from file"
    assert SecretSource(env="SUDO_PASSWORD").read().reveal() == "from env"


def test_sources_that_give_nothing_are_named(tmp_path: Path) -> None:
    """What is wrong with which."""
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "empty").touch(mode=0o600)
    with pytest.raises(UsageError, match="others may read"):
        SecretSource(file=tmp_path / "open").read()
    with pytest.raises(AccessDenied, match="gives an empty secret"):
        SecretSource(file=tmp_path / "empty").read()
    with pytest.raises(UsageError, match="cannot be read"):
        SecretSource(file=tmp_path / "none").read()
    with pytest.raises(AccessDenied, match="exit status 3"):
        SecretSource(command=("sh", "-c", "exit 3")).read()
    with pytest.raises(UsageError, match="there is no program"):
        SecretSource(command=("no-such-program",)).read()
    with pytest.raises(UsageError, match="NOT_SET is not set"):
        SecretSource(env="NOT_SET").read()


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that waits for a password waits for ever."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(UsageError, match="nobody is at a terminal to ask for: sudo on prod"):
        SecretSource(prompt="sudo on prod").read()


@pytest.mark.parametrize(
    "given", [{}, {"env": "A", "prompt": "b"}, {"env": ""}, {"command": []}, {"keyring": "x"}, {"value": "hunter2"}]
)
def test_exactly_one_source_is_named(given: dict[str, object]) -> None:
    """And never the secret itself."""
    with pytest.raises(ValidationError):
        SecretSource.model_validate(given)


KEYRING = """\
import json, os, pathlib
FILE = pathlib.Path(os.environ["FILE_OF_KEYRING"])
def get_password(service, user):
    return json.loads(FILE.read_text()).get(service, {}).get(user)
"""


def test_a_keyring_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever backend Python's keyring has; a user's name may hold slashes; what fails is named with the remedy."""
    (tmp_path / "keyring.py").write_text(KEYRING)
    (tmp_path / "ring.json").write_text('{"etcd": {"ops/root": "from keyring"}}')
    monkeypatch.setenv("FILE_OF_KEYRING", str(tmp_path / "ring.json"))
    spec = importlib.util.spec_from_file_location("keyring", tmp_path / "keyring.py")
    assert spec is not None
    assert spec.loader is not None
    standing_in = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(standing_in)
    monkeypatch.setitem(sys.modules, "keyring", standing_in)
    assert SecretSource(keyring="etcd/ops/root").read().reveal() == "from keyring"
    with pytest.raises(AccessDenied, match="the keyring has no secret etcd/nobody") as caught:
        SecretSource(keyring="etcd/nobody").read()
    assert caught.value.hint == "put it there: keyring set etcd nobody"
    (tmp_path / "ring.json").write_text("no json")
    with pytest.raises(UsageError, match="gives no secret") as broken:
        SecretSource(keyring="etcd/nobody").read()
    assert "JSONDecodeError" in broken.value.cause


def test_the_desktops_program_stands_in_for_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """secret-tool and security print the secret; without either the error says what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)  # as if it were not installed
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="there is no keyring here to read etcd/root from"):
        SecretSource(keyring="etcd/root").read()
    for name in ("secret-tool", "security"):
        (tmp_path / name).write_text('#!/bin/sh\n[ "$5" = root ] || [ "$6" = root ] || exit 1\necho "from $5"\n')
        (tmp_path / name).chmod(0o755)
    assert SecretSource(keyring="etcd/root").read().reveal().startswith("from")
    with pytest.raises(AccessDenied, match="has no secret etcd/other") as caught:
        SecretSource(keyring="etcd/other").read()
    assert "etcd" in caught.value.hint


class InFile(KeyringBackend):
    """A keyring for a machine without a desktop: a file for each password."""

    priority = 1.0

    def __init__(self, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library has no type there
        self._folder = folder

    def set_password(self, service: str, username: str, password: str) -> None:
        (self._folder / f"{service}-{username}").write_text(password)

    def get_password(self, service: str, username: str) -> str | None:
        path = self._folder / f"{service}-{username}"
        return path.read_text() if path.exists() else None


def test_the_real_keyring_library_with_a_backend_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself, not something of its name: what was put in by it comes out."""
    monkeypatch.setattr(keyring.core, "_keyring_backend", InFile(tmp_path))
    keyring.set_password("etcd", "root", "from file")
    assert SecretSource(keyring="etcd/root").read().reveal() == "from file"
    with pytest.raises(AccessDenied, match="the keyring has no secret etcd/other"):
        SecretSource(keyring="etcd/other").read()


def test_the_real_keyring_library_without_any_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server that nobody is logged in to: what the library says, and what else there is."""
    monkeypatch.setattr(keyring.core, "_keyring_backend", fail.Keyring())  # type: ignore[no-untyped-call]  # as above
    with pytest.raises(UsageError, match="the keyring gives no secret etcd/root") as caught:
        SecretSource(keyring="etcd/root").read()
    assert "NoKeyringError" in caught.value.cause
    assert "another backend" in caught.value.hint
