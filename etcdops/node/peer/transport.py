"""The members' transport: etcd's rafthttp on the wire.

Each pair of members keeps two streams in each direction. The receiver dials GET /raft/stream/... and the sender writes
messages into the endless answer, so a member behind a dead link costs its sender nothing but a bounded queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from etcdops.clock import Clock, SystemClock
from etcdops.errors import StartRefused
from etcdops.ids import ClusterID, MemberID, format_id
from etcdops.node.peer.admission import Admission
from etcdops.node.peer.answers import plain
from etcdops.node.peer.dialer import Dialer
from etcdops.node.peer.environment import Environment
from etcdops.node.peer.forward import ForwardTimeout, Question, ask_leader
from etcdops.node.peer.identity import Identity
from etcdops.node.peer.listener import PeerListener
from etcdops.node.peer.member_routes import MemberRoutes
from etcdops.node.peer.peer import Peer, Remote
from etcdops.node.peer.port import Answer, PeerHandler, PeerRoutes
from etcdops.node.peer.raft_routes import PREFIX, RaftRoutes
from etcdops.node.peer.status import PeerStats, SavedImages
from etcdops.node.peer.tasks import Tasks
from etcdops.node.peer.urls import parse_peer_urls
from etcdops.node.raft.types import Message
from etcdops.node.tls.client import ClientTls
from etcdops.node.tls.server import ServerTls
from etcdops.node.version import SERVER_VERSION
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

REMOTES_MAX = 64
"""Strangers that are answered. Anybody who knows the cluster ID becomes one; beyond this the oldest is forgotten."""

_IDLE_CONNECTION_S = 4.0
"""How long a connection waits for its next request. etcd closes its end after 5 s, and a request that meets that is
lost.
"""


class Transport:
    """Sends raft messages to the other members and hands theirs to `handler`.

    Args: peer_urls are this member's advertised ones; version is the etcd version we speak as; snapshot_dir is where
        received databases are saved (`snapshot_file.received_path`); dial_timeout_s is 1 s + election timeout in etcd;
        server_tls is for `https` URLs to listen on, client_tls for those of the others.
    Members may be added before `start`; nothing is dialled until then.
    Source: etcd server/etcdserver/api/rafthttp/transport.go, Transport.
    """

    def __init__(
        self,
        *,
        member_id: MemberID,
        cluster_id: ClusterID,
        peer_urls: Sequence[str],
        handler: PeerHandler,
        snapshot_dir: Path,
        version: str = SERVER_VERSION,
        routes: PeerRoutes | None = None,
        clock: Clock | None = None,
        dial_timeout_s: float = 2.0,
        server_tls: ServerTls | None = None,
        client_tls: ClientTls | None = None,
        saved_images: SavedImages | None = None,
    ) -> None:
        self._identity = Identity(member_id, cluster_id, tuple(peer_urls), version)
        self._handler = handler
        self._snapshot_dir = snapshot_dir
        self._routes = routes or PeerRoutes()
        self._clock = clock or SystemClock()
        self._dial_timeout_s = dial_timeout_s
        self._client_tls = client_tls
        self._saved_images = saved_images or SavedImages()
        self._listener = PeerListener(self._handle, server_tls)
        self._urls: dict[MemberID, tuple[str, ...]] = {}
        self._peers: dict[MemberID, Peer] = {}
        self._remotes: dict[MemberID, Remote] = {}
        self._remotes_at_start: dict[MemberID, tuple[str, ...]] = {}
        self._running: _Running | None = None

    @property
    def member_id(self) -> MemberID:
        """Whose transport this is."""
        return self._identity.member_id

    async def start(self, listen_urls: Sequence[str]) -> None:
        """Listen for peers and begin to dial them. Raises: StartRefused when an address cannot be listened on."""
        self._running = running = self._run()
        try:
            await self._listener.start(listen_urls)
        except StartRefused:
            self._running = None
            await running.stop()
            raise
        for member, urls in self._urls.items():
            self._peers[member] = running.start_peer(member, urls)
        for member, urls in self._remotes_at_start.items():
            self.add_remote(member, urls)
        self._remotes_at_start.clear()

    async def stop(self) -> None:
        """Close every connection and wait until nothing runs any more. Peers are forgotten."""
        running, self._running = self._running, None
        for member in list(self._urls):
            self.remove_peer(member)
        for remote in self._remotes.values():
            remote.stop()
        self._remotes.clear()
        await self._listener.stop()
        if running is not None:
            await running.stop()

    def send(self, messages: Iterable[Message]) -> None:
        """Send each message to its `to`; never blocks and promises nothing.

        What cannot be queued is dropped and reported unreachable, possibly before this returns. Everything given in
        one loop turn to one peer goes out in one write. Messages to nobody or to strangers are ignored. SNAP goes
        through `send_snapshot` instead.
        """
        peers = self._peers
        for message in messages:
            peer = peers.get(message.to)
            if peer is not None:
                peer.send(message)
            elif (remote := self._remotes.get(message.to)) is not None:
                remote.send(message)
            elif message.to:
                _logger.debug(
                    "ignored message send request; unknown remote peer target",
                    extra=fields(type=message.type.name, unknown_target_peer_id=format_id(message.to)),
                )

    def send_snapshot(self, message: Message, path: Path) -> None:
        """Send a SNAP message and the database at `path`, then call `handler.report_snapshot` exactly once.

        The file must stay unchanged until then.
        """
        peer = self._peers.get(message.to)
        if peer is None:
            self._handler.report_snapshot(message.to, False)
        else:
            peer.send_snapshot(message, path)

    def add_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """Begin to talk with `member`. A known one is left as it is. Raises: ValueError for an unusable URL."""
        if member in self._urls:
            return
        self._urls[member] = parse_peer_urls(urls)
        if remote := self._remotes.pop(member, None):
            remote.stop()
        if self._running is not None:
            self._peers[member] = self._running.start_peer(member, self._urls[member])
        self._log("added remote peer", remote_peer_id=format_id(member), remote_peer_urls=list(urls))

    def update_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """Use other URLs for `member` from the next dial on. An unknown one is ignored. Raises: ValueError."""
        parsed = parse_peer_urls(urls)
        if self._urls.get(member, parsed) == parsed:
            return
        self._urls[member] = parsed
        if peer := self._peers.get(member):
            peer.update(urls)
        self._log("updated remote peer", updated_remote_peer_id=format_id(member), updated_remote_peer_urls=list(urls))

    def remove_peer(self, member: MemberID) -> None:
        """Stop talking with `member`. An unknown one is ignored."""
        if self._urls.pop(member, None) is None:
            return
        if peer := self._peers.pop(member, None):
            peer.stop()
        self._log("removed remote peer", removed_remote_peer_id=format_id(member))

    def add_remote(self, member: MemberID, urls: Sequence[str]) -> None:
        """Answer `member` before the configuration has it: a new member learns from those it joins, and they from its
        requests, where to send answers. It gets posts and nothing else, and makes room for `add_peer`.

        A known, removed or our own ID is ignored. Raises: ValueError for an unusable URL.
        """
        known = member in self._urls or member in self._remotes or member == self._identity.member_id
        if known or self._handler.is_removed(member):
            return
        if self._running is None:
            self._remotes_at_start[member] = parse_peer_urls(urls)
            return
        remote = Remote(self._running.environment, member, urls)
        if len(self._remotes) >= REMOTES_MAX:
            self._remotes.pop(next(iter(self._remotes))).stop()
        self._remotes[member] = remote
        self._log("added new remote peer", remote_peer_id=format_id(member), remote_peer_urls=list(urls))

    async def ask_leader(
        self,
        question: Question,
        body: bytes,
        leader_urls: Callable[[], Sequence[str]],
        *,
        timeout_s: float,
        authorization: str = "",
    ) -> Answer:
        """See forward.ask_leader. Raises: ForwardTimeout, also when the transport does not run."""
        if self._running is None:
            raise ForwardTimeout("this member is stopping")
        dialer = self._running.environment.dialer
        return await ask_leader(dialer, question, body, leader_urls, timeout_s=timeout_s, authorization=authorization)

    def find_peer(self, member: MemberID) -> Peer | None:
        """The running peer of that ID."""
        return self._peers.get(member)

    def active_since(self, member: MemberID) -> float | None:
        """Monotonic time since when the link to `member` works; None while it does not, or for a stranger."""
        peer = self._peers.get(member)
        return peer.status.active_since if peer is not None else None

    def active_peers(self) -> int:
        """How many peers have a working link."""
        return sum(peer.status.active for peer in self._peers.values())

    def stats(self) -> Mapping[MemberID, PeerStats]:
        """Counters of every peer, for /metrics. They are live: read, do not keep."""
        return {member: peer.status.stats for member, peer in self._peers.items()}

    def _run(self) -> _Running:
        environment = Environment(
            identity=self._identity,
            handler=self._handler,
            admission=Admission(self._identity, self._handler),
            dialer=Dialer(self._client_tls, idle_s=_IDLE_CONNECTION_S),
            tasks=Tasks(),
            clock=self._clock,
            dial_timeout_s=self._dial_timeout_s,
        )
        # One thread, as snapshot_file wants it: a file is closed only after its last write.
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="peer-snapshot")
        raft = RaftRoutes(environment, self, self._snapshot_dir, executor, self._saved_images)
        return _Running(environment, executor, raft, MemberRoutes(environment, self._routes))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        running = self._running
        if running is None:
            return plain(503, "this member is stopping")
        if request.path == PREFIX or request.path.startswith(PREFIX + "/"):
            return await running.raft.handle(request)
        return await running.members.handle(request)

    def _log(self, text: str, **more: object) -> None:
        _logger.info(text, extra=fields({"local-member-id": self._identity.name}, **more))


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists between start and stop, because it needs the event loop."""

    environment: Environment
    executor: ThreadPoolExecutor
    raft: RaftRoutes
    members: MemberRoutes

    def start_peer(self, member: MemberID, urls: Sequence[str]) -> Peer:
        return Peer(self.environment, member, urls, self.executor)

    async def stop(self) -> None:
        await self.environment.tasks.cancel_and_wait()
        await self.environment.dialer.close()
        await asyncio.to_thread(self.executor.shutdown)
