"""Member processes: known by more than a number, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from etcdops.errors import EtcdopsError
from etcdops.playbooks import tether
from etcdops.playbooks.ports import free_ports, is_listening
from etcdops.playbooks.process import ProcessID, spawn
from tests.support.real_etcd import poll_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by Linux's /proc")

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def start(folder: Path, command: list[str], *, tethered: bool = True) -> ProcessID:
    return spawn(command, log=folder / "log", pid_file=folder / "pid", environment=dict(os.environ), tethered=tethered)


@pytest.mark.slow
def test_a_process_is_found_again_by_its_file(tmp_path: Path) -> None:
    """Goal: another terminal can stop what this one started."""
    child = start(tmp_path, SLEEPER)
    try:
        found = ProcessID.load(tmp_path / "pid")
        assert found is not None
        assert found.alive
        assert found == child
        found.signal(signal.SIGTERM)
        assert found.wait_ended(10)
        assert not found.alive
    finally:
        child.signal(signal.SIGKILL)


def test_a_reused_number_is_another_process() -> None:
    """Goal: never signal a stranger. A process with our number but another start is not the one we know."""
    assert ProcessID.of(os.getpid()).alive
    assert not ProcessID(os.getpid(), "12345").alive
    ProcessID(os.getpid(), "12345").signal(signal.SIGKILL)  # would end this test run


def test_a_process_that_was_not_collected_is_dead() -> None:
    """Goal: a zombie does not serve."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = ProcessID(child.pid, "x")
    poll_until(lambda: tether.start_time(child.pid) == "", 10)
    assert not identity.alive
    child.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_file_with_something_else_names_no_process(tmp_path: Path, text: str) -> None:
    """Goal: a torn file is nobody."""
    (tmp_path / "pid").write_text(text)
    assert ProcessID.load(tmp_path / "pid") is None


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("tethered", [True, False])
def test_a_tethered_process_does_not_outlive_a_killed_parent(tmp_path: Path, tethered: bool) -> None:
    """Goal: `etcdops demo` killed by SIGKILL leaves no member; a recovery for real does leave them running."""
    program = textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from etcdops.playbooks.process import spawn
        folder = Path({str(tmp_path)!r})
        spawn({SLEEPER!r}, log=folder / "log", pid_file=folder / "pid", environment=dict(os.environ),
              tethered={tethered})
        (folder / "started").touch()
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        poll_until((tmp_path / "started").exists, 20)
        member = ProcessID.load(tmp_path / "pid")
        assert member is not None
        poll_until(lambda: b"sleep" in Path(f"/proc/{member.pid}/cmdline").read_bytes(), 20)
        parent.kill()
        parent.wait()
        assert member.wait_ended(10 if tethered else 0.2) is tethered
    finally:
        parent.kill()
        parent.wait()
        left = ProcessID.load(tmp_path / "pid")
        if left is not None:
            left.signal(signal.SIGKILL)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Goal: a wrong path is an error at once, not a member that never becomes healthy."""
    with pytest.raises(EtcdopsError, match="no such program"):
        start(tmp_path, ["/nonexistent/etcd"])


def test_the_process_file_is_written_whole(tmp_path: Path) -> None:
    """Goal: readers see the old or the new one."""
    tether.write_pid_file(str(tmp_path / "pid"), os.getpid())
    assert json.loads((tmp_path / "pid").read_text())["pid"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]


def test_free_ports_are_different_and_unused() -> None:
    """Goal: members never fight for a port they were given."""
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert not any(is_listening(f"http://127.0.0.1:{port}") for port in ports)
