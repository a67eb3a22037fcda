"""One test host: what tests do to it from outside, without going through its sshd."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.hosts import clock
from tests.hosts.keeper import CGROUPS, DROPPED_CAPABILITIES, HOSTS, OUTSIDE_CGROUP, cgroup_name

if TYPE_CHECKING:
    from tests.hosts.hosts import Hosts

READY_TIMEOUT_S: Final = 45.0
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_FILLER: Final = ".filler"
_VOLATILE: Final = ("var/log/", "var/lib/systemd/", "var/cache/", "var/lib/logrotate/", "etc/.updated", "var/.updated")
"""What an idle host writes by itself; no test is changed by it."""


class HostError(Exception):
    """A host did not do what a test's control asked of it; the message names host and command."""


@dataclass(frozen=True)
class Ran:
    """How a command on a host ended."""

    status: int
    stdout: str
    stderr: str


@dataclass
class Host:
    """A Debian host with systemd. Its address, name, keys and disk outlive power cycles; `pid` is this boot's PID 1."""

    name: str
    address: str
    hosts: Hosts = field(repr=False)
    pid: int = 0
    """As the machine counts; 0 while the host is off."""
    ssh_port: int = 22
    _volumes: list[str] = field(default_factory=list, repr=False)
    _baseline: Baseline | None = field(default=None, repr=False)

    # -- commands and files ------------------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        check: bool = True,
    ) -> Ran:
        """Run a command inside, by its namespaces, not by ssh: it works also while sshd or the network does not.

        Raises: HostError when the host is off, when the command runs longer than `timeout_s`, or, with `check`, when
        its exit status is not 0.
        """
        shown = f"{self.name}: {shlex.join(argv)}"
        inside = [*argv] if user == "root" else ["runuser", "-u", user, "--", *argv]
        try:
            done = subprocess.run(
                [*self.inside(), *inside],
                input=stdin,
                env={**_ENVIRONMENT, **(env or {})},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(f"{shown}: still running after {timeout_s:.0f} s") from error
        if check and done.returncode != 0:
            raise HostError(f"{shown}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return Ran(done.returncode, done.stdout, done.stderr)

    def inside(self) -> list[str]:
        """What to put before a command so that it runs in the host as root (for Popen; `run` uses it)."""
        if not self.pid:
            raise HostError(f"{self.name} is off")
        # In the host's cgroup tree too: a container engine looks there for its own place.
        procs = self.hosts.keeper_path(self.cgroup / OUTSIDE_CGROUP / "cgroup.procs")
        join = 'echo $$ >"$1" && shift && exec "$@"'
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        enter = ["nsenter", f"--target={self.pid}", *namespaces, "--"]
        return ["sh", "-c", join, "sh", os.fspath(procs), *enter, "setpriv", f"--bounding-set={DROPPED_CAPABILITIES}"]

    def path(self, inside: str) -> Path:
        """A file of the host's disk as seen from the machine, while it is on or off.

        An absolute symbolic link on the way would lead out of the host: name the file itself. /run, /tmp, /dev, /proc
        and /sys of a running host are not on its disk: use `run`.
        """
        return self.hosts.keeper_path(HOSTS / self.name / "root" / inside.lstrip("/"))

    def ssh(self, *command: str, user: str = "root") -> list[str]:
        """An OpenSSH command line to this host, with the run's key and known hosts and nobody's own configuration."""
        return ["ssh", "-F", os.fspath(self.hosts.ssh_config), f"{user}@{self.name}", "--", *command]

    @property
    def cgroup(self) -> Path:
        """As the keeper sees it."""
        return CGROUPS / cgroup_name(self.hosts.folder) / self.name

    # -- power -------------------------------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Asks the keeper: a host can have switched itself off, or rebooted (then `pid` is the new PID 1)."""
        self.pid = self.hosts.ask("status", self.name)["pid"]
        return self.pid != 0

    def power_off(self) -> None:
        """Pull the plug: SIGKILL to PID 1, nothing is shut down. What was written is on its disk."""
        self.hosts.ask("power_off", self.name)
        self.pid = 0

    def power_on(self, *, wait: bool = True) -> None:
        """Boot with the disk as it was. With `wait` until systemd says "running" and sshd answers."""
        self.pid = self.hosts.ask("power_on", self.name)["pid"]
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Raises HostError with the units at fault when the host is not fully up by then."""
        deadline = time.monotonic() + timeout_s
        state = ""
        # Nobody is at systemd's socket at first ("offline", or no answer); later --wait returns when it has booted.
        while state not in ("running", "degraded", "maintenance") and (left_s := deadline - time.monotonic()) > 0:
            asked = self.run(["systemctl", "is-system-running", "--wait"], timeout_s=left_s, check=False)
            state = asked.stdout.strip()
            if not state or state == "offline":
                time.sleep(0.05)
        if state != "running":
            units = self.run(["systemctl", "--failed", "--no-legend", "--plain"], check=False).stdout
            raise HostError(f"{self.name} is {state or 'not answering'} instead of running; failed units:\n{units}")

    # -- disk, clock, sshd -------------------------------------------------------------------------------------------

    def small_disk(self, path: str, size_mib: int = 64) -> None:
        """Make `path` a small file system of its own, with what is there now. It stays over power cycles.

        A program that has files open under `path` keeps the old ones: make the disk small before it starts.
        """
        volume = HOSTS / self.name / f"volume-{len(self._volumes)}"
        point = HOSTS / self.name / "root" / path.strip("/")
        script = """
        set -eu
        mkdir -p "$1" "$2"
        mount -t tmpfs -o "size=$3m,mode=0755" tmpfs "$2"
        cp -a "$1/." "$2/"
        mount --bind "$2" "$1"
        """
        self.hosts.in_keeper(["sh", "-c", script, "sh", os.fspath(point), os.fspath(volume), str(size_mib)])
        self._volumes.append(path)

    def fill_disk(self, path: str, *, leave_kib: int = 0) -> None:
        """Leave `leave_kib` free under `path`, which gets a small disk first when it has none."""
        if path not in self._volumes:
            self.small_disk(path)
        filler = f"{path}/{_FILLER}"
        # Looked at first: on the wrong file system this would fill the disk of the machine.
        script = """
        set -eu
        test "$(stat -f -c %T "$1")" = tmpfs && mountpoint -q "$1"
        dd if=/dev/zero of="$2" bs=64k status=none 2>/dev/null || true  # "no space left" is the aim
        """
        self.run(["sh", "-c", script, "sh", path, filler])
        if leave_kib:
            self.run(["truncate", f"--size=-{leave_kib}K", filler])

    def free_disk(self, path: str) -> None:
        """Take away what `fill_disk` put there."""
        self.run(["rm", "-f", f"{path}/{_FILLER}"])

    def skew_clock(self, seconds: float) -> None:
        """Shift the clock of all that is started over ssh (sudo too) or as a service from now on; 0 sets it right.

        What runs under a shifted clock already sees a new value within a second, as if the clock was set. Only real
        time is shifted, not the time since boot. A preloaded library does it (skew.c), so Go programs (etcd) do not see
        it, nor do cron, systemd itself, `run`, and what started before the first call.
        """
        clock.write_skew(self.path("/"), seconds)
        self.run(["systemctl", "daemon-reload"])
        # Not reloaded: between the signal and the new listener connections would be refused. Open sessions stay.
        self.run(["systemctl", "restart", "ssh"])

    def change_host_key(self) -> str:
        """Give sshd a new key, as after a reinstallation. Returns the public key."""
        key = "/etc/ssh/ssh_host_ed25519_key"
        self.run(["rm", "-f", key, f"{key}.pub"])
        self.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key])
        self.run(["systemctl", "restart", "ssh"])
        return self.run(["cat", f"{key}.pub"]).stdout.strip()

    def stop_sshd(self) -> None:
        """The port refuses; sessions that are open stay."""
        self.run(["systemctl", "stop", "ssh"])

    def start_sshd(self) -> None:
        self.run(["systemctl", "start", "ssh"])

    # -- clean state -------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """An empty disk, and off: nothing of what any test did is left. Host key, name and address stay the same."""
        self.hosts.ask("install", self.name)
        self.pid, self._volumes, self._baseline = 0, [], None

    def take_baseline(self) -> None:
        """Remember the host as it is now, for `differences`."""
        self._baseline = Baseline.of(self)

    def differences(self) -> list[str]:
        """What is not as it was at `take_baseline`: power, boots, files, services, processes. Empty is clean.

        Files that an idle host writes by itself (journal, timers' stamps, caches) are not counted.
        """
        if self._baseline is None:
            return [f"{self.name} has not been looked at since its installation"]
        if not self.is_on:
            return [f"{self.name} is off"]
        found = Baseline.of(self).since(self._baseline)
        found += [f"{path} is a small disk" for path in self._volumes]
        return [f"{self.name}: {difference}" for difference in found]


@dataclass(frozen=True)
class Baseline:
    """What of a host's state tests can change."""

    boot: int
    files: dict[str, tuple[int, int, int]]
    """Path -> mode, size, time of the last change (0 for folders: their entries are compared themselves)."""
    groups: frozenset[str]
    """Cgroups with a process in them: services, sessions, what a test left running."""
    firewall: str

    @classmethod
    def of(cls, host: Host) -> Baseline:
        script = "nft list ruleset 2>/dev/null; iptables-save 2>/dev/null | grep -v '^#' || true"
        firewall = host.run(["sh", "-c", script]).stdout
        return cls(host.pid, dict(_written(host)), frozenset(_populated(host)), firewall)

    def since(self, before: Baseline) -> list[str]:
        """Every difference in words."""
        found = [] if self.boot == before.boot else ["it was booted"]
        for path in sorted(self.files.keys() | before.files.keys()):
            if self.files.get(path) != before.files.get(path):
                found.append(f"file {path} was written" if path in self.files else f"file {path} is gone")
        found += [f"{group} runs" for group in sorted(self.groups - before.groups)]
        found += [f"{group} does not run" for group in sorted(before.groups - self.groups)]
        if self.firewall != before.firewall:
            found.append("its firewall has other rules")
        return found


def _written(host: Host) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Everything on the upper side of the host's disk, that is: all that was written since its installation."""
    upper = host.hosts.upper(host.name)
    for folder, folders, files in os.walk(upper):
        for name in [*folders, *files]:
            path = Path(folder, name)
            inside = os.fspath(path.relative_to(upper))
            if f"{inside}/".startswith(_VOLATILE) or inside.endswith(f"/{_FILLER}"):
                continue
            with suppress(FileNotFoundError):
                stat = path.lstat()
                is_folder = name in folders and not path.is_symlink()
                yield inside, (stat.st_mode, 0, 0) if is_folder else (stat.st_mode, stat.st_size, stat.st_mtime_ns)


def _populated(host: Host) -> Iterator[str]:
    """Cgroups of services with processes. Sessions that just ended are given a moment to go."""
    tree = host.hosts.keeper_path(host.cgroup)
    for folder, _folders, _files in os.walk(tree):
        name = os.path.relpath(folder, tree)
        with suppress(OSError):
            if name != OUTSIDE_CGROUP and Path(folder, "cgroup.procs").read_text():
                # One group per user or session id is not a difference between two of the same kind.
                yield name


def wait_port(address: str, port: int, timeout_s: float) -> None:
    """Wait until something accepts connections there. Raises HostError."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise HostError(f"{address}:{port} does not answer after {timeout_s:.0f} s: {error}") from error
            time.sleep(0.02)
