"""Members in containers of a real podman, and what docker says in other words."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from etcdops.remote.command import Command, command
from etcdops.remote.session import Result, Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.flags import variable
from etcdops.rendering.places import container_arguments
from etcdops.services import container
from etcdops.services.container import ContainerService
from etcdops.services.failures import ServiceFailed
from etcdops.services.port import State
from tests.contracts.service_port import TIMEOUT_S, Bench, ServiceContract
from tests.fakes.session import FakeSession, said
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.hosts.packages import load_etcd_image
from tests.services.conftest import session_to
from tests.support.real_etcd import find_etcd

NAME = "etcd-container"
DATA = f"/srv/{NAME}"


@dataclass(frozen=True)
class ContainerBench:
    session: Session
    service: ContainerService
    image: str
    data_dir: str = DATA
    by_variables: bool = False
    log_driver: str = "journald"
    volume: bool = True

    def files(self, flags: Mapping[str, str]) -> Sequence[RenderedFile]:
        options = ["--restart=always", "--network=host", f"--log-driver={self.log_driver}"]
        if self.volume:
            options.append(f"--volume={self.data_dir}:/var/lib/etcd")
        settings = {"data-dir": "/var/lib/etcd", **flags}
        arguments = []
        if self.by_variables:
            options += [f"--env={variable(name)}={value}" for name, value in settings.items()]
        else:
            arguments = [f"--{name}={value}" for name, value in settings.items()]
        lines = "\n".join(map(shlex.quote, [*options, self.image, *arguments]))
        return (RenderedFile(container_arguments(NAME), f"# a member\n{lines}\n".encode()),)


@pytest.fixture
def image(host: Host) -> str:
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    name = f"localhost/etcd:{etcd.version}"
    if host.run(["podman", "image", "exists", name], check=False).status:
        load_etcd_image(host, etcd)
    return name


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.exhaustive)], ids=["flags", "variables"])
async def bench(
    request: pytest.FixtureRequest, host: Host, image: str, session: Session
) -> AsyncIterator[ContainerBench]:
    host.run(["mkdir", "-p", DATA])
    service = ContainerService(session, NAME, "podman")
    yield ContainerBench(
        session, service, image, by_variables=request.param, log_driver="k8s-file" if request.param else "journald"
    )
    host.run(["podman", "rm", "--force", "--ignore", "--time=1", NAME], timeout_s=60)
    await service.uninstall()
    host.run(["rm", "-rf", DATA])


@pytest.mark.timeout(300)
class TestPodman(ServiceContract):
    """The contract, with a member that is told by flags and one that is told by variables."""

    @pytest.fixture
    def bench(self, bench: Bench) -> Bench:
        return bench


async def test_data_inside_a_container_is_never_removed_with_it(
    host: Host, image: str, session: Session, bench: ContainerBench
) -> None:
    """A change of arguments needs a new container: refused, with the way out."""
    inside = ContainerBench(session, bench.service, image, volume=False)
    await inside.service.install(inside.files({"name": "m1"}))
    await inside.service.start(timeout_s=TIMEOUT_S)
    await inside.service.stop(timeout_s=TIMEOUT_S)
    await inside.service.install(inside.files({"name": "m2"}))
    for refused in (inside.service.start(timeout_s=TIMEOUT_S), inside.service.uninstall()):
        with pytest.raises(ServiceFailed, match="is not removed") as caught:
            await refused
        assert "/var/lib/etcd is on no volume" in caught.value.cause
        assert f"podman cp {NAME}:/var/lib/etcd" in caught.value.hint
    assert (await session.run(command("podman", "container", "exists", NAME))).ok


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
async def test_a_container_comes_back_when_the_host_starts(dirty_hosts: Hosts, host: Host, image: str) -> None:
    """By podman's own boot unit, which installing enables, once; seen after the power was cut."""
    host.run(["systemctl", "unmask", "--quiet", "podman-restart.service"])
    host.run(["systemctl", "disable", "--quiet", "podman-restart.service"])
    host.run(["mkdir", "-p", DATA])
    async with session_to(dirty_hosts, host.name) as session:
        bench = ContainerBench(session, ContainerService(session, NAME, "podman"), image)
        files = bench.files({"name": "m1"})
        for changes in (await bench.service.compare(files), await bench.service.install(files)):
            assert "enabled podman-restart.service" in changes.actions[0]
        assert not await bench.service.install(files)
        await bench.service.start(timeout_s=TIMEOUT_S)
        assert (await bench.service.status()).enabled
    host.power_off()
    host.power_on()
    async with session_to(dirty_hosts, host.name) as session:
        service = ContainerService(session, NAME, "podman")
        deadline = time.monotonic() + TIMEOUT_S
        while (found := await service.status()).state is not State.RUNNING:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)
        host.run(["podman", "rm", "--force", "--ignore", "--time=1", NAME], timeout_s=60)
        await service.uninstall()
    host.run(["rm", "-rf", DATA])
    host.run(["systemctl", "disable", "--quiet", "podman-restart.service"])
    host.run(["systemctl", "mask", "--quiet", "podman-restart.service"])


async def test_a_podman_without_its_boot_unit_says_that_nothing_comes_back() -> None:
    """There is nothing to enable, and installing does not fail for it; docker needs no unit."""
    arguments = RenderedFile(container_arguments(NAME), b"--restart=always\netcd:1\n")
    inspected = {
        "Config": {},
        "State": {"Status": "running", "Pid": 7},
        "HostConfig": {"RestartPolicy": {"Name": "always"}},
    }
    for engine, unit, enabled in (("podman", "", False), ("podman", "masked", False), ("docker", "", True)):
        session = FakeSession()
        session.answer("", result=said())
        session.answer("container", "inspect", result=said(json.dumps([inspected])))
        session.answer("is-enabled", result=said(unit, status=1))
        service = ContainerService(session, NAME, engine)
        assert not (await service.install([arguments])).actions
        assert (await service.status()).enabled is enabled
        assert not any("enable" in map(str, asked.argv) for asked in session.ran)


async def test_a_start_that_came_after_the_stop_is_stopped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that fails again and again may be about to be started when it is told to stop: it runs on then."""
    monkeypatch.setattr(container, "_STOPPED_WITHIN_S", 0.01)
    session = FakeSession()

    def inspected(_: Command) -> Result:
        stops = sum("stop" in map(str, asked.argv) for asked in session.ran)
        state = {"Status": "running", "Pid": 7} if stops < 2 else {"Status": "exited"}
        return said(json.dumps([{"Config": {}, "State": {"StartedAt": "2026-01-31T08:00:00Z", **state}}]))

    session.answer("", result=said())
    session.answer("container", "inspect", result=inspected)
    await ContainerService(session, NAME, "podman").stop(timeout_s=30)
    assert sum("stop" in map(str, asked.argv) for asked in session.ran) == 2


async def test_an_image_that_is_not_there_is_named(session: Session, bench: ContainerBench) -> None:
    """Before anything was changed."""
    other = ContainerBench(session, bench.service, "localhost/none:1")
    await other.service.install(other.files({"name": "m1"}))
    with pytest.raises(ServiceFailed, match="cannot be made") as caught:
        await other.service.start(timeout_s=TIMEOUT_S)
    assert "localhost/none:1" in caught.value.hint
    assert (await other.service.status()).state is State.STOPPED
