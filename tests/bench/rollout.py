"""Time to a healthy three-host cluster: `etcdops rollout apply` beside a shell loop of ssh commands that does the same.

    python -m tests.bench.rollout [ROUNDS]

In turn on the same test hosts, each time as they were installed. Prints both times of each round and their ratio.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.hosts.hosts import Hosts
from tests.playbooks.rollout.on_hosts import Bench
from tests.support.real_etcd import EtcdBinaries, find_etcd

LOOP = Path(__file__).with_name("rollout_loop.sh")
TARGET = 0.5
_TIMEOUT_S = 600.0
_USER = "deploy"


def by_loop(hosts: Hosts, binaries: EtcdBinaries, folder: Path) -> float:
    """Seconds."""
    named = [f"{host.name}={host.address}" for host in hosts]
    line: list[str | Path] = [LOOP, hosts.ssh_config, _USER, binaries.etcd.parent, folder / "loop", *named]
    return _timed(lambda: subprocess.run(line, check=True, timeout=_TIMEOUT_S))


def by_rollout(hosts: Hosts, binaries: EtcdBinaries, folder: Path) -> float:
    """Seconds: the whole command, its look at the hosts and its plan included."""
    source = {"directory": str(binaries.etcd.parent)}
    bench = Bench(hosts, folder, {"engine": {"version": binaries.version, "source": source}, "tls": {}})

    def apply() -> None:
        done = bench.cli("rollout", "apply", "-i", str(bench.path), "--yes", *bench.force(), timeout_s=_TIMEOUT_S)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)

    return _timed(apply)


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def main(rounds: int) -> int:
    binaries = find_etcd("3.5")
    if binaries is None:
        print("no etcd 3.5 in .cache/etcd: `make etcd` fetches it", file=sys.stderr)
        return 1
    ratios: list[float] = []
    hosts = Hosts.start(3)
    try:
        for number in range(rounds):
            with tempfile.TemporaryDirectory(prefix="etcdops-bench-") as name:
                folder = Path(name)
                os.environ["ETCDOPS_HOME"] = str(folder / "state")
                hosts.reset()
                loop_s = by_loop(hosts, binaries, folder)
                hosts.reset()
                rollout_s = by_rollout(hosts, binaries, folder)
            ratios.append(rollout_s / loop_s)
            print(
                f"round {number + 1}: loop {loop_s:.1f} s, rollout {rollout_s:.1f} s, ratio {ratios[-1]:.2f}",
                flush=True,
            )
    finally:
        hosts.stop()
    middle = statistics.median(ratios)
    print(f"ratio {middle:.2f} (goal: at most {TARGET})")
    return 0 if middle <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
