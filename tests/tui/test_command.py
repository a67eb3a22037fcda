"""`etcdops tui` as a command: options, refusals, and what must not be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from etcdops.cli import tui as tui_command
from etcdops.cli.main import run
from etcdops.cli.options import Invocation
from etcdops.cli.tui_logs import chosen_logs
from etcdops.client.settings import ConnectionSettings
from etcdops.errors import UsageError
from etcdops.playbooks.cluster_file import Engine, EngineKind
from etcdops.playbooks.local_cluster import new_cluster
from etcdops.tui.app import SCREENS, set_no_color


class Terminal:
    """Says that it is one."""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None: ...


def started_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the console is started with, once it is; it is not drawn."""
    seen: dict[str, object] = {}

    def run_tui(settings: ConnectionSettings, **options: object) -> int:
        seen.update(options, settings=settings)
        return 0

    monkeypatch.setattr("etcdops.tui.app.run_tui", run_tui)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    return seen


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
    seen = started_on_a_terminal(monkeypatch)
    monkeypatch.setenv("ETCDOPS_READ_ONLY", variable)
    assert tui_command.command.callback is not None
    with click.Context(tui_command.command):
        tui_command.command.callback("keys", (), False, 5.0, flag, "", "zh")
    assert seen["read_only"] is (locked_by is not None)
    assert seen["title"] == "127.0.0.1:2379"
    assert seen["screen"] == "keys"
    assert seen["language"] == "zh"
    if locked_by:
        assert seen["locked_by"] == locked_by


@pytest.mark.parametrize("protection", ["none", "normal", "protected"])
def test_of_a_protected_cluster_it_begins_read_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, protection: str
) -> None:
    """A key leaves that, once the cluster's name was typed: no flag locks it."""
    seen = started_on_a_terminal(monkeypatch)
    monkeypatch.delenv("ETCDOPS_READ_ONLY", raising=False)
    inventory = tmp_path / "prod.yaml"
    inventory.write_text(
        "hosts: {h1: {address: 127.0.0.1}}\n"
        f"clusters: {{prod: {{protection: {protection}, members: [{{host: h1}}]}}}}\n"
    )
    assert run(["tui", "--inventory", str(inventory), "--cluster", "prod", "--no-logs"]) == 0
    assert (seen["title"], seen["read_only"], seen["locked_by"]) == ("prod", protection == "protected", "")


@pytest.mark.parametrize(("variable", "asked"), [("", None), ("http://10.0.0.1:2379", "10.0.0.1:2379")])
def test_logs_alone_ask_no_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, asked: str | None
) -> None:
    """The address that counts when none is named would only be called unreachable."""
    seen: dict[str, object] = {}

    def run_tui(settings: ConnectionSettings | None, **options: object) -> int:
        seen.update(options, settings=settings)
        return 0

    log = tmp_path / "m1.log"
    log.write_text("starting etcd\n")
    monkeypatch.setattr("etcdops.tui.app.run_tui", run_tui)
    monkeypatch.setenv("ETCDOPS_ENDPOINTS", variable)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    assert tui_command.command.callback is not None
    with click.Context(tui_command.command):
        tui_command.command.callback(None, (str(log),), False, 5.0, False, "", None)
    assert (seen["settings"] is None) is (asked is None)
    assert seen["title"] == (asked or "logs")
    assert seen["screen"] == "logs"


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
        callback("keys", (), False, 5.0, False, "", None)


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


def invocation_with(**connection: object) -> Invocation:
    return Invocation(connection=dict(connection))


def test_logs_that_are_named_are_followed_and_nothing_else(tmp_path: Path) -> None:
    """A folder is the logs in it; the cluster's own are not looked for."""
    for name in ("m1.log", "m2.log"):
        (tmp_path / name).write_text("line\n")
    feed = chosen_logs(invocation_with(local="/nowhere"), [str(tmp_path)], wanted=True)
    assert feed is not None
    assert [source.name for source in feed.sources()] == ["m1", "m2"]


def test_logs_that_cannot_be_followed_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        chosen_logs(invocation_with(), [str(tmp_path / "none.log")], wanted=True)
    with pytest.raises(UsageError, match="keyboard"):
        chosen_logs(invocation_with(), ["-"], wanted=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no file"):
        chosen_logs(invocation_with(), [str(tmp_path / "pipe")], wanted=True)


def test_a_local_cluster_brings_its_logs_unless_none_are_wanted(tmp_path: Path) -> None:
    new_cluster("lab", tmp_path, Engine(EngineKind.NODE), ports=range(20_000, 20_006))
    feed = chosen_logs(invocation_with(local=str(tmp_path)), [], wanted=True)
    assert feed is not None
    assert (feed.sources()[0].name, feed.sources()[0].where) == ("m1", str(tmp_path / "m1.log"))
    assert chosen_logs(invocation_with(local=str(tmp_path)), [], wanted=False) is None


def test_a_cluster_of_an_inventory_brings_the_logs_of_its_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is connected before they are read; without an inventory there are none."""
    for name in ("ETCDOPS_INVENTORY", "ETCDOPS_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert chosen_logs(invocation_with(endpoints="http://127.0.0.1:1"), [], wanted=True) is None
    (tmp_path / "etcdops.yaml").write_text(INVENTORY)
    feed = chosen_logs(invocation_with(cluster="prod"), [], wanted=True)
    assert feed is not None
    wheres = [(source.name, source.where) for source in feed.sources()]
    assert wheres == [("m1", "the journal of etcd.service on h1"), ("m2", "the journal of etcd.service on h2")]


INVENTORY = """
hosts:
  h1: {address: 10.0.0.1}
  h2: {address: 10.0.0.2}
clusters:
  prod:
    members:
      - {name: m1, host: h1}
      - {name: m2, host: h2}
"""
