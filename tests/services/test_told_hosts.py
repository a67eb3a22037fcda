"""What hosts say that we have no real one for: docker's words, runit's, and logs with time stamps."""

from __future__ import annotations

import json

import pytest

from etcdops.inventory.model import Manager, ServiceSpec
from etcdops.services.container import ContainerService
from etcdops.services.failures import ServiceFailed
from etcdops.services.log_file import read_log, time_of
from etcdops.services.managers import service_for
from etcdops.services.port import State
from etcdops.services.supervise import SuperviseService
from tests.fakes.session import FakeSession, said


def docker(state: dict[str, object], **more: object) -> FakeSession:
    session = FakeSession()
    raw = {"State": state, "Config": {"Entrypoint": ["etcd"], "Cmd": ["--name=m1"], "Env": ["ETCD_MAX_WALS=7"]}, **more}
    session.answer("container", "inspect", result=said(json.dumps([raw])))
    return session


@pytest.mark.parametrize(
    ("state", "expected", "reason"),
    [
        ({"Status": "exited", "ExitCode": 0}, State.STOPPED, ""),
        ({"Status": "exited", "ExitCode": 143}, State.STOPPED, ""),
        ({"Status": "exited", "ExitCode": 2}, State.FAILED, "exit status 2"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, State.FAILED, "out of memory"),
        ({"Status": "restarting", "ExitCode": 1}, State.FAILED, "again and again"),
        ({"Status": "created"}, State.STOPPED, ""),
        ({"Status": "dead", "Error": "driver failed"}, State.FAILED, "driver failed"),
    ],
)
async def test_states_of_docker_are_understood(state: dict[str, object], expected: State, reason: str) -> None:
    """Asked to end is not failed; ended by itself with an error is."""
    policy = {"RestartPolicy": {"Name": "unless-stopped"}}
    status = await ContainerService(docker(state, HostConfig=policy), "etcd", "docker").status()
    assert (status.state, status.enabled) == (expected, True)
    assert reason in status.reason


async def test_a_container_of_somebody_else_tells_its_configuration() -> None:
    """From what the engine says alone."""
    found = await ContainerService(docker({"Status": "exited"}), "etcd", "docker").effective_config()
    assert found.next_start is not None
    assert found.next_start.value("name") == "m1"
    assert found.next_start.flags["max-wals"].where == "docker inspect etcd"


async def test_an_image_of_bitnami_has_its_own_data_directory() -> None:
    """Set by its start scripts, which nobody sees from outside."""
    entry = "/opt/bitnami/scripts/etcd/entrypoint.sh"
    config = {"Entrypoint": [entry], "Cmd": ["/opt/bitnami/scripts/etcd/run.sh"], "Env": ["ETCD_NAME=m1"]}
    found = await ContainerService(docker({"Status": "created"}, Config=config), "e", "docker").effective_config()
    assert found.next_start is not None
    assert found.next_start.value("data-dir") == "/bitnami/etcd/data"
    assert found.next_start.value("name") == "m1"


async def test_a_docker_that_does_not_answer_is_no_missing_container() -> None:
    """The daemon is down."""
    session = FakeSession()
    session.answer("docker", result=said(status=1, stderr="Cannot connect to the Docker daemon"))
    with pytest.raises(ServiceFailed, match="docker failed") as caught:
        await ContainerService(session, "etcd", "docker").status()
    assert "Cannot connect" in caught.value.cause
    session.answer("container", "inspect", result=said(status=1, stderr="Error: No such container: etcd"))
    assert (await ContainerService(session, "etcd", "docker").status()).state is State.ABSENT


@pytest.mark.parametrize(
    ("line", "expected", "pid"),
    [
        ("on\nrun: /etc/service/etcd: (pid 123) 65s; run: log: (pid 122) 65s", State.RUNNING, 123),
        ("on\nrun: /etc/service/etcd: (pid 123) 0s; run: log: (pid 122) 65s", State.STARTING, 123),
        ("on\ndown: /etc/service/etcd: 3s; run: log: (pid 122) 65s", State.STOPPED, None),
        ("on\ndown: /etc/service/etcd: 1s, normally up, want up; run: log: (pid 1) 6s", State.FAILED, None),
        ("on\n/etc/service/etcd: up (pid 9) 7 seconds", State.RUNNING, 9),
        ("off\n/etc/service/etcd: down 7 seconds, normally up", State.STOPPED, None),
        ("on\n/etc/service/etcd: supervise not running", State.UNKNOWN, None),
        ("absent", State.ABSENT, None),
    ],
)
async def test_states_of_runit_and_daemontools_are_understood(line: str, expected: State, pid: int | None) -> None:
    """The log's own process does not count."""
    session = FakeSession()
    session.answer("command -v svstat", result=said("/etc/service\n/usr/bin/sv\n"))
    session.answer("echo absent", result=said(line))
    session.answer("btime", result=said("9 (etcd) S " + " ".join(["0"] * 18) + " 500 0\nbtime 1000"))
    status = await SuperviseService(session, "etcd").status()
    assert (status.state, status.pid) == (expected, pid)
    if pid is not None:
        assert status.since == 1005.0


async def test_lines_since_a_time_are_chosen_by_what_they_say() -> None:
    """multilog's stamps, etcd's own, and lines without any, which belong to the one before."""
    assert time_of(b'{"level":"info","ts":"2026-11-21T15:58:29.5Z","msg":"x"}') == 1795276709.5
    assert time_of(b'{"level":"info","ts":1700000000.25,"msg":"x"}') == 1700000000.25
    assert time_of(b"2026-11-21 15:58:29.500000 I | etcdmain: x") == 1795276709.5
    assert time_of(b"Usage:") is None
    session = FakeSession(files={"/log": "x"})
    lines = [b"@400000000000000a00000000 old", b"@400000000000006e1dcd6500 new", b"and more"]
    session.answer("tail", result=said(b"\n".join(lines).decode()))
    found = [line async for line in read_log(session, "/log", lines=5, since=100.0)]
    assert found == [b"new", b"and more"]
    assert [line async for line in read_log(session, "/none", lines=5)] == []


@pytest.mark.parametrize("manager", [one for one in Manager if one is not Manager.KUBELET])
def test_every_manager_of_the_inventory_has_a_service(manager: Manager) -> None:
    """By its name."""
    image = "etcd:1" if manager in (Manager.DOCKER, Manager.PODMAN) else ""
    assert "etcd" in service_for(FakeSession(), ServiceSpec(manager=manager, name="etcd", image=image)).name
