"""An sshd of our own on a loopback port, run by the user who runs the tests, with keys made for it."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.real_etcd import poll_until

_READY_WITHIN_S = 15.0


def sshd_missing() -> str:
    """Why there can be no sshd here; empty when there can."""
    if shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        return "needs sshd (Debian: openssh-server)"
    shell = _login_shell()
    if shell.name in ("nologin", "false") or not shell.exists():
        return f"sshd lets nobody in whose login shell is {shell}"
    if os.geteuid() == 0 and not Path("/run/sshd").is_dir():
        try:
            Path("/run/sshd").mkdir(mode=0o755)
        except OSError as error:
            return f"sshd needs /run/sshd: {error}"
    return ""


def _login_shell() -> Path:
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh")
    except KeyError:
        return Path("/nonexistent")  # a container's user without an entry


@dataclass
class SSHDaemon:
    """A running sshd and what is needed to log in to it."""

    folder: Path
    port: int
    user: str
    key: Path
    process: subprocess.Popen[bytes]

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def host_key(self) -> str:
        """Its public key: kind and base64."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def trust(self) -> None:
        """Write its key into `known_hosts`."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")


def make_key(path: Path, *options: str) -> Path:
    """A key pair without a passphrase; `options` as for ssh-keygen."""
    line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path), *options]
    subprocess.run(line, check=True, timeout=20, stdin=subprocess.DEVNULL)
    return path


@contextmanager
def running_sshd(folder: Path, *settings: str) -> Iterator[SSHDaemon]:
    """An sshd in `folder`, with further lines for its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    key, host_key = make_key(folder / "user_key"), make_key(folder / "host_key")
    (folder / "authorized").write_text((folder / "user_key.pub").read_text())
    [port] = free_ports(1)
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        f"PidFile {folder / 'sshd.pid'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        "MaxSessions 100",
        "MaxStartups 100",
        *settings,
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _READY_WITHIN_S
        while b"Server listening" not in (said := (folder / "sshd.log").read_bytes()):
            assert process.poll() is None, said.decode()
            assert time.monotonic() < deadline, said.decode()
            time.sleep(0.02)
        daemon = SSHDaemon(folder, port, getpass.getuser(), key, process)
        daemon.trust()
        yield daemon
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def running_agent(place: Path, key: Path) -> Iterator[Path]:
    """An ssh-agent that listens at `place` and has one key."""
    with subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL) as agent:
        try:
            poll_until(place.is_socket, _READY_WITHIN_S, "the agent does not listen")
            asked = {**os.environ, "SSH_AUTH_SOCK": str(place)}
            subprocess.run(["ssh-add", "-q", key], env=asked, check=True, timeout=20)
            yield place
        finally:
            agent.terminate()
