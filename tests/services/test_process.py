"""Members as plain processes."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from etcdops.remote.command import command
from etcdops.remote.local import LocalSession
from etcdops.remote.session import Ownership, Session
from etcdops.rendering.files import RenderedFile
from etcdops.services.port import State
from etcdops.services.process import ProcessPlaces, ProcessService
from tests.contracts.service_port import TIMEOUT_S, Bench, ServiceContract
from tests.hosts.host import Host
from tests.services.conftest import ETCD
from tests.support.ports import free_ports
from tests.support.real_etcd import find_etcd

NAME = "etcd-process"
SCRIPT = Ownership(0o755, "root", "root")


@dataclass(frozen=True)
class ProcessBench:
    session: Session
    service: ProcessService
    places: ProcessPlaces
    data_dir: str
    etcd: str = ETCD
    extra: tuple[str, ...] = ()
    ownership: Ownership = SCRIPT

    def files(self, flags: Mapping[str, str]) -> Sequence[RenderedFile]:
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        words = shlex.join([self.etcd, f"--data-dir={self.data_dir}", *self.extra, *arguments])
        return (RenderedFile(self.places.run, f"#!/bin/sh\nexec {words}\n".encode(), self.ownership),)


class TestProcessOnAHost(ServiceContract):
    """The contract, over ssh."""

    @pytest.fixture
    async def bench(self, host: Host, session: Session) -> AsyncIterator[Bench]:
        made = ProcessBench(session, ProcessService(session, NAME), ProcessPlaces.of(NAME), f"/var/lib/{NAME}")
        yield made
        await made.service.stop(timeout_s=TIMEOUT_S)
        await made.service.uninstall()
        host.run(["rm", "-rf", made.data_dir, made.places.log])


@pytest.mark.slow
@pytest.mark.real
class TestProcessHere(ServiceContract):
    """The contract, on this machine, as whoever runs the tests."""

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        etcd = find_etcd("3.5")
        if etcd is None:
            pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
        session = LocalSession()
        places = ProcessPlaces(*(str(tmp_path / part) for part in ("m 1.run", "run/m 1.pid", "m 1.log", "kept")))
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        extra = (
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", "--force-new-cluster=false",
        )  # fmt: skip
        service = ProcessService(session, "m 1", places=places, user="")
        data = str(tmp_path / "data")
        made = ProcessBench(session, service, places, data, str(etcd.etcd), extra, Ownership(0o755))
        yield made
        await service.stop(timeout_s=TIMEOUT_S)
        await session.close()


async def idle(tmp_path: Path, session: Session, text: str = "exec sleep 600") -> tuple[ProcessService, ProcessPlaces]:
    """A service that needs no etcd."""
    places = ProcessPlaces(*(str(tmp_path / part) for part in ("run", "pid", "log", "kept")))
    service = ProcessService(session, "idle", places=places, user="")
    await service.install([RenderedFile(places.run, f"#!/bin/sh\n{text}\n".encode(), Ownership(0o755))])
    return service, places


@pytest.mark.slow
async def test_a_number_that_belongs_to_another_process_by_now_is_not_killed(tmp_path: Path) -> None:
    """Its start time tells."""
    session = LocalSession()
    other = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        service, places = await idle(tmp_path, session)
        await service.start(timeout_s=TIMEOUT_S)
        pid, ticks, boot = Path(places.pid).read_text().split()
        Path(places.pid).write_text(f"{other.pid} {ticks} {boot}\n")
        assert (await service.status()).state is State.FAILED
        await service.stop(timeout_s=10)
        assert other.returncode is None
        await session.run(command("kill", pid))
    finally:
        other.kill()
        await other.wait()
        await session.close()


@pytest.mark.slow
async def test_a_process_of_before_the_last_boot_is_stopped_and_not_failed(tmp_path: Path) -> None:
    """Nobody starts it again; that is said."""
    session = LocalSession()
    service, places = await idle(tmp_path, session)
    Path(places.pid).write_text("1 1 other-boot\n")
    found = await service.status()
    assert (found.state, found.pid) == (State.STOPPED, None)
    assert "host was started after it" in found.reason
    await session.close()


@pytest.mark.slow
async def test_a_process_that_ignores_term_is_killed_at_the_deadline(tmp_path: Path) -> None:
    """As systemd does."""
    session = LocalSession()
    service, _ = await idle(tmp_path, session, "trap '' TERM; while :; do sleep 1; done")
    await service.start(timeout_s=TIMEOUT_S)
    await service.stop(timeout_s=4)
    assert (await service.status()).state is State.STOPPED
    await session.close()


@pytest.mark.slow
async def test_two_who_start_it_at_once_start_one(tmp_path: Path) -> None:
    """Also two operators."""
    session = LocalSession()
    service, places = await idle(tmp_path, session, "echo started; exec sleep 600")
    await asyncio.gather(*(service.start(timeout_s=TIMEOUT_S) for _ in range(3)))
    assert Path(places.log).read_text() == "started\n"
    await service.stop(timeout_s=10)
    await session.close()
