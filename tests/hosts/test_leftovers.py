"""However a run ends, nothing of it stays on the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hosts.base import ROOT
from tests.hosts.hosts import Hosts
from tests.hosts.leftovers import Traces
from tests.hosts.runs import is_alive, run_folders, sweep

pytestmark = pytest.mark.usefixtures("needs_hosts")

_RUN = """
import sys
from tests.hosts.hosts import Hosts
hosts = Hosts.start(2)
print(hosts.folder, flush=True)
sys.stdin.read()
"""


def wait_gone(traces: Traces, timeout_s: float = 30) -> None:
    """The kernel takes network namespaces down a moment after their last process."""
    deadline = time.monotonic() + timeout_s
    while left := traces.left():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_a_run_that_stops_leaves_nothing() -> None:
    """Namespaces, links, mounts, cgroups, files: all there before, none after."""
    links = set(os.listdir("/sys/class/net"))
    mounts = Path("/proc/self/mountinfo").read_text()
    hosts = Hosts.start(1)
    traces = Traces.of(hosts)
    up = "\n".join(traces.left())
    hosts[0].small_disk("/var/lib/etcd")
    for kind in ("folder", "link", "cgroup", "process", "namespace"):
        assert kind in up
    assert len(traces.namespaces) == 8  # the keeper's mount and network, and the host's six
    hosts.stop()
    wait_gone(traces)
    hosts.stop()
    assert set(os.listdir("/sys/class/net")) - links == set()
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_sigkill_of_the_run_leaves_nothing_once_its_keeper_has_noticed() -> None:
    """A crash of pytest, or of the machine's patience with it."""
    run = subprocess.Popen(
        [sys.executable, "-c", _RUN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    with run:
        folder = Path(run.stdout.readline().strip())
        traces = Traces.of(Hosts.attach(folder))
        run.send_signal(signal.SIGKILL)
        run.wait(10)
        wait_gone(traces)


def test_sigkill_of_the_keeper_kills_the_hosts_and_the_next_start_sweeps() -> None:
    """The kernel takes processes, mounts and links; files and cgroups wait for the sweep."""
    hosts = Hosts.start(1)
    traces = Traces.of(hosts)
    os.kill(hosts.keeper_pid, signal.SIGKILL)
    assert hosts._process is not None
    hosts._process.wait(10)
    deadline = time.monotonic() + 30
    while left := [trace for trace in traces.left() if not trace.startswith(("folder", "cgroup"))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert hosts.folder in run_folders()
    assert not is_alive(hosts.folder)
    assert hosts.folder.name in sweep()
    wait_gone(traces)


def test_a_living_run_is_not_swept() -> None:
    """A second test session, or `make hosts-down`, beside the first."""
    hosts = Hosts.start(1)
    try:
        assert hosts.folder.name not in sweep()
        assert hosts[0].run(["hostname"]).stdout == "h1\n"
        assert [host.address for host in Hosts.attach(hosts.folder)] == [hosts[0].address]
    finally:
        hosts.stop()


def test_two_runs_at_the_same_time_do_not_meet() -> None:
    """Parallel checkouts: other subnet, other link, and no way from one's hosts to the other's."""
    first, second = Hosts.start(1), Hosts.start(1)
    try:
        assert first[0].address.rpartition(".")[0] != second[0].address.rpartition(".")[0]
        ping = f"exec 3<>/dev/tcp/{second[0].address}/22"
        assert first[0].run(["timeout", "2", "bash", "-c", ping], check=False).status != 0
    finally:
        first.stop()
        second.stop()
