"""`ProxyCommand` of ~/.ssh/config: as ssh(1) runs it, and what is said when it fails."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etcdops.errors import Unreachable, UsageError
from etcdops.remote.command import command, script
from etcdops.remote.host_keys import HostKeyPolicy
from etcdops.remote.proxy_command import masked, proxy_line
from etcdops.remote.ssh import Connector, SSHSession
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.target import Target
from tests.support.real_etcd import poll_until
from tests.support.sshd import SSHDaemon, running_sshd, sshd_missing

VALUES = {"h": "10.0.0.1", "n": "h1", "p": "2222", "r": "ops"}
NETCAT = """\
import os, select, socket, sys
sys.stderr.write("noise\\n" * 40_000)
(_, place, host, port) = sys.argv
with open(place, "a") as file:
    file.write(f"{os.getpid()} {host} {port}\\n")
with socket.create_connection((host, int(port))) as way:
    while True:
        for ready in select.select([0, way], [], [])[0]:
            data = os.read(0, 65536) if ready == 0 else way.recv(65536)
            if not data:
                sys.exit()
            way.sendall(data) if ready == 0 else os.write(1, data)
"""
"""As nc does it; says much more on stderr than a pipe holds."""


def test_tokens_stand_for_what_the_inventory_says() -> None:
    """Source: ssh_config(5), TOKENS."""
    assert proxy_line("nc -X 5 -x proxy:1080 %h %p", "h1", VALUES) == "nc -X 5 -x proxy:1080 10.0.0.1 2222"
    assert proxy_line("ssh -W '[%h]:%p' %r@%n 100%%", "h1", VALUES) == "ssh -W '[10.0.0.1]:2222' ops@h1 100%"
    assert proxy_line("nc %h %p", "h1", {**VALUES, "h": "fe80::1%eth0"}) == "nc fe80::1%eth0 2222"
    for written in ("nc %x", "nc %h %"):
        with pytest.raises(UsageError, match=r"h1: its ProxyCommand has %x?, which stands for nothing") as refused:
            proxy_line(written, "h1", VALUES)
        assert "there are %h, %n, %p, %r, %%" in refused.value.hint


@pytest.mark.parametrize(
    "hostile", ["a;b", "$(touch x)", "`x`", "a b", "a\nb", "'", '"', "-oProxyCommand=x", "", "a|b"]
)
def test_what_a_shell_would_take_for_more_than_a_name_is_refused(hostile: str) -> None:
    """Quotes would not do: it may stand between others in the file. Source: ssh(1) refuses such names since 9.6."""
    for letter in "hnr":
        with pytest.raises(UsageError, match=rf"h1: .* cannot stand for %{letter} in a ProxyCommand"):
            proxy_line(f'nc "%{letter}"', "h1", {**VALUES, letter: hostile})


def test_what_looks_like_a_password_is_not_told() -> None:
    """Messages go into journals and bundles."""
    assert masked("ncat --proxy-auth joe:s3cret --proxy p %h") == "ncat --proxy-auth *** --proxy p %h"
    assert masked("connect http://joe:s3cret@p:80") == "connect http://joe:***@p:80"
    assert masked("x --token=abc -W h:22") == "x --token=*** -W h:22"
    assert masked("nc 10.0.0.1 22") == "nc 10.0.0.1 22"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHDaemon]:
    if missing := sshd_missing():
        pytest.skip(missing)
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def target(daemon: SSHDaemon) -> Target:
    return Target("h1", "127.0.0.1", daemon.port, daemon.user, daemon.key, connect_timeout_s=30)


@asynccontextmanager
async def connected(daemon: SSHDaemon, target: Target, proxy: str) -> AsyncIterator[SSHSession]:
    config = daemon.folder / "config"
    config.write_text(f"Host h1\n ProxyCommand {proxy}\n")
    made = Connector(HostKeyPolicy((daemon.known_hosts,)), SSHConfig(config))
    with contextlib.closing(made):
        session = await made.connect(target)
        try:
            yield session
        finally:
            await session.close()


def netcat(folder: Path) -> tuple[str, Path]:
    """(command that takes host and port, where it writes its process and what it was given)."""
    program, place = folder / "net cat.py", folder / "it's here"
    program.write_text(NETCAT)
    return shlex.join([sys.executable, str(program), str(place)]), place


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.real
async def test_it_leads_to_the_host_and_ends_with_the_connection(
    daemon: SSHDaemon, target: Target, tmp_path: Path
) -> None:
    """Address and port are the inventory's; the shell may quote, set variables, redirect; nothing is left."""
    cat, place = netcat(tmp_path)
    async with connected(daemon, target, f'env X="a  b" {cat} %h %p 2>&2') as session:
        big = "x" * 300_000
        assert (await session.run(script("cat", stdin=big.encode()))).text == big
        process, host, port = place.read_text().split()
        assert (host, port) == ("127.0.0.1", str(daemon.port))
    poll_until(lambda: is_gone(int(process)), 20.0, "the command is still there")


@pytest.mark.slow
@pytest.mark.real
async def test_it_ends_at_once(daemon: SSHDaemon, target: Target) -> None:
    """Which command, how it ended, and what it said: not only that there was no banner."""
    with pytest.raises(Unreachable, match="h1: its ProxyCommand does not lead to an sshd") as told:
        async with connected(daemon, target, "sh -c 'echo cannot reach %h >&2; exit 3'"):
            pass
    assert told.value.cause == (
        "`sh -c 'echo cannot reach 127.0.0.1 >&2; exit 3'` ended with exit status 3\ncannot reach 127.0.0.1"
    )
    assert "run it by hand" in told.value.hint
    with pytest.raises(Unreachable) as told:
        async with connected(daemon, target, "no-such-program %h"):
            pass
    assert "`no-such-program 127.0.0.1` ended with exit status 127" in told.value.cause
    assert "not found" in told.value.cause


@pytest.mark.slow
@pytest.mark.real
async def test_it_says_nothing_or_something_else(daemon: SSHDaemon, target: Target, tmp_path: Path) -> None:
    """Both are ended, with what they started."""
    place = tmp_path / "process"
    for proxy in (f"sh -c 'echo $$ > {place}; sleep 600; :'", f"sh -c 'echo $$ > {place}; yes; :'"):
        impatient = Target(target.name, target.address, target.port, target.user, target.key, connect_timeout_s=1.0)
        with pytest.raises(Unreachable, match="h1: its ProxyCommand does not lead to an sshd") as told:
            async with connected(daemon, impatient, proxy):
                pass
        assert f"`{proxy}`" in told.value.cause
        poll_until(lambda: is_gone(int(place.read_text())), 20.0, "the command is still there")


@pytest.mark.slow
@pytest.mark.real
async def test_it_ends_while_a_command_runs(daemon: SSHDaemon, target: Target, tmp_path: Path) -> None:
    """What broke is the way, and its own words tell it."""
    cat, place = netcat(tmp_path)
    async with connected(daemon, target, f"{cat} %h %p") as session:
        running = session.stream(script("echo started; exec sleep 60"))
        assert await anext(running) == b"started"
        os.kill(int(place.read_text().split()[0]), 15)
        with pytest.raises(Unreachable, match="h1: the SSH connection broke") as told:
            await anext(running)
        assert "ended by signal 15" in told.value.cause
        assert "what ran there may have ended or not" in told.value.hint
        with pytest.raises(Unreachable):
            await session.run(command("true"))
