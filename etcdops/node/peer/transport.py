"""The members' transport: etcd's rafthttp on the wire.

Each pair of members keeps two streams in each direction. The receiver dials GET /raft/stream/... and the sender writes
messages into the endless answer, so a member behind a dead link costs its sender nothing but a bounded queue.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from etcdops.clock import Clock, SystemClock
from etcdops.ids import ClusterID, MemberID
from etcdops.node.peer.port import PeerHandler, PeerRoutes
from etcdops.node.raft.types import Message


class Transport:
    """Sends raft messages to the other members and hands theirs to `handler`.

    Args: peer_urls are this member's advertised ones; version is the etcd version we speak as ("3.5.16");
        snapshot_dir is where received databases are saved; dial_timeout_s is 1 s + election timeout in etcd;
        server_tls and client_tls serve `https` URLs.
    Peers may be added before or after `start`. Source: etcd server/etcdserver/api/rafthttp/transport.go, Transport.
    """

    def __init__(
        self,
        *,
        member_id: MemberID,
        cluster_id: ClusterID,
        peer_urls: Sequence[str],
        version: str,
        handler: PeerHandler,
        snapshot_dir: Path,
        routes: PeerRoutes | None = None,
        clock: Clock | None = None,
        dial_timeout_s: float = 2.0,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        self._handler = handler
        self._clock = clock or SystemClock()

    async def start(self, listen_urls: Sequence[str]) -> None:
        """Listen for peers and begin to dial them. Raises: StartRefused when an address cannot be listened on."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Close every connection and wait until nothing runs any more. Peers are forgotten."""
        raise NotImplementedError

    def send(self, messages: Iterable[Message]) -> None:
        """Send each message to its `to`; never blocks and promises nothing.

        What cannot be queued is dropped and reported unreachable. Everything given in one loop turn to one peer goes
        out in one write. Messages to nobody or to strangers are ignored. SNAP goes through `send_snapshot` instead.
        """
        raise NotImplementedError

    def send_snapshot(self, message: Message, path: Path) -> None:
        """Send a SNAP message and the database at `path`, then call `handler.report_snapshot` exactly once.

        The file must stay unchanged until then.
        """
        raise NotImplementedError

    def add_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """Begin to talk with `member`. A known one is left as it is. Raises: ValueError for an unusable URL."""
        raise NotImplementedError

    def update_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """Use other URLs for `member` from the next dial on. An unknown one is ignored. Raises: ValueError."""
        raise NotImplementedError

    def remove_peer(self, member: MemberID) -> None:
        """Stop talking with `member`. An unknown one is ignored."""
        raise NotImplementedError

    def add_remote(self, member: MemberID, urls: Sequence[str]) -> None:
        """Answer `member`, who knows us before we know it: a new member that must catch up. Only for answers."""
        raise NotImplementedError

    def active_since(self, member: MemberID) -> float | None:
        """Monotonic time since when the link to `member` works; None while it does not, or for a stranger."""
        raise NotImplementedError

    def active_peers(self) -> int:
        """How many peers have a working link."""
        raise NotImplementedError
