"""SSH against a real sshd: the contract of sessions, and every way in which connecting fails."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from etcdops.errors import AccessDenied, EtcdopsError, Unreachable, UsageError
from etcdops.remote.command import command, script
from etcdops.remote.host_keys import HostKeyPolicy, OfferedKey
from etcdops.remote.session import Session
from etcdops.remote.ssh import Connector
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.target import Target
from tests.contracts.session_port import SessionContract
from tests.support.ports import free_ports
from tests.support.sshd import SSHDaemon, make_key, running_agent, running_sshd, sshd_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(bool(sshd_missing()), reason=sshd_missing() or "has sshd"),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHDaemon]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def target(daemon: SSHDaemon) -> Target:
    return Target("h1", "127.0.0.1", daemon.port, daemon.user, daemon.key, connect_timeout_s=5)


def connector(daemon: SSHDaemon, config: str = "", **policy: object) -> Connector:
    path = daemon.folder / "config"
    path.write_text(config)
    files = HostKeyPolicy((daemon.known_hosts,), **policy)  # type: ignore[arg-type]  # the dataclass types its options
    return Connector(files, SSHConfig(path))


async def login(made: Connector, target: Target) -> str:
    """Connect, see who we are, and leave."""
    session = await made.connect(target)
    try:
        return (await session.run(command("id", "-un"))).text
    finally:
        await session.close()
        made.close()


class TestSSHSession(SessionContract):
    """The contract."""

    @pytest.fixture
    async def session(self, daemon: SSHDaemon, target: Target) -> AsyncIterator[Session]:
        made = connector(daemon)
        opened = await made.connect(target)
        yield opened
        await opened.close()
        made.close()


@pytest.fixture(autouse=True)
def _trusted(daemon: SSHDaemon) -> None:
    daemon.trust()


async def test_a_new_host_key_is_refused_unless_accepted(daemon: SSHDaemon, target: Target) -> None:
    """Strict by default; the question shows what is to be compared; the answer is kept."""
    daemon.known_hosts.write_text("# a comment that stays\nother ssh-ed25519 AAAA")
    with pytest.raises(AccessDenied, match="its host key is not known: ssh-ed25519 SHA256:") as caught:
        await login(connector(daemon), target)
    assert "--accept-new" in caught.value.hint
    asked: list[OfferedKey] = []

    def say_no(key: OfferedKey) -> bool:
        asked.append(key)
        return False

    refusing = connector(daemon, ask=say_no)
    with pytest.raises(AccessDenied):
        await login(refusing, target)
    assert [(key.host, key.known_as, key.kind) for key in asked] == [
        ("h1", f"[127.0.0.1]:{daemon.port}", "ssh-ed25519")
    ]
    await login(connector(daemon, accept_new=True), target)
    assert daemon.known_hosts.read_text() == (
        f"# a comment that stays\nother ssh-ed25519 AAAA\n[127.0.0.1]:{daemon.port} {daemon.host_key}\n"
    )
    await login(connector(daemon), target)


async def test_a_changed_host_key_is_refused_with_both_fingerprints(
    daemon: SSHDaemon, target: Target, tmp_path: Path
) -> None:
    """Whatever the policy says about new ones."""
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    daemon.known_hosts.write_text(f"[127.0.0.1]:{daemon.port} {other[0]} {other[1]}\n")
    before = daemon.known_hosts.read_text()
    with pytest.raises(AccessDenied, match="its host key changed") as caught:
        await login(connector(daemon, accept_new=True), target)
    assert caught.value.cause.count("SHA256:") == 2
    assert f"ssh-keygen -R '[127.0.0.1]:{daemon.port}'" in caught.value.hint
    assert daemon.known_hosts.read_text() == before


async def test_a_revoked_host_key_is_refused(daemon: SSHDaemon, target: Target) -> None:
    """Even when it is known as well."""
    daemon.trust()
    with daemon.known_hosts.open("a") as file:
        file.write(f"@revoked * {daemon.host_key}\n")
    with pytest.raises(AccessDenied, match="marked as revoked"):
        await login(connector(daemon), target)


async def test_hashed_names_and_patterns_are_known(daemon: SSHDaemon, target: Target) -> None:
    """As `HashKnownHosts yes` and hand-written files have them."""
    import paramiko

    hashed = paramiko.HostKeys.hash_host(f"[127.0.0.1]:{daemon.port}")
    for name in (hashed, f"[127.0.0.*]:{daemon.port}", f"x,[127.0.0.1]:{daemon.port}"):
        daemon.known_hosts.write_text(f"{name} {daemon.host_key}\n")
        assert await login(connector(daemon), target) == daemon.user
    daemon.known_hosts.write_text(f"[127.0.0.*]:{daemon.port},![127.0.0.1]:{daemon.port} {daemon.host_key}\n")
    with pytest.raises(AccessDenied, match="not known"):
        await login(connector(daemon), target)


async def test_a_key_that_is_not_authorized_is_named(daemon: SSHDaemon, target: Target, tmp_path: Path) -> None:
    """What was tried, and what the host would take."""
    other = make_key(tmp_path / "other")
    with pytest.raises(AccessDenied, match=f"sshd does not let {daemon.user} in") as caught:
        await login(connector(daemon), dataclasses.replace(target, key=other))
    assert str(other) in caught.value.cause


async def test_a_key_file_that_cannot_be_used_is_named(daemon: SSHDaemon, target: Target, tmp_path: Path) -> None:
    """Missing, no key, or locked by a passphrase."""
    with pytest.raises(UsageError, match="there is no key file"):
        await login(connector(daemon), dataclasses.replace(target, key=tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    locked = make_key(tmp_path / "locked", "-N", "secret")
    for path in (tmp_path / "text", locked):
        with pytest.raises(UsageError, match="cannot be used"):
            await login(connector(daemon), dataclasses.replace(target, key=path))


async def test_a_key_that_only_the_agent_has_lets_us_in(
    daemon: SSHDaemon, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real ssh-agent; who has said `IdentitiesOnly yes` gets none of its keys, as with OpenSSH."""
    monkeypatch.setenv("HOME", str(tmp_path))
    keyless = dataclasses.replace(target, key=None)
    with running_agent(tmp_path / "agent", daemon.key) as place:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        assert await login(connector(daemon), keyless) == daemon.user
        with pytest.raises(AccessDenied, match="does not let"):
            await login(connector(daemon, "IdentitiesOnly yes\n"), keyless)


async def test_refused_unknown_and_silent_are_told_apart(daemon: SSHDaemon, target: Target) -> None:
    """Process down, wrong name, firewall or host down, another service: different next steps."""
    [closed] = free_ports(1)
    with pytest.raises(Unreachable, match=f"nothing listens at 127.0.0.1:{closed}"):
        await login(connector(daemon), dataclasses.replace(target, port=closed))
    with pytest.raises(Unreachable, match="is not known"):
        await login(connector(daemon), dataclasses.replace(target, address="no-such-host.invalid"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked = dataclasses.replace(target, port=silent.getsockname()[1], connect_timeout_s=0.5)
        with pytest.raises(Unreachable, match="does not talk SSH to us"):
            await login(connector(daemon), asked)


async def test_the_connection_breaks_in_the_middle(target: Target, tmp_path: Path) -> None:
    """Said as it is: the command may have run."""
    with running_sshd(tmp_path / "other") as other:
        made = connector(other)
        session = await made.connect(dataclasses.replace(target, port=other.port, key=other.key))
        running = session.stream(script("echo started; exec sleep 60"))
        assert await asyncio.wait_for(anext(running), 20) == b"started"
        for transport in session._transports:
            transport.sock.close()
        with pytest.raises(Unreachable, match="the SSH connection broke"):
            await asyncio.wait_for(anext(running), 20)
        assert not session.alive
        with pytest.raises(Unreachable):
            await session.run(command("true"))
        await session.close()
        made.close()


async def test_config_file_and_jump_hosts(daemon: SSHDaemon, target: Target) -> None:
    """Name, port, user, key and jump come from ~/.ssh/config when the inventory is silent; through a jump host too."""
    entry = (
        f"Host edge h1\n HostName 127.0.0.1\n Port {daemon.port}\n User {daemon.user}\n IdentityFile {daemon.key}\n"
        " IdentitiesOnly yes\n"
    )
    assert await login(connector(daemon, entry), Target("h1")) == daemon.user
    jumping = (
        f"{entry}Host inner\n HostName 127.0.0.1\n Port {daemon.port}\n ProxyJump edge\n IdentityFile {daemon.key}\n"
    )
    assert await login(connector(daemon, jumping), Target("inner")) == daemon.user
    assert await login(connector(daemon), dataclasses.replace(target, name="x", jump=target)) == daemon.user
    circle = f"{entry}Host a\n ProxyJump b\nHost b\n ProxyJump a\n"
    with pytest.raises(UsageError, match="lead in a circle"):
        await login(connector(daemon, circle), Target("a"))
    [closed] = free_ports(1)
    with pytest.raises(Unreachable, match="cannot reach"):
        await login(connector(daemon), dataclasses.replace(target, port=closed, jump=target))


async def test_a_shell_that_prints_at_login_is_refused(daemon: SSHDaemon, target: Target) -> None:
    """Its output would be taken for that of every command."""
    with running_sshd(daemon.folder / "noisy", 'ForceCommand echo hello; eval "$SSH_ORIGINAL_COMMAND"') as noisy:
        asked = dataclasses.replace(target, port=noisy.port, key=noisy.key)
        with pytest.raises(EtcdopsError, match="does not take commands as a POSIX shell does") as caught:
            await login(connector(noisy), asked)
        assert "hello" in caught.value.cause
