"""`etcdops inventory check --connect`: hosts are tried, over a real sshd."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import RunCli, clean_environment
from tests.support.ports import free_ports
from tests.support.sshd import SSHDaemon, running_sshd, sshd_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(bool(sshd_missing()), reason=sshd_missing() or "has sshd"),
]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SSHDaemon]:
    with running_sshd(tmp_path / "sshd") as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Whose ~/.ssh is empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def reachable(daemon: SSHDaemon, *, port: int | None = None, manager: str = "process", become: str = "sudo") -> str:
    """An inventory of two names for one sshd, and of this machine."""
    login = f"user: {daemon.user}, key: {daemon.key}, become: {{method: {become}}}"
    return (
        "hosts:\n"
        f"  h1: {{address: 127.0.0.1, ssh: {{{login}, port: {daemon.port}}}}}\n"
        f"  h2: {{address: 127.0.0.1, ssh: {{{login}, port: {port or daemon.port}}}}}\n"
        f"  here: {{local: true, ssh: {{become: {{method: {become}}}}}}}\n"
        f"clusters: {{c: {{service: {{manager: {manager}}}, members: [{{host: h1}}]}}}}\n"
    )


def test_hosts_that_are_new_are_refused_and_then_accepted(
    cli: RunCli, daemon: SSHDaemon, home: Path, tmp_path: Path
) -> None:
    """Nobody is at a terminal: the key is refused unless --accept-new; afterwards it is known."""
    path = tmp_path / "i.yaml"
    path.write_text(reachable(daemon))
    line = ("inventory", "check", "-i", str(path), "--connect")
    refused = cli(*line, HOME=str(home))
    assert refused.code == 5
    assert "h1: its host key is not known: ssh-ed25519 SHA256:" in refused.out
    assert "--accept-new" in refused.out
    assert not (home / ".ssh" / "known_hosts").exists()
    told = json.loads(cli(*line, "--accept-new", "-w", "json", HOME=str(home)).out)
    assert [(one["name"], one["user"]) for one in told["hosts"]] == [
        ("h1", daemon.user),
        ("h2", daemon.user),
        ("here", daemon.user),
    ]
    assert (home / ".ssh" / "known_hosts").read_text() == f"[127.0.0.1]:{daemon.port} {daemon.host_key}\n"
    again = json.loads(cli(*line, "-w", "json", HOME=str(home)).out)
    assert all(one["user"] == daemon.user for one in again["hosts"])


def test_one_host_that_fails_hides_no_other(cli: RunCli, daemon: SSHDaemon, home: Path, tmp_path: Path) -> None:
    """What is wrong with each, and what to do; the manager's programs are looked for where the members are."""
    path = tmp_path / "i.yaml"
    [closed] = free_ports(1)
    path.write_text(reachable(daemon, port=closed, manager="supervisord"))
    # no PATH of ours reaches the host: whether supervisorctl is there is the machine's business
    ran = cli("inventory", "check", "-i", str(path), "--connect", "--accept-new", HOME=str(home))
    assert ran.code == 5
    assert f"h2: nothing listens at 127.0.0.1:{closed}" in ran.out
    assert "next: is sshd running there" in ran.out
    row = next(line for line in ran.out.splitlines() if line.startswith("h1 "))
    assert f"● {daemon.user}" in row
    assert ("h1 lacks supervisorctl" in ran.out) == ("✖ missing" in row)


def test_a_login_that_is_not_root_and_may_not_become_it_is_told(
    cli: RunCli, daemon: SSHDaemon, home: Path, tmp_path: Path
) -> None:
    """`method: none` is right for root only."""
    path = tmp_path / "i.yaml"
    path.write_text(reachable(daemon, become="none"))
    ran = cli("inventory", "check", "-i", str(path), "--connect", "--accept-new", HOME=str(home))
    if os.geteuid() == 0:
        assert ran.code == 0, ran.out
        assert ran.out.count("● yes") == 3
    else:
        assert ran.code == 5, ran.out
        assert f"h1: {daemon.user} is not root, and become.method is none" in ran.out


def test_a_secret_that_cannot_be_had_is_that_hosts_failure(
    cli: RunCli, daemon: SSHDaemon, home: Path, tmp_path: Path
) -> None:
    """Its variable is not set; the other hosts are tried all the same."""
    path = tmp_path / "i.yaml"
    path.write_text(
        reachable(daemon)
        .replace("  here: {local: true", "  here: {local: true, tags: {a: b}")
        .replace("clusters:", "  h4: {ssh: {password: {env: NOT_SET_AT_ALL}}}\nclusters:")
    )
    ran = cli("inventory", "check", "-i", str(path), "--connect", "--accept-new", "-w", "json", HOME=str(home))
    hosts = {one["name"]: one for one in json.loads(ran.out)["hosts"]}
    assert hosts["h4"]["errors"][0]["message"] == "the environment variable NOT_SET_AT_ALL is not set"
    assert (hosts["h1"]["user"], hosts["h4"]["user"]) == (daemon.user, None)


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_person_at_a_terminal_is_asked_about_a_new_key(
    daemon: SSHDaemon, home: Path, tmp_path: Path, answer: str
) -> None:
    """Once for the two names of one address when the answer is yes; the fingerprint is on the screen."""
    path = tmp_path / "i.yaml"
    path.write_text(reachable(daemon))
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "etcdops", "inventory", "check", "-i", str(path), "--connect", "-w", "json"],
            env=clean_environment(tmp_path) | {"HOME": str(home)},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        said = read_until(ours, "or the fingerprint)")
        assert "SHA256:" in said
        os.write(ours, f"{answer}\n".encode())
        if answer == "no":
            read_until(ours, "or the fingerprint)")
            os.write(ours, b"no\n")
        out, _ = process.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    users = [one["user"] for one in json.loads(out)["hosts"]]
    if answer == "yes":
        assert users == [daemon.user] * 3
        assert (home / ".ssh" / "known_hosts").read_text().count("ssh-ed25519") == 1
    else:
        assert users == [None, None, daemon.user]
        assert not (home / ".ssh" / "known_hosts").exists()


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows, up to `text`, which appears once more each time it is asked for."""
    seen = ""
    deadline = time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 1).decode(errors="replace")
    return seen
