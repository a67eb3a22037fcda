"""A connection whose other end vanishes is known to be broken, whatever is between; one that is idle stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etcdops.errors import Unreachable
from etcdops.remote.command import command, script
from etcdops.remote.host_keys import HostKeyPolicy
from etcdops.remote.session import Ownership
from etcdops.remote.ssh import Connector, SSHSession
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.target import Target
from etcdops.remote.way import KeepAlive, Way
from tests.hosts.hosts import Hosts
from tests.hosts.network import OPERATOR
from tests.support.relay import Relay, relaying
from tests.support.sshd import SSHDaemon, running_sshd, sshd_missing

SOON = KeepAlive(every_s=0.2, dead_after_s=1.0)
PATIENT = KeepAlive(every_s=0.2, dead_after_s=600.0)
_WITHIN_S = 60.0
needs_sshd = pytest.mark.skipif(bool(sshd_missing()), reason=sshd_missing() or "has sshd")


class Silence:
    """A carrier on which nothing comes and nothing goes, as sockets with a timeout say it."""

    closed = False

    def send(self, data: bytes) -> int:
        raise TimeoutError

    def recv(self, size: int) -> bytes:
        raise TimeoutError

    def settimeout(self, timeout: float | None) -> None: ...

    def close(self) -> None:
        self.closed = True


class Told:
    """Of a transport, what a way uses: who asks is called by the test."""

    def __init__(self) -> None:
        self.packetizer = self
        self.asked = 0

    def set_keepalive(self, every_s: float, ask: object) -> None:
        self.every_s, self.ask = every_s, ask

    def _send_user_message(self, message: object) -> None:
        self.asked += 1


def watched(times: KeepAlive) -> tuple[Way, Told]:
    way, transport = Way(Silence(), "10.0.0.1:22"), Told()
    way.keep_alive(transport, times)  # type: ignore[arg-type]  # as much of a transport as is used
    return way, transport


def while_time_passes(call: Callable[[], object]) -> None:
    """Until it ends by something else than a timeout; bounded by that of the test."""
    while True:
        with pytest.raises(TimeoutError):
            call()


def test_silence_is_no_death_before_somebody_was_asked() -> None:
    """A process that was stopped for an hour, as by Ctrl-Z, has asked nobody."""
    way, transport = watched(KeepAlive(0.0, 1e-9))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            way.recv(1)
    assert not way.broke
    transport.ask()  # type: ignore[operator]  # see above
    said = r"10\.0\.0\.1:22 gave no sign of life for 1e-09 s: the host is down, or"
    with pytest.raises(ConnectionAbortedError, match=said):
        while_time_passes(lambda: way.recv(1))
    assert (transport.asked, way.broke[:12]) == (1, "10.0.0.1:22 ")


def test_where_nothing_is_taken_any_more_nobody_need_be_asked() -> None:
    """The question would stand behind what is stuck already."""
    way, _ = watched(KeepAlive(0.0, 1e-9))
    with pytest.raises(ConnectionAbortedError, match=r"10\.0\.0\.1:22 took not a byte for"):
        while_time_passes(lambda: way.send(b"x"))


def test_before_the_login_is_done_its_own_deadlines_hold() -> None:
    """A password may be typed as slowly as somebody likes."""
    way = Way(Silence(), "10.0.0.1:22")
    for call in (lambda: way.send(b"x"), lambda: way.recv(1)):
        with pytest.raises(TimeoutError):
            call()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHDaemon]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def relay(daemon: SSHDaemon) -> Iterator[Relay]:
    with relaying(daemon.port) as relay:
        (daemon.folder / "known").write_text(
            f"[127.0.0.1]:{relay.port} {daemon.host_key}\n[127.0.0.1]:{daemon.port} {daemon.host_key}\n"
        )
        yield relay


@asynccontextmanager
async def connected(
    daemon: SSHDaemon, port: int, times: KeepAlive, *, jump: Target | None = None
) -> AsyncIterator[SSHSession]:
    made = Connector(HostKeyPolicy((daemon.folder / "known",)), SSHConfig(Path("/dev/null")), times)
    target = Target("h1", "127.0.0.1", port, daemon.user, daemon.key, jump=jump, connect_timeout_s=20)
    session = await made.connect(target)
    try:
        yield session
    finally:
        await session.close()
        made.close()


def require_told(error: Unreachable, port: int) -> None:
    """Host, what happened, what is safe, what next."""
    assert error.message == "h1: the SSH connection broke"
    assert f"127.0.0.1:{port} gave no sign of life for 1 s: the host is down, or the network" in error.cause
    assert "see whether the host is up; what ran there may have ended or not" in error.hint


@pytest.mark.slow
@pytest.mark.real
@needs_sshd
@pytest.mark.parametrize("through", ["directly", "a jump host"])
async def test_a_host_that_vanishes_while_a_command_runs(daemon: SSHDaemon, relay: Relay, through: str) -> None:
    """No RST, and everything we send is acknowledged: by what is between, as a jump host does it."""
    edge = Target("edge", "127.0.0.1", daemon.port, daemon.user, daemon.key, connect_timeout_s=20)
    async with connected(daemon, relay.port, SOON, jump=edge if through == "a jump host" else None) as session:
        running = session.stream(script("echo started; exec sleep 60"))
        assert await asyncio.wait_for(anext(running), _WITHIN_S) == b"started"
        relay.fall_silent()
        with pytest.raises(Unreachable) as told:
            await asyncio.wait_for(anext(running), _WITHIN_S)
        require_told(told.value, relay.port)
        assert not session.alive
        with pytest.raises(Unreachable, match="h1: the SSH connection broke"):
            await session.run(command("true"))


@pytest.mark.slow
@pytest.mark.real
@needs_sshd
async def test_a_host_that_vanishes_while_it_is_given_a_file(daemon: SSHDaemon, relay: Relay, tmp_path: Path) -> None:
    """What waits to be sent does not wait for ever."""
    big = tmp_path / "big"
    big.write_bytes(bytes(64 << 20))
    async with connected(daemon, relay.port, SOON) as session:

        def progress(done: int, total: int) -> None:
            if done:
                relay.fall_silent()

        with pytest.raises(Unreachable, match="h1: the SSH connection broke") as told:
            await session.upload(big, str(tmp_path / "copy"), Ownership(), progress=progress, timeout_s=600)
        assert f"127.0.0.1:{relay.port} " in told.value.cause
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
@pytest.mark.real
@needs_sshd
async def test_an_idle_connection_is_kept_alive(daemon: SSHDaemon, relay: Relay) -> None:
    """Firewalls and NAT forget who says nothing; each question is answered."""
    async with connected(daemon, relay.port, PATIENT) as session:
        assert (await session.run(command("echo", "one"))).text == "one"
        sent, answered = relay.sent, relay.answered
        async with asyncio.timeout(_WITHIN_S):
            while relay.sent < sent + 4 or relay.answered < answered + 4:  # noqa: ASYNC110 - threads count
                await asyncio.sleep(0.05)
        assert session.alive
        assert (await session.run(command("echo", "two"))).text == "two"


@pytest.mark.exhaustive
@pytest.mark.timeout(240)
async def test_a_real_host_that_is_cut_off_while_a_command_runs(dirty_hosts: Hosts) -> None:
    """Its packets are dropped, as a dead switch does it; once the way is there again a new connection works."""
    host = dirty_hosts["h1"]
    made = Connector(HostKeyPolicy((dirty_hosts.known_hosts,)), SSHConfig(Path("/dev/null")), SOON)
    target = Target("h1", host.address, host.ssh_port, "root", dirty_hosts.key, connect_timeout_s=20)
    session = await made.connect(target)
    running = session.stream(script("echo started; exec sleep 60"))
    assert await asyncio.wait_for(anext(running), _WITHIN_S) == b"started"
    dirty_hosts.cut(OPERATOR, host)
    try:
        with pytest.raises(Unreachable, match="h1: the SSH connection broke") as told:
            await asyncio.wait_for(anext(running), _WITHIN_S)
    finally:
        dirty_hosts.heal()
    assert f"{host.address}:{host.ssh_port} gave no sign of life for 1 s" in told.value.cause
    await session.close()
    again = await made.connect(target)
    assert (await again.run(command("echo", "again"))).text == "again"
    await again.close()
    made.close()
