"""Local members: equal flags for both engines, one process known to every terminal, failures told with their log."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest

from etcdops.errors import EtcdopsError, UsageError
from etcdops.playbooks.cluster_file import ClusterSpec, Engine, EngineKind, load_cluster
from etcdops.playbooks.demo.engines import choose_engine
from etcdops.playbooks.local_cluster import LocalCluster, member_environment, new_cluster
from tests.support.real_etcd import poll_until


def cluster(folder: Path, binary: str = "/bin/false") -> ClusterSpec:
    found = shutil.which(binary)
    assert found is not None
    return new_cluster("lab", folder / "lab", Engine(EngineKind.ETCD, Path(found)))


def test_both_engines_get_the_same_flags(tmp_path: Path) -> None:
    """Goal: an engine is little more than "which binary"."""
    etcd = LocalCluster(cluster(tmp_path)).members[0].command()
    node = LocalCluster(new_cluster("lab", tmp_path / "lab", Engine(EngineKind.NODE))).members[0].command()
    assert node[:4] == [sys.executable, "-m", "etcdops", "node"]
    assert [flag.partition("=")[0] for flag in node[4:]] == [flag.partition("=")[0] for flag in etcd[1:]]


def test_every_cluster_gets_ports_and_a_token_of_its_own(tmp_path: Path) -> None:
    """Goal: two clusters on one machine never mix."""
    one, two = (new_cluster("lab", tmp_path / name, Engine(EngineKind.NODE)) for name in ("a", "b"))
    assert one.token != two.token
    assert len({url for member in one.members for url in (member.client_url, member.peer_url)}) == 6
    assert load_cluster(one.directory) == one


def test_members_take_no_flags_from_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: ETCD_NAME of some unit must not name our members."""
    monkeypatch.setenv("ETCD_NAME", "intruder")
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "http://production:2379")
    monkeypatch.setenv("ETCDOPS_WRITE_OUT", "json")
    kept = member_environment()
    assert "ETCD_NAME" not in kept
    assert "ETCDCTL_ENDPOINTS" not in kept
    assert kept["ETCDOPS_WRITE_OUT"] == "json"


@pytest.mark.slow
@pytest.mark.real
def test_a_member_that_ends_at_once_is_explained_with_its_log(tmp_path: Path) -> None:
    """Goal: the reason is in the error, not only in a file somewhere."""
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho no space left on device\nexit 1\n")
    program.chmod(0o700)
    local = LocalCluster(new_cluster("lab", tmp_path / "lab", Engine(EngineKind.ETCD, program)))
    local.members[0].start(tethered=True)
    with pytest.raises(EtcdopsError, match="m1 did not become healthy: its process ended") as failed:
        asyncio.run(local.wait_healthy(["m1"], timeout_s=20))
    assert "no space left on device" in failed.value.cause
    assert str(local.members[0].log_path) in failed.value.hint


@pytest.mark.slow
@pytest.mark.real
def test_waiting_for_health_has_an_end(tmp_path: Path) -> None:
    """Goal: a member that runs and never answers is given up in time."""
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    local = LocalCluster(new_cluster("lab", tmp_path / "lab", Engine(EngineKind.ETCD, program)))
    local.members[0].start(tethered=True)
    try:
        with pytest.raises(EtcdopsError, match="not within 1 s"):
            asyncio.run(local.wait_healthy(["m1"], timeout_s=1))
    finally:
        local.kill()
    assert not local.members[0].running


@pytest.mark.slow
@pytest.mark.real
def test_another_terminal_stops_and_starts_the_same_members(local_cluster: ClusterSpec) -> None:
    """Goal: the description and the pid files are all it takes."""
    here, there = LocalCluster(local_cluster), LocalCluster(load_cluster(local_cluster.directory))
    here.start(tethered=True)
    asyncio.run(here.wait_healthy(timeout_s=90))
    before = [member.process for member in here.members]
    assert before == [member.process for member in there.members]
    there.member("m2").stop()
    assert [member.running for member in here.members] == [True, False, True]
    there.start(tethered=True)
    asyncio.run(here.wait_healthy(timeout_s=90))
    assert [member.process == old for member, old in zip(here.members, before, strict=True)] == [True, False, True]
    there.stop()
    assert not any(member.running for member in here.members)


def test_the_engine_is_found_or_its_absence_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a machine without etcd is told how to get one."""
    assert choose_engine(EngineKind.NODE, None) == Engine(EngineKind.NODE)
    for version in ("3.4.9", "3.4.23", "3.10.1"):
        (tmp_path / ".cache" / "etcd" / version).mkdir(parents=True)
        (tmp_path / ".cache" / "etcd" / version / "etcd").touch()
    monkeypatch.chdir(tmp_path)
    assert choose_engine(EngineKind.ETCD, None).binary == tmp_path / ".cache" / "etcd" / "3.10.1" / "etcd"
    with pytest.raises(UsageError, match="no etcd at") as failed:
        choose_engine(EngineKind.ETCD, tmp_path / "gone")
    assert "make etcd" in failed.value.hint


@pytest.mark.slow
@pytest.mark.real
def test_members_that_end_at_once_leave_no_file_that_names_them(tmp_path: Path) -> None:
    """Goal: a process ID in a file may one day be another process; also one that ended before it was waited for."""
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    local = LocalCluster(new_cluster("lab", tmp_path / "lab", Engine(EngineKind.ETCD, program)))
    local.start(tethered=True)
    first, second, third = local.members
    assert first.process is not None
    first.process.signal(signal.SIGKILL)
    poll_until(lambda: not first.running, 20)
    local.stop()
    assert not list(tmp_path.glob("lab/*.pid"))
    assert not any(member.running for member in (second, third))
