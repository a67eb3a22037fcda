"""A cluster on hosts that are only told of, with real certificates in their files and real TLS at their ports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.certs.authority import Authority
from etcdops.client.settings import ConnectionSettings
from etcdops.clock import ManualClock
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Inventory
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.on_hosts import RunHosts, find_cluster, source_of
from etcdops.playbooks.rollout.desired import DesiredLeaf, DesiredMember, Signer, desired
from etcdops.remote.command import Command
from etcdops.remote.pool import Open, Sessions
from etcdops.remote.session import Result, Session
from tests.fakes.session import FakeFile, FakeSession, said

NOW = 1_900_000_000.0
DAY_S = 86400.0
YAML = """\
hosts:
  h1: {address: 10.0.0.1}
  h2: {address: 10.0.0.2}
  h3: {address: 10.0.0.3}
clusters:
  prod:
    tls: {}
    members: [{name: m1, host: h1}, {name: m2, host: h2}, {name: m3, host: h3}]
"""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python's ssl has no name for."""
_ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Port:
    """One end of a tunnel that never was."""

    address: tuple[str, int]

    async def close(self) -> None:
        pass


class PortedHost(FakeSession):
    """A host whose member shows, at both ports, what its files hold when it is asked, as etcd does."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.shows: dict[int, str] = {2379: "server", 2380: "peer"}
        self.instead: dict[int, bytes] = {}
        """Port -> pair it shows whatever its files hold."""
        self.trusts: dict[int, str] = {2379: "/etc/etcd/pki/ca.crt", 2380: "/etc/etcd/pki/peer-ca.crt"}
        self.folder = Path()
        """Of this machine, for the pair that OpenSSL reads from a file."""
        self._servers: list[asyncio.Server] = []
        self.answer("mv -f", result=self._renamed)

    def _renamed(self, command: Command) -> Result:
        certificate, key, suffix = map(str, command.argv[-3:])
        for path in (key, certificate):
            self.files[path] = self.files.pop(path + suffix)
        return said()

    async def tunnel(self, host: str, port: int) -> Port:
        name = f"/etc/etcd/pki/{self.shows[port]}"
        pair = self.instead.get(port) or self.files[f"{name}.crt"].content + self.files[f"{name}.key"].content
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (self.folder / "pair").write_bytes(pair)
        context.load_cert_chain(self.folder / "pair")
        context.load_verify_locations(cadata=self.files[self.trusts[port]].content.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        # what is made for the test is valid in another year
        context.verify_flags |= _NO_CHECK_TIME
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
        self._servers.append(server)
        return Port(server.sockets[0].getsockname())

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        if await reader.read(1000):
            writer.write(_ANSWER)
            await writer.drain()
    except OSError:
        pass
    writer.close()


@dataclass
class ToldCluster:
    """Members with certificates, as a rollout leaves them."""

    run: RunHosts
    clock: ManualClock
    hosts: dict[str, PortedHost]
    authorities: ClusterAuthorities = field(init=False)

    def __post_init__(self) -> None:
        self.authorities = ClusterAuthorities(self.run.pki, "prod", self.clock)

    def member(self, name: str) -> DesiredMember:
        return desired(self.run.inventory, self.run.cluster, self.run.member(name))

    def host(self, name: str) -> PortedHost:
        return self.hosts[self.member(name).host]

    def leaf(self, name: str, what: str) -> DesiredLeaf:
        return next(leaf for leaf in self.member(name).leaves if leaf.certificate.endswith(f"/{what}.crt"))

    def roll_out(self, names: Sequence[str] = ("m1", "m2", "m3")) -> None:
        self.authorities.create((Signer.CLIENT, Signer.PEER))
        self.authorities.operator_files()
        for name in names:
            for bundle in self.member(name).bundles:
                self.host(name).files[bundle.path] = FakeFile(self.authorities.bundle(bundle).content)
            for leaf in self.member(name).leaves:
                self.put(name, leaf, self.authorities.of(leaf.signer))

    def put(self, name: str, leaf: DesiredLeaf, authority: Authority, *, days: int = 365) -> None:
        issued = authority.issue(leaf.use, leaf.name, hosts=leaf.hosts, days=days)
        files = self.host(name).files
        files[leaf.certificate] = FakeFile(issued.certificate)
        files[leaf.key] = FakeFile(issued.key.reveal().encode(), 0o600)


@dataclass
class ToldAccess:
    """`on_hosts.Access` to them."""

    def settings(self, endpoints: Sequence[str], cluster: str) -> ConnectionSettings:
        return ConnectionSettings(tuple(endpoints))

    @contextmanager
    def connecting(self, inventory: Inventory) -> Iterator[Open]:
        raise NotImplementedError("the sessions are there")


@asynccontextmanager
async def told_cluster(folder: Path, *, tls: str = "{}") -> AsyncIterator[ToldCluster]:
    """Three members; `roll_out` gives them their certificates."""
    path = folder / "prod.yaml"
    path.write_text(YAML.replace("tls: {}", f"tls: {tls}"))
    inventory = load_inventory([path])
    cluster = find_cluster(inventory)
    hosts = {name: PortedHost(name) for name in inventory.hosts}
    for name, host in hosts.items():
        host.folder = folder / name
        (folder / name).mkdir()

    async def connect(name: str) -> Session:
        return hosts[name]

    clock = ManualClock(NOW)
    sessions = Sessions(connect)
    run = RunHosts(inventory, cluster, source_of([path], inventory, cluster), sessions, ToldAccess(), clock)
    try:
        yield ToldCluster(run, clock, hosts)
    finally:
        await sessions.close()
