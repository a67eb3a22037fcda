"""One seed, from the drawing of its plan to the verdict."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.api_model import covers
from tests.model.broken import Broken
from tests.model.history import Call, check_calls
from tests.model.watched import check_watched
from tests.sim.clients import KeyClient, LeaseClient, WatchClient
from tests.sim.cluster import SimCluster
from tests.sim.disk import Disks
from tests.sim.faults import Faults
from tests.sim.member import SimMember
from tests.sim.plan import Fault, Options, draw_plan

AGREEMENT_TICKS_MAX = 150
"""From the end of all faults to a leader that commits: 15 election timeouts."""

CATCH_UP_TICKS_MAX = 150
LEASES_TICKS_MAX = 150


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
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="etcdops-sim-", dir=memory if memory.is_dir() else None))
    logging.disable(1000)
    collect_often = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    disks = Disks()
    try:
        cluster = SimCluster(options, folder, disks, show)
        failure = promise = ""
        try:
            with cluster.seams:
                cluster.run(_play(cluster, plan))
        except Broken as broken:
            failure, promise = str(broken), broken.promise
        except Exception as error:
            failure, promise = f"{type(error).__name__}: {error}", "no exceptions"
            if show is not None:
                raise
        finally:
            cluster.close()
        inspect(cluster)
        if failure:
            cluster.trace("verdict", failure)
        counts = cluster.counts + Counter({f"messages {name}": n for name, n in cluster.network.counts.items()})
        return Verdict(
            options.seed,
            options,
            plan,
            failure,
            promise,
            cluster.trace.fingerprint,
            cluster.loop.time(),
            time.perf_counter() - started,
            counts,
        )
    finally:
        disks.remove()
        logging.disable(logging.NOTSET)
        gc.set_threshold(*collect_often)
        shutil.rmtree(folder, ignore_errors=True)


async def _play(cluster: SimCluster, plan: list[Fault]) -> None:
    options, loop = cluster.options, cluster.loop
    cluster.create()
    calls = cluster.calls
    watchers = [WatchClient(cluster, number) for number in range(options.watchers)]
    faults = Faults(cluster, plan)
    until = options.active_s
    workers = [
        *(KeyClient(cluster, number, calls).run(until) for number in range(options.clients)),
        *(LeaseClient(cluster, number, calls).run(until) for number in range(options.leasers)),
    ]
    tasks = [cluster.spawn(work) for work in workers]
    watching = [cluster.spawn(watcher.run(float("inf"))) for watcher in watchers]
    await faults.run()
    await asyncio.sleep(max(0.0, until - loop.time()))
    cluster.heal()
    if faults.tasks:
        await asyncio.wait(faults.tasks)
    # A fault that ended during the healing may have left somebody down.
    cluster.heal()
    await _agree(cluster, calls)
    await asyncio.wait(tasks)
    await _leases_end(cluster)
    await _catch_up(cluster)
    await _watchers_see_everything(cluster, watchers)
    for task in watching:
        task.cancel()
    _compare(cluster)
    check_calls(calls, cluster.truth)
    cluster.watched += [watcher.seen for watcher in watchers]
    for seen in cluster.watched:
        check_watched(seen, cluster.truth.model)
    cluster.counts["calls"] += len(calls)
    cluster.counts["calls without an answer"] += sum(not call.answered for call in calls)
    cluster.counts["entries"] += len(cluster.truth.log)
    cluster.counts["events watched"] += sum(len(watcher.seen.events) for watcher in watchers)
    cluster.counts["leases ended"] += len(cluster.truth.expired)


async def _agree(cluster: SimCluster, calls: list[Call]) -> None:
    """A leader is elected and commits, asked through every member."""
    last = KeyClient(cluster, 99, calls)

    def agreed() -> bool:
        leader = cluster.leader()
        return leader is not None and all(member.server.leader == leader.id for member in _voting(cluster))

    await cluster.wait_until(agreed, AGREEMENT_TICKS_MAX, "everybody knows one leader")
    for member in _voting(cluster):
        if not member.serves:
            continue
        for _ in range(5):
            last.at = member
            put = pb.PutRequest(key=b"k-last", value=last._value()).SerializeToString(deterministic=True)
            call = await last.call("put", put, 3.0)
            if call is not None and call.answered:
                break
        else:
            if member.serves and member in _voting(cluster):
                raise Broken("liveness", f"{member.name} takes no write after everything was healed")


def _voting(cluster: SimCluster) -> list[SimMember]:
    voters = cluster.voters()
    return [member for member in cluster.up() if member.id in voters and not member.server.is_learner]


async def _leases_end(cluster: SimCluster) -> None:
    """Nobody renews any more: every lease ends."""
    await cluster.wait_until(
        lambda: not cluster.truth.model.leases, LEASES_TICKS_MAX, f"leases end: {sorted(cluster.truth.model.leases)}"
    )


async def _catch_up(cluster: SimCluster) -> None:
    """All members apply everything."""

    def equal() -> bool:
        return all(
            member.server.applied_index == len(cluster.truth.log)
            for member in cluster.up()
            if member.id not in cluster.truth.removed and member.server.members.get(member.id) is not None
        )

    await cluster.wait_until(equal, CATCH_UP_TICKS_MAX, "every member has applied everything")


async def _watchers_see_everything(cluster: SimCluster, watchers: list[WatchClient]) -> None:
    def seen() -> bool:
        return all(
            not any(
                happened.revision >= watcher.seen.next
                for happened in reversed(cluster.truth.model.events[-50:])
                if covers(happened.key, watcher.seen.key, watcher.seen.range_end)
            )
            for watcher in watchers
            if watcher.seen.start
        )

    for watcher in watchers:
        # What is slow for ever would have to be waited for: break it off, it resumes at full speed.
        watcher._slow = 0.0
        if watcher.stream is not None and watcher.stream.read_s:
            watcher.stream.end(None)
    await cluster.wait_until(seen, CATCH_UP_TICKS_MAX, "every watcher has seen everything")


def _compare(cluster: SimCluster) -> None:
    """All members hold the same, and it is what the model holds."""
    truth = cluster.truth
    everything = pb.RangeRequest(key=b"\0", range_end=b"\0")
    expected = truth.model.range(everything, truth.model.revision).SerializeToString(deterministic=True)
    for member in cluster.up():
        if member.id in truth.removed or member.server.applied_index != len(truth.log):
            continue
        truth.compare_hash(member)
        found = member.server.state.mvcc.range(b"\0", b"\0")
        answer = pb.RangeResponse(count=found.count)
        for kv in found.kvs:
            answer.kvs.add().ParseFromString(kv)
        if answer.SerializeToString(deterministic=True) != expected:
            raise Broken("state machine safety", f"{member.name} holds other keys than the committed log gives")
        if sorted(lease.id for lease in member.server.lessor.leases()) != sorted(truth.model.leases):
            raise Broken("leases", f"{member.name} has other leases than the committed log gives")
