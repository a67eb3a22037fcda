"""Real etcd members on loopback, for tests: started, paused, killed and restarted by their own process IDs.

The binaries are looked for in `.cache/etcd/<version>/` (`make etcd` puts them there).
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.ports import free_ports

CACHE = Path(__file__).parents[2] / ".cache" / "etcd"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class EtcdBinaries:
    """One version of etcd: paths of its programs. `etcdutl` is None where the version has none (before 3.5)."""

    version: str
    etcd: Path
    etcdctl: Path
    etcdutl: Path | None
    program: tuple[str, ...] = ()
    """What starts a member, where that is not `etcd` itself: the bundled node."""

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


def node_with(etcdctl: EtcdBinaries) -> EtcdBinaries:
    """The bundled node as the member, with real etcd's tools to talk to it."""
    return replace(etcdctl, program=(sys.executable, "-m", "etcdops", "node"))


def find_etcd(minor: str) -> EtcdBinaries | None:
    """The newest etcd of that minor version ("3.4", "3.5") in the cache, None when there is none."""
    found = [path for path in CACHE.glob(f"{minor}.*") if (path / "etcd").exists() and (path / "etcdctl").exists()]
    if not found:
        return None
    folder = max(found, key=lambda path: [int(part) for part in path.name.split(".") if part.isdigit()])
    etcdutl = folder / "etcdutl"
    return EtcdBinaries(folder.name, folder / "etcd", folder / "etcdctl", etcdutl if etcdutl.exists() else None)


@dataclass(frozen=True)
class Tls:
    """PEM files for the client port, and with `peer` for the peer port too.

    With `client_auth` members want a certificate from every client, and from each other.
    """

    ca: Path
    cert: Path
    key: Path
    client_auth: bool = False
    peer: bool = False


@dataclass
class RealMember:
    """One etcd process. `url` is its client URL; the log of all its runs is one file."""

    binaries: EtcdBinaries
    name: str
    folder: Path
    client_port: int
    peer_port: int
    tls: Tls | None = None
    flags: Sequence[str] = ()
    initial_cluster: str = ""
    token: str = "etcd-cluster"
    host: str = "127.0.0.1"
    """What it listens on."""
    advertised_peer_url: str = ""
    """Where its peers are told to find it, when something stands between them."""
    launcher: Sequence[str] = ()
    """What starts the program: `nsenter` and the like. It must become the program (exec)."""
    process: subprocess.Popen[bytes] | None = None
    _ready_marks: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"{'https' if self.tls and self.tls.peer else 'http'}://{self.host}:{self.peer_port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / f"{self.name}.etcd"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} is not running"
        return self.process.pid

    def command(self) -> list[str]:
        """The command line, complete except for what ends it together with the test run."""
        command = [
            *(self.binaries.program or (str(self.binaries.etcd),)),
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.advertised_peer_url or self.peer_url}",
            f"--initial-cluster={self.initial_cluster or f'{self.name}={self.advertised_peer_url or self.peer_url}'}",
            f"--initial-cluster-token={self.token}",
            "--logger=zap",
            "--log-outputs=stderr",
        ]
        if self.tls:
            command += [f"--cert-file={self.tls.cert}", f"--key-file={self.tls.key}"]
            if self.tls.client_auth:
                # Naming an authority is enough to make etcd ask every client for a certificate.
                command += [f"--trusted-ca-file={self.tls.ca}", "--client-cert-auth"]
            if self.tls.peer:
                command += [f"--peer-cert-file={self.tls.cert}", f"--peer-key-file={self.tls.key}"]
                command += [f"--peer-trusted-ca-file={self.tls.ca}"]
                command += ["--peer-client-cert-auth"] if self.tls.client_auth else []
        return [*command, *self.flags]

    def start_nowait(self) -> None:
        """Start the process; it is not ready yet."""
        assert self.process is None, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ready_marks = self._count_ready_marks()
        # A test run that is killed must not leave members behind.
        setpriv = shutil.which("setpriv")
        prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.launcher, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the member serves clients, which takes a quorum."""

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise AssertionError(self._not_ready())
            return self._count_ready_marks() > self._ready_marks

        poll_until(ready, timeout_s, self._not_ready)

    def _count_ready_marks(self) -> int:
        # "serving client traffic securely" and "... insecurely", in 3.4 and 3.5 alike.
        return self.log.read_bytes().count(b"serving client traffic") if self.log.exists() else 0

    def _not_ready(self) -> str:
        state = "is not ready" if self.process and self.process.poll() is None else "has ended"
        return f"{self.name} {state}; its log ends:\n{self.log_tail()}"

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def start(self) -> None:
        self.start_nowait()
        self.wait_ready()

    def stop(self) -> None:
        """SIGTERM, as systemd does; SIGKILL when the member does not obey."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: no goodbye, as when the machine is gone."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)  # a paused process would never see SIGTERM
            process.send_signal(number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, the worst kind of silence."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        # The signal stops one thread after the other; until the last one stands, an answer may still come.
        poll_until(self._all_threads_stopped, STOP_TIMEOUT_S, f"{self.name} does not stop")

    def _all_threads_stopped(self) -> bool:
        stats = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@dataclass
class RealCluster:
    """Some members that form one cluster. `ctl` runs the matching etcdctl against all of them."""

    binaries: EtcdBinaries
    members: list[RealMember] = field(default_factory=list)

    @property
    def endpoints(self) -> list[str]:
        return [member.url for member in self.members]

    def member(self, name: str) -> RealMember:
        return next(member for member in self.members if member.name == name)

    def start(self) -> None:
        for member in self.members:
            member.start_nowait()
        for member in self.members:
            member.wait_ready()

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def ctl(self, *arguments: str, timeout_s: float = 30.0) -> str:
        """Run etcdctl (v3 API) with these arguments and return what it printed; raises when it fails."""
        tls = self.members[0].tls
        flags = [f"--endpoints={','.join(self.endpoints)}"]
        if tls:
            flags += [f"--cacert={tls.ca}", f"--cert={tls.cert}", f"--key={tls.key}"]
        done = subprocess.run(
            [str(self.binaries.etcdctl), *flags, *arguments],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"etcdctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout


def new_cluster(
    binaries: EtcdBinaries,
    folder: Path,
    *,
    size: int = 1,
    tls: Tls | None = None,
    flags: Sequence[str] = (),
    token: str = "etcd-cluster",
    prefix: str = "m",
) -> RealCluster:
    """A cluster that is not started yet: members m1, m2, ... with free ports and data under `folder`."""
    ports = free_ports(2 * size)
    members = [
        RealMember(binaries, f"{prefix}{n + 1}", folder, ports[2 * n], ports[2 * n + 1], tls, flags, token=token)
        for n in range(size)
    ]
    initial_cluster = ",".join(f"{member.name}={member.peer_url}" for member in members)
    for member in members:
        member.initial_cluster = initial_cluster
    return RealCluster(binaries, members)


def poll_until(condition: Callable[[], bool], timeout_s: float, complaint: Callable[[], str] | str = "") -> None:
    """Wait until `condition()` is true, looking every 20 ms; fails with `complaint` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError((complaint() if callable(complaint) else complaint) or f"not within {timeout_s} s")
        time.sleep(0.02)
