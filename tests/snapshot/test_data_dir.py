"""How far a dead member had come, read from real etcd's data directories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etcdops.errors import SnapshotCorrupt
from etcdops.ids import LogIndex
from etcdops.snapshot.data_dir import inspect_data_dir
from etcdops.snapshot.etcd_wal import read_wal
from etcdops.snapshot.facts import SnapshotFormat
from tests.conftest import MakeCluster


def test_no_member_is_no_error(tmp_path: Path) -> None:
    """Goal: a destroyed directory is a fact, not a failure."""
    assert inspect_data_dir(tmp_path / "gone") is None
    assert inspect_data_dir(tmp_path) is None


@pytest.mark.slow
@pytest.mark.real
def test_the_revision_of_a_killed_member_is_found_between_its_bounds(real_etcd: MakeCluster) -> None:
    """Goal: after SIGKILL the database lags behind the log; the true revision is within what is reported."""
    cluster = real_etcd()
    for index in range(30):
        cluster.ctl("put", f"/k{index % 7}", str(index))
    cluster.ctl("del", "/k3")
    status = json.loads(cluster.ctl("endpoint", "status", "-w", "json"))[0]["Status"]
    cluster.kill()
    facts = inspect_data_dir(cluster.members[0].data_dir)
    assert facts is not None
    assert facts.format is SnapshotFormat.ETCD
    assert facts.member_id == status["header"]["member_id"]
    assert facts.cluster_id == status["header"]["cluster_id"]
    assert facts.revision <= status["header"]["revision"] <= facts.revision_max <= facts.revision + 32
    assert facts.last_index == status["raftIndex"]


@pytest.mark.slow
@pytest.mark.real
def test_a_log_cut_anywhere_is_read_up_to_the_cut(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """Goal: a torn tail is how a crash looks: never an error, never an entry too many."""
    cluster = real_etcd()
    for index in range(5):
        cluster.ctl("put", f"/k{index}", "v" * 100)
    cluster.kill()
    folder = cluster.members[0].data_dir / "member" / "wal"
    whole = read_wal(folder, after=LogIndex(0))
    (log,) = folder.glob("*.wal")
    raw = log.read_bytes().rstrip(b"\0")
    copy = tmp_path / "wal"
    copy.mkdir()
    seen = set()
    for size in range(100, len(raw), 37):
        (copy / log.name).write_bytes(raw[:size])
        found = read_wal(copy, after=LogIndex(0))
        assert found.last_index <= whole.last_index
        seen.add(found.last_index)
    assert len(seen) > 4
    damaged = bytearray(raw)
    damaged[raw.rindex(b"v" * 50)] ^= 1
    (copy / log.name).write_bytes(damaged)
    assert read_wal(copy, after=LogIndex(0)).last_index < whole.last_index


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    """Goal: half a data directory is not mistaken for a whole one."""
    with pytest.raises(SnapshotCorrupt, match="no write-ahead log"):
        read_wal(tmp_path, after=LogIndex(0))
