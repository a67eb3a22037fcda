"""`etcdops diagnose` and `etcdops explain`: what is printed, in which language, and the exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from etcdops.diagnosis.causes import catalogue
from etcdops.doctor.codes import codes
from tests.cli.conftest import RunCli
from tests.conftest import Golden

SAMPLES = Path(__file__).parents[1] / "diagnosis" / "samples"


@pytest.fixture(autouse=True)
def beside_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in the output are those that were typed."""
    monkeypatch.chdir(SAMPLES)


def test_a_report_has_cause_proof_and_next_command(cli: RunCli, golden: Golden) -> None:
    """A WAL that is damaged: a log whose times carry their year."""
    ran = cli("diagnose", "004.log", LANG="C")
    assert ran.code == 5
    golden.check("report.txt", ran.out)


def test_a_report_in_chinese(cli: RunCli, golden: Golden) -> None:
    """By the terminal's locale, or as asked."""
    ran = cli("diagnose", "004.log", LC_ALL="zh_CN.UTF-8")
    assert ran.code == 5
    assert ran.out == cli("diagnose", "--lang", "zh", "004.log", LC_ALL="C").out
    golden.check("report-zh.txt", ran.out)


def test_markdown_for_a_ticket(cli: RunCli, golden: Golden) -> None:
    ran = cli("diagnose", "--markdown", "039.log", LANG="C")
    assert ran.code == 5
    golden.check("report.md", ran.out)


def test_json_is_the_stable_document(cli: RunCli) -> None:
    """Issue 5: slug, severity, confidence, member, evidence with source, line and text, cause, fix."""
    ran = cli("diagnose", "--json", "039.log", LANG="C")
    assert ran.out == cli("diagnose", "-w", "json", "039.log", LANG="C").out
    document = json.loads(ran.out)
    assert (document["schema"], document["healthy"]) == ("etcdops.diagnose/1", False)
    finding = document["findings"][0]
    assert (finding["slug"], finding["severity"], finding["count"]) == ("disk-slow", "warning", 9)
    assert 0 < finding["confidence"] <= 1
    assert finding["member"] == "039.log"
    assert finding["evidence"][0]["source"] == "039.log"
    assert finding["evidence"][0]["line"] == 1
    assert "sync duration of 1.134771573s" in finding["evidence"][0]["text"]
    assert finding["cause"] == catalogue()["disk-slow"].cause["en"]
    assert any("fio" in line for line in finding["fix"])
    assert finding["first"] == "2018-11-01T16:20:35.185Z"


@pytest.mark.parametrize("name", ["003", "020", "022"])
def test_what_a_finding_is_called_has_room_on_a_terminal(
    cli: RunCli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its slug and how sure it is go to the next line, where the title leaves none for them."""
    monkeypatch.setenv("COLUMNS", "80")
    ran = cli("diagnose", str(SAMPLES / f"{name}.log"))
    titled = [line for line in ran.out.splitlines() if "confidence" in line]
    assert titled
    assert max(map(len, titled)) <= 80


def test_of_many_peers_a_few_are_named(cli: RunCli, tmp_path: Path) -> None:
    """Whoever is refused may be a client, and there may be hundreds of them; the JSON has them all."""
    line = '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","caller":"embed/config_logging.go:169",'
    line += '"msg":"rejected connection","remote-addr":"10.0.0.%d:4321","error":"remote error: tls: bad certificate"}\n'
    path = tmp_path / "etcd.log"
    path.write_text("".join(line % number for number in range(20)))
    assert "10.0.0.7 and 12 more" in " ".join(cli("diagnose", str(path)).out.split())
    assert "`10.0.0.7` and 12 more" in cli("diagnose", "--markdown", str(path)).out
    assert "10.0.0.7 等，另有 12 个" in " ".join(cli("diagnose", "--lang", "zh", str(path)).out.split())
    assert len(json.loads(cli("diagnose", "--json", str(path)).out)["findings"][0]["peers"]) == 20


def test_a_normal_day_is_exit_0(cli: RunCli) -> None:
    ran = cli("diagnose", "017.log", LANG="C")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "● No problem found")
    assert json.loads(cli("diagnose", "--json", "017.log").out)["findings"] == []


def test_standard_input_is_the_default(cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    """journalctl -u etcd | etcdops diagnose"""
    text = (SAMPLES / "040.log").read_bytes()
    for arguments in (["diagnose"], ["diagnose", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))
        ran = cli(*arguments, "--json")
        assert json.loads(ran.out)["findings"][0]["slug"] == "datadir-permission"
        assert json.loads(ran.out)["findings"][0]["evidence"][0]["source"] == "stdin"


def test_a_line_that_ends_a_process_and_that_nobody_explains_is_shown(cli: RunCli, tmp_path: Path) -> None:
    """Unknown is a value: trouble of an unknown kind is no health."""
    log = tmp_path / "etcd.log"
    log.write_text('{"level":"fatal","ts":"2024-05-02T10:00:00.000Z","msg":"the moon is full","error":"howl"}\n')
    ran = cli("diagnose", str(log), LANG="C")
    assert ran.code == 5
    assert "the moon is full" in ran.out
    assert json.loads(cli("diagnose", "--json", str(log)).out)["unexplained"][0]["line"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose", "absent.log"], "error usage: absent.log does not exist"),
        (["diagnose", "--since", "yesterday", "040.log"], "error usage: --since 'yesterday' is no time"),
        (["explain", "disk-ful"], "error usage: there is no cause 'disk-ful'"),
        (["explain"], "error usage: no code was given"),
    ],
)
def test_what_cannot_be_used_is_exit_2_with_a_next_step(cli: RunCli, arguments: list[str], message: str) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.err.splitlines()[0] == message
    assert "next: " in ran.err


def test_the_log_of_something_else_does_not_look_healthy(cli: RunCli, tmp_path: Path) -> None:
    """Alone it is refused; beside a log of etcd's it is named."""
    other = tmp_path / "other.log"
    other.write_text("Nov 21 10:00:00 h1 cron[7]: (root) CMD (true)\n" * 3)
    ran = cli("diagnose", str(other))
    assert (ran.code, ran.out) == (2, "")
    assert f"no line of etcd's is in {other}" in ran.err
    assert "journalctl -u etcd" in ran.err
    ran = cli("diagnose", "004.log", str(other), LANG="C")
    assert ran.code == 5
    assert f"no line of etcd's is in {other}" in ran.err


@pytest.mark.parametrize("arguments", [["empty.log"], ["empty.log", "--json"], ["other-empty.log", "empty.log"]])
def test_nothing_to_read_does_not_look_healthy(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """A pipe from a unit that does not exist must not end as a healthy member does."""
    monkeypatch.chdir(tmp_path)
    Path("empty.log").touch()
    Path("other-empty.log").touch()
    ran = cli("diagnose", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "not one line is in " in ran.err
    assert "next: give what etcd itself writes" in ran.err


def test_a_file_that_is_no_text_is_refused_with_what_to_give(cli: RunCli, tmp_path: Path) -> None:
    """Words in a program or a database are nobody's log; a log with NULs, as a loss of power leaves it, is read."""
    ran = cli("diagnose", sys.executable)
    assert (ran.code, ran.out) == (2, "")
    assert f"{sys.executable} is no text" in ran.err
    torn = tmp_path / "torn.log"
    torn.write_bytes(b"\0" * 4096 + (SAMPLES / "004.log").read_bytes())
    assert cli("diagnose", str(torn)).code == 5


def test_strange_files_of_a_folder_are_one_warning(cli: RunCli, tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.pid").write_text(f"{number}\n")
    (tmp_path / "m1.log").write_bytes((SAMPLES / "004.log").read_bytes())
    ran = cli("diagnose", str(tmp_path))
    assert ran.code == 5
    assert ran.err.count("warning: ") == 1
    assert ran.err.rstrip().endswith("2.pid and 6 more")


@pytest.mark.parametrize("asked", [["--since", "2031-01-01"], ["--until", "2011-01-01"], ["--since", "1s", "--json"]])
def test_a_time_without_lines_is_no_health(cli: RunCli, asked: list[str]) -> None:
    """It says what the log does tell of, and what to give; on stdout is nothing that a script could believe."""
    ran = cli("diagnose", "039.log", *asked)
    assert (ran.code, ran.out) == (2, "")
    assert "nothing was looked at: no line in 039.log is from " in ran.err
    assert "from 2018-11-01T16:20:35.185Z to 2018-11-01T17:30:26.525Z" in ran.err
    assert "next: give --since 2018-11-01T16:20:35.185Z" in ran.err
    assert cli("diagnose", "039.log", "--since", "2018-11-01T16:20:35.185Z").code == 5


def test_of_several_logs_those_without_lines_of_that_time_are_named(cli: RunCli) -> None:
    """The others are read."""
    ran = cli("diagnose", "004.log", "039.log", "--until", "2018-12-01", LANG="C")
    assert ran.code == 5
    assert "warning: no line in 004.log is from before 2018-12-01T00:00:00.000Z: it was written from 2" in ran.err
    (first, second) = json.loads(cli("diagnose", "004.log", "039.log", "--until", "2018-12-01", "--json").out)[
        "sources"
    ]
    assert first["lines_left_out"] == first["lines"]
    assert second["lines_left_out"] == 0


def test_lines_without_any_time_belong_to_every_time(cli: RunCli, tmp_path: Path) -> None:
    """What `docker logs` or a screen gave may have none."""
    log = tmp_path / "untimed.log"
    log.write_text("etcdserver: the clock difference against peer 8211f1d0f64f3269 is too high [4.8s > 1s]\n" * 3)
    assert cli("diagnose", str(log), "--since", "2h").code == 5


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.log")))
def test_every_posted_log_is_known_for_etcds(cli: RunCli, name: str) -> None:
    """Whatever surrounds its lines, and wherever it was cut."""
    ran = cli("diagnose", "--json", name)
    assert ran.code in (0, 5)
    assert json.loads(ran.out)["sources"][0]["is_etcds"] is True


def test_times_that_since_understands(cli: RunCli) -> None:
    """A day, a minute, RFC 3339, and how long ago."""
    for since, code in (("2018-11-01", 5), ("2018-11-01 17:30", 5), ("2018-11-01T17:31:00Z", 2), ("2h", 2)):
        assert cli("diagnose", "--since", since, "039.log").code == code


def test_explain_is_a_page_offline(cli: RunCli, golden: Golden) -> None:
    golden.check("explain.txt", cli("explain", "quota-exceeded", LANG="C").out)
    assert json.loads(cli("explain", "quota-exceeded", "-w", "json").out)["severity"] == "critical"


def test_explain_lists_every_code(cli: RunCli) -> None:
    ran = cli("explain", "--list", LANG="C", COLUMNS="120")
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == [*catalogue(), *codes()]


def test_control_characters_of_a_log_are_shown_not_obeyed(cli: RunCli, tmp_path: Path) -> None:
    """A log is written by others."""
    log = tmp_path / "etcd.log"
    log.write_text("2018-11-01 16:20:35.185438 C | etcdserver: \x1b]0;owned\x07 no space left on device\n")
    assert "\x1b" not in cli("diagnose", str(log), LANG="C").out
    assert "\x1b" not in cli("diagnose", "--markdown", str(log), LANG="C").out


def test_the_timeout_ends_a_long_reading(cli: RunCli, tmp_path: Path) -> None:
    """124, as every command."""
    (tmp_path / "etcd.log").write_text("some line\n" * 10)
    ran = cli("diagnose", "--timeout", "1ns", str(tmp_path / "etcd.log"))
    assert ran.code == 124
    assert "--timeout" in ran.err
