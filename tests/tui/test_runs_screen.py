"""The Runs screen: what journals say, what keys do, at every size."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.playbooks.journal import Journal
from etcdops.playbooks.plan import Danger, Plan, StepSpec
from etcdops.playbooks.runs import begin_run, find_run
from tests.conftest import Golden
from tests.tui.conftest import Drive
from tests.tui.driver import SMALL, WIDE, ConsoleDriver

STEPS = (
    StepSpec("snapshot", "check backup.db again, byte by byte", "check-snapshot"),
    *(StepSpec(f"stop:m{n}", f"stop m{n} and prove it", "stop-member", danger=Danger.SEVERE) for n in (1, 2, 3)),
    StepSpec("install:h1", "install etcd 3.5.16", "install", host="host [1]"),
    StepSpec("verify", "verify every key and value", "verify"),
)
PLAN = Plan("recover-from-snapshot", "lab", {}, ("stop every member", "restore"), ("30 revisions: 71 to 100",), STEPS)
ELSEWHERE = {"user": "ops", "machine": "ws1.elsewhere", "pid": 7, "started": "1"}
GONE = {"user": "ops", "machine": None, "pid": 2**22 + 1, "started": "1"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of this test only, in a place whose name is as long everywhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs").mkdir(parents=True)
    return tmp_path / "home"


def write_run(home: Path, run: str, at: float, by: Mapping[str, object], *events: Mapping[str, object]) -> None:
    lines = [{"event": "planned", "run": run, "by": by, "plan": PLAN.to_json()}, *events]
    text = "".join(json.dumps({**line, "at": at + number}) + "\n" for number, line in enumerate(lines))
    (home / "runs" / f"{run}.jsonl").write_text(text)


def done(step: str) -> dict[str, object]:
    return {"event": "done", "step": step, "took_s": 0.4, "result": {}}


def write_all(home: Path) -> None:
    """One at work elsewhere, one that failed, one that ended."""
    intent = {"event": "intent", "step": "stop:m1"}
    write_run(home, "r-0c4f", 1_700_000_300, ELSEWHERE, done("snapshot"), intent)
    failed = {"event": "failed", "step": "stop:m1", "error": "m1 does not end [on] SIGKILL", "safe_now": "x"}
    write_run(home, "r-77aa", 1_700_000_200, ELSEWHERE, done("snapshot"), intent, failed)
    write_run(home, "r-1111", 1_700_000_100, ELSEWHERE, *(done(step.id) for step in STEPS), {"event": "finished"})


async def shown(driver: ConsoleDriver, text: str) -> str:
    await driver.until(lambda: text in driver.text(), f"{text!r}")
    return driver.text()


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["120x36", "80x24"])
async def test_runs_are_shown_step_by_step(console: Drive, golden: Golden, home: Path, size: tuple[int, int]) -> None:
    """Marks beside words; the newest first; what failed and what can be done now."""
    write_all(home)
    async with console(size=size, screen="runs") as driver:
        for run in ("r-0c4f", "r-77aa", "r-1111"):
            text = await shown(driver, f"Run {run}")
            driver.check_fits()
            golden.check(f"{run}-{size[0]}.txt", text)
            await driver.press("down")


async def test_a_console_without_runs_says_what_there_is(console: Drive) -> None:
    async with console(screen="runs") as driver:
        text = await shown(driver, "No run yet")
        assert "etcdops recover --from-snapshot FILE" in text
        await driver.press("x", "u", "d")
        driver.check_fits()


async def test_a_run_is_asked_to_stop(console: Drive, tmp_path: Path) -> None:
    """The file that the run's own process looks for between steps; this process stands for it."""
    journal = begin_run(tmp_path / "cluster" / "runs", PLAN, SystemClock())
    journal.intent("stop:m1")
    async with console(screen="runs") as driver:
        await shown(driver, "▶ running")
        await driver.press("x")
        await driver.until(lambda: journal.stop_path.exists(), "the file that asks to stop")
        journal.stopped()
        await shown(driver, "▲ stopped")


async def test_a_run_goes_on_only_when_the_name_was_typed(
    console: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, by the command that the dialog shows."""
    journal = begin_run(tmp_path / "cluster" / "runs", PLAN, SystemClock())
    journal.intent("stop:m1")
    journal.stopped()
    started: list[list[str]] = []

    class Child:
        pid = 4711

        def __init__(self, line: list[str], **options: object) -> None:
            started.append(line)

    monkeypatch.setattr(subprocess, "Popen", Child)
    async with console(screen="runs") as driver:
        await shown(driver, "▲ stopped")
        await driver.press("u")
        await shown(driver, f"etcdops runs resume {journal.run} --confirm lab")
        await driver.type("prod")
        await driver.press("enter")
        assert not started
        await driver.press("escape", "u")
        await driver.type("lab")
        await driver.press("enter")
        await shown(driver, "goes on as process 4711")
    assert started[0][1:] == ["-m", "etcdops", "runs", "resume", str(journal.path), "--confirm", "lab"]


async def test_read_only_refuses_and_offers_neither(console: Drive, tmp_path: Path) -> None:
    journal = begin_run(tmp_path / "cluster" / "runs", PLAN, SystemClock())
    async with console(screen="runs", read_only=True) as driver:
        text = await shown(driver, journal.run)
        assert "x stop safely" not in text.splitlines()[-2]
        await driver.press("x", "u")
        assert not journal.stop_path.exists()


async def test_detaching_says_how_to_come_back(console: Drive, home: Path) -> None:
    write_all(home)
    async with console() as driver:
        await driver.press("8")
        await shown(driver, "Run r-0c4f")
        await driver.press("d")
        assert "etcdops runs attach r-0c4f" in await shown(driver, "goes on in its own process")


async def test_a_damaged_journal_is_counted_not_hidden(console: Drive, home: Path) -> None:
    write_all(home)
    (home / "runs" / "r-dead.jsonl").write_text("[not a journal]\n")
    async with console(screen="runs") as driver:
        assert "Run r-0c4f" in await shown(driver, "1 journals cannot be read")


def test_a_run_of_a_process_that_is_gone_is_interrupted(home: Path) -> None:
    """Nobody has to say so: the process is not there."""
    journal = begin_run(home / "runs", PLAN, SystemClock())
    line = json.loads(journal.path.read_text())
    line["by"] |= {"pid": GONE["pid"], "started": "1"}
    journal.path.write_text(json.dumps(line) + "\n")
    assert find_run(str(journal.path), SystemClock()).state.status == "interrupted"
    assert isinstance(journal, Journal)
