"""One run of the bench: how much it does, the clusters it compares, and what it has found so far."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import members
from tests.bench.figures import Better, Ceiling, Row
from tests.bench.put_load import Load
from tests.support.real_etcd import RealCluster, find_etcd, new_cluster, node_with

QUOTA_BYTES = 16 * 1024**3
FLAGS = (f"--quota-backend-bytes={QUOTA_BYTES}",)
GIGABYTE = 1_000_000_000
FEW_KEYS = 10_000
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    rounds: int
    puts: int
    reads: int
    bytes_stored: int
    """Values only."""

    keys: tuple[int, ...]
    """Sizes of the store at which puts are measured beside one of `FEW_KEYS`."""

    log_bytes: int = GIGABYTE
    """Size of the log that is diagnosed."""

    put_by_put: bool = True
    """Fill a second pair to `bytes_stored` by single puts too, because that grows a raft log and a heap differently."""


QUICK = Plan(
    rounds=1, puts=4_000, reads=8_000, bytes_stored=20_000_000, keys=(100_000,), log_bytes=200_000_000, put_by_put=False
)
USUAL = Plan(rounds=2, puts=8_000, reads=20_000, bytes_stored=100_000_000, keys=(1_000_000,))
FULL = Plan(rounds=3, puts=20_000, reads=40_000, bytes_stored=GIGABYTE, keys=(1_000_000, 10_000_000))

Pair = dict[str, RealCluster]
"""The clusters of both engines: "etcd" and "node"."""


@dataclass
class Bench:
    """One run: what it has to do and what it has found."""

    plan: Plan
    folder: Path
    minor: str
    h2load: str | None
    rows: list[Row] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)
    busiest: float = 0.0
    """The largest share of one core that our own load ever took."""

    on_row: Callable[[], None] = lambda: None
    """Called after each figure."""

    @contextmanager
    def clusters(self, size: int) -> Iterator[Pair]:
        """Running clusters of both engines, with a few keys in them; gone afterwards."""
        binaries = find_etcd(self.minor)
        assert binaries is not None, f"etcd {self.minor} is not in .cache/etcd: make etcd"
        folder = Path(tempfile.mkdtemp(prefix=f"{size}-", dir=self.folder))
        pair = {
            "etcd": new_cluster(binaries, folder / "etcd", size=size, flags=FLAGS),
            "node": new_cluster(node_with(binaries), folder / "node", size=size, flags=FLAGS),
        }
        try:
            for cluster in pair.values():
                cluster.start()
                members.fill(members.leader(cluster), 0, FEW_KEYS)
            yield pair
        finally:
            for cluster in pair.values():
                cluster.kill()
            shutil.rmtree(folder)  # the next ones need the room

    def add(
        self,
        section: str,
        name: str,
        unit: str,
        found: dict[str, float],
        *,
        better: Better = Better.HIGHER,
        target: float | None = None,
        own: bool = False,
    ) -> None:
        row = Row(section, name, unit, found["etcd"], found["node"], better, target, own)
        self.rows.append(row)
        print(f"  {section}: {name}: {row.ratio:.2f}", file=sys.stderr, flush=True)
        self.on_row()

    def loaded(self, load: Load) -> Load:
        """Note what a load took itself."""
        self.busiest = max(self.busiest, load.cpu_s / load.took_s)
        return load


def in_turn(pair: Pair, rounds: int, measure: Callable[[RealCluster, int], dict[str, float]]) -> dict[str, Best]:
    """The rounds of each engine, taken alternately."""
    found = {engine: Best() for engine in pair}
    for number in range(rounds):
        for engine, cluster in pair.items():
            found[engine].rounds.append(measure(cluster, number))
    return found


@dataclass
class Best:
    """All rounds of one figure of one engine."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def highest(self, name: str) -> float:
        return max(one[name] for one in self.rounds)

    def lowest(self, name: str) -> float:
        return min(one[name] for one in self.rounds)

    def median_share(self, name: str, whole: Best) -> float:
        """The middle one of the rounds' values, each divided by that of `whole` in the same round."""
        return statistics.median(
            mine[name] / theirs[name] for mine, theirs in zip(self.rounds, whole.rounds, strict=True)
        )


def pick(found: dict[str, Best], name: str, better: Better) -> dict[str, float]:
    return {
        engine: best.highest(name) if better is Better.HIGHER else best.lowest(name) for engine, best in found.items()
    }
