"""The snapshot package judged by real etcd: equal numbers for its files, and its tools and servers take ours."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.bbolt_writer import write_bbolt
from etcdops.snapshot.checksum import append_checksum, database_size
from etcdops.snapshot.etcd_file import EtcdSnapshot
from etcdops.snapshot.etcd_rewrite import rewrite_bumped
from etcdops.snapshot.hashkv import hash_kv
from etcdops.snapshot.inspect import inspect_snapshot
from etcdops.snapshot.keys import live_keys
from tests.conftest import MakeCluster
from tests.support.real_etcd import EtcdBinaries, RealCluster, new_cluster

pytestmark = [pytest.mark.slow, pytest.mark.real]


def fill(cluster: RealCluster) -> None:
    """A history with everything in it: overwritten, deleted and compacted keys, a lease, users, values of all sizes."""
    for index in range(12):
        cluster.ctl("put", f"/dir/{index % 5}", "v" * (index * 997))
    cluster.ctl("put", "/large", "x" * 100_000)
    cluster.ctl("del", "/dir/3")
    cluster.ctl("compaction", "7")
    cluster.ctl("del", "/dir/4")
    lease = cluster.ctl("lease", "grant", "3600").split()[1]
    cluster.ctl("put", "/leased", "1", f"--lease={lease}")
    cluster.ctl("role", "add", "reader")
    cluster.ctl("user", "add", "root:secret")


def save(cluster: RealCluster, path: Path) -> Path:
    endpoint = cluster.members[0].url
    subprocess.run(
        [str(cluster.binaries.etcdctl), f"--endpoints={endpoint}", "snapshot", "save", str(path)],
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    return path


@dataclass(frozen=True)
class ServerHash:
    hash: int
    compact_revision: int
    revision: int


def server_hash(cluster: RealCluster, revision: int = 0) -> ServerHash:
    text = cluster.ctl("endpoint", "hashkv", f"--rev={revision}", "-w", "json")
    answer = json.loads(text)[0]["HashKV"]
    return ServerHash(answer["hash"], answer["compact_revision"], answer["header"]["revision"])


def official_status(binaries: EtcdBinaries, path: Path) -> dict[str, int]:
    program = binaries.etcdutl or binaries.etcdctl
    done = subprocess.run(
        [str(program), "snapshot", "status", str(path), "-w", "json"],
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    status = json.loads(done.stdout)
    assert isinstance(status, dict)
    return status


def test_a_real_snapshot_is_reported_as_etcds_own_tool_reports_it(
    real_etcd: MakeCluster, tmp_path: Path, etcd_binaries: EtcdBinaries
) -> None:
    """Goal: hash, revision, keys and size equal `snapshot status`, HashKV equals the server's."""
    cluster = real_etcd()
    fill(cluster)
    path = save(cluster, tmp_path / "snap.db")
    report = inspect_snapshot(path)
    official = official_status(etcd_binaries, path)
    assert (report.hash, report.revision, report.total_key, report.total_size_bytes) == (
        official["hash"],
        official["revision"],
        official["totalKey"],
        official["totalSize"],
    )
    server = server_hash(cluster)
    assert (report.hash_kv.hash, report.hash_kv.compact_revision, report.current_revision) == (
        server.hash,
        server.compact_revision,
        server.revision,
    )
    with EtcdSnapshot(path) as file:
        for revision in (8, 9, 12, 14):  # at 7, the compaction, 3.5 answers with a stored older hash
            assert hash_kv(file, revision).hash == server_hash(cluster, revision).hash
    assert report.has_checksum
    assert report.live_keys == len(cluster.ctl("get", "", "--prefix", "--keys-only").split())
    assert report.leased_keys == 1
    assert report.facts.lease_count == 1
    assert report.facts.users == ("root",)
    assert [member.name for member in report.facts.members] == ["m1"]
    assert report.facts.roles == ("reader",)
    assert report.facts.consistent_index > 0


def test_a_rewritten_file_is_accepted_by_the_official_tool(
    real_etcd: MakeCluster, tmp_path: Path, etcd_binaries: EtcdBinaries
) -> None:
    """Goal: our one-pass builder copies a snapshot so that only its layout differs."""
    cluster = real_etcd()
    fill(cluster)
    path = save(cluster, tmp_path / "snap.db")
    copy = tmp_path / "copy.db"
    with EtcdSnapshot(path) as file:
        write_bbolt(copy, ((name, file.items(name)) for name in file.bucket_names))
    append_checksum(copy)
    ours, theirs = official_status(etcd_binaries, copy), official_status(etcd_binaries, path)
    assert ours["totalSize"] == database_size(copy)
    assert {**ours, "totalSize": 0} == {**theirs, "totalSize": 0}


@pytest.mark.parametrize("by_tool", [False, True])
def test_a_bumped_restore_serves_the_keys_and_tells_old_watchers_that_they_are_compacted(
    real_etcd: MakeCluster, tmp_path: Path, etcd_binaries: EtcdBinaries, by_tool: bool
) -> None:
    """Goal: revision after the restore, compaction mark, equal values, and the store works on (put, compact, defrag).

    Source: etcdutl/snapshot/v3_snapshot.go, modifyLatestRevision.
    """
    cluster = real_etcd()
    fill(cluster)
    snapshot = save(cluster, tmp_path / "snap.db")
    before = inspect_snapshot(snapshot)
    cluster.kill()
    tool = etcd_tools.find_tool(etcd_binaries.etcd)
    if by_tool and not tool.can_bump:
        pytest.skip(f"{tool.label} cannot bump the revision itself")
    bumped = snapshot
    if not by_tool:
        bumped = tmp_path / "bumped.db"
        rewrite_bumped(snapshot, bumped, revision=before.revision + 5000)
    restored = new_cluster(etcd_binaries, tmp_path / "restored", token="fresh")
    member = restored.members[0]
    target = etcd_tools.RestoreTarget(
        member.name, member.data_dir, (member.peer_url,), f"{member.name}={member.peer_url}", "fresh"
    )
    etcd_tools.restore(tool, bumped, target, has_checksum=True, bump=5000 if by_tool else 0)
    restored.start()
    try:
        assert server_hash(restored).revision == before.revision + 5000
        assert server_hash(restored).compact_revision == before.revision + 5000
        watch = subprocess.run(
            [str(etcd_binaries.etcdctl), f"--endpoints={member.url}", "watch", "/dir", "--rev=9"],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "required revision has been compacted" in watch.stdout + watch.stderr
        with EtcdSnapshot(snapshot) as file:
            expected = {kv.key.decode(): kv.value.decode() for kv in live_keys(file)}
        listed = restored.ctl("get", "", "--prefix").splitlines()
        assert dict(zip(listed[::2], listed[1::2], strict=True)) == expected
        for index in range(200):
            restored.ctl("put", f"/new/{index % 7}", "w" * index * 10) if index % 20 == 0 else None
        restored.ctl("compaction", str(server_hash(restored).revision), "--physical")
        restored.ctl("defrag")
        again = inspect_snapshot(save(restored, tmp_path / "again.db"))
        assert again.hash_kv.hash == server_hash(restored).hash
    finally:
        restored.kill()


def test_the_tool_fits_the_server(etcd_binaries: EtcdBinaries, tmp_path: Path) -> None:
    """Goal: etcdutl for 3.5, etcdctl for 3.4, and a clear refusal when nothing fits."""
    tool = etcd_tools.find_tool(etcd_binaries.etcd)
    assert tool.path.name == ("etcdutl" if etcd_binaries.etcdutl else "etcdctl")
    assert tool.can_bump == (tool.version >= (3, 4, 27))
    lonely = tmp_path / "etcd"
    lonely.symlink_to(etcd_binaries.etcd)
    stranger = tmp_path / "etcdutl"
    stranger.write_text("#!/bin/sh\necho etcdutl version: 3.6.0\n")
    stranger.chmod(0o700)
    with pytest.raises(UsageError, match="no tool to restore"):
        etcd_tools.find_tool(lonely, tool=stranger)
