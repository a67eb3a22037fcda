"""`etcdops tui` as a command: options, refusals, and what must not be imported."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from etcdops.cli import tui as tui_command
from etcdops.client.settings import ConnectionSettings
from etcdops.errors import UsageError
from etcdops.tui.app import SCREENS, set_no_color


class Terminal:
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def invoke(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(tui_command.command, list(arguments)).exception


def test_the_screens_on_the_command_line_are_those_there_are() -> None:
    """The copy that keeps --help fast."""
    assert tuple(SCREENS) == tui_command.SCREENS


def test_without_a_terminal_it_says_what_to_use_instead() -> None:
    error = invoke()
    assert isinstance(error, UsageError)
    assert error.hint == "etcdops status --watch prints lines instead"


@pytest.mark.parametrize("every", ["0", "-1", "0.1", "nan"])
def test_polling_too_often_is_refused(every: str) -> None:
    assert isinstance(invoke("--every", every), UsageError)


def test_a_read_only_variable_that_is_no_boolean_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing would mean writing where the user forbade it."""
    monkeypatch.setenv("ETCDOPS_READ_ONLY", "maybe")
    assert "ETCDOPS_READ_ONLY" in str(invoke())


@pytest.mark.parametrize(("flag", "variable", "locked_by"), [
    (True, "", "--read-only"), (False, "1", "ETCDOPS_READ_ONLY"), (True, "1", "--read-only"), (False, "", None),
])  # fmt: skip
def test_read_only_comes_from_flag_or_variable(
    monkeypatch: pytest.MonkeyPatch, flag: bool, variable: str, locked_by: str | None
) -> None:
    """And the console knows which, to name it when it refuses."""
    seen: dict[str, object] = {}

    def run_tui(settings: ConnectionSettings, **options: object) -> int:
        seen.update(options, settings=settings)
        return 0

    monkeypatch.setattr("etcdops.tui.app.run_tui", run_tui)
    monkeypatch.setenv("ETCDOPS_READ_ONLY", variable)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    assert tui_command.command.callback is not None
    with click.Context(tui_command.command):
        tui_command.command.callback("keys", (), False, 5.0, flag, "")
    assert seen["read_only"] is (locked_by is not None)
    assert seen["title"] == "127.0.0.1:2379"
    assert seen["screen"] == "keys"
    if locked_by:
        assert seen["locked_by"] == locked_by


@pytest.mark.parametrize(
    ("color", "value", "expected"),
    [("auto", "1", "1"), ("auto", "", None), ("auto", None, None), ("never", None, "1"), ("always", "1", None)],
)
def test_an_empty_no_color_means_colour(
    monkeypatch: pytest.MonkeyPatch, color: str, value: str | None, expected: str | None
) -> None:
    """no-color.org: present and not empty. Textual looks only whether it is present."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    set_no_color(color)
    assert os.environ.get("NO_COLOR") == expected
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_dumb_terminal_is_refused_with_the_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    callback = tui_command.command.callback
    assert callback is not None
    with click.Context(tui_command.command), pytest.raises(UsageError, match="TERM=dumb"):
        callback("keys", (), False, 5.0, False, "")


@pytest.mark.slow
def test_help_imports_neither_textual_nor_grpc() -> None:
    """The help must come at once (two commands in three are read there first)."""
    code = (
        "import sys; from etcdops.cli.main import run; run(['tui', '--help']);"
        "bad = {'textual', 'rich', 'grpc', 'google.protobuf', 'asyncio'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--read-only" in done.stdout
