"""What a driver may rely on, asked of the real transport and of the network in memory that stands in for it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.types import Message, MessageType, Snapshot, SnapshotMetadata
from tests.fakes.network import Network
from tests.node.peer.support import ALICE, BOB, CAROL, FakeRaft, append, eventually, heartbeat, pair

pytestmark = pytest.mark.slow


class AnyTransport(Protocol):
    """The part of a transport that the contract is about."""

    def send(self, messages: list[Message]) -> None: ...
    def send_snapshot(self, message: Message, path: Path) -> None: ...
    def remove_peer(self, member: MemberID) -> None: ...
    def active_since(self, member: MemberID) -> float | None: ...
    def active_peers(self) -> int: ...


@dataclass
class Pair:
    """Alice and Bob, connected. `until` waits in the way of the transport under test."""

    alice: AnyTransport
    bob: AnyTransport
    alice_raft: FakeRaft
    bob_raft: FakeRaft
    bob_dir: Path
    network: Network | None

    async def until(self, condition: Callable[[], bool]) -> None:
        if self.network is None:
            await eventually(condition)
            return
        for _ in range(100):
            if condition():
                return
            self.network.tick()
        raise AssertionError("not within 100 ticks")


@asynccontextmanager
async def _real(folder: Path) -> AsyncIterator[Pair]:
    async with pair(folder) as (alice, bob):
        yield Pair(alice.transport, bob.transport, alice.raft, bob.raft, bob.snapshot_dir, None)


@asynccontextmanager
async def _in_memory(folder: Path) -> AsyncIterator[Pair]:
    network = Network(random.Random(7))
    rafts = FakeRaft(), FakeRaft()
    alice = network.join(ALICE, rafts[0], folder)
    bob_dir = folder / "bob"
    bob_dir.mkdir()
    bob = network.join(BOB, rafts[1], bob_dir)
    alice.add_peer(BOB, ["http://bob:2380"])
    bob.add_peer(ALICE, ["http://alice:2380"])
    yield Pair(alice, bob, *rafts, bob_dir, network)


@pytest.fixture(params=[_real, _in_memory], ids=["real", "in memory"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    async with request.param(tmp_path) as connected:
        yield connected


async def test_messages_of_one_kind_keep_their_order(both: Pair) -> None:
    """Appends among themselves, and heartbeats among themselves."""
    appends = [append(ALICE, BOB, index, 2) for index in range(0, 40, 2)]
    for message in appends:
        both.alice.send([message, heartbeat(ALICE, BOB, message.index)])
    await both.until(lambda: len(both.bob_raft.received) == 40)
    assert [message for message in both.bob_raft.received if message.type is MessageType.APP] == appends


async def test_strangers_are_ignored(both: Pair) -> None:
    """Nobody, an unknown member, and one that was removed."""
    both.alice.send([heartbeat(ALICE, MemberID(0)), heartbeat(ALICE, CAROL)])
    both.alice.remove_peer(BOB)
    both.alice.remove_peer(CAROL)
    both.alice.send([heartbeat(ALICE, BOB)])
    assert both.alice.active_since(BOB) is None
    assert both.alice.active_since(CAROL) is None
    assert both.alice.active_peers() == 0


async def test_a_link_that_works_says_since_when(both: Pair) -> None:
    """Strict reconfiguration checks ask for it."""
    assert both.alice.active_since(BOB) is not None
    assert both.bob.active_peers() == 1


async def test_what_must_not_reach_raft_does_not(both: Pair) -> None:
    """Local kinds are ignored; the message after them arrives."""
    both.alice.send([Message(MessageType.HUP, to=BOB, from_=ALICE), heartbeat(ALICE, BOB, 9)])
    await both.until(lambda: bool(both.bob_raft.received))
    assert both.bob_raft.received == [heartbeat(ALICE, BOB, 9)]


async def test_a_database_arrives_before_its_message(both: Pair, tmp_path: Path) -> None:
    """Under the name the driver looks for; the sender hears of it once."""
    path = tmp_path / "state.db"
    path.write_bytes(b"database" * 1000)
    snapshot = Snapshot(SnapshotMetadata(LogIndex(7), Term(5)))
    message = Message(MessageType.SNAP, to=BOB, from_=ALICE, term=Term(5), snapshot=snapshot)
    both.alice.send_snapshot(message, path)
    await both.until(lambda: both.alice_raft.snapshots == [(BOB, True)])
    assert both.bob_raft.received == [message]
    assert received_path(both.bob_dir, LogIndex(7)).read_bytes() == path.read_bytes()


async def test_a_database_for_a_stranger_fails_at_once(both: Pair, tmp_path: Path) -> None:
    """Raft must not wait for it."""
    snapshot = Snapshot(SnapshotMetadata(LogIndex(7), Term(5)))
    both.alice.send_snapshot(Message(MessageType.SNAP, to=CAROL, from_=ALICE, snapshot=snapshot), tmp_path)
    assert both.alice_raft.snapshots == [(CAROL, False)]
