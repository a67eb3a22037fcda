"""The simulated network between members: every message is encoded, delayed, perhaps lost or doubled, and admitted.

Delays are drawn for each message, so messages overtake each other. Cuts are of one direction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etcdops.clock import Clock
from etcdops.ids import ClusterID, MemberID
from etcdops.node.peer import codec, snapshot_file
from etcdops.node.peer.admission import Admission
from etcdops.node.peer.identity import Identity
from etcdops.node.peer.port import PeerHandler, PeerRoutes
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.peer.status import PeerStats, SavedImages
from etcdops.node.raft.types import Message, MessageType
from etcdops.node.version import SERVER_VERSION
from tests.sim.loop import MemberLoop, SimLoop

if TYPE_CHECKING:
    from tests.sim.trace import Trace


IMAGE_S_MAX = 2.0
"""How long an image is on its way at most."""


@dataclass
class Conditions:
    """How the network is now. Seconds and probabilities."""

    delay_s_min: float = 0.0005
    delay_s_max: float = 0.005
    slow: float = 0.0
    """How many messages take up to a second."""
    drop: float = 0.0
    duplicate: float = 0.0


class SimNetwork:
    """Knows every running member by its ID."""

    def __init__(self, loop: SimLoop, draw: random.Random, trace: Trace) -> None:
        self.loop = loop
        self.conditions = Conditions()
        self.trace = trace
        self.slow_to: dict[MemberID, float] = {}
        """Seconds that messages to a member take in addition, at most."""
        self._draw = draw
        self._ends: dict[MemberID, SimTransport] = {}
        self._cuts: set[tuple[MemberID, MemberID]] = set()
        self._images: list[tuple[SimTransport, SimTransport, MemberID, Path]] = []
        """Sender, receiver, its ID, file: those that arrive just now; they fail when the receiver's life ends."""
        self._up_since: dict[tuple[MemberID, MemberID], float] = {}
        self.counts = {"delivered": 0, "lost": 0, "doubled": 0, "slow": 0, "snapshots": 0}

    def join(self, end: SimTransport) -> None:
        """A member's end; an earlier one of the same member is gone."""
        self._ends[end.member_id] = end
        self._links_changed()

    def leave(self, end: SimTransport) -> None:
        images, self._images = self._images, []
        for sender, receiver, to, database in images:
            if receiver is end:
                self._failed(sender, to, database)
            else:
                self._images.append((sender, receiver, to, database))
        if self._ends.get(end.member_id) is end:
            del self._ends[end.member_id]
            self._links_changed()

    def cut(self, sender: MemberID, to: MemberID) -> None:
        """Nothing of `sender` reaches `to` any more."""
        self._cuts.add((sender, to))
        self._links_changed()

    def mend(self, sender: MemberID, to: MemberID) -> None:
        self._cuts.discard((sender, to))
        self._links_changed()

    def heal(self) -> None:
        """Every cut is mended and nothing is lost any more."""
        self._cuts.clear()
        self.slow_to.clear()
        self.conditions = Conditions()
        self._links_changed()

    def reaches(self, sender: MemberID, to: MemberID) -> bool:
        return (sender, to) not in self._cuts

    def up_since(self, one: MemberID, two: MemberID) -> float | None:
        return self._up_since.get((one, two))

    def delay_s(self) -> float:
        """How long the next message takes."""
        now = self.conditions
        if now.slow and self._draw.random() < now.slow:
            self.counts["slow"] += 1
            return self._draw.uniform(now.delay_s_max, 1.0)
        return self._draw.uniform(now.delay_s_min, now.delay_s_max)

    def post(self, sender: SimTransport, message: Message, database: Path | None = None) -> None:
        """Carry a message. One with a database arrives or fails; it is never lost in silence."""
        data = codec.encode_message(message)
        if database is None and self._draw.random() < self.conditions.drop:
            self.counts["lost"] += 1
            return
        copies = 1
        # A connection never delivers twice what may count once only: raft would append a proposal again.
        may_double = database is None and message.type is not MessageType.PROP
        if may_double and self.conditions.duplicate and self._draw.random() < self.conditions.duplicate:
            copies = 2
            self.counts["doubled"] += 1
        for _ in range(copies):
            delay = min(self.delay_s() * 20, IMAGE_S_MAX) if database is not None else self.delay_s()
            if message.to in self.slow_to:
                delay += self._draw.random() * self.slow_to[message.to]
            self.loop.after(delay, self._arrive, sender, message, data, database)

    def _arrive(self, sender: SimTransport, message: Message, data: bytes, database: Path | None) -> None:
        receiver = self._ends.get(message.to)
        # An image goes to an address; whoever listens there refuses what is for somebody else.
        elsewhere = database is not None and receiver is not None and not sender.knows_address_of(receiver)
        # Of what a dead member sent some arrives; no image, of which it had the rest.
        broken = sender.member_loop.dead and (database is not None or self._draw.random() < 0.5)
        if receiver is None or broken or elsewhere or not self.reaches(sender.member_id, message.to):
            self.counts["lost"] += 1
            self._failed(sender, message.to, database)
            return
        self.trace.message(message, data)
        if database is not None:
            self._images.append((sender, receiver, message.to, database))
        receiver.member_loop.run(self._deliver, sender, receiver, message.to, data, database)

    def _deliver(
        self, sender: SimTransport, receiver: SimTransport, to: MemberID, data: bytes, database: Path | None
    ) -> None:
        self.counts["delivered"] += 1
        if receiver.handler.is_removed(sender.member_id):
            self.loop.call_later(self.delay_s(), sender.member_loop.run, sender.handler.removed_from_cluster)
        arrived = receiver.receive(sender.member_id, data, database)
        if database is not None:
            self._images = [image for image in self._images if image != (sender, receiver, to, database)]
        if not arrived:
            self._failed(sender, to, database)
        elif database is not None:
            self.counts["snapshots"] += 1
            self.loop.call_later(self.delay_s(), sender.member_loop.run, sender.handler.report_snapshot, to, True)

    def _failed(self, sender: SimTransport, to: MemberID, database: Path | None) -> None:
        def tell() -> None:
            sender.handler.report_unreachable(to)
            if database is not None:
                sender.handler.report_snapshot(to, False)

        sender.member_loop.call_soon(tell)

    def _links_changed(self) -> None:
        now = self.loop.time()
        up = [
            (one, two)
            for one in sorted(self._ends)
            for two in sorted(self._ends)
            if one != two and self.reaches(one, two) and self.reaches(two, one)
        ]
        self._up_since = {pair: self._up_since.get(pair, now) for pair in up}


class SimTransport:
    """One member's end: the surface of etcdops.node.peer.transport.Transport."""

    network: SimNetwork
    member_loop: MemberLoop

    def __init__(
        self,
        *,
        member_id: MemberID,
        cluster_id: ClusterID,
        peer_urls: Sequence[str],
        handler: PeerHandler,
        snapshot_dir: Path,
        routes: PeerRoutes,
        clock: Clock,
        dial_timeout_s: float,
        saved_images: SavedImages,
        server_tls: object = None,
        client_tls: object = None,
    ) -> None:
        self.member_id = member_id
        self.handler = handler
        self.routes = routes
        self._clock = clock
        self._snapshot_dir = snapshot_dir
        self._admission = Admission(Identity(member_id, cluster_id, tuple(peer_urls), SERVER_VERSION), handler)
        self._known: dict[MemberID, PeerStats] = {}
        self._addresses: dict[MemberID, tuple[str, ...]] = {}
        self._listens: tuple[str, ...] = ()
        self._remotes: dict[MemberID, None] = {}
        self.sent: Callable[[Message], None] = lambda message: None

    async def start(self, listen_urls: Sequence[str]) -> None:
        """See Transport.start."""
        self._listens = tuple(listen_urls)
        self.network.join(self)

    async def stop(self) -> None:
        """See Transport.stop."""
        self.network.leave(self)
        self._known.clear()

    def send(self, messages: Iterable[Message]) -> None:
        """See Transport.send."""
        for message in messages:
            if not self.member_loop.dead and (message.to in self._known or message.to in self._remotes):
                self.network.post(self, message)

    def send_snapshot(self, message: Message, path: Path) -> None:
        """See Transport.send_snapshot."""
        if self.member_loop.dead:
            return
        if message.to in self._known:
            self.network.post(self, message, path)
        else:
            self.member_loop.call_soon(self.handler.report_snapshot, message.to, False)

    def add_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.add_peer."""
        self._known.setdefault(member, PeerStats())
        self._addresses[member] = tuple(urls)
        self._remotes.pop(member, None)

    def update_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.update_peer."""
        self._addresses[member] = tuple(urls)

    def knows_address_of(self, other: SimTransport) -> bool:
        """Whether a connection to where `other` should be leads to it. Streams are opened by who receives, and find
        their way even if it does not."""
        return not set(other._listens).isdisjoint(self._addresses.get(other.member_id, ()))

    def remove_peer(self, member: MemberID) -> None:
        """See Transport.remove_peer."""
        self._known.pop(member, None)

    def add_remote(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.add_remote."""
        if member not in self._known and member != self.member_id and not self.handler.is_removed(member):
            self._remotes[member] = None

    def active_since(self, member: MemberID) -> float | None:
        """See Transport.active_since: by this member's clock."""
        since = self.network.up_since(self.member_id, member) if member in self._known else None
        if since is None:
            return None
        return self._clock.monotonic() - (self.network.loop.time() - since) * self.member_loop.rate

    def active_peers(self) -> int:
        """See Transport.active_peers."""
        return sum(self.active_since(member) is not None for member in self._known)

    def stats(self) -> Mapping[MemberID, PeerStats]:
        """See Transport.stats. Nothing is counted."""
        return self._known

    def receive(self, sender: MemberID, data: bytes, database: Path | None) -> bool:
        """Something arrived. Returns whether this member took it."""
        message = codec.decode_message(data)
        self.add_remote(sender, ())
        if database is None:
            return self._admission.receive(message) is None
        if self._admission.refusal(message) is not None or message.snapshot is None or not database.exists():
            return False
        path = received_path(self._snapshot_dir, message.snapshot.metadata.index)
        with (self._snapshot_dir / f"tmp{path.name}").open("xb") as file:
            snapshot_file._complete(file, database.read_bytes(), path)
        return self._admission.receive_snapshot(message) is None
