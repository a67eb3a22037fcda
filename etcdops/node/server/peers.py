"""The other members, as this one deals with them: the transport, and what it brings from them.

Implements PeerHandler for the transport and Network for the driver.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from etcdops.clock import Clock
from etcdops.ids import ClusterID, LogIndex, MemberID, format_id
from etcdops.node.apply.applier import Applier
from etcdops.node.member.member import members_json
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.peer.port import PeerRoutes
from etcdops.node.peer.remote import Reachable
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.peer.status import SavedImages
from etcdops.node.peer.transport import Transport
from etcdops.node.raft.types import ConfChange, ConfChangeType, Message
from etcdops.node.server.driver import Driver
from etcdops.node.server.images import Images
from etcdops.node.tls.member import MemberTls
from etcdops.node.version import SERVER_VERSION
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

LAST_WORDS_S = 1.0
"""How long a removed member is still talked to, so that it hears of its removal."""


class Peers:
    """Made before the driver and the images, which need it; `serve` ties it to them."""

    def __init__(
        self,
        *,
        member_id: MemberID,
        cluster_id: ClusterID,
        advertised_urls: Sequence[str],
        members: MemberRegistry,
        applier: Applier,
        snapshot_dir: Path,
        routes: PeerRoutes,
        clock: Clock,
        dial_timeout_s: float,
        saved_images: SavedImages,
        removed: Callable[[], None],
        call_later: Callable[..., object],
        tls: MemberTls | None = None,
    ) -> None:
        """Args: removed is called when this member turns out not to be one any more."""
        self._member_id = member_id
        self._members = members
        self._applier = applier
        self._snapshot_dir = snapshot_dir
        self._removed = removed
        self._call_later = call_later
        self._driver: Driver
        self._images: Images
        self.transport = Transport(
            member_id=member_id,
            cluster_id=cluster_id,
            peer_urls=advertised_urls,
            handler=self,
            snapshot_dir=snapshot_dir,
            routes=routes,
            clock=clock,
            dial_timeout_s=dial_timeout_s,
            saved_images=saved_images,
            server_tls=tls.peer if tls else None,
            client_tls=tls.dial if tls else None,
        )

    def serve(self, driver: Driver, images: Images) -> None:
        """Hand to `driver` what comes in."""
        self._driver = driver
        self._images = images

    async def start(self, listen_urls: Sequence[str], first: Iterable[Reachable], known: Iterable[Reachable]) -> None:
        """Listen and dial. Args: first - members of a new cluster, before its log has them; known - those of a cluster
        being joined, who must be answered before this member's log says who they are."""
        for member in self._members.members() or first:
            self._reach(member)
        for member in known:
            if member.id != self._member_id:
                self.transport.add_remote(member.id, member.peer_urls)
        await self.transport.start(listen_urls)

    def longest_connected_voter(self) -> MemberID | None:
        """The best heir of a leader that stops; None when nobody is connected."""
        active = [
            (since, member.id)
            for member in self._members.voters()
            if member.id != self._member_id and (since := self.transport.active_since(member.id)) is not None
        ]
        return min(active)[1] if active else None

    def received_image(self, index: LogIndex) -> Path:
        """Where the transport saved the database image of a snapshot at `index`."""
        return received_path(self._snapshot_dir, index)

    # Membership changed.

    def follow(self, change: ConfChange) -> None:
        """A configuration change was applied: talk with the members it added, no more with those it removed."""
        for single in change.changes:
            if single.type is not ConfChangeType.REMOVE_NODE:
                self._follow_member(single.node_id)
            elif single.node_id == self._member_id:
                # Not at once: the others must hear from us that this change is committed.
                self._call_later(LAST_WORDS_S, self._removed)
            else:
                self._call_later(LAST_WORDS_S, self.transport.remove_peer, single.node_id)

    def follow_registry(self) -> None:
        """The state is another one: who joined or left meanwhile shows only in it."""
        for member in self._members.members():
            self._follow_member(member.id)
        for gone in self._members.removed:
            self.transport.remove_peer(gone)
        if self._members.is_removed(self._member_id):
            self._removed()

    def _follow_member(self, member_id: MemberID) -> None:
        member = self._members.get(member_id)
        if member is not None:
            self._reach(member)

    def _reach(self, member: Reachable) -> None:
        """Talk with `member`. One without usable URLs is out of reach until an update gives it others: what the whole
        cluster has agreed on may not stop a member, which would read it again at every start."""
        if member.id == self._member_id:
            return
        try:
            self.transport.add_peer(member.id, member.peer_urls)
            self.transport.update_peer(member.id, member.peer_urls)
        except ValueError as error:
            log.error("cannot reach remote peer", extra=fields(remote_peer_id=format_id(member.id), error=str(error)))

    # PeerHandler: see there.

    def process(self, message: Message) -> None:
        self._driver.process(message)

    def report_unreachable(self, member: MemberID) -> None:
        self._driver.report_unreachable(member)

    def report_snapshot(self, member: MemberID, ok: bool) -> None:
        self._images.sent(member, ok)
        self._driver.report_snapshot(member, ok)

    def is_removed(self, member: MemberID) -> bool:
        return self._members.is_removed(member)

    def removed_from_cluster(self) -> None:
        self._removed()

    def members_json(self) -> bytes:
        return members_json(self._members.members())

    def version_json(self) -> bytes:
        cluster = self._applier.cluster_version or "not_decided"
        return json.dumps({"etcdserver": SERVER_VERSION, "etcdcluster": cluster}, separators=(",", ":")).encode()

    # Network: see driver.

    def send(self, messages: Iterable[Message]) -> None:
        self.transport.send(messages)

    def send_snapshot(self, message: Message) -> None:
        self._images.send(message)
