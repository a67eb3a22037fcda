"""Partitions by the kernel: members in network namespaces of their own. It takes root; nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.holder import why_no_namespaces
from tests.robustness.test_real import engine_named
from tests.support import ports
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]

FAULTS = "isolate,half-cut,no-ring,kill-leader"
_END_TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    reason = why_no_namespaces()
    if reason:
        pytest.skip(f"partitions by network namespaces: {reason}")


def _command(engine: str, seconds: int) -> list[str]:
    return [
        *(sys.executable, "-m", "tests.robustness", "run", "--namespaces", "--size=3", f"--engine={engine}"),
        *(f"--seconds={seconds}", "--minutes=0.01", "--seed=5", f"--faults={FAULTS}"),
    ]


def _links() -> str:
    done = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True, timeout=10)
    return "\n".join(line.split(" state ")[0] for line in done.stdout.splitlines())


def _descendants(pid: int) -> set[int]:
    """All processes below this one."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            listed = children.read_text()
        except OSError:
            continue  # the thread has ended by now
        for child in map(int, listed.split()):
            found |= {child} | _descendants(child)
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["node", "etcd-3.5"])
def test_lost_packets_between_members_break_no_promise(name: str, tmp_path: Path) -> None:
    """One-way and two-way, around the leader too: real retransmissions, real timeouts of connections."""
    engine_named(name)
    before = _links()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(_command(name, 12), env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every promise was kept" in done.stdout
    assert _links() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != ports.FOLDER_NAME] == []


def test_a_run_that_is_killed_leaves_no_process_and_no_link(tmp_path: Path) -> None:
    """SIGKILL of the run itself: members, load and namespaces go with it."""
    before = _links()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        _command("node", 60), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        try:
            # Three members, three holders of namespaces, two load processes.
            poll_until(lambda: len(_descendants(run.pid)) >= 8, 60.0, "the run does not come up")
            everybody = _descendants(run.pid)
        finally:
            run.kill()
    poll_until(lambda: not any(map(_runs, everybody)), _END_TIMEOUT_S, "processes outlive the run")
    assert _links() == before
