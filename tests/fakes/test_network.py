"""The network in memory: what it does to messages, and that a seed decides all of it."""

from __future__ import annotations

import random
from pathlib import Path

from etcdops.ids import MemberID
from tests.fakes.network import Faults, Network, NetworkTransport
from tests.node.peer.support import ALICE, BOB, CAROL, FakeRaft, heartbeat


class World:
    """Three members who know each other."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.network = Network(random.Random(seed))
        self.rafts = {member: FakeRaft() for member in (ALICE, BOB, CAROL)}
        self.ends: dict[MemberID, NetworkTransport] = {}
        for member in self.rafts:
            self.rejoin(member, folder)

    def rejoin(self, member: MemberID, folder: Path) -> None:
        end = self.ends[member] = self.network.join(member, self.rafts[member], folder)
        for other in self.rafts:
            if other != member:
                end.add_peer(other, ())

    def beat(self, sender: MemberID, to: MemberID, commit: int = 0) -> None:
        self.ends[sender].send([heartbeat(sender, to, commit)])

    def commits(self, member: MemberID) -> list[int]:
        return [message.commit for message in self.rafts[member].received]


def test_nothing_arrives_before_its_tick(tmp_path: Path) -> None:
    """Delays are counted in ticks."""
    world = World(tmp_path)
    world.network.faults = Faults(delay_ticks_min=3, delay_ticks_max=3)
    world.beat(ALICE, BOB)
    assert [world.network.tick() for _ in range(4)] == [0, 0, 1, 0]
    assert world.network.in_flight == 0


def test_a_cut_is_one_way_and_the_sender_hears_of_it(tmp_path: Path) -> None:
    """An asymmetric failure is the one that tests elections."""
    world = World(tmp_path)
    world.network.cut(ALICE, BOB)
    world.beat(ALICE, BOB)
    world.beat(BOB, ALICE, 5)
    world.network.tick()
    assert world.commits(BOB) == []
    assert world.commits(ALICE) == [5]
    assert world.rafts[ALICE].unreachable == [BOB]
    assert world.ends[ALICE].active_since(BOB) is None


def test_sides_of_a_partition_hear_only_themselves(tmp_path: Path) -> None:
    """Until it heals; the link is young again then."""
    world = World(tmp_path)
    before = world.ends[ALICE].active_since(CAROL)
    world.network.partition([ALICE, BOB], [CAROL])
    world.beat(ALICE, BOB, 1)
    world.beat(ALICE, CAROL, 1)
    world.network.tick()
    assert (world.commits(BOB), world.commits(CAROL)) == ([1], [])
    world.network.heal()
    world.beat(ALICE, CAROL, 2)
    world.network.tick()
    assert world.commits(CAROL) == [2]
    after = world.ends[ALICE].active_since(CAROL)
    assert before is not None
    assert after is not None
    assert after > before


def test_what_is_on_its_way_to_a_crashed_member_is_lost(tmp_path: Path) -> None:
    """Also when it comes back before it would have arrived."""
    world = World(tmp_path)
    world.beat(ALICE, BOB, 1)
    world.network.leave(BOB)
    world.rejoin(BOB, tmp_path)
    world.beat(ALICE, BOB, 2)
    world.network.tick()
    assert world.commits(BOB) == [2]


def test_a_removed_sender_is_told(tmp_path: Path) -> None:
    """As by 410 and 403 on the wire."""
    world = World(tmp_path)
    world.rafts[BOB].removed.add(ALICE)
    world.beat(ALICE, BOB)
    world.network.tick()
    assert world.rafts[ALICE].told_removed == 1
    assert world.commits(BOB) == []


def test_equal_seeds_give_equal_runs(tmp_path: Path) -> None:
    """Losses, copies and orders included; another seed gives another run."""

    def run(seed: int) -> list[int]:
        world = World(tmp_path, seed)
        world.network.faults = Faults(1, 5, drop=0.2, duplicate=0.2)
        for commit in range(200):
            world.beat(ALICE, BOB, commit)
            world.network.tick()
        return world.commits(BOB)

    first = run(3)
    assert first == run(3)
    assert first != run(4)
    assert first != sorted(first), "nothing was reordered"
    assert len(set(first)) < 200, "nothing was lost"
    assert len(set(first)) < len(first), "nothing came twice"
