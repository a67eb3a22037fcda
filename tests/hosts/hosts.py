"""A run: some hosts on one bridge, and the keeper they hang on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.hosts import base, seeds
from tests.hosts.host import READY_TIMEOUT_S, Host, HostError, wait_port
from tests.hosts.keeper import CONTROL, HOSTS
from tests.hosts.network import OPERATOR, Cut, apply_cuts, link_exists, link_name, plug_in_operator
from tests.hosts.runs import RunState, is_alive, new_run, read_state, sweep, write_state

_KEEPER_TIMEOUT_S: Final = 30.0
_END_TIMEOUT_S: Final = 60.0


@dataclass
class Hosts:
    """`n` hosts named h1, h2, ... Use `Hosts.start(n)`, or `Hosts.attach(folder)` to those of `make hosts`."""

    folder: Path
    keeper_pid: int
    members: list[Host] = field(default_factory=list)
    operator_address: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _cuts: list[Cut] = field(default_factory=list)

    # -- life --------------------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, count: int = 3, *, detached: bool = False) -> Hosts:
        """Bring up that many hosts and wait until all are ready. They end with this process unless `detached`.

        Raises: HostError, base.BaseMissing.
        """
        sweep()
        root = base.ensure_base()
        folder, lock = new_run()
        try:
            process = _start_keeper(folder, lock, root, detached=detached)
        finally:
            os.close(lock)
        hosts = cls(folder, process.pid, _process=process)
        try:
            hosts._wait_keeper()
            hosts._furnish(count, detached=detached)
            hosts.power_on_all()
        except BaseException:
            with suppress(HostError, OSError):
                hosts.stop()
            raise
        return hosts

    @classmethod
    def attach(cls, folder: Path) -> Hosts:
        """The hosts of a run that somebody else started. Raises HostError when it is not running."""
        state = read_state(folder)
        if state is None or not is_alive(folder):
            raise HostError(f"run {folder.name} is not running")
        hosts = cls(folder, state.keeper_pid, operator_address=state.operator_address)
        for name, address in state.hosts.items():
            hosts.members.append(Host(name, address, hosts, pid=hosts.ask("status", name)["pid"]))
        return hosts

    def stop(self) -> None:
        """End everything and wait until it is gone. Safe to repeat."""
        if is_alive(self.folder):
            with suppress(HostError, OSError):
                self.ask("stop")
        if self._process is not None:
            self._process.wait(_END_TIMEOUT_S)
        # Network namespaces are taken down by the kernel a moment after their last process.
        _wait(lambda: not is_alive(self.folder) and not link_exists(self.folder.name), "the end of the keeper")
        for member in self.members:
            member.pid = 0

    def __iter__(self) -> Iterator[Host]:
        return iter(self.members)

    def __getitem__(self, name: str | int) -> Host:
        """By name ("h1") or place (0)."""
        if isinstance(name, int):
            return self.members[name]
        return next(host for host in self.members if host.name == name)

    def __len__(self) -> int:
        return len(self.members)

    # -- how to reach them -------------------------------------------------------------------------------------------

    @property
    def key(self) -> Path:
        """Private key that opens root, ops and deploy on every host; made for this run."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' true keys, by address and by name."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """An OpenSSH client configuration that knows the hosts by name."""
        return self.folder / "ssh_config"

    @property
    def ops_password(self) -> str:
        """The password of user `ops`, for sudo and for ssh; has a quote, a dollar sign and a space in it."""
        return (self.folder / "ops_password").read_text()

    # -- power -------------------------------------------------------------------------------------------------------

    def power_on_all(self) -> None:
        """Boot every host that is off and wait until all are ready; together, not one after the other."""
        for host in self.members:
            if not host.is_on:
                host.power_on(wait=False)
        with ThreadPoolExecutor(max_workers=max(1, len(self.members))) as pool:
            list(pool.map(_wait_ready, self.members))
        for host in self.members:
            if host._baseline is None:
                host.take_baseline()

    # -- network -----------------------------------------------------------------------------------------------------

    def cut(self, source: Host | str, target: Host | str, *, port: int | None = None, one_way: bool = False) -> None:
        """Drop what goes between two hosts, or a host and `OPERATOR`, silently, as a dead switch does.

        With `one_way` only from `source` to `target`; with `port` only what goes to that TCP port. Connections that are
        open are cut too. Stays over power cycles and firewall changes in the hosts.
        """
        ends = _name(source), _name(target)
        cuts = [Cut(ends[0], ends[1], port)] + ([] if one_way else [Cut(ends[1], ends[0], port)])
        self._cuts += [cut for cut in cuts if cut not in self._cuts]
        apply_cuts(self.keeper_pid, self._cuts)

    def isolate(self, host: Host | str, *, from_operator: bool = False) -> None:
        """Cut a host from all the others, and with `from_operator` from the tests too."""
        others = [other.name for other in self.members if other.name != _name(host)]
        for peer in [*others, *([OPERATOR] if from_operator else [])]:
            self.cut(host, peer)

    def heal(self, source: Host | str | None = None, target: Host | str | None = None) -> None:
        """Undo every cut, or those of one host, or those between two."""
        ends = {_name(end) for end in (source, target) if end is not None}
        self._cuts = [cut for cut in self._cuts if not ends <= {cut.source, cut.target}]
        apply_cuts(self.keeper_pid, self._cuts)

    # -- clean state -------------------------------------------------------------------------------------------------

    def reset(self) -> list[str]:
        """Bring every host back to how it was installed; those that were changed get an empty disk and a boot.

        Returns: what was not clean. Raises HostError when something still is not.
        """
        if self._cuts:
            self.heal()
        found = {host.name: host.differences() for host in self.members}
        for host in self.members:
            if found[host.name]:
                host.install()
        self.power_on_all()
        left = [line for host in self.members if found[host.name] for line in host.differences()]
        if left:
            raise HostError("hosts cannot be brought back to a clean state:\n" + "\n".join(left))
        return [line for lines in found.values() for line in lines]

    # -- the keeper --------------------------------------------------------------------------------------------------

    def ask(self, operation: str, name: str = "", **arguments: str) -> dict[str, int]:
        """One request to the keeper. Raises HostError with its reason."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_KEEPER_TIMEOUT_S)
            connection.connect(os.fspath(self.keeper_path(CONTROL)))
            request = {"do": operation, "name": name, **arguments}
            connection.sendall(json.dumps(request).encode() + b"\n")
            line = connection.makefile("r").readline()
        if not line:
            raise HostError(f"keeper of run {self.folder.name}: it ended without an answer to {operation} {name}")
        reply = json.loads(line)
        if "error" in reply:
            raise HostError(f"keeper of run {self.folder.name}: {operation} {name}: {reply['error']}")
        return {key: int(value) for key, value in reply["ok"].items()}

    def keeper_path(self, path: Path) -> Path:
        """A path in the keeper's mount namespace, as seen from the machine."""
        return Path(f"/proc/{self.keeper_pid}/root") / path.relative_to("/")

    def in_keeper(self, argv: list[str]) -> None:
        """Run a command in the keeper's mount namespace. Raises HostError."""
        enter = ["nsenter", f"--target={self.keeper_pid}", "--mount", "--"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=_KEEPER_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise HostError(f"{argv[-1]}: exit status {done.returncode}: {done.stderr.strip()}")

    def upper(self, name: str) -> Path:
        """What a host wrote to its disk since its installation, as a folder."""
        on_disk = self.folder / name / "upper"
        return on_disk if on_disk.exists() else self.keeper_path(HOSTS / name / "upper")

    def _wait_keeper(self) -> None:
        def answers() -> bool:
            if self._process is not None and self._process.poll() is not None:
                log = (self.folder / "keeper.log").read_text() if self.folder.exists() else ""
                raise HostError(f"the keeper ended with {self._process.returncode}: {log[-2000:]}")
            return self.keeper_path(CONTROL).exists()

        _wait(answers, "the keeper")

    def _furnish(self, count: int, *, detached: bool) -> None:
        """Network, keys and identities; then an empty disk for each host."""
        network = plug_in_operator(self.keeper_pid, self.folder.name)
        self.operator_address = str(network[1])
        addresses = {f"h{index + 1}": str(network[11 + index]) for index in range(count)}
        seeds.write_seeds(self.folder, addresses, self.operator_address, base.ensure_base())
        for index, (name, address) in enumerate(addresses.items()):
            octets = self.folder.name[:6]
            mac = f"02:{octets[:2]}:{octets[2:4]}:{octets[4:6]}:00:{index + 1:02x}"
            self.ask("add", name, address=address, prefix=str(network.prefixlen), mac=mac)
            self.ask("install", name)
            self.members.append(Host(name, address, self))
        state = RunState(
            keeper_pid=self.keeper_pid,
            operator_address=self.operator_address,
            link=link_name(self.folder.name),
            hosts=addresses,
            detached=detached,
        )
        write_state(self.folder, state)


def _start_keeper(folder: Path, lock: int, root: Path, *, detached: bool) -> subprocess.Popen[bytes]:
    with ExitStack() as stack, open(folder / "keeper.log", "ab") as log:
        watched: list[int] = []
        if not detached:
            # The parent too: a worker of pytest-xdist may outlive the pytest that wanted it.
            wanted_by = [os.getpid()] + ([os.getppid()] if "PYTEST_XDIST_WORKER" in os.environ else [])
            for pid in wanted_by:
                watched.append(os.pidfd_open(pid))
                stack.callback(os.close, watched[-1])
        watch = [word for pidfd in watched for word in ("--watch", str(pidfd))]
        return subprocess.Popen(
            ["unshare", "--mount", "--net", "--", sys.executable, "-m", "tests.hosts.keeper", folder, root, *watch],
            cwd=base.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock, *watched],
            start_new_session=True,
        )


def _wait_ready(host: Host) -> None:
    host.wait_ready()
    wait_port(host.address, host.ssh_port, READY_TIMEOUT_S)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _END_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise HostError(f"{what}: not seen within {_END_TIMEOUT_S:.0f} s")
        time.sleep(0.02)


def _name(host: Host | str) -> str:
    return host if isinstance(host, str) else host.name
