"""What a client was told stays true, whatever happens to the processes: real members, real disks, real signals.

ETCDOPS_DURABILITY_CYCLES=n makes the random run as many faults long (about 2 s each); its seed is
ETCDOPS_DURABILITY_SEED.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from tests.node.history import Traffic, check
from tests.support.node_members import node_members
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealCluster, RealMember, poll_until

_CYCLES = int(os.environ.get("ETCDOPS_DURABILITY_CYCLES", "5"))

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240 + 10 * _CYCLES)]

MakeMembers = Callable[..., RealCluster]

_SHORT_LOG = ("--snapshot-count=300", "--experimental-snapshot-catchup-entries=100")


@pytest.fixture
def members(tmp_path: Path) -> Iterator[MakeMembers]:
    made: list[RealCluster] = []

    def make(size: int, *, flags: tuple[str, ...] = ()) -> RealCluster:
        cluster = node_members(tmp_path / f"c{len(made)}", size=size, flags=flags)
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.kill()


def leader_of(cluster: RealCluster) -> RealMember | None:
    """The member that leads, as far as anybody answers."""
    for member in cluster.members:
        if member.process is None:
            continue
        try:
            with RawClient(member.url) as client:
                status = client.status(1.0)
        except grpc.RpcError:
            continue
        if status.leader and status.leader == status.header.member_id:
            return member
    return None


def wait_healthy(cluster: RealCluster) -> None:
    """Until every member serves a linearizable read."""

    def healthy() -> bool:
        try:
            for member in cluster.members:
                with RawClient(member.url) as client:
                    client.get("any", timeout_s=2.0)
        except grpc.RpcError:
            return False
        return True

    poll_until(healthy, 60.0, lambda: "\n".join(member.log_tail(5) for member in cluster.members))


def _kill_one(cluster: RealCluster, draw: random.Random) -> None:
    member = draw.choice(cluster.members)
    member.kill()
    time.sleep(draw.uniform(0.0, 1.0))
    member.start_nowait()


def _kill_the_leader(cluster: RealCluster, draw: random.Random) -> None:
    member = leader_of(cluster) or draw.choice(cluster.members)
    member.kill()
    time.sleep(draw.uniform(0.0, 2.0))
    member.start_nowait()


def _pause_the_leader(cluster: RealCluster, draw: random.Random) -> None:
    member = leader_of(cluster) or draw.choice(cluster.members)
    member.pause()
    time.sleep(draw.uniform(0.2, 3.0))
    member.resume()


def _kill_all(cluster: RealCluster, draw: random.Random) -> None:
    for member in draw.sample(cluster.members, len(cluster.members)):
        member.kill()
    for member in draw.sample(cluster.members, len(cluster.members)):
        member.start_nowait()


FAULTS = (_kill_one, _kill_the_leader, _pause_the_leader, _kill_all)


def test_no_promise_is_broken_by_kills_pauses_and_restarts(members: MakeMembers) -> None:
    """SIGKILL of members, leaders and everybody, SIGSTOP of leaders, with logs so short that members need images:
    acknowledged writes are there at their revision, others at most once, reads never go back (K01, K04, D-1, D-4)."""
    seed = int(os.environ.get("ETCDOPS_DURABILITY_SEED", "1"))
    draw = random.Random(seed)
    cluster = members(3, flags=_SHORT_LOG)
    traffic = Traffic(cluster.endpoints, seed=seed)
    traffic.start()
    done: list[str] = []
    try:
        for cycle in range(_CYCLES):
            fault = FAULTS[cycle] if cycle < len(FAULTS) else draw.choice(FAULTS)
            fault(cluster, draw)
            done.append(fault.__name__)
            # Mostly the cluster gets time to recover; sometimes the next fault meets the recovery.
            if draw.random() < 0.7:
                enough = len(traffic.promises.acknowledged) + 100
                poll_until(partial(_has_acknowledged, traffic, enough), 40.0, partial(_stuck, traffic, done))
            time.sleep(draw.uniform(0.0, 0.5))
            for member in cluster.members:
                assert member.process is not None
                assert member.process.poll() is None, f"{member.name} ended after {done}:\n{member.log_tail()}"
        wait_healthy(cluster)
    finally:
        promises = traffic.stop()
    wait_healthy(cluster)
    check(promises, cluster.endpoints)
    print(
        f"seed {seed}: {_CYCLES} faults, {len(promises.acknowledged)} writes acknowledged, {len(promises.unknown)} "
        f"unknown {dict(promises.errors)}, {promises.reads} linearizable reads"
    )
    assert promises.reads > 20


def _has_acknowledged(traffic: Traffic, count: int) -> bool:
    return len(traffic.promises.acknowledged) > count


def _stuck(traffic: Traffic, done: list[str]) -> str:
    promises = traffic.promises
    return f"stuck after {done}: {len(promises.acknowledged)} writes acknowledged, {dict(promises.errors)}"


def test_one_member_alone_keeps_what_it_acknowledged_through_kills(members: MakeMembers) -> None:
    """Nobody else has a copy: only its own disk counts (K05, #14370)."""
    draw = random.Random(7)
    cluster = members(1, flags=_SHORT_LOG)
    (member,) = cluster.members
    traffic = Traffic(cluster.endpoints, writers=8, readers=1)
    traffic.start()
    try:
        for _ in range(4):
            time.sleep(draw.uniform(0.3, 1.0))
            member.kill()
            member.start()
    finally:
        promises = traffic.stop()
    wait_healthy(cluster)
    check(promises, cluster.endpoints)
    assert len(promises.acknowledged) > 50
