"""The keeper: the process that all hosts of a run hang on.

It lives in mount and network namespaces of its own (`unshare --mount --net python -m tests.hosts.keeper`) and holds
there everything the hosts share: their disks, their cgroups, the bridge. So most of a run cannot be left behind at all:

- the kernel kills every host when the keeper dies (PR_SET_PDEATHSIG, one step at a time down to the host's PID 1), and
  takes its namespaces with it: mounts, bridge, links, the run's link to the machine too;
- the keeper ends everything when the run that wanted it dies (a pidfd becomes readable, however the run died), and
  removes what the kernel does not: cgroup folders and the run's folder;
- when the keeper itself was killed, those two remain until the next start sweeps them (`runs.sweep`).

It is asked over a socket in its own /run, which is reached from outside by /proc/<pid>/root: one JSON line in, one out.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RUN: Final = Path("/run")
CONTROL: Final = RUN / "test-hosts-control"
CGROUPS: Final = RUN / "cgroup"
HOSTS: Final = RUN / "hosts"
BASE: Final = RUN / "base"
DISK: Final = RUN / "disk"
BRIDGE: Final = "bridge"
UPLINK: Final = "uplink"
OUTSIDE_CGROUP: Final = "outside.scope"
"""Where commands that tests run in a host by nsenter live, beside systemd's own groups."""

DROPPED_CAPABILITIES: Final = (
    "-sys_time,-sys_module,-sys_rawio,-syslog,-wake_alarm,-block_suspend,-mac_admin,-mac_override,-audit_control"
)
"""A host's root is the machine's root: what reaches past the namespaces (clock, modules, raw memory) is taken away."""

_BOOT: Final = Path(__file__).with_name("boot.sh")
_SETTLE_TIMEOUT_S: Final = 15.0
_CHILD_POLL_S: Final = 0.2


class KeeperError(Exception):
    """A request could not be done; the message goes back to who asked."""


@dataclass
class Machine:
    """One host as the keeper sees it: `process` is the `unshare` above its PID 1 while it is on."""

    name: str
    address: str
    prefix: int
    mac: str
    process: subprocess.Popen[bytes] | None = None
    pid: int = 0
    boots: int = 0

    @property
    def folder(self) -> Path:
        return HOSTS / self.name

    @property
    def root(self) -> Path:
        return self.folder / "root"


@dataclass
class Keeper:
    """Serves one run until it is told to stop, signalled, or what it watches dies."""

    folder: Path
    machines: dict[str, Machine] = field(default_factory=dict)
    ending: bool = False

    @property
    def cgroup(self) -> Path:
        return CGROUPS / cgroup_name(self.folder)

    def set_up(self, base: Path) -> socket.socket:
        """Mounts, cgroup, bridge and the control socket, in namespaces that only we are in."""
        mount("-t", "tmpfs", "-o", "mode=0700", "tmpfs", RUN)
        for folder in (CGROUPS, HOSTS, DISK, BASE):
            folder.mkdir()
        mount("--bind", self.folder, DISK)
        mount("--bind", "-o", "ro", base, BASE)
        mount("-t", "cgroup2", "cgroup2", CGROUPS)
        self.cgroup.mkdir()
        for command in (f"link add {BRIDGE} type bridge forward_delay 0", f"link set {BRIDGE} up", "link set lo up"):
            call("ip", *command.split())
        control = socket.socket(socket.AF_UNIX)
        # It gets its name when it can be connected to, so that whoever sees it may ask at once.
        unborn = CONTROL.with_suffix(".new")
        control.bind(os.fspath(unborn))
        control.listen(16)
        unborn.rename(CONTROL)
        return control

    def serve(self, control: socket.socket, watched: list[int]) -> None:
        """Answer requests until the end of the run."""
        with selectors.DefaultSelector() as selector:
            selector.register(control, selectors.EVENT_READ)
            for pidfd in watched:
                selector.register(pidfd, selectors.EVENT_READ)
            while not self.ending:
                for key, _ in selector.select(_CHILD_POLL_S):
                    if key.fileobj is control:
                        self._answer(control.accept()[0])
                    else:
                        self.ending = True
                self._notice_ended()

    def tear_down(self) -> None:
        """Power off every host and remove what would outlive us. Safe to repeat."""
        for machine in self.machines.values():
            self._power_off(machine)
        remove_cgroups(self.cgroup)
        for machine in self.machines.values():
            unmount(machine.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(_SETTLE_TIMEOUT_S)
            try:
                request = json.loads(connection.makefile("r").readline())
                reply: dict[str, object] = {"ok": self._do(request)}
            except (KeeperError, subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
                reply = {"error": f"{type(error).__name__}: {error}{_stderr(error)}"}
            # Who asked may be gone by now; what was asked for is done all the same.
            try:
                connection.sendall(json.dumps(reply).encode() + b"\n")
            except OSError:
                pass

    def _do(self, request: dict[str, str]) -> dict[str, object]:
        operations: dict[str, Callable[[Machine], None]] = {
            "power_on": self._power_on,
            "power_off": self._power_off,
            "install": self._install,
            "status": lambda machine: None,
        }
        if request["do"] == "stop":
            self.ending = True
            return {}
        if request["do"] == "add":
            prefix = int(request["prefix"])
            added = Machine(name=request["name"], address=request["address"], prefix=prefix, mac=request["mac"])
            self.machines[added.name] = added
        machine = self.machines[request["name"]]
        if request["do"] != "add":
            operations[request["do"]](machine)
        return {"pid": machine.pid, "boots": machine.boots}

    def _install(self, machine: Machine) -> None:
        """An empty disk on top of the read-only base. What was on it is gone."""
        self._power_off(machine)
        unmount(machine.folder)
        machine.folder.mkdir(exist_ok=True)
        disk = DISK / machine.name
        upper, work = disk / "upper", disk / "work"
        # A tmpfs stands in where the run's folder cannot hold an overlay's upper side (it is an overlay itself).
        if not (disk / "on-disk").exists() and not _holds_overlay(disk):
            mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", machine.folder)
            upper, work = machine.folder / "upper", machine.folder / "work"
        for folder in (upper, work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        machine.root.mkdir(exist_ok=True)
        options = f"lowerdir={disk / 'seed'}:{BASE},upperdir={upper},workdir={work}"
        mount("-t", "overlay", "-o", options, f"{self.folder.name}-{machine.name}", machine.root)
        # Shared, so that a small disk mounted here later appears in the running host (boot.sh is its slave).
        mount("--make-shared", machine.root)

    def _power_on(self, machine: Machine) -> None:
        if machine.process is not None:
            return
        self._plug_in(machine)
        group = self.cgroup / machine.name
        (group / OUTSIDE_CGROUP).mkdir(parents=True, exist_ok=True)
        join = 'echo $$ >"$1/cgroup.procs"; shift; exec setpriv --pdeathsig KILL "$@"'
        command = ["sh", "-c", join, "sh", os.fspath(group), "nsenter", f"--net=/run/netns/{machine.name}", "--"]
        command += [
            "unshare",
            "--mount",
            "--propagation=unchanged",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--uts",
            "--ipc",
            "--cgroup",
            "--",
        ]
        command += [os.fspath(_BOOT), os.fspath(machine.root), DROPPED_CAPABILITIES]
        with open(self.folder / f"{machine.name}.boot.log", "ab") as log:
            machine.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        machine.pid = self._wait_systemd(machine, machine.process)
        machine.boots += 1

    def _wait_systemd(self, machine: Machine, process: subprocess.Popen[bytes]) -> int:
        """The PID of the host's PID 1, once it is systemd."""
        for _ in until(_SETTLE_TIMEOUT_S):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                return int(children[0])
            if process.poll() is not None:
                break
        self._power_off(machine)
        log = (self.folder / f"{machine.name}.boot.log").read_text(errors="replace")
        raise KeeperError(f"host {machine.name} did not reach systemd: {log[-800:]}")

    def _plug_in(self, machine: Machine) -> None:
        """A new network namespace with a link to the bridge: firewall rules do not survive a power cycle."""
        self._unplug(machine)
        name = machine.name
        ip_batch(
            f"netns add {name}",
            f"link add {name} type veth peer name eth0 address {machine.mac} netns {name}",
            f"link set {name} master {BRIDGE} up",
        )
        ip_batch(
            f"address add {machine.address}/{machine.prefix} dev eth0", "link set eth0 up", "link set lo up", netns=name
        )

    def _unplug(self, machine: Machine) -> None:
        if (RUN / "netns" / machine.name).exists():
            # The link first: a namespace that a last process still holds would keep its name on the bridge.
            subprocess.run(["ip", "link", "delete", machine.name], capture_output=True, check=False, timeout=10)
            call("ip", "netns", "delete", machine.name)

    def _power_off(self, machine: Machine) -> None:
        """As if the mains were cut: SIGKILL to PID 1 and with it to all of its namespace."""
        if machine.pid:
            try:
                os.kill(machine.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._forget_process(machine)

    def _forget_process(self, machine: Machine) -> None:
        if machine.process is not None:
            if not machine.pid:
                machine.process.kill()
            machine.process.wait(_SETTLE_TIMEOUT_S)
            machine.process, machine.pid = None, 0
        remove_cgroups(self.cgroup / machine.name)
        self._unplug(machine)

    def _notice_ended(self) -> None:
        """A host that switched itself off stays off; one that asked for a reboot is switched on again."""
        for machine in self.machines.values():
            if machine.process is None or machine.process.poll() is None:
                continue
            # reboot(2) in a PID namespace kills its PID 1 by SIGHUP, power-off and halt by SIGINT.
            wants_reboot = machine.process.returncode == -signal.SIGHUP
            self._forget_process(machine)
            if wants_reboot and not self.ending:
                self._power_on(machine)


def cgroup_name(folder: Path) -> str:
    """The cgroup of the run whose folder that is; unique on the machine because run ids are."""
    return f"etcdops-hosts-{folder.name}"


def remove_cgroups(group: Path) -> None:
    """Kill what lives in a cgroup and remove its folders, deepest first."""
    if not group.exists():
        return
    kill = group / "cgroup.kill"
    for _ in until(_SETTLE_TIMEOUT_S):
        if kill.exists():
            kill.write_text("1")
        try:
            for folder, _folders, _files in os.walk(group, topdown=False):
                os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            continue  # busy: its last process is on its way out
        return
    raise KeeperError(f"cgroup {group} cannot be removed: a process in it does not end")


def until(timeout_s: float) -> Iterator[None]:
    """Turns of a wait, a few milliseconds apart, until the deadline has passed."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)


def mount(*arguments: str | Path) -> None:
    call("mount", *map(str, arguments))


def unmount(folder: Path) -> None:
    """Take away everything mounted at or below `folder`."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed([p for p in points if p == os.fspath(folder) or p.startswith(f"{folder}/")]):
        call("umount", "--lazy", point)


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SETTLE_TIMEOUT_S)


def ip_batch(*commands: str, netns: str = "") -> None:
    inside = ["-netns", netns] if netns else []
    text = "\n".join(commands)
    subprocess.run(
        ["ip", *inside, "-batch", "-"],
        input=text,
        check=True,
        capture_output=True,
        text=True,
        timeout=_SETTLE_TIMEOUT_S,
    )


def _holds_overlay(folder: Path) -> bool:
    """Whether that folder can be the upper side of an overlay; asked by mounting one."""
    trial = folder / "trial"
    try:
        for name in ("upper", "work", "merged"):
            (trial / name).mkdir(parents=True)
        options = f"lowerdir={BASE},upperdir={trial / 'upper'},workdir={trial / 'work'}"
        tried = subprocess.run(
            ["mount", "-t", "overlay", "-o", options, "trial", os.fspath(trial / "merged")],
            capture_output=True,
            check=False,
            timeout=10,
        )
        if tried.returncode == 0:
            call("umount", "--lazy", os.fspath(trial / "merged"))
            (folder / "on-disk").touch()
        return tried.returncode == 0
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _stderr(error: BaseException) -> str:
    text = getattr(error, "stderr", None)
    return f": {text.strip()}" if isinstance(text, str) and text.strip() else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.keeper", description="started by tests/hosts/hosts.py")
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path, help="the root file system below every host's disk")
    parser.add_argument("--watch", type=int, action="append", default=[], help="pidfds: end when one of them ends")
    options = parser.parse_args()
    keeper = Keeper(options.folder)

    def end(_signal: int, _frame: object) -> None:
        keeper.ending = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    control = keeper.set_up(options.base)
    try:
        keeper.serve(control, options.watch)
    finally:
        keeper.tear_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
