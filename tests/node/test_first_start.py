"""A member that is killed in the first moments of its life: the next start makes good what was cut short.

ETCDOPS_FIRST_STARTS=n adds n kills at random moments to those at every file that appears.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.node_members import node_members
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealCluster, RealMember

_RANDOM = int(os.environ.get("ETCDOPS_FIRST_STARTS", "1"))

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(120)]

STAGES = ("LOCK", "state.db.new", "state.db", "wal.db.new", "wal.db-wal", "wal.db", "state.db-shm")
"""Files in the order in which a first start makes them."""

Moment = Callable[[RealMember], None]


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Callable[[int], RealCluster]]:
    made: list[RealCluster] = []

    def make(size: int) -> RealCluster:
        made.append(node_members(tmp_path / f"c{len(made)}", size=size))
        return made[-1]

    yield make
    for cluster in made:
        cluster.kill()


def _once_there_is(name: str) -> Moment:
    def wait(member: RealMember) -> None:
        path = member.data_dir / "member" / name
        deadline = time.monotonic() + 20
        # Without a pause: the files come within milliseconds of each other.
        while not path.exists() and time.monotonic() < deadline and not _serves(member):
            pass

    return wait


def _after(seconds: float) -> Moment:
    def wait(member: RealMember) -> None:
        _once_there_is("LOCK")(member)
        time.sleep(seconds)

    return wait


def _serves(member: RealMember) -> bool:
    return b"ready to serve client requests" in member.log.read_bytes()


def _moments() -> dict[str, Moment]:
    draw = random.Random(3)
    moments = {f"at-{name}": _once_there_is(name) for name in STAGES}
    return moments | {f"random-{number}": _after(draw.uniform(0, 0.5)) for number in range(_RANDOM)}


MOMENTS = _moments()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_first_start_that_was_killed_is_made_good_by_the_next(
    clusters: Callable[[int], RealCluster], moment: str
) -> None:
    """Whatever files there are by then: the member starts, leads, and has a single member in its cluster."""
    cluster = clusters(1)
    (member,) = cluster.members
    member.start_nowait()
    MOMENTS[moment](member)
    member.kill()
    member.start()
    with RawClient(member.url) as client:
        assert client.put("key", "value") == 2
        assert client.status().leader == client.status().header.member_id


def test_members_of_a_new_cluster_may_all_be_killed_at_their_first_start(
    clusters: Callable[[int], RealCluster],
) -> None:
    """Each at another moment, twice: the cluster forms all the same, with the members it was meant to have."""
    cluster = clusters(3)
    for stages in (STAGES[:3], STAGES[3:6]):
        for member, stage in zip(cluster.members, stages, strict=True):
            member.start_nowait()
            _once_there_is(stage)(member)
            member.kill()
    cluster.start()
    with RawClient(cluster.members[0].url) as client:
        assert client.put("key", "value") == 2
    leaders = set()
    for member in cluster.members:
        with RawClient(member.url) as client:
            assert list(client.all()) == ["key"]
            leaders.add(client.status().leader)
    assert len(leaders) == 1


@pytest.mark.parametrize("stage", ["state.db", "wal.db", "served"])
def test_a_joining_member_that_was_killed_joins_at_its_next_start(
    clusters: Callable[[int], RealCluster], stage: str
) -> None:
    """Its log may be empty then, and who the others are is written nowhere: they tell it."""
    old, joining = clusters(1), clusters(1)
    old.start()
    (first,), (second,) = old.members, joining.members
    second.name = "joining"
    with RawClient(first.url) as client:
        client.put("before", "value")
        client.member_add(second.peer_url)
    second.initial_cluster = f"{first.initial_cluster},{second.name}={second.peer_url}"
    second.flags = ("--initial-cluster-state=existing",)
    second.start_nowait()
    if stage == "served":
        second.wait_ready()
    else:
        _once_there_is(stage)(second)
    second.kill()
    second.start()
    for member in (first, second):
        with RawClient(member.url) as client:
            client.put(f"from-{member.name}", "value")
    for member in (first, second):
        with RawClient(member.url) as client:
            assert sorted(client.all()) == sorted(["before", "from-joining", f"from-{first.name}"])
