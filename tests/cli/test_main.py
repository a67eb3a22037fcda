"""The command line as a whole: help, exit codes, the shape of errors, streams, signals, and what is imported."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from etcdops.cli import diagnostics
from etcdops.cli.main import ENTRIES
from etcdops.cli.options import Invocation
from etcdops.errors import EtcdopsError, ExitCode, ResultUnknown
from tests.cli.conftest import RunCli, clean_environment
from tests.conftest import Golden
from tests.support.ports import free_ports

StartCli = Callable[..., "subprocess.Popen[str]"]
HEAVY = ("grpc", "textual", "rich", "pydantic", "cryptography", "asyncio", "google", "ssl", "apsw", "aiohttp")
POSTED_LOG = str(Path(__file__).parents[1] / "diagnosis" / "samples" / "003.log")


def test_help_names_every_command_with_examples_first(cli: RunCli, golden: Golden) -> None:
    """Plain text, within 80 columns."""
    ran = cli("--help")
    assert ran.code == 0
    assert ran.out.index("Examples:") < ran.out.index("Options:")
    assert all(entry.name in ran.out for entry in ENTRIES)
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    golden.check("help.txt", ran.out)


@pytest.mark.parametrize(
    "group", [["snapshot"], ["runs"], ["inventory"], ["rollout"], ["cert"], ["local"]], ids=" ".join
)
def test_a_group_tells_each_command_in_a_whole_sentence(cli: RunCli, group: list[str]) -> None:
    ran = cli(*group, "--help")
    assert "..." not in ran.out.replace("[ARGS]...", "").replace("[ARGS]", "")
    assert max(len(line) for line in ran.out.splitlines() if "etcdops" not in line) <= 80


def test_whoever_has_no_cluster_is_told_how_to_get_one(cli: RunCli) -> None:
    """The very first command of a stranger, and what the dashboard could not show either."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ran = cli("--endpoints", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert ran.code == 3
    assert "  etcdops demo " in ran.err
    assert "etcdops tui" not in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gb18030", "utf-8"])
def test_no_encoding_of_a_terminal_ends_a_command(tmp_path: Path, encoding: str) -> None:
    """What it lacks is spelled out; JSON stays JSON."""
    environment = clean_environment(tmp_path) | {"PYTHONIOENCODING": encoding}

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "etcdops", *arguments]
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout.decode(encoding)

    page = json.loads(told("explain", "disk-full", "--lang", "zh", "-w", "json"))
    assert "磁盘" in page["title"]
    text = told("explain", "disk-full", "--lang", "zh")
    assert ("磁盘" in text) is (encoding in ("gb18030", "utf-8"))
    assert "\\u78c1\\u76d8" in text or "磁盘" in text


def test_what_is_waited_for_leaves_no_trace_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps cannot be taken away by clearing the last row."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", shown)
    with Invocation().waiting("asking " + ", ".join(["http://127.0.0.1:2379"] * 3)):
        pass
    text, _, rest = shown.getvalue().partition("\r")
    assert len(text) == 39
    assert rest == "\x1b[K"


def test_every_exit_code_is_in_the_help(cli: RunCli) -> None:
    told = cli("--help").out.partition("Exit codes:")[2]
    assert [code for code in ExitCode if not re.search(rf"\b{code.value} ", told)] == []


def test_help_of_status(cli: RunCli, golden: Golden) -> None:
    ran = cli("status", "--help")
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    golden.check("status-help.txt", ran.out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["version"], ["statsu"], ["--version"]]
    + [[entry.name, "--help"] for entry in ENTRIES if entry.name not in ("node", "version")]
    + [["explain", "no-space"], ["diagnose", POSTED_LOG], ["diagnose", "--json", POSTED_LOG]],
    ids=lambda words: " ".join(word.rpartition("/")[2] for word in words),
)
def test_what_needs_no_cluster_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """console.md: first output within 100 ms; each of these modules alone takes about that long."""
    code = f"""
import sys
from etcdops.cli.main import run
run({arguments!r})
sys.stderr.write("LOADED:" + ",".join(m for m in {HEAVY!r} if m in sys.modules))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment(tmp_path)
    )
    assert ran.stderr.rpartition("LOADED:")[2] == ""


def test_version_in_both_formats(cli: RunCli) -> None:
    import json

    from etcdops import __version__

    assert cli("--version").out == f"etcdops {__version__}\n"
    assert cli("version").out.startswith(f"etcdops   {__version__}\n")
    document = json.loads(cli("version", "-w", "json").out)
    assert document["schema"] == "etcdops.version/1"
    assert document["versions"]["etcdops"] == __version__


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["statsu"], "there is no command 'statsu'; did you mean 'status'?", "next: etcdops --help"),
        (["status", "--bogus"], "no such option", "next: etcdops status --help"),
        (["status", "-w", "xml"], "'xml' is not one of 'table', 'json'", "next: etcdops status --help"),
        (["status", "--watch", "soon"], "--watch: 'soon' is no duration", "next: write 5s"),
        (["status", "--endpoints", "ftp://x"], "scheme 'ftp'", ""),
        (["status", "--cert", "only.pem"], "--cert is given without --key", "next: give both"),
    ],
)
def test_usage_errors_have_one_shape_and_exit_2(cli: RunCli, arguments: list[str], message: str, hint: str) -> None:
    """Nothing on stdout, so that a pipe never reads an error as data."""
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert lines[0].startswith("error usage: ")
    assert message in lines[0]
    assert any(line.startswith(hint) for line in lines)


def fail_with(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ResultUnknown("m", cause="c", hint="h"), ExitCode.RESULT_UNKNOWN),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (click.Abort(), ExitCode.INTERRUPTED),
        (click.UsageError("bad"), ExitCode.USAGE),
        (click.exceptions.Exit(5), 5),
    ],
)
def test_every_end_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnostics.run(fail_with(error)) == code
    assert "Traceback" not in capsys.readouterr().err


def test_every_error_class_has_a_code_of_the_table() -> None:
    """`ExitCode` is the only home of exit codes; `code` words are unique."""

    def below(kind: type[EtcdopsError]) -> list[type[EtcdopsError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    kinds = [kind for kind in below(EtcdopsError) if kind.__module__ == "etcdops.errors"]
    assert all(isinstance(kind.exit_code, ExitCode) for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_an_error_prints_what_why_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    diagnostics.run(fail_with(ResultUnknown("the put was sent", cause="no answer", hint="read it back")))
    captured = capsys.readouterr()
    assert captured.err == "error result-unknown: the put was sent\ncause: no answer\nnext: read it back\n"
    assert captured.out == ""


def test_a_defect_leaves_a_private_file_instead_of_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The operator sees one sentence; who mends it gets the traceback."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ETCDOPS_DEBUG", raising=False)
    assert diagnostics.run(fail_with(RuntimeError("boom"))) == ExitCode.FAILED
    shown = capsys.readouterr().err
    assert "RuntimeError: boom" in shown
    assert "Traceback" not in shown
    (file,) = (tmp_path / "home").iterdir()
    assert str(file) in shown
    assert "Traceback" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_options_may_stand_before_or_after_the_command(cli: RunCli) -> None:
    """As with etcdctl; the later one wins."""
    urls = [f"http://127.0.0.1:{port}" for port in free_ports(2)]
    before = cli("--endpoints", urls[0], "status", "--plain", "--dial-timeout", "0.2")
    assert before.code == ExitCode.UNREACHABLE
    assert urls[0] in before.out
    both = cli("--endpoints", urls[0], "status", "--plain", "--endpoints", urls[1], "--dial-timeout", "0.2")
    assert urls[1] in both.out
    assert urls[0] not in both.out


def test_status_speaks_the_language_asked_for_or_that_of_the_terminal(cli: RunCli) -> None:
    """As doctor and diagnose do."""
    (port,) = free_ports(1)
    asked = ("--endpoints", f"http://127.0.0.1:{port}", "status", "--plain", "--dial-timeout", "0.2")
    assert "唯一的地址无响应" in cli(*asked, "--lang", "zh").out
    assert "唯一的地址无响应" in cli(*asked, LC_ALL="zh_CN.UTF-8").out
    assert "the only endpoint does not answer" in cli(*asked, "--lang", "en", LC_ALL="zh_CN.UTF-8").out


def test_notes_name_the_source_on_stderr_and_quiet_silences_them(cli: RunCli) -> None:
    (port,) = free_ports(1)
    environment = {"ETCDCTL_ENDPOINTS": f"http://127.0.0.1:{port}", "ETCDCTL_DIAL_TIMEOUT": "200ms"}
    assert "using ETCDCTL_* environment" in cli("status", **environment).err
    assert cli("status", "-q", **environment).err == ""


def test_a_user_without_a_password_and_without_a_terminal_is_told_how(cli: RunCli) -> None:
    """Exit 8, never a prompt nobody sees."""
    ran = cli("status", "--user", "root")
    assert ran.code == ExitCode.NOT_CONFIRMED
    assert "--password-file" in ran.err


def test_no_arguments_is_status_with_suggestions(cli: RunCli) -> None:
    ran = cli(ETCDOPS_ENDPOINTS=f"http://127.0.0.1:{free_ports(1)[0]}", ETCDOPS_DIAL_TIMEOUT="200ms")
    assert ran.code == ExitCode.UNREACHABLE
    assert ran.out.startswith("UNREACHABLE")
    assert "etcdops --help" in ran.err


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_follow_the_flag_then_the_environment(
    cli: RunCli, arguments: list[str], environment: dict[str, str], colored: bool
) -> None:
    """no-color.org: an empty NO_COLOR is not set."""
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    ran = cli("status", "--endpoints", endpoint, "--dial-timeout", "100ms", *arguments, **environment)
    assert ("\x1b[" in ran.out) is colored


def test_the_whole_command_ends_when_its_time_is_over(cli: RunCli) -> None:
    """Exit 124, as timeout(1)."""
    ran = cli("status", "--watch", "--timeout", "0.3", "--endpoints", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert ran.code == ExitCode.DEADLINE_PASSED
    assert ran.err.startswith("error deadline: not done within 0.3 s")


def test_a_time_that_is_none_is_refused_in_one_shape(cli: RunCli) -> None:
    ran = cli("status", "--timeout", "soon")
    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert ran.err == "error usage: --timeout: 'soon' is no duration\nnext: write 5s, 500ms or 1m30s\n"


def test_the_demo_is_no_json(cli: RunCli) -> None:
    """A format is made or refused, never ignored."""
    ran = cli("demo", "-w", "json")
    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert "tells its story as text" in ran.err


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_without_a_traceback(cli_process: StartCli) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    with cli_process(["status", "--watch", "0.2", "--plain", "--endpoints", endpoint]) as process:
        assert process.stdout is not None
        assert "UNREACHABLE" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert err == "interrupted\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(cli_process: StartCli) -> None:
    """`etcdops status --watch --plain | head -1`."""
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    with cli_process(["status", "--watch", "0.1", "--plain", "--endpoints", endpoint]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_a_crash_file_that_cannot_be_written_is_said_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCDOPS_HOME", "/dev/null/nowhere")
    diagnostics.run(fail_with(RuntimeError("boom")))
    assert "could not be saved" in capsys.readouterr().err


def test_a_group_without_its_command_shows_its_help(cli: RunCli) -> None:
    """Exit 2, because nothing was done; and no error that quotes a whole help."""
    ran = cli("snapshot")
    assert ran.code == ExitCode.USAGE
    assert ran.err.startswith("Usage: etcdops snapshot")
    assert ran.out == ""


@pytest.mark.parametrize("command", [["status"], ["snapshot", "save", "x.db"]])
def test_a_missing_certificate_is_a_usage_error_and_not_a_silent_cluster(cli: RunCli, command: list[str]) -> None:
    """The member was never asked, so nothing may be said about it."""
    ran = cli(*command, "--endpoints", "https://127.0.0.1:1", "--cacert", "/nowhere/ca.pem")
    assert ran.code == ExitCode.USAGE
    assert "cannot read --cacert /nowhere/ca.pem" in ran.err
    assert ran.out == ""
