"""Puts per second and CPU a put: the bundled node beside a real etcd, in the same run.

    python -m tests.bench.put_rate [--etcd 3.5] [--puts 10000] [--rounds 2] [--sizes 1 3] [--markdown]

For each size of cluster: fresh members of etcd and of the node as processes, each with its defaults, on the same disk;
the same load (256-byte values, random keys of 100,000), first from one client that waits for each answer, then from 100
(10 connections with 10 puts under way each), all to the leader. Engines take turns, and the round with the highest rate
of each counts, because the machine may have other work. CPU is what the members' processes used, all of them together,
divided by the puts. The load runs on the same cores: rates would be higher with a machine of its own. The revision
before and after proves that every put was done.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.put_load import put
from tests.support.real_etcd import EtcdBinaries, RealCluster, RealMember, find_etcd, new_cluster, node_with

CLIENTS = ((1, 1), (10, 10))
"""Connections, and puts under way on each."""

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One load on one cluster."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of all members, a put."""

    leader_cpu_us: float


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _leader(cluster: RealCluster) -> RealMember:
    """The first column of `endpoint status` is the URL, the fifth says who leads."""
    for line in cluster.ctl("endpoint", "status", "--write-out=simple").splitlines():
        columns = [column.strip() for column in line.split(",")]
        if columns[4] == "true":
            return next(member for member in cluster.members if member.url == columns[0])
    raise AssertionError("no leader")


def _revision(cluster: RealCluster, endpoint: str) -> int:
    for line in cluster.ctl("get", "none", "--write-out=fields", f"--endpoints={endpoint}").splitlines():
        name, _, value = line.partition(" : ")
        if name.strip('"') == "Revision":
            return int(value)
    raise AssertionError("an answer without a revision")


def _measure(cluster: RealCluster, clients: tuple[int, int], puts: int, seed: int) -> Figures:
    leader = _leader(cluster)
    connections, in_flight = clients
    before_revision = _revision(cluster, leader.url)
    before = {member.name: _cpu_s(member.pid) for member in cluster.members}
    load = put([leader.url], connections=connections, in_flight=in_flight, puts=puts, seed=seed, timeout_s=TIMEOUT_S)
    spent = {member.name: (_cpu_s(member.pid) - before[member.name]) / puts * 1e6 for member in cluster.members}
    done = _revision(cluster, leader.url) - before_revision
    assert done == puts, f"{puts} puts were acknowledged, {done} were done"
    return Figures(load.rate, load.percentile_ms(50), load.percentile_ms(99), sum(spent.values()), spent[leader.name])


def _compare(
    engines: dict[str, EtcdBinaries], folder: Path, size: int, puts: int, rounds: int
) -> dict[tuple[str, int], Figures]:
    """The best round of each engine and each number of clients."""
    best: dict[tuple[str, int], Figures] = {}
    for number in range(rounds):
        for name, binaries in engines.items():
            cluster = new_cluster(binaries, folder / f"{name.partition(' ')[0]}-{size}-{number}", size=size)
            try:
                cluster.start()
                put([_leader(cluster).url], connections=1, in_flight=10, puts=500, seed=0, timeout_s=TIMEOUT_S)
                for clients in CLIENTS:
                    count = puts if clients != (1, 1) else puts // 10
                    found = _measure(cluster, clients, count, number)
                    key = (name, clients[0] * clients[1])
                    if key not in best or found.rate > best[key].rate:
                        best[key] = found
            finally:
                cluster.kill()
    return best


_COLUMNS = ("members", "clients", "engine", "puts/s", "ratio", "p50 ms", "p99 ms", "CPU us a put", "leader's", "ratio")


def _rows(size: int, best: dict[tuple[str, int], Figures], reference: str) -> Iterable[list[str]]:
    for (name, clients), found in sorted(best.items(), key=lambda item: item[0][1]):
        base = best[reference, clients]
        yield [
            str(size),
            str(clients),
            name,
            f"{found.rate:,.0f}",
            f"{found.rate / base.rate:.2f}",
            f"{found.p50_ms:.1f}",
            f"{found.p99_ms:.1f}",
            f"{found.cpu_us:.0f}",
            f"{found.leader_cpu_us:.0f}",
            f"{found.cpu_us / base.cpu_us:.2f}",
        ]


def _print(row: Iterable[str], *, markdown: bool) -> None:
    if markdown:
        print(f"| {' | '.join(row)} |", flush=True)
    else:
        print("".join(f"{cell:>14}" for cell in row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--etcd", default="3.5", help="the minor version to compare with (3.5)")
    parser.add_argument("--puts", type=int, default=10_000, help="from 100 clients; a tenth of it from one (10000)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    binaries = find_etcd(arguments.etcd)
    if binaries is None:
        sys.exit(f"etcd {arguments.etcd} is not in .cache/etcd: make etcd")
    reference = f"etcd {binaries.version}"
    engines = {reference: binaries, "node": node_with(binaries)}
    _print(_COLUMNS, markdown=arguments.markdown)
    if arguments.markdown:
        _print(["---:", "---:", "---", *["---:"] * 7], markdown=True)
    with tempfile.TemporaryDirectory(prefix="put-rate-") as folder:
        for size in arguments.sizes:
            best = _compare(engines, Path(folder), size, arguments.puts, arguments.rounds)
            for row in _rows(size, best, reference):
                _print(row, markdown=arguments.markdown)


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        sys.exit(f"{error.cmd} did not answer")
