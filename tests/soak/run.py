"""One soak: members of one kind, a load on them, samples, and disturbances that come by the clock."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.soak.judging import MEASURES, Finding, judge
from tests.soak.load import Load
from tests.soak.sampling import Sample, sample
from tests.support.real_etcd import EtcdBinaries, RealCluster, RealMember, new_cluster

PROGRAM = Path(__file__).parent / "member.py"
READY_TIMEOUT_S = 60.0
_DEFRAGMENT_TIMEOUT_S = 60.0
_LOAD_ENDS_S = 45.0
"""Longer than any life of a client."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a soak does."""

    seconds: float
    members: int = 3
    clients: int = 24
    calls_a_second: float = 120.0
    keys: int = 2_000
    sample_every_s: float = 5.0
    defragment_every_s: float = 300.0
    restart_every_s: float = 420.0
    """The last member only: the others show what a long life does."""

    flags: tuple[str, ...] = (
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1m",
        "--snapshot-count=10000",  # the node's default; etcd before 3.6 holds ten times as many entries in memory
    )
    leak: str = "none"
    """Of tests/soak/member.py."""

    seed: int = 1


@dataclass
class Outcome:
    """What a soak found."""

    plan: Plan
    engine: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    lives: int = 0
    events: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since the start, and what was done to a member."""

    def lives_of(self, member: str) -> list[list[Sample]]:
        """The samples of a member, one list for each of its processes."""
        found: dict[int, list[Sample]] = {}
        for one in self.samples[member]:
            found.setdefault(one.pid, []).append(one)
        return list(found.values())

    def findings(self) -> list[tuple[str, Finding]]:
        """Verdicts on the members with one long life: a restarted one grows until its caches are full again."""
        found = []
        for member, samples in self.samples.items():
            if len(self.lives_of(member)) != 1:
                continue
            for measure in MEASURES:
                values = [getattr(one, measure.name) for one in samples]
                finding = judge(measure, [one.at_s for one in samples], values)
                if finding is not None:
                    found.append((member, finding))
        return found

    @property
    def leaks(self) -> list[tuple[str, Finding]]:
        return [(member, finding) for member, finding in self.findings() if not finding.flat]


def bundled_node(stats: Path, leak: str) -> EtcdBinaries:
    """The node, told to write what is inside it to `stats`."""
    program = (sys.executable, "-P", str(PROGRAM), str(stats), leak)
    return EtcdBinaries("node", Path("etcd"), Path("etcdctl"), None, program=program)


def soak(
    binaries: EtcdBinaries | None, folder: Path, plan: Plan, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Run it. Args: binaries None = the bundled node. Raises: AssertionError - a member ended or does not start."""
    cluster, stats = _cluster(binaries, folder, plan)
    outcome = Outcome(plan, "node" if binaries is None else f"etcd {binaries.version}")
    outcome.samples = {member.name: [] for member in cluster.members}
    try:
        cluster.start()
        asyncio.run(_Soak(cluster, stats, outcome, say).run())
    finally:
        cluster.kill()
    return outcome


def _cluster(binaries: EtcdBinaries | None, folder: Path, plan: Plan) -> tuple[RealCluster, dict[str, Path | None]]:
    cluster = new_cluster(
        binaries or bundled_node(folder / "stats", plan.leak), folder, size=plan.members, flags=plan.flags
    )
    stats: dict[str, Path | None] = {}
    for member in cluster.members:
        stats[member.name] = folder / f"{member.name}.stats" if binaries is None else None
        if binaries is None:
            own = dataclasses.replace(
                member.binaries, program=bundled_node(folder / f"{member.name}.stats", plan.leak).program
            )
            member.binaries = own
    return cluster, stats


class _Soak:
    def __init__(
        self, cluster: RealCluster, stats: dict[str, Path | None], outcome: Outcome, say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._stats = stats
        self._outcome = outcome
        self._say = say
        self._plan = outcome.plan
        self._started = time.monotonic()
        self._away: RealMember | None = None
        self._load = Load(
            cluster.endpoints,
            clients=self._plan.clients,
            calls_a_second=self._plan.calls_a_second,
            keys=self._plan.keys,
            seed=self._plan.seed,
        )

    async def run(self) -> None:
        background = [asyncio.create_task(work) for work in (self._load.run(), self._disturb())]
        try:
            while (now := time.monotonic() - self._started) < self._plan.seconds:
                await asyncio.sleep(min(self._plan.sample_every_s, max(self._plan.seconds - now, 0.05)))
                await self._look()
                for task in background:
                    if task.done():
                        task.result()  # raises what ended it
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background, timeout=_LOAD_ENDS_S)
        self._outcome.calls = dict(self._load.calls.most_common())
        self._outcome.failures = dict(self._load.failures.most_common())
        self._outcome.lives = self._load.lives

    async def _look(self) -> None:
        for member in self._cluster.members:
            if member is self._away:
                continue
            assert member.process is not None
            assert member.process.poll() is None, f"{member.name} ended:\n{member.log_tail()}"
            found = await asyncio.to_thread(sample, member, self._started, stats=self._stats[member.name])
            if found is not None:
                self._outcome.samples[member.name].append(found)

    async def _disturb(self) -> None:
        """Defragment the members in turn, restart the last one, at their times."""
        due = {self._defragment: self._plan.defragment_every_s, self._restart: self._plan.restart_every_s}
        turn = 0
        while True:
            what = min(due, key=due.__getitem__)
            await asyncio.sleep(max(self._started + due[what] - time.monotonic(), 0.0))
            due[what] += self._plan.defragment_every_s if what == self._defragment else self._plan.restart_every_s
            member = self._cluster.members[turn % len(self._cluster.members)]
            turn += what == self._defragment
            await what(member)

    async def _defragment(self, member: RealMember) -> None:
        async with grpc.aio.insecure_channel(member.url.removeprefix("http://")) as channel:
            call = channel.unary_unary(
                "/etcdserverpb.Maintenance/Defragment",
                request_serializer=pb.DefragmentRequest.SerializeToString,
                response_deserializer=pb.DefragmentResponse.FromString,
            )
            await call(pb.DefragmentRequest(), timeout=_DEFRAGMENT_TIMEOUT_S)
        self._note(f"{member.name} defragmented")

    async def _restart(self, _: RealMember) -> None:
        if len(self._cluster.members) == 1:
            return
        self._away = member = self._cluster.members[-1]
        await asyncio.to_thread(member.stop)
        member.start_nowait()  # on this thread: a member ends with the thread that started it
        await asyncio.to_thread(member.wait_ready, READY_TIMEOUT_S)
        self._away = None
        self._note(f"{member.name} restarted")

    def _note(self, text: str) -> None:
        self._outcome.events.append((round(time.monotonic() - self._started, 1), text))
        self._say(f"{self._outcome.events[-1][0]:7.0f} s  {text}")
