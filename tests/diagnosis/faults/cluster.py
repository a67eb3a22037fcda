"""Three members on three hosts as an operator would set them up, whose units, settings and data faults change."""

from __future__ import annotations

import datetime
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from tests.hosts.host import Host, HostError, Ran
from tests.hosts.hosts import Hosts
from tests.playbooks.host_clusters import install_engine, is_node
from tests.support.certificates import Authority, KeyPair
from tests.support.real_etcd import find_etcd

DATA: Final = "/var/lib/etcd"
PKI: Final = "/etc/etcd/pki"
CLIENT, PEER = 2379, 2380
STARTED_S: Final = 90.0
"""How long a cluster may take until it serves, on a machine that is busy with other things."""

_UNIT: Final = "etc/systemd/system/etcd.service"
_DROP_IN: Final = "etc/systemd/system/etcd.service.d/fault.conf"
_SETTINGS: Final = "etc/default/etcd"
_SYSCALLS: Final = Path(__file__).with_name("syscalls.py")
_WRITTEN_UNIT: Final = """[Unit]
Description=etcd - highly-available key value store
After=network-online.target

[Service]
Type=notify
User=etcd
EnvironmentFile=/etc/default/etcd
ExecStart=/usr/local/bin/{program}
WorkingDirectory={data}
Restart=on-failure
RestartSec=300ms
TimeoutStopSec=5
LimitNOFILE=65536
"""

T = TypeVar("T")


@dataclass
class Member:
    """etcd on one host."""

    cluster: FaultCluster
    host: Host
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def address(self) -> str:
        return self.host.address

    @property
    def peer_url(self) -> str:
        return f"{self.cluster.scheme}://{self.address}:{PEER}"

    @property
    def client_url(self) -> str:
        return f"http://{self.address}:{CLIENT}"

    def run(self, command: str, *, check: bool = True, timeout_s: float = 30.0) -> Ran:
        """A shell's command on the host, as root."""
        return self.host.run(["sh", "-c", command], check=check, timeout_s=timeout_s)

    def configure(self, **changes: str | None) -> None:
        """Change settings; they hold from the next start on."""
        for name, value in changes.items():
            if value is None:
                self.settings.pop(name, None)
            else:
                self.settings[name] = value
        lines = [f'ETCD_{name.upper()}="{value}"' for name, value in self.settings.items()]
        path = self.host.path(_SETTINGS)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    def drop_in(self, text: str) -> bool:
        """Change the unit; an empty text takes the change back. Returns: whether there was anything to do."""
        path = self.host.path(_DROP_IN)
        if not text and not path.exists():
            return False
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"[Service]\n{text}\n")
        else:
            path.unlink()
        self.run("systemctl daemon-reload")
        return True

    def runs(self, *arguments: str) -> None:
        """Give the unit another command line: the program with these arguments."""
        self.drop_in(f"ExecStart=\nExecStart={shlex.join([self.cluster.program, *arguments])}")

    def start(self, *, wait: bool = False) -> None:
        """With `wait` until it serves; else it may fail, and be tried again by systemd."""
        block = "" if wait else "--no-block"
        self.run(f"systemctl reset-failed etcd 2>/dev/null; systemctl start {block} etcd", timeout_s=STARTED_S)

    def stop(self) -> None:
        self.run("systemctl stop etcd; systemctl reset-failed etcd 2>/dev/null || true", timeout_s=STARTED_S)

    def kill(self) -> None:
        """The process is gone at once, and nobody starts it again."""
        stopped = "systemctl stop etcd; systemctl reset-failed etcd 2>/dev/null || true"
        self.run(f"systemctl kill --signal=SIGKILL etcd 2>/dev/null; {stopped}", timeout_s=STARTED_S)

    def restart(self) -> None:
        self.stop()
        self.start()

    def signal(self, name: str) -> None:
        self.run(f"systemctl kill --kill-whom=main --signal={name} etcd", check=False)

    def wipe(self) -> None:
        """As on a new disk: an empty folder of etcd's."""
        self.run(f"rm -rf {DATA}/* && chown etcd:etcd {DATA} && chmod 700 {DATA}")

    def patched(self, *, delay_s: float = 0.0, errno: int = 0) -> None:
        """From the next start on `fsync` takes that long, or fails, while `slow_down()` is on."""
        self.host.path("usr/local/lib/syscalls.py").write_bytes(_SYSCALLS.read_bytes())
        command = ["/usr/bin/python3", "/usr/local/lib/syscalls.py", str(delay_s), str(errno), self.cluster.program]
        self.drop_in(f"ExecStart=\nExecStart={shlex.join(command)}")

    def ctl(self, *arguments: str, stdin: str = "", check: bool = True, timeout_s: float = 20.0) -> Ran:
        """etcdctl for this member alone."""
        return self.cluster.ctl(*arguments, members=[self], stdin=stdin, check=check, timeout_s=timeout_s)


@dataclass
class FaultCluster:
    """Three members."""

    hosts: Hosts
    folder: Path
    """On this machine: journals, certificates."""
    engine: str
    """`etcd-3.5`, `etcd-3.4` or `node`."""
    scheme: str = "http"
    members: list[Member] = field(default_factory=list)
    marked: datetime.datetime = datetime.datetime.min
    _cursors: dict[str, str] = field(default_factory=dict)
    _undo: list[Callable[[], object]] = field(default_factory=list)
    _number: int = 0
    _whole: bool = False
    """Whether nothing was broken since `fresh` or `restore`."""

    def __post_init__(self) -> None:
        self.members = [Member(self, host) for host in self.hosts]
        self.authority = Authority(self.folder / "pki")

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @property
    def program(self) -> str:
        return f"/usr/local/bin/{'etcdops-node' if is_node(self.engine) else 'etcd'}"

    # -- its life ----------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Programs, user and unit."""

        def one(host: Host) -> None:
            install_engine(host, self.engine, self.folder)
            if is_node(self.engine):
                install_engine(host, "etcd-3.5", self.folder)
            host.path(_UNIT).write_text(_WRITTEN_UNIT.format(program=Path(self.program).name, data=DATA))
            user = "useradd --system --home-dir / --shell /usr/sbin/nologin etcd"
            host.run(["sh", "-c", f"{user}; install -d -m 0700 -o etcd -g etcd {DATA}; systemctl daemon-reload"])

        _each(one, self.hosts)

    def ready(self, *, tls: bool) -> bool:
        """A healthy cluster, as the last fault left it or a new one. Returns: whether it is new."""
        new = not self._whole or self.scheme != ("https" if tls else "http")
        if new:
            self.fresh(tls=tls)
        return new

    def broken(self) -> None:
        """To be said before something is broken."""
        self._whole = False

    def fresh(self, *, tls: bool = False) -> None:
        """End what runs and make a new cluster, whatever was before. The mark is set before it starts."""
        self._undo_all()
        self.scheme = "https" if tls else "http"
        self._number += 1
        _each(_emptied, self.members)
        for member in self.members:
            member.drop_in("")
            member.settings = {}
            member.configure(**self.settings_of(member))
            if tls:
                self.certify(member)
        self.mark()
        _each(lambda member: member.start(wait=True), self.members)
        self._whole = True

    def restore(self) -> None:
        """Undo a fault that left the data alone: settings, certificates, disk and network as before."""
        self._undo_all()
        for member in self.members:
            if self.scheme == "https":
                self.certify(member)
            wrong = member.drop_in("") or member.settings != self.settings_of(member)
            member.settings = {}
            member.configure(**self.settings_of(member))
            if wrong or member.run("systemctl is-active etcd", check=False).stdout.strip() != "active":
                member.kill()
        _each(lambda member: member.start(wait=True), self.members)
        wait_until(lambda: not self.ctl("endpoint", "health", check=False).status, "all are healthy again")
        self._whole = True

    def end(self) -> None:
        """Nothing of it runs any more."""
        self._undo_all()
        _each(_emptied, self.members)

    def _undo_all(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self.hosts.heal()

    def settings_of(self, member: Member) -> dict[str, str]:
        """What a member is started with."""
        peer_tls = {
            "peer_trusted_ca_file": f"{PKI}/ca.pem",
            "peer_cert_file": f"{PKI}/peer.crt",
            "peer_key_file": f"{PKI}/peer.key",
            "peer_client_cert_auth": "true",
        }
        return {
            "name": member.name,
            "data_dir": DATA,
            "listen_peer_urls": member.peer_url,
            "listen_client_urls": f"{member.client_url},http://127.0.0.1:{CLIENT}",
            "initial_advertise_peer_urls": member.peer_url,
            "advertise_client_urls": member.client_url,
            "initial_cluster": initial_cluster(self.members),
            "initial_cluster_state": "new",
            "initial_cluster_token": f"cluster-{self._number}",
            "heartbeat_interval": "50",
            "election_timeout": "500",
            **(peer_tls if self.scheme == "https" else {}),
        }

    def later(self, undo: Callable[[], object]) -> None:
        """What must be undone before the hosts are used again."""
        self._undo.append(undo)

    def certify(self, member: Member, pair: KeyPair | None = None, ca: Path | None = None) -> None:
        """Put a peer certificate onto a member's host: a good one, or another."""
        pair = pair or self.authority.issue(f"{member.name}-peer", hosts=(member.address, member.name))
        member.run(f"install -d -o etcd -g etcd {PKI}")
        names = (ca or self.authority.ca, "ca.pem"), (pair.cert, "peer.crt"), (pair.key, "peer.key")
        for source, name in names:
            shutil.copy(source, member.host.path(f"{PKI}/{name}"))
        member.run(f"chown etcd:etcd {PKI}/*; chmod 600 {PKI}/*")

    # -- who is who --------------------------------------------------------------------------------------------------

    def ctl(
        self,
        *arguments: str,
        members: Sequence[Member] = (),
        stdin: str = "",
        check: bool = True,
        timeout_s: float = 20.0,
    ) -> Ran:
        """etcdctl from this machine. `put KEY` takes its value from `stdin`."""
        found = find_etcd(self.engine.partition("-")[2] or "3.5") or find_etcd("3.5")
        assert found is not None
        urls = ",".join(member.client_url for member in members or self.members)
        command = [str(found.etcdctl), f"--endpoints={urls}", *arguments]
        environment = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
        try:
            done = subprocess.run(
                command,
                input=stdin,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                errors="replace",
            )
        except subprocess.TimeoutExpired as slow:
            if check:
                raise HostError(f"etcdctl {shlex.join(arguments)}: no end within {timeout_s} s") from slow
            return Ran(124, "", "")
        if check and done.returncode:
            raise HostError(f"etcdctl {shlex.join(arguments)}: {done.stderr[-2000:]}")
        return Ran(done.returncode, done.stdout, done.stderr)

    def ids(self) -> dict[str, str]:
        """Names to member IDs."""
        return self.ids_of(self.members)

    def ids_of(self, members: Sequence[Member]) -> dict[str, str]:
        """The same, by asking these."""
        lines = self.ctl("member", "list", members=members).stdout.splitlines()
        return {line.split(", ")[2]: line.split(", ")[0] for line in lines}

    def leader(self, members: Sequence[Member] = ()) -> Member:
        """Who leads, of these."""
        members = members or self.members
        answers = json.loads(self.ctl("endpoint", "status", "-w", "json", members=members).stdout)
        for member, answer in zip(members, answers, strict=True):
            status = answer["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return member
        raise HostError("nobody leads")

    def follower(self) -> Member:
        """One that does not lead."""
        leader = self.leader()
        return next(member for member in reversed(self.members) if member is not leader)

    def put(self, count: int, *, size: int = 10, prefix: str = "k", to: Member | None = None) -> None:
        """So many keys, a hundred in one transaction."""
        found = find_etcd("3.5")
        assert found is not None
        command = [str(found.etcdctl), f"--endpoints={(to or self.members[0]).client_url}", "txn", "--interactive"]
        for start in range(0, count, 100):
            puts = [f"put {prefix}{number} {'x' * size}" for number in range(start, min(count, start + 100))]
            text = "\n".join(["", *puts, "", "", ""])
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
            if done.returncode:
                raise HostError(f"puts: {done.stderr[-500:]}")

    def replace(self, member: Member, url: str, *options: str) -> None:
        """Remove it and add it anew; etcd wants all others to have been connected for five seconds."""
        first = self.members[0]
        identity = self.ids()[member.name]
        wait_until(lambda: not first.ctl("member", "remove", identity, check=False).status, "the removal")
        add = ("member", "add", member.name, *options, f"--peer-urls={url}")
        wait_until(lambda: not first.ctl(*add, check=False).status, "the new member")

    # -- what their journals say -------------------------------------------------------------------------------------

    def mark(self) -> None:
        """From here on `journals` reads."""
        self.marked = datetime.datetime.now(datetime.UTC)
        for member in self.members:
            shown = member.run("journalctl --sync; journalctl -n 0 --show-cursor --quiet").stdout
            self._cursors[member.name] = shown.partition("cursor: ")[2].strip()

    def inventory(self) -> Path:
        """The inventory of this cluster, as etcdops reads it."""
        kind, _, minor = self.engine.partition("-")
        lines = ["hosts:"]
        for host in self.hosts:
            ssh = f"user: root, port: {host.ssh_port}, key: {self.hosts.key}"
            lines.append(f"  {host.name}: {{address: {host.address}, ssh: {{{ssh}}}}}")
        members = ", ".join(f"{{host: {host.name}}}" for host in self.hosts)
        engine = f'{{kind: {kind}, version: "{minor or "3.5"}"}}'
        lines += ["clusters:", f"  faults: {{engine: {engine}, data_dir: {DATA}, members: [{members}]}}"]
        path = self.folder / "etcdops.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def journals(self, names: Sequence[str] = (), unit: str = "etcd") -> list[Path]:
        """`journalctl -u UNIT` of hosts since the mark, as files."""
        paths = []
        for member in self.members:
            if names and member.name not in names:
                continue
            path = self.folder / f"{member.name}.log"
            if member.host.is_on:
                cursor = shlex.quote(self._cursors[member.name])
                command = f"journalctl --sync; journalctl --quiet -u {unit} -o short-iso --after-cursor={cursor}"
                path.write_text(member.run(command).stdout)
            paths.append(path)
        return paths


def _emptied(member: Member) -> None:
    member.kill()
    member.wipe()


def _each(work: Callable[[T], object], things: Iterable[T]) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, things))


def initial_cluster(members: Sequence[Member]) -> str:
    return ",".join(f"{member.name}={member.peer_url}" for member in members)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = STARTED_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise HostError(f"{what}: not seen within {timeout_s:.0f} s")
        time.sleep(0.05)
