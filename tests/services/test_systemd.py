"""Members as systemd units of real hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from etcdops.remote.session import Session
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.flags import variable
from etcdops.rendering.places import drop_in, unit
from etcdops.services.failures import ServiceFailed
from etcdops.services.port import State
from etcdops.services.systemd import SystemdService
from etcdops.services.unit_start import unit_start
from tests.contracts.service_port import TIMEOUT_S, Bench, ServiceContract, wait_for
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


@pytest.mark.parametrize(
    ("line", "reason", "hint"),
    [
        ("WorkingDirectory=/no/such", "status=200/CHDIR", "make the directory"),
        ("ExecStart=\nExecStart=/etc/hostname", "status=203/EXEC", "is executable"),
        ("User=nosuchuser", "status=217/USER", "make the user"),
        ("ReadWritePaths=/no/such", "status=226/NAMESPACE", "must exist"),
        ("EnvironmentFile=/no/such", "for lack of something", "EnvironmentFile= that is missing"),
        ("ExecStart=\nExecStart=/bin/true", "without telling systemd that it was ready", "its log tells why"),
        ("ExecStart=\nExecStart=/bin/sh -c 'kill -KILL $$$$'", "killed by signal KILL", "its log says"),
    ],
)
async def test_why_a_unit_does_not_start_is_told_in_words(
    bench: SystemdBench, line: str, reason: str, hint: str
) -> None:
    """What it is, systemd's own word for it, and what to do."""
    wrong = RenderedFile(drop_in(NAME, "wrong"), f"[Service]\nRestart=no\n{line}\n".encode())
    files = bench.files({"name": "m1"})
    await bench.service.install([*files, wrong])
    with pytest.raises(ServiceFailed, match=f"h1: {NAME}.service did not start") as caught:
        await bench.service.start(timeout_s=TIMEOUT_S)
    assert reason in caught.value.cause
    assert hint in caught.value.hint
    status = await bench.service.status()
    assert (status.state, status.pid) == (State.FAILED, None)


async def test_a_unit_that_ends_again_and_again_has_failed_and_starts_once_it_is_mended(bench: SystemdBench) -> None:
    """systemd's count does not stand in the way."""
    wrong = RenderedFile(
        drop_in(NAME, "wrong"), b"[Unit]\nStartLimitBurst=2\n[Service]\nRestartSec=0\nType=simple\nExecStart=\n"
        b"ExecStart=/bin/false\nRestart=always\n",
    )  # fmt: skip
    files = bench.files({"name": "m1"})
    await bench.service.install([*files, wrong])
    with pytest.raises(ServiceFailed):
        await bench.service.start(timeout_s=TIMEOUT_S)
    assert "exit status 1" in (await wait_for(bench.service, State.FAILED)).reason
    changed = await bench.service.install(files)
    assert list(changed.diffs) == [wrong.path]
    await bench.service.start(timeout_s=TIMEOUT_S)


async def test_a_masked_unit_is_not_installed_over(bench: SystemdBench, host: Host) -> None:
    """Somebody wanted it so: told, with the way back."""
    host.run(["systemctl", "mask", NAME])
    try:
        with pytest.raises(ServiceFailed, match="masked") as caught:
            await bench.service.install([RenderedFile(VARIABLES, b"A=b\n")])
        assert "unmask" in caught.value.hint
        assert "masked" in (await bench.service.status()).reason
    finally:
        host.run(["systemctl", "unmask", NAME])


ODD = r"""
A=plain text
B='single "q" \n $x'
C="double \"q\" \$x \n %n"
D='a'"b" c'd
E=a\ \"b\q
F=one\
two
G="x
y"
 H = spaced
I=a#b ;c
"""


async def test_the_environment_is_read_as_systemd_reads_it(bench: SystemdBench, host: Host) -> None:
    """Our reading of unit, drop-in and file, against what the process really gets."""
    more = (
        b"[Service]\nEnvironment=\"ODD_J=a b\" 'ODD_K=%n %%' ODD_L=\\x41\\tb \\\n  ODD_M=m\n"
        b"ExecStart=\nExecStart=/usr/local/bin/etcd --data-dir=" + DATA.encode() + b" --name ${ODD_J} $ODD_M "
        b"'--initial-cluster-token=%p $$HOME \\x41'\nUnsetEnvironment=ODD_L\n"
    )
    files = [
        RenderedFile(unit(NAME), UNIT.replace("Type=notify", "Type=simple").encode()),
        RenderedFile(VARIABLES, ODD.encode()),
        RenderedFile(drop_in(NAME, "odd"), more),
    ]
    await bench.service.install(files)
    start = await unit_start(bench.session, f"{NAME}.service", [unit(NAME), drop_in(NAME, "odd")])
    assert start is not None
    # etcd would end at the word that is no flag: something that stays takes its place to be looked at.
    stays = b"[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec sleep 600' --name ${ODD_J} $ODD_M "
    stays += b"'--initial-cluster-token=%p $$HOME \\x41'\n"
    await bench.service.install([*files, RenderedFile(drop_in(NAME, "stays"), stays)])
    host.run(["systemctl", "start", NAME])
    pid = (await wait_for(bench.service, State.RUNNING)).pid
    environ = await bench.session.read_file(f"/proc/{pid}/environ", user="root")
    assert environ is not None
    really = dict(pair.split("=", 1) for pair in environ.decode().split("\0") if "=" in pair)
    ours = {name: value.text for name, value in start.env.items()}
    assert {name: really.get(name) for name in ours} == ours
    assert {*"ABCDEFGHI", "ODD_J", "ODD_K", "ODD_M"} == {*ours} - {"ODD_L"}
    assert [word.text for word in start.arguments] == [
        f"--data-dir={DATA}", "--name", "a b", "m", f"--initial-cluster-token={NAME} $HOME A",
    ]  # fmt: skip
