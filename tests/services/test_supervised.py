"""Members under daemontools and under supervisord, both as Debian has them."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from etcdops.remote.session import Ownership, Session
from etcdops.rendering import places
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.flags import variable
from etcdops.services.failures import ServiceFailed
from etcdops.services.port import Service
from etcdops.services.supervise import SuperviseService
from etcdops.services.supervisord import SupervisordService
from tests.contracts.service_port import TIMEOUT_S, Bench, ServiceContract
from tests.hosts.host import Host
from tests.services.conftest import ETCD

NAME = "etcd-kept"
DATA = f"/var/lib/{NAME}"
LOG = f"/var/log/{NAME}"
SCRIPT = Ownership(0o755, "root", "root")
SCANNER = ["systemd-run", "--quiet", "--unit=scanner", "--collect", "svscan", "/etc/service"]


@dataclass(frozen=True)
class SuperviseBench:
    session: Session
    service: Service
    data_dir: str = DATA

    def files(self, flags: Mapping[str, str]) -> Sequence[RenderedFile]:
        exports = "".join(f"export {variable(name)}={shlex.quote(value)}\n" for name, value in flags.items())
        run = f"#!/bin/sh\nexec 2>&1\n{exports}exec setuidgid root {ETCD} --data-dir={DATA}\n"
        log = f"#!/bin/sh\nexec multilog t s1000000 n10 {LOG}\n"
        return (
            RenderedFile(places.supervise_run(NAME), run.encode(), SCRIPT),
            RenderedFile(places.supervise_log_run(NAME), log.encode(), SCRIPT),
        )


@dataclass(frozen=True)
class SupervisordBench:
    session: Session
    service: Service
    data_dir: str = DATA

    def files(self, flags: Mapping[str, str]) -> Sequence[RenderedFile]:
        words = [ETCD, f"--data-dir={DATA}", *(f"--{name}={value}" for name, value in flags.items())]
        # Inside quotes a space before # or ; would begin a comment: the quotation is closed and opened again between.
        command = " ".join(shlex.quote(word).replace(" #", " ''#").replace(" ;", " '';") for word in words)
        text = f"""\
[program:{NAME}]
command={command.replace("%", "%%")}
autostart=true
autorestart=true
startretries=1
stdout_logfile={LOG}/etcd.log
redirect_stderr=true
"""
        return (RenderedFile(places.supervisord_program(NAME), text.encode()),)


class TestDaemontools(ServiceContract):
    """The contract, with svscan as a Debian host runs it."""

    @pytest.fixture
    async def bench(self, host: Host, session: Session) -> AsyncIterator[Bench]:
        host.run(["mkdir", "-p", "/etc/service"])
        if host.run(["systemctl", "is-active", "--quiet", "scanner"], check=False).status:
            host.run(SCANNER)
        made = SuperviseBench(session, SuperviseService(session, NAME))
        yield made
        await made.service.stop(timeout_s=TIMEOUT_S)
        await made.service.uninstall()
        host.run(["rm", "-rf", DATA, LOG])


async def test_a_host_without_supervision_is_told_so(host: Host, session: Session) -> None:
    """Not that the service is absent: nobody looks for it there."""
    host.run(["systemctl", "stop", "scanner"], check=False)
    host.run(["rm", "-rf", "/etc/service"])
    with pytest.raises(ServiceFailed, match="has nobody to supervise it") as caught:
        await SuperviseService(session, NAME).status()
    assert "daemontools-run or runit" in caught.value.hint


async def _answering(host: Host) -> None:
    """supervisord's socket is there a while after systemd calls it started."""
    deadline = time.monotonic() + TIMEOUT_S
    while host.run(["supervisorctl", "pid"], check=False).status:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


class TestSupervisord(ServiceContract):
    """The contract."""

    @pytest.fixture
    async def bench(self, host: Host, session: Session) -> AsyncIterator[Bench]:
        host.run(["mkdir", "-p", LOG])
        host.run(["systemctl", "start", "supervisor"])
        await _answering(host)
        made = SupervisordBench(session, SupervisordService(session, NAME))
        yield made
        await made.service.stop(timeout_s=TIMEOUT_S)
        await made.service.uninstall()
        host.run(["rm", "-rf", DATA, LOG])


async def test_a_supervisord_that_does_not_run_is_told_so(host: Host, session: Session) -> None:
    """With what to look at."""
    host.run(["systemctl", "stop", "supervisor"])
    with pytest.raises(ServiceFailed, match="cannot be managed") as caught:
        await SupervisordService(session, NAME).status()
    assert "supervisord is installed and runs" in caught.value.hint
