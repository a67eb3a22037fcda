"""Secrets come from where the inventory says, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
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
