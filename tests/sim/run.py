"""One seed, from the drawing of its plan to the verdict."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.model.broken import Broken
from tests.model.history import check_calls
from tests.model.watched import check_watched
from tests.sim.clients import KeyClient, LeaseClient, WatchClient
from tests.sim.cluster import SimCluster
from tests.sim.disk import Disks
from tests.sim.ending import Ending
from tests.sim.faults import Faults
from tests.sim.folders import run_folder
from tests.sim.plan import Fault, Options, draw_plan

_RUNS = itertools.count(1)
_RUNS_PER_COLLECTION = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one seed."""

    seed: int
    options: Options
    faults: list[Fault]
    failure: str
    """Empty when every promise was kept."""
    promise: str
    fingerprint: str
    simulated_s: float
    took_s: float
    counts: Counter[str] = field(default_factory=Counter)


def run_seed(
    seed: int,
    *,
    short: bool = False,
    only: Collection[int] | None = None,
    show: Callable[[str], None] | None = None,
) -> Verdict:
    """Run one seed. Args: short - see draw_plan; only - numbers of the faults to keep; show sees the trace."""
    options, plan = draw_plan(seed, short=short)
    return run_plan(options, [fault for fault in plan if only is None or fault.number in only], show)


def run_plan(
    options: Options,
    plan: list[Fault],
    show: Callable[[str], None] | None = None,
    inspect: Callable[[SimCluster], None] = lambda cluster: None,
) -> Verdict:
    """Run a cluster with these options through these faults. Args: inspect sees it when all is over."""
    started = time.perf_counter()
    with run_folder() as folder, _quiet():
        disks = Disks()
        try:
            return _run(SimCluster(options, folder, disks, show), plan, inspect, started)
        finally:
            disks.remove()


def _run(cluster: SimCluster, plan: list[Fault], inspect: Callable[[SimCluster], None], started: float) -> Verdict:
    failure = promise = ""
    try:
        with cluster.seams:
            cluster.run(_play(cluster, plan))
    except Broken as broken:
        failure, promise = str(broken), broken.promise
    except Exception as error:
        failure, promise = f"{type(error).__name__}: {error}", "no exceptions"
        if cluster.trace.is_shown:
            raise
    finally:
        cluster.close()
    inspect(cluster)
    if failure:
        failure = cluster.without_folder(failure)
        cluster.trace("verdict", failure)
    counts = cluster.counts + Counter({f"messages {name}": n for name, n in cluster.network.counts.items()})
    return Verdict(
        cluster.seed,
        cluster.options,
        plan,
        failure,
        promise,
        cluster.trace.fingerprint,
        cluster.loop.time(),
        time.perf_counter() - started,
        counts,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is logged, and garbage is collected after some runs instead of hundreds of times in each."""
    logging.disable(1000)
    _freeze_imports()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if next(_RUNS) % _RUNS_PER_COLLECTION == 0:
            gc.collect()
        logging.disable(logging.NOTSET)


@functools.cache
def _freeze_imports() -> None:
    gc.freeze()


async def _play(cluster: SimCluster, plan: list[Fault]) -> None:
    options, loop = cluster.options, cluster.loop
    cluster.create()
    calls = cluster.calls
    watchers = [WatchClient(cluster, number) for number in range(options.watchers)]
    faults = Faults(cluster, plan)
    until = options.active_s
    clients: list[KeyClient | LeaseClient] = [
        *(KeyClient(cluster, number, calls) for number in range(options.clients)),
        *(LeaseClient(cluster, number, calls) for number in range(options.leasers)),
    ]
    tasks = [cluster.spawn(client.run(until)) for client in clients]
    watching = [cluster.spawn(watcher.run(float("inf"))) for watcher in watchers]
    await faults.run()
    await asyncio.sleep(max(0.0, until - loop.time()))
    cluster.heal()
    if faults.tasks:
        await asyncio.wait(faults.tasks)
    # A fault that ended during the healing may have left somebody down.
    cluster.heal()
    ending = Ending(cluster, calls)
    await ending.agree()
    await ending.majority_goes_on()
    for client in clients:
        client.hang_up()
    await asyncio.wait(tasks)
    await ending.leases_end()
    await ending.catch_up()
    await ending.watchers_see_everything(watchers)
    for task in watching:
        task.cancel()
    ending.compare()
    if options.survivor:
        await ending.survive()
    check_calls(calls, cluster.truth)
    cluster.watched += [watcher.seen for watcher in watchers]
    for seen in cluster.watched:
        check_watched(seen, cluster.truth.model)
    cluster.counts["calls"] += len(calls)
    cluster.counts["calls without an answer"] += sum(not call.answered for call in calls)
    cluster.counts["entries"] += len(cluster.truth.log)
    cluster.counts["events watched"] += sum(len(watcher.seen.events) for watcher in watchers)
    cluster.counts["leases ended"] += len(cluster.truth.expired)
