"""The figures of the bundled node beside a real etcd, in one run on this machine: `make bench`.

    python -m tests.bench.suite [--quick | --full] [--size-mb N] [--sections ...] [--markdown] [--save-chart PATH]

Fresh clusters of both engines run side by side with their defaults (only the quota is raised) on the same disk. Every
figure is taken of one engine, then at once of the other, several rounds in turn, and each engine's best round counts:
so other work on the machine hits both alike, and ratios can be compared where absolute figures cannot. CPU is user and
system time of the server's process. All values have 256 bytes.

Results: a table; .cache/bench/<time>.json and latest.json; .cache/bench/bench.svg. What misses its target is listed.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import members
from tests.bench.chart import chart
from tests.bench.figures import Better, Report, Row, save, table, write
from tests.bench.put_load import VALUE_BYTES, Load, put
from tests.bench.read_load import find_h2load, read
from tests.bench.stream_load import LEASE_TTL_S, keep_alive, watch
from tests.support.real_etcd import RealCluster, find_etcd, new_cluster, node_with

OUTPUT = Path(__file__).parents[2] / ".cache" / "bench"
SECTIONS = ("1", "3", "watch", "lease", "growth")
TIMEOUT_S = 300.0
CLIENTS = ((1, 1), (10, 10), (50, 10))
"""Connections, and puts under way on each."""

WATCHERS = ((1, 3000), (100, 500), (1000, 100))
"""Watchers, and puts that all of them see."""

QUOTA_BYTES = 16 * 1024**3
GIGABYTE = 1_000_000_000
FEW_KEYS = 10_000


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    rounds: int
    puts: int
    reads: int
    bytes_stored: int
    """Values only."""

    keys: tuple[int, ...]
    """Sizes of the store at which puts are measured, after `FEW_KEYS`."""


QUICK = Plan(rounds=1, puts=4_000, reads=8_000, bytes_stored=20_000_000, keys=(100_000,))
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
    busiest: float = 0.0
    """The largest share of one core that our own load ever took."""

    @contextmanager
    def clusters(self, size: int) -> Iterator[Pair]:
        """Running clusters of both engines, with a few keys in them; gone afterwards."""
        binaries = find_etcd(self.minor)
        assert binaries is not None, f"etcd {self.minor} is not in .cache/etcd: make etcd"
        folder = Path(tempfile.mkdtemp(prefix=f"{size}-", dir=self.folder))
        flags = (f"--quota-backend-bytes={QUOTA_BYTES}",)
        pair = {
            "etcd": new_cluster(binaries, folder / "etcd", size=size, flags=flags),
            "node": new_cluster(node_with(binaries), folder / "node", size=size, flags=flags),
        }
        try:
            for cluster in pair.values():
                cluster.start()
                members.fill(members.leader(cluster), 0, FEW_KEYS)
            yield pair
        finally:
            for cluster in pair.values():
                cluster.kill()

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

    def loaded(self, load: Load) -> Load:
        """Note what a load took itself."""
        self.busiest = max(self.busiest, load.cpu_s / load.took_s)
        return load


def in_turn(pair: Pair, rounds: int, measure: Callable[[RealCluster, int], dict[str, float]]) -> dict[str, _Best]:
    """The rounds of each engine, taken alternately."""
    found = {engine: _Best() for engine in pair}
    for number in range(rounds):
        for engine, cluster in pair.items():
            found[engine].rounds.append(measure(cluster, number))
    return found


@dataclass
class _Best:
    """All rounds of one figure of one engine."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def highest(self, name: str) -> float:
        return max(one[name] for one in self.rounds)

    def lowest(self, name: str) -> float:
        return min(one[name] for one in self.rounds)


def _pick(found: dict[str, _Best], name: str, better: Better) -> dict[str, float]:
    return {
        engine: best.highest(name) if better is Better.HIGHER else best.lowest(name) for engine, best in found.items()
    }


def requests(bench: Bench, size: int) -> None:
    """Puts and reads on clusters of `size` members, all to the leader."""
    plan, section = bench.plan, f"{size} member{'s' if size > 1 else ''}"
    with bench.clusters(size) as pair:
        for connections, in_flight in CLIENTS:
            clients = connections * in_flight
            puts = plan.puts if clients > 1 else plan.puts // 20

            def puts_of(
                cluster: RealCluster, seed: int, c: int = connections, f: int = in_flight, n: int = puts
            ) -> dict[str, float]:
                return _puts(bench, cluster, connections=c, in_flight=f, puts=n, seed=seed)

            found = in_turn(pair, plan.rounds, puts_of)
            target = 0.35 if clients == 100 else None
            title = f"puts, {clients} client{'s' if clients > 1 else ''}"
            bench.add(section, title, "puts/s", _pick(found, "rate", Better.HIGHER), target=target)
            for percent in ("p50", "p99"):
                bench.add(
                    section, f"{title}, {percent}", "ms", _pick(found, percent, Better.LOWER), better=Better.LOWER
                )
            if clients == 100:
                cpu = _pick(found, "cpu_us", Better.LOWER)
                bench.add(section, "CPU per put, all members", "us", cpu, better=Better.LOWER, target=1.5)
        for serializable, kind, target in ((False, "linearizable", 0.25), (True, "serializable", None)):
            found = in_turn(pair, plan.rounds, functools.partial(_reads, bench, serializable))
            bench.add(section, f"{kind} reads", "reads/s", _pick(found, "rate", Better.HIGHER), target=target)
            cpu = _pick(found, "cpu_us", Better.LOWER)
            bench.add(section, f"CPU per {kind} read", "us", cpu, better=Better.LOWER)


def _puts(
    bench: Bench, cluster: RealCluster, *, connections: int, in_flight: int, puts: int, seed: int, keys: int = FEW_KEYS
) -> dict[str, float]:
    target = members.leader(cluster)
    first = members.revision(cluster, target)
    before = sum(members.cpu_s(member) for member in cluster.members)
    load = put(
        [target.url],
        connections=connections,
        in_flight=in_flight,
        puts=puts,
        seed=seed,
        timeout_s=TIMEOUT_S,
        keys=keys,
    )
    spent = sum(members.cpu_s(member) for member in cluster.members) - before
    done = members.revision(cluster, target) - first
    assert done == puts, f"{puts} puts were acknowledged, {done} were done"
    bench.loaded(load)
    return {
        "rate": load.rate,
        "p50": load.percentile_ms(50),
        "p99": load.percentile_ms(99),
        "cpu_us": spent / puts * 1e6,
    }


def _reads(bench: Bench, serializable: bool, cluster: RealCluster, _: int) -> dict[str, float]:
    target, reads = members.leader(cluster), bench.plan.reads
    before = sum(members.cpu_s(member) for member in cluster.members)
    rate = read(target.url, serializable=serializable, reads=reads, timeout_s=TIMEOUT_S, h2load=bench.h2load)
    spent = sum(members.cpu_s(member) for member in cluster.members) - before
    return {"rate": rate, "cpu_us": spent / reads * 1e6}


def watches(bench: Bench) -> None:
    """Events of puts by 100 clients, to watchers on ten streams."""
    with bench.clusters(1) as pair:
        for watchers, puts in WATCHERS:
            puts = max(puts * bench.plan.puts // USUAL.puts, 50)

            def events_of(cluster: RealCluster, seed: int, w: int = watchers, n: int = puts) -> dict[str, float]:
                url = cluster.members[0].url

                def drive() -> None:
                    put([url], connections=10, in_flight=10, puts=n, seed=seed, timeout_s=TIMEOUT_S, keys=FEW_KEYS)

                before = members.cpu_s(cluster.members[0])
                load = bench.loaded(watch(url, watchers=w, events=n, drive=drive, timeout_s=TIMEOUT_S))
                spent = members.cpu_s(cluster.members[0]) - before
                return {"rate": w * n / load.took_s, "cpu_us": spent / (w * n) * 1e6}

            found = in_turn(pair, bench.plan.rounds, events_of)
            title = f"{watchers:,} watcher{'s' if watchers > 1 else ''}"
            bench.add("watch", title, "events/s", _pick(found, "rate", Better.HIGHER))
            cpu = _pick(found, "cpu_us", Better.LOWER)
            bench.add("watch", f"{title}, CPU per event", "us", cpu, better=Better.LOWER)


def leases(bench: Bench) -> None:
    """Keep-alives of 20 leases on ten streams."""
    with bench.clusters(1) as pair:
        known = {id(cluster): members.grant_leases(cluster, 20, LEASE_TTL_S) for cluster in pair.values()}

        def keep(cluster: RealCluster, _: int) -> dict[str, float]:
            count = bench.plan.puts * 2
            member = cluster.members[0]
            before = members.cpu_s(member)
            load = keep_alive(member.url, known[id(cluster)], in_flight=10, count=count, timeout_s=TIMEOUT_S)
            spent = members.cpu_s(member) - before
            bench.loaded(load)
            return {"rate": count / load.took_s, "cpu_us": spent / count * 1e6}

        found = in_turn(pair, bench.plan.rounds, keep)
        bench.add("lease", "keep-alives", "calls/s", _pick(found, "rate", Better.HIGHER))
        bench.add("lease", "CPU per keep-alive", "us", _pick(found, "cpu_us", Better.LOWER), better=Better.LOWER)


def growth(bench: Bench) -> None:
    """How cost grows with the store: one member filled step by step."""
    plan = bench.plan
    size_keys = plan.bytes_stored // VALUE_BYTES
    few: dict[str, float] = {}
    with bench.clusters(1) as pair:
        have = FEW_KEYS
        for keys in sorted({FEW_KEYS, size_keys, *plan.keys}):
            for cluster in pair.values():
                if keys > have:
                    members.fill(cluster.members[0], have, keys)
            have = keys
            if keys == size_keys:
                _sizes(bench, pair, f"{plan.bytes_stored / 1e6:,.0f} MB")
            if keys in (FEW_KEYS, *plan.keys):
                rates = _growth_puts(bench, pair, keys)
                few = few or rates
                if keys > FEW_KEYS:
                    own = {engine: rate / few[engine] for engine, rate in rates.items()}
                    name = f"puts/s at {keys:,} keys, of those at {FEW_KEYS:,}"
                    bench.add("growth", name, "share", own, target=0.8, own=True)


def _growth_puts(bench: Bench, pair: Pair, keys: int) -> dict[str, float]:
    def puts_of(cluster: RealCluster, seed: int) -> dict[str, float]:
        puts = bench.plan.puts
        return _puts(bench, cluster, connections=10, in_flight=10, puts=puts, seed=seed, keys=keys)

    found = in_turn(pair, bench.plan.rounds + 1, puts_of)
    rates = _pick(found, "rate", Better.HIGHER)
    bench.add("growth", f"puts, 100 clients, {keys:,} keys", "puts/s", rates)
    cpu = _pick(found, "cpu_us", Better.LOWER)
    bench.add("growth", f"CPU per put, {keys:,} keys", "us", cpu, better=Better.LOWER)
    return rates


def _sizes(bench: Bench, pair: Pair, title: str) -> None:
    """Memory, file, snapshot and start of a member that holds much."""
    lower = Better.LOWER
    # Below a gigabyte most of it is what any process needs before it holds a single key.
    memory = 0.25 if bench.plan.bytes_stored >= GIGABYTE else None
    running = {engine: members.resident_bytes(cluster.members[0]) / 1e6 for engine, cluster in pair.items()}
    bench.add(title, "resident memory, after filling", "MB", running, better=lower, target=memory)
    files = {engine: members.database_bytes(cluster, cluster.members[0]) / 1e6 for engine, cluster in pair.items()}
    bench.add(title, "database file", "MB", files, better=lower)

    def snapshot(cluster: RealCluster, number: int) -> dict[str, float]:
        size, took_s = members.save_snapshot(cluster, bench.folder / f"snapshot-{number}.db")
        return {"rate": size / 1e6 / took_s, "took": took_s}

    saved = in_turn(pair, bench.plan.rounds, snapshot)
    bench.add(title, "snapshot save", "MB/s", _pick(saved, "rate", Better.HIGHER), target=0.7)
    bench.add(title, "snapshot save, whole", "s", _pick(saved, "took", lower), better=lower)

    def restart(cluster: RealCluster, _: int) -> dict[str, float]:
        member = cluster.members[0]
        member.stop()
        took_s = members.start_timed(member, TIMEOUT_S)
        return {"took": took_s, "memory": members.resident_bytes(member) / 1e6}

    started = in_turn(pair, bench.plan.rounds, restart)
    bench.add(title, "start-up, until it serves", "s", _pick(started, "took", lower), better=lower)
    bench.add(
        title, "resident memory, after a start", "MB", _pick(started, "memory", lower), better=lower, target=memory
    )


def run(bench: Bench, sections: Iterable[str]) -> None:
    """Measure, section by section."""
    for section in sections:
        if section in ("1", "3"):
            requests(bench, int(section))
        elif section == "watch":
            watches(bench)
        elif section == "lease":
            leases(bench)
        else:
            growth(bench)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="under three minutes")
    much.add_argument("--full", action="store_true", help="1 GB and 10 million keys; needs 20 GB of disk and an hour")
    parser.add_argument("--size-mb", type=int, help="values stored for memory, snapshot and start-up")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--etcd", default="3.5", help="the minor version to compare with (3.5)")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--save-chart", type=Path, help="write the chart here as well")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL if arguments.full else USUAL
    if arguments.size_mb:
        plan = Plan(plan.rounds, plan.puts, plan.reads, arguments.size_mb * 1_000_000, plan.keys)
    binaries = find_etcd(arguments.etcd)
    if binaries is None:
        sys.exit(f"etcd {arguments.etcd} is not in .cache/etcd: make etcd")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="data-", dir=OUTPUT) as folder:
        bench = Bench(plan, Path(folder), arguments.etcd, find_h2load())
        run(bench, arguments.sections)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    setting = {
        "etcd": binaries.version,
        "mode": "quick" if arguments.quick else "full" if arguments.full else "usual",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": f"reads from {'h2load' if bench.h2load else 'our own load'}; our own load took at most "
        f"{bench.busiest:.0%} of a core",
    }
    order = list(dict.fromkeys(row.section for row in bench.rows))
    report = Report(now.isoformat(), setting, sorted(bench.rows, key=lambda row: order.index(row.section)))
    save(report, OUTPUT / f"{now:%Y%m%dT%H%M%SZ}.json")
    save(report, OUTPUT / "latest.json")
    for path in filter(None, (OUTPUT / "bench.svg", arguments.save_chart)):
        write(path, chart(report))
    print("\n".join(table(report.rows, markdown=arguments.markdown)))
    print("\n" + "; ".join(f"{name}: {value}" for name, value in setting.items()))
    for row in report.short:
        wanted = f"{'>=' if row.better is Better.HIGHER else '<='} {row.target:g}"
        print(f"falls short: {row.section}: {row.name}: {row.judged:.2f}, wanted {wanted}")


if __name__ == "__main__":
    main()
