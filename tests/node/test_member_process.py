"""Members as real processes, driven by real etcdctl 3.4 and 3.5: the life of a cluster, told as an operator lives
it.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import MakeCluster
from tests.support.real_etcd import EtcdBinaries, RealCluster, RealMember, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

_ONLY_35 = pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)

# A log that is cut early makes every lagging member need a database image.
_SHORT_LOG = ("--snapshot-count=100", "--experimental-snapshot-catchup-entries=20")


def _hashes(cluster: RealCluster) -> set[int]:
    answers = json.loads(cluster.ctl("endpoint", "hashkv", "--write-out=json"))
    return {answer["HashKV"]["hash"] for answer in answers}


def _statuses(cluster: RealCluster) -> list[dict[str, int]]:
    found: list[dict[str, int]] = []
    for answer in json.loads(cluster.ctl("endpoint", "status", "--write-out=json")):
        status = answer["Status"]
        found.append({**status, "member": status["header"]["member_id"], "revision": status["header"]["revision"]})
    return found


def _leader(cluster: RealCluster) -> RealMember:
    """The member that leads, as all of them say."""
    answers = json.loads(cluster.ctl("endpoint", "status", "--write-out=json"))
    (url,) = [
        answer["Endpoint"]
        for answer in answers
        if answer["Status"].get("leader") == answer["Status"]["header"]["member_id"]
    ]
    return next(member for member in cluster.members if member.url == url)


def _without(cluster: RealCluster, gone: RealMember) -> RealCluster:
    return RealCluster(cluster.binaries, [member for member in cluster.members if member is not gone])


def _wait_equal(cluster: RealCluster) -> None:
    """Until every member has applied the same."""
    poll_until(lambda: len({status["revision"] for status in _statuses(cluster)}) == 1, 30.0, "revisions differ")
    assert len(_hashes(cluster)) == 1


def _write(cluster: RealCluster, prefix: str, count: int) -> None:
    """Keys in transactions of 100 puts: many revisions are not wanted here, many keys are."""
    for start in range(0, count, 100):
        puts = "".join(f"put {prefix}{number} value-of-{number}\n" for number in range(start, min(start + 100, count)))
        _txn(cluster, puts)


def _txn(cluster: RealCluster, puts: str) -> None:
    subprocess.run(
        [str(cluster.binaries.etcdctl), f"--endpoints={','.join(cluster.endpoints)}", "txn"],
        input=f"\n{puts}\n\n",
        env={"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


def test_every_ordinary_command_of_etcdctl_works(node_cluster: MakeCluster) -> None:
    """KV, txn, watch of history, lease, alarm, compact, defrag and health, by both etcdctl versions."""
    cluster = node_cluster(size=3)
    assert cluster.ctl("put", "greeting", "hello") == "OK\n"
    assert cluster.ctl("get", "greeting") == "greeting\nhello\n"
    assert cluster.ctl("get", "", "--prefix", "--keys-only").split() == ["greeting"]
    granted = cluster.ctl("lease", "grant", "300")
    lease = re.findall(r"lease (\S+) granted with TTL\(300s\)", granted)[0]
    assert cluster.ctl("put", "leased", "x", f"--lease={lease}") == "OK\n"
    assert f"lease {lease} granted with TTL(300s), remaining(2" in cluster.ctl("lease", "timetolive", lease)
    assert lease in cluster.ctl("lease", "list")
    assert cluster.ctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert cluster.ctl("get", "leased") == ""
    assert cluster.ctl("del", "greeting", "--prev-kv") == "1\ngreeting\nhello\n"
    assert cluster.ctl("alarm", "list") == ""
    assert cluster.ctl("compaction", "3") == "compacted revision 3\n"
    assert cluster.ctl("defrag").count("Finished defragmenting") == 3
    assert len(_hashes(cluster)) == 1
    listed = json.loads(cluster.ctl("member", "list", "--write-out=json"))
    assert sorted(member["name"] for member in listed["members"]) == ["m1", "m2", "m3"]


@_ONLY_35
def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(node_cluster: MakeCluster) -> None:
    """SIGKILL of the leader, then of the whole cluster: everything acknowledged is there (K01, P16)."""
    cluster = node_cluster(size=3)
    _write(cluster, "before-", 200)
    leader = _leader(cluster)
    leader.kill()
    survivors = _without(cluster, leader)
    poll_until(lambda: _has_leader(survivors), 15.0, "no new leader")
    _write(survivors, "after-", 100)
    leader.start()
    _wait_equal(cluster)
    cluster.kill()
    cluster.start()
    _wait_equal(cluster)
    assert (
        json.loads(cluster.ctl("get", "before-", "--prefix", "--count-only", "-w=fields").splitlines()[-1][10:]) == 200
    )
    assert cluster.ctl("get", "after-99") == "after-99\nvalue-of-99\n"


def _has_leader(cluster: RealCluster) -> bool:
    leaders = {status.get("leader", 0) for status in _statuses(cluster)}
    members = {status["member"] for status in _statuses(cluster)}
    return len(leaders) == 1 and leaders <= members


@_ONLY_35
def test_a_member_that_lags_behind_the_log_gets_the_whole_database(node_cluster: MakeCluster) -> None:
    """The log was cut while a member was away: it catches up by an image, also with a store of its own to replace."""
    cluster = node_cluster(size=3, flags=_SHORT_LOG)
    cluster.ctl("put", "old", "1")
    lagging = next(member for member in cluster.members if member is not _leader(cluster))
    lagging.kill()
    others = _without(cluster, lagging)
    _write(others, "bulk-", 1000)
    for number in range(150):
        others.ctl("put", "old", str(number))
    lagging.start_nowait()
    poll_until(lambda: b"applying snapshot" in lagging.log.read_bytes(), 30.0, lagging.log_tail)
    lagging.wait_ready()
    _wait_equal(cluster)
    alone = RealCluster(cluster.binaries, [lagging])
    assert alone.ctl("get", "old", "--consistency=s") == "old\n149\n"


@_ONLY_35
def test_a_learner_joins_is_promoted_leads_and_is_removed(node_cluster: MakeCluster) -> None:
    """The whole life of a member, ending as etcd ends it: exit 0, and a refusal to start again (M05-M17, K08)."""
    cluster = node_cluster(size=3)
    _write(cluster, "key-", 100)
    spare = node_cluster(size=1, start=False, prefix="spare").members[0]
    # etcd wants every voter connected for 5 s before it lets anybody in.
    poll_until(lambda: _try(cluster, "member", "add", spare.name, "--learner", f"--peer-urls={spare.peer_url}"), 30.0)
    spare.initial_cluster = f"{cluster.members[0].initial_cluster},{spare.name}={spare.peer_url}"
    spare.flags = ("--initial-cluster-state=existing",)
    spare.start()
    listed = json.loads(cluster.ctl("member", "list", "--write-out=json"))["members"]
    (joined,) = [member for member in listed if member.get("isLearner")]
    number = format(joined["ID"], "x")
    poll_until(lambda: _try(cluster, "member", "promote", number), 30.0, "the learner never caught up")
    whole = RealCluster(cluster.binaries, [*cluster.members, spare])
    _wait_equal(whole)
    assert "Leadership transferred" in RealCluster(cluster.binaries, [*cluster.members, spare]).ctl(
        "move-leader", number
    )
    assert _leader(whole) is spare
    cluster.ctl("member", "remove", number)
    poll_until(lambda: spare.process is not None and spare.process.poll() is not None, 20.0, "it did not stop")
    assert spare.process is not None
    assert spare.process.returncode == 0
    spare.process = None
    spare.start_nowait()
    assert _refusal(spare, status=0).startswith("error member-removed: the member")
    assert "permanently removed from the cluster" in spare.log_tail()
    poll_until(lambda: _has_leader(cluster), 15.0)
    cluster.ctl("put", "after", "removal")


def _try(cluster: RealCluster, *arguments: str) -> bool:
    try:
        cluster.ctl(*arguments)
    except AssertionError as error:
        if "unhealthy cluster" in str(error) or "in sync with leader" in str(error):
            return False
        raise
    return True


def _refusal(member: RealMember, status: int = 1) -> str:
    """The first line that a member which will not start tells the person who started it."""
    assert member.process is not None
    assert member.process.wait(20) == status, member.log_tail()
    member.process = None
    lines = [line for line in member.log.read_text().splitlines() if line.startswith(("error ", "next: "))]
    assert lines[-1].startswith("next: "), lines
    return next(line for line in reversed(lines) if line.startswith("error "))


@_ONLY_35
def test_force_new_cluster_keeps_the_data_and_nobody_else(node_cluster: MakeCluster) -> None:
    """Two of three are gone for good: the survivor becomes a cluster of one with the same ID, and can grow (K10)."""
    cluster = node_cluster(size=3)
    _write(cluster, "key-", 100)
    _wait_equal(cluster)
    before = _statuses(cluster)[0]["header"]["cluster_id"]  # type: ignore[index]  # the header is a mapping
    cluster.kill()
    survivor = cluster.members[1]
    survivor.flags = ("--force-new-cluster",)
    survivor.start()
    alone = RealCluster(cluster.binaries, [survivor])
    members = json.loads(alone.ctl("member", "list", "--write-out=json"))
    assert [member["name"] for member in members["members"]] == ["m2"]
    assert members["header"]["cluster_id"] == before
    assert alone.ctl("get", "key-7") == "key-7\nvalue-of-7\n"
    assert alone.ctl("put", "new", "write") == "OK\n"
    survivor.stop()
    survivor.flags = ()
    survivor.start()
    assert alone.ctl("get", "new") == "new\nwrite\n"


@_ONLY_35
def test_a_data_directory_in_use_is_refused_at_once(node_cluster: MakeCluster) -> None:
    """The second process names the first one's pid, and the first one does not notice (K14)."""
    cluster = node_cluster(size=1)
    first = cluster.members[0]
    second = node_cluster(size=1, start=False).members[0]
    second.folder = first.folder
    log, second.name = first.log, first.name
    process = subprocess.run(second.command(), capture_output=True, text=True, timeout=30, check=False)
    assert process.returncode == 1
    assert f"another process (pid {first.pid}) is using the data directory" in process.stderr
    assert cluster.ctl("put", "still", "alive") == "OK\n"
    assert log.exists()


@_ONLY_35
@pytest.mark.parametrize("flag", ["--listen-client-urls", "--listen-peer-urls"])
def test_a_port_in_use_is_refused_with_etcds_words(node_cluster: MakeCluster, flag: str) -> None:
    """And nothing is left behind: what the next try says of the new cluster counts."""
    taken = node_cluster(size=1).members[0]
    second = node_cluster(size=1, start=False).members[0]
    second.flags = (f"{flag}={taken.url}",)
    second.start_nowait()
    assert _refusal(second).endswith(f"listen tcp {taken.url.removeprefix('http://')}: bind: address already in use")
    assert not second.data_dir.exists()
    second.flags = ()
    second.start()


@_ONLY_35
@pytest.mark.parametrize("name", ["wal.db", "state.db"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "zeroed", "flipped"])
def test_a_damaged_file_is_named_and_never_created_anew(node_cluster: MakeCluster, name: str, damage: str) -> None:
    """Whatever happened to it, the member says which file, and leaves everything as it found it."""
    cluster = node_cluster(size=1)
    _write(cluster, "key-", 300)
    member = cluster.members[0]
    member.stop()
    path = member.data_dir / "member" / name
    for part in [path, *path.parent.glob(f"{name}-wal")]:
        _damage(part, damage)
    before = _contents(member.data_dir)
    member.start_nowait()
    assert str(path) in _refusal(member)
    assert _contents(member.data_dir) == before


def _damage(path: Path, damage: str) -> None:
    data = bytearray(path.read_bytes())
    match damage:
        case "missing":
            path.unlink()
            return
        case "truncated":
            data = data[: len(data) // 2 // 4096 * 4096]
        case "zeroed":
            data[4096:] = bytes(len(data) - 4096)
        case "flipped":
            for offset in range(4096 + 50, len(data), 4096):
                data[offset] ^= 0x40
    path.write_bytes(data)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "LOCK" and not path.name.endswith("-shm")
    }


@_ONLY_35
def test_the_directory_of_a_real_etcd_is_refused(node_cluster: MakeCluster) -> None:
    """Another format: the member says so instead of starting beside it."""
    member = node_cluster(size=1, start=False).members[0]
    wal = member.data_dir / "member" / "wal"
    wal.mkdir(parents=True, mode=0o700)
    for folder in (member.data_dir, member.data_dir / "member"):
        folder.chmod(0o700)
    member.start_nowait()
    assert "is the data directory of an etcd member" in _refusal(member)


@_ONLY_35
def test_sigterm_hands_the_leadership_over_and_exits_cleanly(node_cluster: MakeCluster) -> None:
    """A rolling restart must not cost an election timeout each."""
    cluster = node_cluster(size=3)
    cluster.ctl("put", "a", "b")
    leader = _leader(cluster)
    assert leader.process is not None
    leader.process.send_signal(signal.SIGTERM)
    assert leader.process.wait(20) == 0
    leader.process = None
    assert "leadership transfer finished" in leader.log_tail(60)
    survivors = _without(cluster, leader)
    assert _has_leader(survivors)
    assert survivors.ctl("put", "c", "d") == "OK\n"


def test_an_etcd_started_on_a_nodes_directory_stops_and_harms_nothing(
    node_cluster: MakeCluster, etcd_binaries: EtcdBinaries
) -> None:
    """It would find no etcd data and begin an empty cluster; the words it finds instead of a database prevent that."""
    cluster = node_cluster(size=1)
    cluster.ctl("put", "still", "here")
    member = cluster.members[0]
    member.stop()
    before = _contents(member.data_dir)
    mistaken = replace(member, binaries=replace(etcd_binaries, program=()), process=None)
    ended = subprocess.run(mistaken.command(), capture_output=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert b"invalid database" in ended.stderr
    assert {path: data for path, data in _contents(member.data_dir).items() if path in before} == before
    assert not (member.data_dir / "member" / "wal").exists()
    member.start()
    assert cluster.ctl("get", "still") == "still\nhere\n"
