"""Where a production member touches the machine, and what the simulation puts there instead.

Threads (StorageThread), the peer port (Transport, fetch_cluster, ask_clusters, fetch_versions, LeaderLink),
randomness, and three intervals that are longer than a run. Everything else of a member is production code: bootstrap,
server, driver, raft, raft log, store, applier, services.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, TypeVar

from etcdops.ids import MemberID
from etcdops.node.api import watch as watch_module
from etcdops.node.config import Config
from etcdops.node.lease import lessor
from etcdops.node.member import reconfig
from etcdops.node.peer import forward
from etcdops.node.peer.forward import Question
from etcdops.node.peer.port import Answer
from etcdops.node.peer.remote import FetchFailed, Reachable, RemoteCluster, Versions
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.core import RaftCore
from etcdops.node.server import auto_compaction
from etcdops.node.server import bootstrap as bootstrap_module
from etcdops.node.server import derived as derived_module
from etcdops.node.server import peers as peers_module
from etcdops.node.server import server as server_module
from etcdops.node.server.bootstrap import Boot
from etcdops.node.server.derived import raft_core
from etcdops.node.server.leader_link import LeaderLink
from etcdops.node.version import SERVER_VERSION
from etcdops.node.watch.hub import EVENTS_PER_SLICE, WatchHub
from tests.sim.loop import MemberLoop
from tests.sim.network import SimTransport

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster
    from tests.sim.member import SimMember

T = TypeVar("T")


class SimStorageThread:
    """The storage thread: one job after the other, each done at one moment some milliseconds after it began."""

    def __init__(self, loop: MemberLoop, on_failure: Callable[[BaseException], None], latency_s: Callable[[], float]):
        self._loop = loop
        self._on_failure = on_failure
        self._latency_s = latency_s
        self._jobs: deque[Callable[[], None]] = deque()
        self._busy = False
        self._failed = False

    def submit(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """See StorageThread.submit."""

        def run() -> None:
            result = job()
            self._loop.call_soon(done, result)

        self._jobs.append(run)
        if not self._busy:
            self._begin()

    def stop(self, timeout_s: float) -> bool:
        """See StorageThread.stop."""
        while self._jobs:
            self._do()
        return True

    def _begin(self) -> None:
        self._busy = True
        self._loop.loop.call_later(self._latency_s(), self._loop.run, self._next)

    def _next(self) -> None:
        self._busy = False
        if self._jobs:
            self._do()
        if self._jobs:
            self._begin()

    def _do(self) -> None:
        job = self._jobs.popleft()
        if self._failed:
            return
        try:
            job()
        except Exception as error:  # noqa: BLE001 - whatever it is, the member must stop
            self._failed = True
            self._loop.call_soon(self._on_failure, error)


class Seams:
    """Installed for the length of one run. `born` is the member whose parts are being made."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._undo: list[Callable[[], None]] = []
        self.born: SimMember | None = None

    def __enter__(self) -> Seams:
        self._replace(server_module, "StorageThread", self._storage_thread)
        self._replace(server_module, "raft_core", self._raft_core)
        self._replace(server_module, "fetch_versions", self._fetch_versions)
        self._replace(peers_module, "Transport", self._transport)
        self._replace(bootstrap_module, "fetch_cluster", self._fetch_cluster)
        self._replace(bootstrap_module, "ask_clusters", self._ask_clusters)
        self._replace(LeaderLink, "_ask", _ask(self._cluster))
        self._replace(watch_module, "random", SimpleNamespace(Random=self._random))
        options = self._cluster.options
        # It is written into the lock of the data directory: how many digits are lost with the power depends on it.
        self._replace(os, "getpid", lambda: 1)
        self._replace(reconfig, "HEALTH_INTERVAL_S", options.healthy_s)
        self._replace(lessor, "CHECKPOINT_INTERVAL_S", options.checkpoint_leases_s)
        self._replace(auto_compaction, "_REVISION_INTERVAL_S", 1.0)
        # Slices of history so small that watchers are behind for a while.
        slice_events = random.Random(f"{self._cluster.seed}/slice").choice((1, 4, EVENTS_PER_SLICE))
        self._replace(WatchHub.catch_up, "__defaults__", (slice_events,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._undo:
            self._undo.pop()()

    def _replace(self, place: object, name: str, by: object) -> None:
        before = getattr(place, name)
        setattr(place, name, by)
        self._undo.append(lambda: setattr(place, name, before))

    @property
    def _newborn(self) -> SimMember:
        assert self.born is not None, "parts are made by SimMember.start only"
        return self.born

    def _storage_thread(self, loop: MemberLoop, on_failure: Callable[[BaseException], None]) -> SimStorageThread:
        return SimStorageThread(loop, on_failure, self._newborn.disk_latency_s)

    def _raft_core(self, config: Config, boot: Boot, _: random.Random) -> RaftCore:
        with self._small_messages():
            return raft_core(config, boot, self._random())

    @contextmanager
    def _small_messages(self) -> Iterator[None]:
        """Raft's bounds as the plan has them: small ones make many short messages, and Readys with little in them."""
        before = derived_module.raft_config
        options = self._cluster.options

        def raft_config(config: Config, boot: Boot) -> RaftConfig:
            return replace(
                before(config, boot),
                size_max_bytes_per_message=options.message_bytes_max,
                size_max_bytes_committed_per_ready=options.message_bytes_max,
                inflight_messages_max=options.inflight_max,
            )

        derived_module.raft_config = raft_config
        try:
            yield
        finally:
            derived_module.raft_config = before

    def _random(self) -> random.Random:
        return random.Random(self._newborn.draw.getrandbits(64))

    def _transport(self, **arguments: object) -> SimTransport:
        transport = SimTransport(**arguments)  # type: ignore[arg-type]  # Transport's own arguments
        assert self._newborn.loop is not None
        transport.member_loop = self._newborn.loop
        transport.network = self._cluster.network
        return transport

    async def _fetch_cluster(self, urls: Sequence[str], **_: object) -> RemoteCluster:
        for member in self._cluster.members:
            if member.serves and member.url in urls:
                members = member.server.members
                return RemoteCluster(members.cluster_id, tuple(members.members()), member.url)
        raise FetchFailed("nobody answers")

    async def _ask_clusters(self, urls: Sequence[str], **_: object) -> list[RemoteCluster]:
        try:
            return [await self._fetch_cluster(urls)]
        except FetchFailed:
            return []

    async def _fetch_versions(self, members: Iterable[Reachable], **_: object) -> dict[MemberID, Versions | None]:
        asked = [member.id for member in members]
        await asyncio.sleep(0.01)
        up = {member.id for member in self._cluster.members if member.serves}
        return {one: Versions(SERVER_VERSION, "not_decided") if one in up else None for one in asked}


def _ask(cluster: SimCluster) -> Callable[..., object]:
    """LeaderLink._ask over the simulated network."""

    async def ask(link: LeaderLink, question: Question, body: bytes, authorization: str = "") -> Answer | None:
        server = link._server
        asking = cluster.by_id(server.member_id)
        life = asking.loop if asking is not None else None
        try:
            async with asyncio.timeout(server.limits.request_timeout_s):
                while life is not None and not life.dead:
                    leader = next((one for one in cluster.members if one.url in server.leader_peer_urls()), None)
                    if leader is not None and asking is not None:
                        answer = await _ask_once(cluster, asking, leader, question, body, authorization)
                        if answer is not None and answer.status in question.final:
                            return answer
                    await asyncio.sleep(forward.RETRY_INTERVAL_S)
        except TimeoutError:
            pass
        return None

    return ask


async def _ask_once(
    cluster: SimCluster, asking: SimMember, leader: SimMember, question: Question, body: bytes, authorization: str
) -> Answer | None:
    network = cluster.network
    await asyncio.sleep(network.delay_s())
    if not leader.serves or not network.reaches(asking.id, leader.id):
        return None
    life, routes = leader.loop, leader.server.services.peer_routes
    if question.path == forward.LEASE_RENEW.path and routes.leases is not None:
        work = routes.leases(body)
    elif question.path == forward.LEASE_TIME_TO_LIVE.path and routes.leases_internal is not None:
        work = routes.leases_internal(body)
    else:
        assert routes.promote is not None
        work = routes.promote(MemberID(int(question.path.rpartition("/")[2])), authorization)
    answer = await work
    await asyncio.sleep(network.delay_s())
    if life is None or life.dead or not network.reaches(leader.id, asking.id):
        return None
    return answer
