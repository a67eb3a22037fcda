"""Members started on a data directory that is not theirs, as processes: refused, told why, and nothing harmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.node_members import node_members
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealCluster, RealMember

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Callable[[int], RealCluster]]:
    made: list[RealCluster] = []

    def make(size: int) -> RealCluster:
        made.append(node_members(tmp_path / f"c{len(made)}", size=size))
        return made[-1]

    yield make
    for cluster in made:
        cluster.kill()


def _ended(member: RealMember, status: int) -> str:
    """What a member that ended by itself with `status` wrote."""
    assert member.process is not None
    assert member.process.wait(20) == status, member.log_tail()
    member.process = None
    return member.log.read_text()


def _contents(folder: Path) -> dict[str, bytes]:
    """Of the files that hold data: not the lock, and not SQLite's index of a write-ahead log."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("LOCK", "state.db-shm"))
    return {str(path.relative_to(folder)): found for path in kept if (found := path.read_bytes())}


def _write(member: RealMember, key: str) -> None:
    with RawClient(member.url) as client:
        client.put(key, "value")


def _keys(member: RealMember) -> list[str]:
    with RawClient(member.url) as client:
        return sorted(client.all())


def test_a_member_with_the_data_of_another_cluster_says_so_and_leaves_it_as_it_was(
    clusters: Callable[[int], RealCluster], tmp_path: Path
) -> None:
    """Two clusters on a machine, and one data directory mixed up: both are whole again once it is put right."""
    ours, theirs = clusters(3), clusters(1)
    for cluster, key in ((ours, "ours"), (theirs, "theirs")):
        cluster.start()
        _write(cluster.members[0], key)
    mine, stranger = ours.members[2], theirs.members[0]
    mine.stop()
    stranger.kill()
    away, foreign = tmp_path / "away", mine.data_dir
    foreign.rename(away)
    stranger.data_dir.rename(foreign)
    before = _contents(foreign)
    mine.start_nowait()
    told = _ended(mine, 1)
    assert f"error start-refused: the data directory {foreign} belongs to cluster " in told
    assert "next: check --data-dir" in told
    assert _contents(foreign) == before
    foreign.rename(stranger.data_dir)
    away.rename(foreign)
    for member, key in ((mine, "ours"), (stranger, "theirs")):
        member.start()
        assert _keys(member) == [key]


def test_a_member_that_was_removed_while_it_was_away_ends_quietly_at_each_start(
    clusters: Callable[[int], RealCluster],
) -> None:
    """First the others tell it, as etcd's do; its data does not know. Status 0: no supervisor shall try for ever."""
    cluster = clusters(3)
    for member in cluster.members:
        # Otherwise nobody may go before all have been connected for five seconds.
        member.flags = ("--strict-reconfig-check=false",)
    cluster.start()
    first, _, gone = cluster.members
    with RawClient(gone.url) as client:
        number = client.status().header.member_id
    gone.stop()
    with RawClient(first.url) as client:
        client.member_remove(number)
    for _ in range(2):
        gone.start_nowait()
        told = _ended(gone, 0)
        assert "the member has been permanently removed from the cluster" in told
        assert "data-dir used by this member must be removed" in told


@pytest.mark.parametrize(
    "flags",
    [
        ("--initial-cluster=other=http://127.0.0.1:1",),
        ("--initial-cluster=m1=http://127.0.0.1:1,m2=http://127.0.0.1:1",),
        ("--initial-cluster-state=existing",),
        ("--force-new-cluster",),
    ],
    ids=["not-in-the-cluster", "twice-the-same-url", "nobody-to-join", "nothing-to-force"],
)
def test_a_start_that_is_refused_before_there_is_data_makes_no_directory(
    clusters: Callable[[int], RealCluster], flags: tuple[str, ...]
) -> None:
    """An empty `default.etcd` with a lock in it would pass for a member's."""
    (member,) = clusters(1).members
    member.initial_cluster = f"{member.name}={member.peer_url}"
    member.flags = flags
    member.start_nowait()
    assert "error start-refused" in _ended(member, 1)
    assert not member.data_dir.exists()
