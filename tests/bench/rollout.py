"""Time to a healthy three-host cluster: `etcdops rollout apply` beside a shell loop of ssh commands that does the same.

    python -m tests.bench.rollout [ROUNDS]

In turn on the same test hosts, each time as they were installed. The loop runs as most of them are written, with a
login for each command, which the target is about; and once more with all commands of a host in one connection. Both do
one host after the other. What a loop leaves out counts for it: it asks hosts for three facts where a rollout asks for
fifty, and neither reads back what it wrote, syncs it, nor notes how far it has come.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.hosts.hosts import Hosts
from tests.playbooks.rollout.on_hosts import Bench
from tests.support.real_etcd import EtcdBinaries, find_etcd

LOOP = Path(__file__).with_name("rollout_loop.sh")
TARGET = 0.5
"""Of the time of the loop with a login for each command."""
_TIMEOUT_S = 600.0
_USER = "deploy"


@dataclass(slots=True)
class Times:
    """Seconds, of each round."""

    loop: list[float] = field(default_factory=list)
    """With a login for each command."""
    shared: list[float] = field(default_factory=list)
    """With one connection for each host."""
    rollout: list[float] = field(default_factory=list)


def measure(rounds: int) -> Iterator[Times]:
    """Everything so far, after each round. Raises: RuntimeError - one of them made no healthy cluster."""
    binaries = find_etcd("3.5")
    if binaries is None:
        raise RuntimeError("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    times = Times()
    hosts = Hosts.start(3)
    try:
        for _ in range(rounds):
            times.rollout.append(_on_fresh(hosts, lambda folder: _by_rollout(hosts, binaries, folder)))
            times.loop.append(_on_fresh(hosts, lambda folder: _by_loop(hosts, binaries, folder)))
            times.shared.append(_on_fresh(hosts, lambda folder: _by_loop(hosts, binaries, folder, SHARED="1")))
            yield times
    finally:
        hosts.stop()


def _on_fresh(hosts: Hosts, work: Callable[[Path], object]) -> float:
    """Seconds."""
    hosts.reset()
    with tempfile.TemporaryDirectory(prefix="etcdops-bench-") as folder:
        began = time.monotonic()
        work(Path(folder))
        return time.monotonic() - began


def _by_loop(hosts: Hosts, binaries: EtcdBinaries, folder: Path, **env: str) -> None:
    named = [f"{host.name}={host.address}" for host in hosts]
    line: list[str | Path] = [LOOP, hosts.ssh_config, _USER, binaries.etcd.parent, folder / "l", *named]
    done = subprocess.run(
        line, env={**os.environ, **env}, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the loop failed: {done.stderr}")


def _by_rollout(hosts: Hosts, binaries: EtcdBinaries, folder: Path) -> None:
    """The whole command, its look at the hosts and its plan included."""
    os.environ["ETCDOPS_HOME"] = str(folder / "state")
    source = {"directory": str(binaries.etcd.parent)}
    bench = Bench(hosts, folder, {"engine": {"version": binaries.version, "source": source}, "tls": {}})
    done = bench.cli("rollout", "apply", "-i", str(bench.path), "--yes", *bench.force(), timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"the rollout failed: {done.stdout}{done.stderr}")


def main(rounds: int) -> int:
    ratio = of_shared = 0.0
    for number, times in enumerate(measure(rounds), 1):
        ratio, of_shared = (min(times.rollout) / min(loop) for loop in (times.loop, times.shared))
        print(
            f"round {number}: rollout {times.rollout[-1]:.1f} s, loop {times.loop[-1]:.1f} s, loop over one connection"
            f" a host {times.shared[-1]:.1f} s",
            flush=True,
        )
    print(f"best of each: {ratio:.2f} of the loop (goal: at most {TARGET}), {of_shared:.2f} of the shared one")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
