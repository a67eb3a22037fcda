"""What the disk may do to a member: lose what was not synced, be full, be read-only, be an older copy of itself."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.support.node_members import node_members
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealCluster, RealMember, poll_until
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

MakeMembers = Callable[..., RealCluster]


@pytest.fixture
def members(tmp_path: Path) -> Iterator[MakeMembers]:
    made: list[RealCluster] = []

    def make(size: int = 1, *, folder: Path = tmp_path, flags: tuple[str, ...] = ()) -> RealCluster:
        cluster = node_members(folder, size=size, flags=flags, prefix=f"c{len(made)}m")
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.kill()


@pytest.fixture
def member(members: MakeMembers) -> RealMember:
    """A running cluster of one."""
    cluster = members()
    cluster.start()
    return cluster.members[0]


def _put_all(url: str, keys: list[str], value: str = "value") -> dict[str, int]:
    with RawClient(url) as client:
        return {key: client.put(key, value) for key in keys}


def _assert_all_there(url: str, promised: dict[str, int]) -> None:
    with RawClient(url) as client:
        found = client.all()
    assert {key: found[key].mod_revision for key in promised if key in found} == promised


def _keys(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:04}" for number in range(count)]


def _refusal(member: RealMember) -> list[str]:
    """The plain lines that a member which ends by itself leaves for its operator."""
    assert member.process is not None
    assert member.process.wait(30) == 1, member.log_tail()
    member.process = None
    lines = [line for line in member.log.read_text().splitlines() if line.startswith(("error ", "cause: ", "next: "))]
    last = max(number for number, line in enumerate(lines) if line.startswith("error "))
    assert lines[-1].startswith("next: "), lines
    return lines[last:]


# Loss of power.


@pytest.mark.parametrize("with_log", [True, False], ids=["older", "older-without-its-wal"])
def test_a_store_that_lost_what_was_not_synced_is_healed_from_the_raft_log(
    member: RealMember, tmp_path: Path, with_log: bool
) -> None:
    """state.db of an earlier moment beside wal.db of now: the member applies again what is missing (K01, K02)."""
    promised = _put_all(member.url, _keys("early", 100))
    # The store commits ten times a second; whatever it has by now is the older state.
    member.pause()
    older = tmp_path / "older"
    shutil.copytree(member.data_dir / "member", older)
    member.resume()
    promised |= _put_all(member.url, _keys("late", 200))
    with RawClient(member.url) as client:
        promised["early-0000"] = client.put("early-0000", "again")
        client.compact(promised["late-0010"])
    member.kill()
    home = member.data_dir / "member"
    for path in home.glob("state.db*"):
        path.unlink()
    shutil.copy(older / "state.db", home)
    if with_log:
        shutil.copy(older / "state.db-wal", home)
    member.start()
    _assert_all_there(member.url, promised)


def test_a_raft_log_cut_off_after_the_last_acknowledged_write_keeps_all_of_them(member: RealMember) -> None:
    """The power fails while the next write is on its way: its half written pages mean nothing (D-2)."""
    draw = random.Random(5)
    log = member.data_dir / "member" / "wal.db-wal"
    promised = _put_all(member.url, _keys("first", 20))
    for turn in range(4):
        promised |= _put_all(member.url, _keys(f"turn{turn}", 20))
        acknowledged_bytes = log.stat().st_size
        answered: dict[str, int] = {}
        last = threading.Thread(target=_put_and_forget, args=(member.url, f"lost{turn}", answered))
        last.start()
        time.sleep(draw.uniform(0.0, 0.02))
        member.kill()
        last.join(10)
        promised |= answered
        size = log.stat().st_size
        assert size >= acknowledged_bytes
        if not answered:  # what was acknowledged is synced: no loss of power takes it
            os.truncate(log, draw.randint(acknowledged_bytes, size))
        member.start()
        _assert_all_there(member.url, promised)


def _put_and_forget(url: str, key: str, answered: dict[str, int]) -> None:
    try:
        with RawClient(url) as client:
            answered[key] = client.put(key, "x" * 9000)
    except grpc.RpcError:
        pass  # nobody was told anything


# An older copy.


def test_a_member_that_runs_on_an_older_copy_of_its_data_stops_and_says_what_to_do(members: MakeMembers) -> None:
    """It lacks entries that it acknowledged: going on could lose them. Its next step works (K06)."""
    cluster = members(3)
    cluster.start()
    urls = cluster.endpoints
    promised = _put_all(urls[0], _keys("early", 30))
    victim = _follower(cluster)
    victim.stop()
    older = victim.folder / "older"
    shutil.copytree(victim.data_dir, older)
    victim.start()
    others = [member for member in cluster.members if member is not victim]
    promised |= _put_all(others[0].url, _keys("late", 30))
    _wait_applied_everywhere(cluster)
    victim.stop()
    shutil.rmtree(victim.data_dir)
    older.rename(victim.data_dir)
    victim.start_nowait()
    told = _refusal(victim)
    assert "tocommit(" in told[0]
    assert told[0].endswith("Was the raft log corrupted, truncated, or lost?")
    assert str(victim.data_dir) in told[1]
    number = told[2].partition("member remove ")[2].partition("`")[0]
    assert int(number, 16), told
    # The rest of the cluster does not care.
    promised |= _put_all(others[0].url, _keys("after", 10))
    _follow_the_advice(victim, others, int(number, 16))
    _wait_applied_everywhere(cluster)
    for member in cluster.members:
        _assert_all_there(member.url, promised)


def _follow_the_advice(victim: RealMember, others: list[RealMember], number: int) -> None:
    """Move the data away, remove, add, start empty with --initial-cluster-state existing."""
    victim.data_dir.rename(victim.folder / "moved-away")
    with RawClient(others[0].url) as client:
        client.member_remove(number)

        def added() -> bool:
            try:
                client.member_add(victim.peer_url)
            except grpc.RpcError as error:
                # etcd wants every voter connected for 5 s before it lets anybody in.
                if "unhealthy cluster" not in str(error):
                    raise
                return False
            return True

        poll_until(added, 30.0)
    victim.flags = ("--initial-cluster-state=existing",)
    victim.start()


def _follower(cluster: RealCluster) -> RealMember:
    for member in cluster.members:
        with RawClient(member.url) as client:
            status = client.status()
        if status.leader != status.header.member_id:
            return member
    raise AssertionError("everybody leads")


def _wait_applied_everywhere(cluster: RealCluster) -> None:
    def equal() -> bool:
        revisions = set()
        for member in cluster.members:
            with RawClient(member.url) as client:
                revisions.add(client.status().header.revision)
        return len(revisions) == 1

    poll_until(equal, 30.0, "members do not become equal")


# Full and read-only disks.


def test_a_full_disk_ends_the_member_with_the_next_step_and_loses_nothing(members: MakeMembers, tmp_path: Path) -> None:
    """A write that does not fit is never acknowledged; with more room the member goes on where it was (D-3)."""
    with small_disk(tmp_path / "disk", "6m") as disk:
        cluster = members(folder=disk.folder / "data")
        (member,) = cluster.members
        cluster.start()
        promised: dict[str, int] = {}
        with RawClient(member.url) as client:
            for number in range(1000):
                try:
                    promised[f"key-{number:04}"] = client.put(f"key-{number:04}", "x" * 30_000, timeout_s=10.0)
                except grpc.RpcError:
                    break
            else:
                pytest.fail("the disk never got full")
        assert len(promised) > 20
        disk.remount("size=7m")  # room for its last words, which are on the same disk here
        told = _refusal(member)
        assert "no space left" in told[0]
        assert str(member.data_dir) in told[0]
        assert "free some space" in told[-1]
        disk.remount("size=40m")
        member.start()
        _assert_all_there(member.url, promised)
        promised |= _put_all(member.url, ["after"])
        member.stop()
        member.start()
        _assert_all_there(member.url, promised)
        cluster.kill()


def test_a_start_on_a_full_disk_works_or_says_what_to_do(members: MakeMembers, tmp_path: Path) -> None:
    """Never a member that hangs, and nothing is lost by trying."""
    with small_disk(tmp_path / "disk", "20m") as disk:
        cluster = members(folder=disk.folder / "data")
        (member,) = cluster.members
        cluster.start()
        promised = _put_all(member.url, _keys("key", 50), "x" * 1000)
        member.kill()
        log_room = 64 * 1024
        filler = disk.folder / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(disk.folder).f_bavail * os.statvfs(disk.folder).f_frsize
            file.write(b"\0" * (free - log_room))
        member.start_nowait()
        poll_until(lambda: _ended_or_serves(member), 30.0, member.log_tail)
        if member.process is not None and member.process.poll() is not None:
            told = _refusal(member)
            assert "no space" in told[0] or "disk is full" in told[0], told
        cluster.kill()
        filler.unlink()
        member.start()
        _assert_all_there(member.url, promised)
        cluster.kill()


def _ended_or_serves(member: RealMember) -> bool:
    assert member.process is not None
    return member.process.poll() is not None or b"ready to serve client requests" in member.log.read_bytes()


def test_a_first_start_on_a_disk_without_room_says_so_and_can_be_repeated(members: MakeMembers, tmp_path: Path) -> None:
    """Nothing half made is left that would stop the next try."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        cluster = members(folder=tmp_path / "logs", flags=())
        (member,) = cluster.members
        member.flags = (f"--data-dir={disk.folder}/m.etcd",)
        member.start_nowait()
        told = _refusal(member)
        assert "full" in " ".join(told) or "no space" in " ".join(told).lower(), told
        assert str(disk.folder) in told[0]
        disk.remount("size=20m")
        member.start()
        _assert_all_there(member.url, _put_all(member.url, ["key"]))
        cluster.kill()


def test_a_read_only_disk_is_named_at_the_start(members: MakeMembers, tmp_path: Path) -> None:
    """Whether there is data on it or not; mounted writable again it starts with everything."""
    with small_disk(tmp_path / "disk", "20m") as disk:
        cluster = members(folder=tmp_path / "logs")
        (member,) = cluster.members
        for data_dir, fresh in (("old.etcd", False), ("new.etcd", True)):
            member.flags = (f"--data-dir={disk.folder}/{data_dir}",)
            promised: dict[str, int] = {}
            if not fresh:
                member.start()
                promised = _put_all(member.url, ["key"])
                member.stop()
            disk.remount("ro")
            member.start_nowait()
            told = _refusal(member)
            assert "read-only" in " ".join(told).lower(), told
            assert str(disk.folder) in told[0]
            disk.remount("rw")
            member.start()
            _assert_all_there(member.url, promised)
            member.stop()
