"""Two ends for the transport under test: a raft side that writes down what it is told, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.node.peer.dialer import Dialer
from etcdops.node.peer.port import PeerRoutes
from etcdops.node.peer.transport import Transport
from etcdops.node.raft.types import Entry, EntryType, Message, MessageType
from etcdops.node.tls.client import ClientTls
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.member import PEER_PROTOCOLS
from etcdops.node.tls.server import ServerTls
from tests.support.ports import free_ports

CLUSTER = ClusterID(0xC1)
ALICE, BOB, CAROL = MemberID(0xA11CE), MemberID(0xB0B), MemberID(0xCA401)
DEADLINE_S = 20.0


@dataclass
class FakeRaft:
    """A PeerHandler that keeps everything it hears."""

    received: list[Message] = field(default_factory=list)
    unreachable: list[MemberID] = field(default_factory=list)
    snapshots: list[tuple[MemberID, bool]] = field(default_factory=list)
    removed: set[MemberID] = field(default_factory=set)
    told_removed: int = 0

    def process(self, message: Message) -> None:
        self.received.append(message)

    def report_unreachable(self, member: MemberID) -> None:
        self.unreachable.append(member)

    def report_snapshot(self, member: MemberID, ok: bool) -> None:
        self.snapshots.append((member, ok))

    def is_removed(self, member: MemberID) -> bool:
        return member in self.removed

    def removed_from_cluster(self) -> None:
        self.told_removed += 1

    def members_json(self) -> bytes:
        return json.dumps([{"id": ALICE, "peerURLs": ["http://a:1"], "name": "alice"}]).encode()

    def version_json(self) -> bytes:
        return b'{"etcdserver":"3.5.21","etcdcluster":"3.5.0"}'


@dataclass
class Node:
    """A running transport with its raft side."""

    transport: Transport
    raft: FakeRaft
    url: str
    member: MemberID
    snapshot_dir: Path


@asynccontextmanager
async def running(
    folder: Path,
    member: MemberID,
    *,
    cluster: ClusterID = CLUSTER,
    port: int = 0,
    peers: dict[MemberID, Sequence[str]] | None = None,
    remotes: dict[MemberID, Sequence[str]] | None = None,
    routes: PeerRoutes | None = None,
    version: str = "3.5.21",
    advertised: Sequence[str] = (),
    tls: TlsInfo | None = None,
) -> AsyncIterator[Node]:
    """A transport on a loopback port, stopped at the end."""
    url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port or free_ports(1)[0]}"
    raft = FakeRaft()
    snapshot_dir = folder / f"snap-{member:x}"
    snapshot_dir.mkdir(parents=True, exist_ok=True)
    transport = Transport(
        member_id=member,
        cluster_id=cluster,
        peer_urls=advertised or [url],
        handler=raft,
        snapshot_dir=snapshot_dir,
        routes=routes,
        version=version,
        server_tls=_server_tls(tls) if tls else None,
        client_tls=_client_tls(tls) if tls else None,
    )
    for peer, urls in (peers or {}).items():
        transport.add_peer(peer, urls)
    for peer, urls in (remotes or {}).items():
        transport.add_remote(peer, urls)
    await transport.start([url])
    try:
        yield Node(transport, raft, url, member, snapshot_dir)
    finally:
        await transport.stop()


def _server_tls(info: TlsInfo) -> ServerTls:
    tls = ServerTls(info, endpoint="peer", protocols=PEER_PROTOCOLS, check_addresses=True)
    tls.load()
    return tls


def _client_tls(info: TlsInfo) -> ClientTls:
    tls = ClientTls(info)
    tls.load()
    return tls


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Alice and Bob, who know each other and have all four streams."""
    one, two = free_ports(2)
    async with (
        running(folder, ALICE, port=one, peers={BOB: [f"http://127.0.0.1:{two}"]}) as alice,
        running(folder, BOB, port=two, peers={ALICE: [alice.url]}) as bob,
    ):
        await connected(alice, BOB)
        await connected(bob, ALICE)
        yield alice, bob


@asynccontextmanager
async def dialing(tls: ClientTls | None = None) -> AsyncIterator[Dialer]:
    """What asks other members, closed at the end."""
    dialer = Dialer(tls)
    try:
        yield dialer
    finally:
        await dialer.close()


async def connected(node: Node, peer: MemberID) -> None:
    """Wait until `peer` has dialled both streams of `node`."""

    def dialled() -> bool:
        found = node.transport.find_peer(peer)
        return found is not None and found.streaming

    await eventually(dialled, f"{peer:x} has not dialled {node.member:x}")


async def eventually(condition: Callable[[], bool], complaint: str = "", timeout_s: float = DEADLINE_S) -> None:
    """Wait until `condition()` holds; fails with `complaint` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, complaint or "it never came true"
        await asyncio.sleep(0.005)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def heartbeat(sender: MemberID, to: MemberID, commit: int = 0, *, term: int = 5) -> Message:
    return Message(MessageType.HEARTBEAT, to=to, from_=sender, term=Term(term), commit=LogIndex(commit))


def append(sender: MemberID, to: MemberID, index: int, count: int, *, term: int = 5, size: int = 10) -> Message:
    """A MsgApp of `count` entries that follow the entry at `index`."""
    return Message(
        MessageType.APP,
        to=to,
        from_=sender,
        term=Term(term),
        log_term=Term(term),
        index=LogIndex(index),
        entries=tuple(
            Entry(Term(term), LogIndex(index + n), EntryType.NORMAL, n.to_bytes(4, "big") + b"x" * size)
            for n in range(1, count + 1)
        ),
        commit=LogIndex(index),
    )
