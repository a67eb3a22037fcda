"""Members as systemd units of real hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from etcdops.remote.session import Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.flags import variable
from etcdops.rendering.places import unit
from etcdops.services.systemd import SystemdService
from tests.contracts.service_port import TIMEOUT_S, Bench, ServiceContract
from tests.hosts.host import Host
from tests.services.conftest import ETCD

NAME = "etcd-test"
DATA = "/var/lib/etcd-test"
VARIABLES = "/etc/default/etcd-test"
UNIT = f"""\
[Unit]
Description=a member
[Service]
Type=notify
EnvironmentFile={VARIABLES}
ExecStart={ETCD} \\
    # a comment in between
    --data-dir={DATA}
Restart=on-failure
RestartSec=1
StateDirectory={NAME}
WorkingDirectory=/var/lib
[Install]
WantedBy=multi-user.target
"""


def quoted(value: str) -> str:
    """For an environment file of systemd."""
    escaped = "".join(f"\\{character}" if character in '"\\`$' else character for character in value)
    return f'"{escaped}"'


@dataclass(frozen=True)
class SystemdBench:
    session: Session
    service: SystemdService
    data_dir: str = DATA

    def files(self, flags: Mapping[str, str]) -> Sequence[RenderedFile]:
        env = "".join(f"{variable(name)}={quoted(value)}\n" for name, value in flags.items())
        return (RenderedFile(unit(NAME), UNIT.encode()), RenderedFile(VARIABLES, env.encode()))


@pytest.fixture
async def bench(host: Host, session: Session) -> AsyncIterator[SystemdBench]:
    made = SystemdBench(session, SystemdService(session, NAME))
    yield made
    await made.service.stop(timeout_s=TIMEOUT_S)
    await made.service.uninstall()
    host.run(["rm", "-rf", DATA, f"/etc/systemd/system/{NAME}.service.d"])


class TestSystemd(ServiceContract):
    """The contract."""

    @pytest.fixture
    def bench(self, bench: Bench) -> Bench:
        return bench
