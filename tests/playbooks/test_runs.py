"""Runs of a toy procedure in processes of their own: killed anywhere, followed, stopped, resumed, taken back."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.errors import ExitCode, UsageError
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.runs import begin_run, find_run, list_runs, runs_folder
from tests.playbooks.toy import STEPS, make_plan
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
MADE = ("a", "b", "c", "d")
MOMENTS = [
    pytest.param(f"{moment} {name}", marks=() if name == "b" or moment == "in" else pytest.mark.exhaustive)
    for name in MADE
    for moment in ("before", "in", "after", "verify")
]
TIMEOUT_S = 60


class Toys:
    """The folder, and processes that work in it; those that still run at the end are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.playbooks.toy", str(self.folder), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "ETCDOPS_WRITE_OUT": "table"},
        )  # fmt: skip
        self._started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out, err

    @property
    def run_id(self) -> str:
        (path,) = (self.folder / "runs").glob("*.jsonl")
        return path.stem

    @property
    def state(self) -> RunState:
        return find_run(self.run_id, SystemClock()).state

    @property
    def acts(self) -> list[str]:
        return (self.folder / "acts").read_text().split() if (self.folder / "acts").exists() else []

    def kill_all(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    folder = tmp_path / "toys"
    folder.mkdir()
    made = Toys(folder)
    yield made
    made.kill_all()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_is_seen_and_resumed(toys: Toys, moment: str) -> None:
    """SIGKILL before, inside and after every act: nothing is done twice that was done whole."""
    (toys.folder / "kill").write_text(moment)
    assert toys.run("begin")[0] == -9
    assert toys.state.status == "interrupted"
    code, out, err = toys.run("runs", "resume", toys.run_id, "--confirm", "toys")
    assert (code, "finished" in out) == (0, True), err
    assert toys.state.status == "finished"
    assert sorted(toys.acts) == sorted(MADE)
    assert {(toys.folder / f"made-{name}").read_text() for name in MADE} == {"whole"}


@pytest.mark.parametrize("moment", ["undo d", "undone d", "undo b", "undone a"])
def test_a_rollback_killed_at_any_moment_is_finished(toys: Toys, moment: str) -> None:
    """Taken back, last step first; a run that is being taken back does not go forward any more."""
    (toys.folder / "kill").write_text("in d")
    toys.run("begin")
    (toys.folder / "kill").write_text(moment)
    assert toys.run("runs", "rollback", toys.run_id, "--confirm", "toys")[0] == -9
    code, _, err = toys.run("runs", "resume", toys.run_id, "--confirm", "toys")
    assert (code, "runs rollback" in err) == (ExitCode.USAGE, True)
    code, out, err = toys.run("runs", "rollback", toys.run_id, "--confirm", "toys")
    assert (code, "was taken back" in out) == (0, True), err
    assert not list(toys.folder.glob("made-*"))
    assert toys.state.status == "rolled-back"


def test_a_run_is_followed_and_stopped_from_other_terminals(toys: Toys) -> None:
    """`attach` shows it live as JSON lines, `stop` ends it after its step, `resume` finishes it."""
    (toys.folder / "wait-a").touch()
    working = toys.start("begin")
    assert working.stdout is not None
    run = working.stdout.readline().strip()
    poll_until(lambda: "a" in find_run(run, SystemClock()).state.interrupted, TIMEOUT_S)
    code, out, _ = toys.run("runs", "list", "-w", "json")
    assert (code, [one["status"] for one in json.loads(out)["runs"]]) == (0, ["running"])
    second = toys.run("runs", "resume", run, "--confirm", "toys")
    assert (second[0], "is at work" in second[2]) == (ExitCode.USAGE, True)
    other = toys.run("begin")
    assert (other[0], "another run is at work" in other[2]) == (ExitCode.UNSAFE, True)
    watching = toys.start("runs", "attach", run, "--events", "json")
    assert toys.run("runs", "stop", run)[0] == 0
    (toys.folder / "wait-a").unlink()
    shown, _ = watching.communicate(timeout=TIMEOUT_S)
    assert watching.returncode == ExitCode.PARTLY_APPLIED
    events = [json.loads(line) for line in shown.splitlines()]
    assert [event["event"] for event in events] == ["begun", "complete", "started", "complete", "stopped"]
    assert all(event["schema"] == "etcdops.run-event/1" and event["run"] == run for event in events)
    assert working.wait(TIMEOUT_S) == ExitCode.PARTLY_APPLIED
    assert toys.state.status == "stopped"
    assert toys.acts == ["a"]
    code, out, err = toys.run("runs", "resume", run, "--confirm", "toys", "--events", "json")
    assert code == 0, err
    kinds = [json.loads(line)["event"] for line in out.splitlines()]
    assert kinds[:3] == ["resumed", "skipped", "skipped"]
    assert kinds[-1] == "finished"
    assert toys.run("runs", "attach", run)[0] == 0


def test_ctrl_c_once_stops_after_the_step(toys: Toys) -> None:
    """Exit 130, and the step at work was done."""
    (toys.folder / "kill").write_text("before a")
    toys.run("begin")
    (toys.folder / "wait-a").touch()
    working = toys.start("runs", "resume", toys.run_id, "--confirm", "toys")
    poll_until(lambda: toys.state.status == "running" and "a" in toys.state.interrupted, TIMEOUT_S)
    working.send_signal(signal.SIGINT)
    assert working.stderr is not None
    poll_until(lambda: "stopping after this step" in working.stderr.readline(), TIMEOUT_S)  # type: ignore[union-attr]  # asserted above
    (toys.folder / "wait-a").unlink()
    working.communicate(timeout=TIMEOUT_S)
    assert working.returncode == ExitCode.INTERRUPTED
    assert toys.state.status == "stopped"
    assert toys.acts == ["a"]


def test_a_run_under_nohup_does_not_stop_when_the_terminal_goes(toys: Toys) -> None:
    """What is ignored stays ignored."""
    (toys.folder / "kill").write_text("before a")
    toys.run("begin")
    (toys.folder / "wait-a").touch()
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        working = toys.start("runs", "resume", toys.run_id, "--confirm", "toys")
    finally:
        signal.signal(signal.SIGHUP, ignored)
    poll_until(lambda: toys.state.status == "running" and "a" in toys.state.interrupted, TIMEOUT_S)
    working.send_signal(signal.SIGHUP)
    (toys.folder / "wait-a").unlink()
    working.communicate(timeout=TIMEOUT_S)
    assert working.returncode == 0
    assert toys.state.status == "finished"


def test_a_detached_run_that_cannot_go_on_says_so_at_once(toys: Toys) -> None:
    """The process it would be left to is `python -m etcdops`, which has no toys: its words are the answer."""
    (toys.folder / "kill").write_text("in b")
    toys.run("begin")
    code, _, err = toys.run("runs", "resume", toys.run_id, "--detach", "--confirm", "toys")
    assert code == ExitCode.FAILED
    assert "ended at once" in err
    assert "no procedure 'toy'" in err
    assert "no procedure 'toy'" in (toys.folder / "runs" / f"{toys.run_id}.log").read_text()


def test_a_failure_says_what_is_safe_now_and_how_to_go_on(toys: Toys) -> None:
    """In `runs show`, in the journal and in the error; neighbours that were at work come to their end."""
    (toys.folder / "fail-b").touch()
    code, _, err = toys.run("begin")
    assert code == ExitCode.PARTLY_APPLIED
    assert "safe now:" in err
    assert toys.state.status == "failed"
    assert toys.state.error == "b cannot be made"
    code, out, _ = toys.run("runs", "show", toys.run_id)
    assert code == 0
    assert "✓  2 make a" in out
    assert "✖  3 make b" in out
    assert "    5 make d" in out
    assert f"go on: etcdops runs resume {toys.run_id}" in out
    (toys.folder / "fail-b").unlink()
    assert toys.run("runs", "resume", toys.run_id, "--confirm", "toys")[0] == 0
    assert sorted(toys.acts) == sorted(MADE)


def test_runs_are_listed_wherever_their_journals_lie(tmp_path: Path) -> None:
    """A link in the state folder, private; a cluster whose directory is gone leaves no trace."""
    first = begin_run(tmp_path / "one" / "runs", make_plan(tmp_path), SystemClock())
    second = begin_run(runs_folder(), make_plan(tmp_path), SystemClock())
    known, unreadable = list_runs(SystemClock())
    assert {run.run for run in known} == {first.run, second.run}
    assert not unreadable
    assert find_run(first.run.removeprefix("r-"), SystemClock()).journal.path == first.path
    assert find_run(str(first.path), SystemClock()).state.plan == make_plan(tmp_path)
    assert stat.S_IMODE(runs_folder().stat().st_mode) == 0o700
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o600
    first.path.unlink()
    first.path.parent.rmdir()
    assert [run.run for run in list_runs(SystemClock())[0]] == [second.run]
    assert not (runs_folder() / f"{first.run}.jsonl").is_symlink()
    for wrong in (first.run, "r-zzzz", "../x", "/nowhere/r-1.jsonl"):
        with pytest.raises(UsageError):
            find_run(wrong, SystemClock())


def test_a_damaged_journal_does_not_hide_the_others(tmp_path: Path) -> None:
    """`runs list` names it and goes on."""
    kept = begin_run(tmp_path / "runs", make_plan(tmp_path), SystemClock())
    (runs_folder() / "r-0000.jsonl").write_text("nonsense\n")
    known, (damaged,) = list_runs(SystemClock())
    assert [run.run for run in known] == [kept.run]
    assert "r-0000" in damaged.why


def test_a_state_folder_that_cannot_be_written_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is with the cluster; only the listing is missing."""
    monkeypatch.setenv("ETCDOPS_HOME", "/dev/null/nowhere")
    journal = begin_run(tmp_path / "runs", make_plan(tmp_path), SystemClock())
    assert Journal(journal.path, SystemClock()).load() is not None
    assert list_runs(SystemClock()) == ([], [])


def test_the_toy_has_what_procedures_have() -> None:
    """Steps alone, steps together, reading and changing ones: or the tests above prove less than they say."""
    assert {step.together for step in STEPS} == {"", "pair"}
