"""Members' transports without sockets: a network in memory whose delays, losses and cuts are ticks and chosen numbers.

`Network.join` gives a transport with the surface of etcdops.node.peer.transport.Transport. Nothing happens by itself:
`tick` moves the network's time and delivers what is due, in an order that depends on the seed alone. Messages pass
through the real codec and the real admission checks, so a driver that works here speaks raftpb.
"""

from __future__ import annotations

import heapq
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.clock import ManualClock
from etcdops.ids import ClusterID, MemberID
from etcdops.node.peer import codec
from etcdops.node.peer.admission import Admission
from etcdops.node.peer.identity import Identity
from etcdops.node.peer.port import PeerHandler
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.peer.status import PeerStats
from etcdops.node.raft.types import Message
from etcdops.node.version import SERVER_VERSION

_CLUSTER = ClusterID(1)


@dataclass
class Faults:
    """What the network does to messages from now on. Probabilities are 0 to 1; delays are drawn for each message, so
    a range of them reorders.
    """

    delay_ticks_min: int = 1
    delay_ticks_max: int = 1
    drop: float = 0.0
    duplicate: float = 0.0


@dataclass(frozen=True)
class _Parcel:
    sender: MemberID
    to: MemberID
    data: bytes
    database: Path | None = None
    """The file a SNAP travels with. Such a parcel arrives or fails; it is never lost in silence."""


class Network:
    """Carries messages between its members. Everything random comes from `draw`; `clock` moves by `tick_s` a tick."""

    def __init__(self, draw: random.Random, *, clock: ManualClock | None = None, tick_s: float = 0.1) -> None:
        self.faults = Faults()
        self.clock = clock or ManualClock()
        self._draw = draw
        self._tick_s = tick_s
        self._now = 0
        self._number = 0
        self._due: list[tuple[int, int, _Parcel]] = []
        self._members: dict[MemberID, NetworkTransport] = {}
        self._cuts: set[tuple[MemberID, MemberID]] = set()
        self._up_since: dict[tuple[MemberID, MemberID], float] = {}

    def join(self, member: MemberID, handler: PeerHandler, snapshot_dir: Path) -> NetworkTransport:
        """A member's transport; an earlier one of the same member is gone, with everything on its way to it."""
        self.leave(member)
        transport = NetworkTransport(self, member, handler, snapshot_dir)
        self._members[member] = transport
        self._links_changed()
        return transport

    def leave(self, member: MemberID) -> None:
        """The member stops or dies. What is on its way to it is lost; the senders of databases notice."""
        if self._members.pop(member, None) is not None:
            lost = [due[2] for due in self._due if due[2].to == member]
            self._due = [due for due in self._due if due[2].to != member]
            heapq.heapify(self._due)
            for parcel in lost:
                if parcel.database is not None and parcel.sender in self._members:
                    self._members[parcel.sender].handler.report_snapshot(member, False)
        self._links_changed()

    def cut(self, sender: MemberID, to: MemberID) -> None:
        """Nothing sent by `sender` reaches `to` any more; the other direction is left as it is."""
        self._cuts.add((sender, to))
        self._links_changed()

    def partition(self, *sides: Iterable[MemberID]) -> None:
        """Only members of the same side hear each other. Earlier cuts are healed."""
        groups = [frozenset(side) for side in sides]
        everybody = sorted(frozenset().union(*groups))
        self._cuts = {
            (one, two)
            for one in everybody
            for two in everybody
            if not any(one in group and two in group for group in groups)
        }
        self._links_changed()

    def heal(self) -> None:
        """Every cut is mended."""
        self._cuts.clear()
        self._links_changed()

    def tick(self) -> int:
        """Move on by one tick and deliver what is due. Returns how many messages arrived.

        What handlers send meanwhile is delivered at the next tick at the earliest.
        """
        self._now += 1
        self.clock.advance(self._tick_s)
        arrived = 0
        due: list[_Parcel] = []
        while self._due and self._due[0][0] <= self._now:
            due.append(heapq.heappop(self._due)[2])
        for parcel in due:
            arrived += self._deliver(parcel)
        return arrived

    @property
    def in_flight(self) -> int:
        """Messages that were sent and have not arrived."""
        return len(self._due)

    def post(self, parcel: _Parcel) -> None:
        """Take a message of a member's transport."""
        faults, draw = self.faults, self._draw
        if parcel.database is None and draw.random() < faults.drop:
            return
        copies = 2 if parcel.database is None and draw.random() < faults.duplicate else 1
        for _ in range(copies):
            delay = max(1, draw.randint(faults.delay_ticks_min, faults.delay_ticks_max))
            self._number += 1
            heapq.heappush(self._due, (self._now + delay, self._number, parcel))

    def up_since(self, one: MemberID, two: MemberID) -> float | None:
        """Since when both directions between two members work."""
        return self._up_since.get((one, two))

    def _deliver(self, parcel: _Parcel) -> bool:
        sender, receiver = self._members.get(parcel.sender), self._members.get(parcel.to)
        reached = receiver is not None and (parcel.sender, parcel.to) not in self._cuts
        arrived = reached and receiver is not None and receiver.receive(parcel.sender, parcel.data, parcel.database)
        if sender is not None:
            if not arrived:
                sender.handler.report_unreachable(parcel.to)
            if parcel.database is not None:
                sender.handler.report_snapshot(parcel.to, arrived)
            if receiver is not None and reached and receiver.handler.is_removed(parcel.sender):
                sender.handler.removed_from_cluster()
        return arrived

    def _links_changed(self) -> None:
        pairs = {
            (one, two)
            for one in self._members
            for two in self._members
            if one != two and (one, two) not in self._cuts and (two, one) not in self._cuts
        }
        now = self.clock.monotonic()
        self._up_since = {pair: self._up_since.get(pair, now) for pair in sorted(pairs)}


class NetworkTransport:
    """One member's end of a Network: Transport's surface, without waiting."""

    def __init__(self, network: Network, member: MemberID, handler: PeerHandler, snapshot_dir: Path) -> None:
        self.member_id = member
        self.handler = handler
        self._network = network
        self._snapshot_dir = snapshot_dir
        self._admission = Admission(Identity(member, _CLUSTER, (), SERVER_VERSION), handler)
        self._known: dict[MemberID, PeerStats] = {}
        self._remotes: set[MemberID] = set()

    async def start(self, listen_urls: Sequence[str]) -> None:
        """Nothing is listened on."""

    async def stop(self) -> None:
        """Leave the network."""
        self._network.leave(self.member_id)
        self._known.clear()

    def send(self, messages: Iterable[Message]) -> None:
        """See Transport.send."""
        for message in messages:
            if message.to in self._known or message.to in self._remotes:
                self._network.post(_Parcel(self.member_id, message.to, codec.encode_message(message)))

    def send_snapshot(self, message: Message, path: Path) -> None:
        """See Transport.send_snapshot."""
        if message.to in self._known:
            self._network.post(_Parcel(self.member_id, message.to, codec.encode_message(message), path))
        else:
            self.handler.report_snapshot(message.to, False)

    def add_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.add_peer."""
        self._known.setdefault(member, PeerStats())
        self._remotes.discard(member)

    def update_peer(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.update_peer."""

    def remove_peer(self, member: MemberID) -> None:
        """See Transport.remove_peer."""
        self._known.pop(member, None)

    def add_remote(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.add_remote."""
        if member not in self._known and member != self.member_id and not self.handler.is_removed(member):
            self._remotes.add(member)

    def active_since(self, member: MemberID) -> float | None:
        """See Transport.active_since."""
        return self._network.up_since(self.member_id, member) if member in self._known else None

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
        if not path.exists():
            shutil.copyfile(database, path)
        return self._admission.receive_snapshot(message) is None
