"""Members are called by their names where any log tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.diagnosis.diagnose import diagnose
from etcdops.diagnosis.names import names_of, short_names, with_names
from etcdops.diagnosis.reading import find_sources

IDS = ("8e9e05c52164694d", "91bc3c398fb3c146", "fd422379fda50e48")
TOLD = {
    "3.5": '{"level":"info","ts":"2026-01-31T08:00:00.1Z","caller":"embed/etcd.go:308","msg":"starting an etcd server",'
    '"etcd-version":"3.5.16","name":"infra1","data-dir":"/var/lib/etcd"}',
    "3.5 zap, at the end of a start": '{"level":"info","ts":"2026-01-31T08:00:00.3Z","caller":"etcdserver/server.go:9",'
    '"msg":"published local member to cluster through raft","local-member-id":"8e9e05c52164694d",'
    '"local-member-attributes":"{Name:infra1 ClientURLs:[http://10.0.0.1:2379]}"}',
    "3.3": "2019-01-31 08:00:00.100000 I | etcdserver: name = infra1",
    "3.0": "2016-01-31 08:00:00.100000 I | etcdserver: published {Name:infra1 ClientURLs:[http://10.0.0.1:2379]} to"
    " cluster 7e27652122e8b2ae",
}


def lost_peer(member: str, peer: str) -> str:
    line = (
        '{"level":"warn","ts":"2026-01-31T08:0%d:00.1Z","caller":"rafthttp/probing_status.go:68",'
        '"msg":"prober detected unhealthy status","round-tripper-name":"ROUND_TRIPPER_RAFT_MESSAGE",'
        f'"remote-peer-id":"{peer}","rtt":"0s","error":"dial tcp 10.0.0.3:2380: connect: connection refused"}}'
    )
    who = (
        '{"level":"info","ts":"2026-01-31T08:00:00.0Z","caller":"raft/raft.go:120","logger":"raft",'
        f'"msg":"{member} became follower at term 7"}}'
    )
    return "\n".join([who, *(line % minute for minute in range(9))]) + "\n"


def logs(folder: Path, *names: str) -> list[str]:
    paths = []
    for name, member in zip(names, IDS, strict=False):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(lost_peer(member, IDS[2]), encoding="utf-8")
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_the_name_that_a_log_tells_stands_beside_the_id(tmp_path: Path, told: str) -> None:
    """Whatever the file is called."""
    (path,) = logs(tmp_path, "journal.log")
    Path(path).write_text(told + "\n" + Path(path).read_text(encoding="utf-8"), encoding="utf-8")
    diagnosis = diagnose(find_sources([path]))
    assert names_of(diagnosis) == {IDS[0]: "infra1"}
    found = with_names(diagnosis.findings, names_of(diagnosis))
    assert found[0].members == (f"infra1 ({IDS[0]})",)
    assert found[0].peers == (IDS[2],)


def test_of_a_file_for_each_member_the_files_name_them(tmp_path: Path) -> None:
    diagnosis = diagnose(find_sources(logs(tmp_path, "m1.log", "m2.log")))
    assert names_of(diagnosis) == {IDS[0]: "m1", IDS[1]: "m2"}
    folders = diagnose(find_sources(logs(tmp_path, "h1/etcd.log", "h2/etcd.log")))
    assert names_of(folders) == {IDS[0]: "h1/etcd", IDS[1]: "h2/etcd"}


def test_a_peer_is_called_by_its_own_log(tmp_path: Path) -> None:
    paths = logs(tmp_path, "m1.log", "m2.log", "m3.log")
    diagnosis = diagnose(find_sources(paths))
    found = with_names(diagnosis.findings, names_of(diagnosis))
    assert any(f"m3 ({IDS[2]})" in one.peers for one in found)


def test_one_file_alone_names_nobody(tmp_path: Path) -> None:
    """Nor do the pieces of one member's log."""
    assert names_of(diagnose(find_sources(logs(tmp_path, "etcd.log")))) == {}
    (path,) = logs(tmp_path, "etcd.log")
    older = tmp_path / "etcd.log.1"
    older.write_text(Path(path).read_text(encoding="utf-8"), encoding="utf-8")
    assert names_of(diagnose(find_sources([path, str(older)]))) == {}


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names(["/a/m1.log", "/b/m2.log.gz"]) == ["m1", "m2"]
    assert short_names(["/a/etcd.log", "/b/etcd.log"]) == ["a/etcd", "b/etcd"]
    assert short_names([]) == []
