"""What `make bench` measures, section by section: each figure of one engine, then at once of the other, in turn."""

from __future__ import annotations

import functools
import os
import sys

from tests.bench import log_reading, members, rollout
from tests.bench.figures import Better
from tests.bench.put_load import VALUE_BYTES, put
from tests.bench.read_load import read
from tests.bench.run import FEW_KEYS, GIGABYTE, TIMEOUT_S, USUAL, Bench, Pair, Plan, in_turn, pick
from tests.bench.stream_load import LEASE_TTL_S, keep_alive, watch
from tests.hosts.requirement import why_not
from tests.support.real_etcd import RealCluster

SECTIONS = ("1", "3", "watch", "lease", "growth", "rollout", "logs")
ROLLOUT = "rollout (ssh loop, etcdops)"
"""Its columns are no engines: what makes the cluster is compared."""
LOGS = "logs (grep, etcdops)"
_LOG_ROUNDS = 3
"""For each round of the other sections: one takes seconds, and who else uses the cores disturbs what computes more than
what waits for memory."""
TITLES = ("1 member", "3 members", "watch", "lease", "growth", ROLLOUT, LOGS)
"""What they are called in the table, in its order, whichever is measured first."""

CLIENTS = ((1, 1), (10, 10), (50, 10))
"""Connections, and puts under way on each."""

GROWTH_ROUNDS = 7
"""Of a store with many keys beside one with few: the middle one of so many shares counts, whatever else the machine did
in one or two of them."""

WATCHERS = ((1, 3000), (100, 500), (1000, 100))
"""Watchers, and puts that all of them see."""


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
            bench.add(section, title, "puts/s", pick(found, "rate", Better.HIGHER), target=target)
            for percent in ("p50", "p99"):
                bench.add(section, f"{title}, {percent}", "ms", pick(found, percent, Better.LOWER), better=Better.LOWER)
            if clients == 100:
                cpu = pick(found, "cpu_us", Better.LOWER)
                bench.add(section, "CPU per put, all members", "us", cpu, better=Better.LOWER, target=1.5)
        for serializable, kind, target in ((False, "linearizable", 0.25), (True, "serializable", None)):
            found = in_turn(pair, plan.rounds, functools.partial(_reads, bench, serializable))
            bench.add(section, f"{kind} reads", "reads/s", pick(found, "rate", Better.HIGHER), target=target)
            cpu = pick(found, "cpu_us", Better.LOWER)
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
            bench.add("watch", title, "events/s", pick(found, "rate", Better.HIGHER))
            cpu = pick(found, "cpu_us", Better.LOWER)
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
        bench.add("lease", "keep-alives", "calls/s", pick(found, "rate", Better.HIGHER))
        bench.add("lease", "CPU per keep-alive", "us", pick(found, "cpu_us", Better.LOWER), better=Better.LOWER)


def growth(bench: Bench) -> None:
    """How cost grows with the store: one pair is filled step by step, and put to in turn with one that stays small."""
    plan = bench.plan
    size_keys = plan.bytes_stored // VALUE_BYTES
    with bench.clusters(1) as pair, bench.clusters(1) as small:
        have = FEW_KEYS
        for keys in sorted({size_keys, *plan.keys}):
            _fill(bench, pair, have, keys)
            have = keys
            if keys == size_keys:
                _sizes(bench, pair, _megabytes(plan))
                _snapshots(bench, pair, _megabytes(plan))
                _starts(bench, pair, _megabytes(plan))
            if keys in plan.keys:
                _growth_puts(bench, pair, small, keys)
    if plan.put_by_put:
        with bench.clusters(1) as pair:
            title = f"{_megabytes(plan)} put by put"
            rates = {engine: members.fill_singly(c.members[0], FEW_KEYS, size_keys) for engine, c in pair.items()}
            bench.add(title, "filling, 500 clients", "puts/s", rates)
            os.sync()
            _sizes(bench, pair, title)
            _starts(bench, pair, title)


def _megabytes(plan: Plan) -> str:
    return f"{plan.bytes_stored / 1e6:,.0f} MB"


def _fill(bench: Bench, pair: Pair, first: int, end: int) -> None:
    rates = {engine: members.fill(cluster.members[0], first, end) for engine, cluster in pair.items()}
    bench.add("growth", f"filling to {end:,} keys, {members.OPS_A_TXN} a transaction", "keys/s", rates)
    os.sync()  # gigabytes on their way to the disk would be measured with whatever comes next


def _growth_puts(bench: Bench, pair: Pair, small: Pair, keys: int) -> None:
    def puts_of(count: int, cluster: RealCluster, seed: int) -> dict[str, float]:
        return _puts(bench, cluster, connections=10, in_flight=10, puts=bench.plan.puts, seed=seed, keys=count)

    sizes = {id(cluster): keys for cluster in pair.values()} | {id(cluster): FEW_KEYS for cluster in small.values()}
    everybody = pair | {f"{engine} with few": cluster for engine, cluster in small.items()}
    found = in_turn(everybody, GROWTH_ROUNDS, lambda cluster, seed: puts_of(sizes[id(cluster)], cluster, seed))
    for name, better, unit, what in (
        ("rate", Better.HIGHER, "puts/s", "puts, 100 clients"),
        ("cpu_us", Better.LOWER, "us", "CPU per put"),
    ):
        best = pick(found, name, better)
        few = {engine: best[f"{engine} with few"] for engine in pair}
        if keys == bench.plan.keys[0]:
            bench.add("growth", f"{what}, {FEW_KEYS:,} keys", unit, few, better=better)
        bench.add("growth", f"{what}, {keys:,} keys", unit, best, better=better)
        if name == "rate":
            own = {engine: found[engine].median_share("rate", found[f"{engine} with few"]) for engine in pair}
            title = f"puts/s at {keys:,} keys, of those at {FEW_KEYS:,}"
            bench.add("growth", title, "share", own, target=0.8, own=True)


def _memory_target(bench: Bench) -> float | None:
    """Below a gigabyte most of it is what any process needs before it holds a single key."""
    return 0.25 if bench.plan.bytes_stored >= GIGABYTE else None


def _sizes(bench: Bench, pair: Pair, title: str) -> None:
    """Memory and file of a member that holds much."""
    target = _memory_target(bench)
    running = {engine: members.resident_bytes(cluster.members[0]) / 1e6 for engine, cluster in pair.items()}
    bench.add(title, "resident memory, after filling", "MB", running, better=Better.LOWER, target=target)
    files = {engine: members.database_bytes(cluster, cluster.members[0]) / 1e6 for engine, cluster in pair.items()}
    bench.add(title, "database file", "MB", files, better=Better.LOWER)


def _snapshots(bench: Bench, pair: Pair, title: str) -> None:
    def snapshot(cluster: RealCluster, number: int) -> dict[str, float]:
        member = cluster.members[0]
        before = members.cpu_s(member)
        size, took_s = members.save_snapshot(cluster, bench.folder / f"snapshot-{number}.db")
        return {"rate": size / 1e6 / took_s, "took": took_s, "cpu": members.cpu_s(member) - before}

    saved = in_turn(pair, bench.plan.rounds + 1, snapshot)
    bench.add(title, "snapshot save", "MB/s", pick(saved, "rate", Better.HIGHER), target=0.7)
    bench.add(title, "snapshot save, whole", "s", pick(saved, "took", Better.LOWER), better=Better.LOWER)
    bench.add(title, "snapshot save, CPU", "s", pick(saved, "cpu", Better.LOWER), better=Better.LOWER)


def _starts(bench: Bench, pair: Pair, title: str) -> None:
    def restart(cluster: RealCluster, _: int) -> dict[str, float]:
        member = cluster.members[0]
        member.stop()
        took_s = members.start_timed(member, TIMEOUT_S)
        return {"took": took_s, "memory": members.resident_bytes(member) / 1e6}

    started = in_turn(pair, bench.plan.rounds, restart)
    target = _memory_target(bench)
    bench.add(title, "start-up, until it serves", "s", pick(started, "took", Better.LOWER), better=Better.LOWER)
    memory = pick(started, "memory", Better.LOWER)
    bench.add(title, "resident memory, after a start", "MB", memory, better=Better.LOWER, target=target)


def rollouts(bench: Bench) -> None:
    """From three bare hosts to a healthy cluster over TLS, by a shell loop and by `etcdops rollout apply`."""
    if reason := why_not():
        print(f"  {ROLLOUT}: not measured: {reason}", file=sys.stderr)
        return
    *_, times = rollout.measure(bench.plan.rounds)
    took = min(times.rollout)
    for what, loop, target in (
        ("a login for each command", times.loop, rollout.TARGET),
        ("one connection for each host", times.shared, None),
    ):
        found = {"etcd": min(loop), "node": took}
        bench.add(ROLLOUT, f"three hosts over TLS; {what}", "s", found, better=Better.LOWER, target=target)


def logs(bench: Bench) -> None:
    """`etcdops diagnose` on a log of a busy member, beside grep on the same file."""
    size = bench.plan.log_bytes
    path = log_reading.make_log(bench.folder, size)
    found = [(log_reading.grep(path), log_reading.diagnose(path)) for _ in range(_LOG_ROUNDS * bench.plan.rounds)]
    path.unlink()
    beside = {
        "etcd": min(searched.seconds for searched, _ in found),
        "node": min(diagnosed.seconds for _, diagnosed in found),
    }
    bench.add(LOGS, f"diagnose {size / 1e6:,.0f} MB", "s", beside, better=Better.LOWER, target=6.0)
    memory = {"etcd": 0.0, "node": max(diagnosed.resident_bytes for _, diagnosed in found) / 1e6}
    bench.add(LOGS, "memory of diagnose", "MB", memory, better=Better.LOWER, target=150.0, own=True)


def run(bench: Bench, section: str) -> None:
    """Measure one of `SECTIONS`."""
    if section in ("1", "3"):
        requests(bench, int(section))
    else:
        measures = {"watch": watches, "lease": leases, "growth": growth, "rollout": rollouts, "logs": logs}
        measures[section](bench)
