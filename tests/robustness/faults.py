"""What can be done to a cluster. A fault is a generator: it does something, yields how long to wait, undoes it.

Faults may overlap; `Schedule` runs one step of one of them at a time.
"""

from __future__ import annotations

import heapq
import random
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import grpc

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.robustness.world import World
from tests.support.real_etcd import RealMember

Steps = Generator[float, None, None]
CLOCK_STEP_MAX_S = 60.0


def _leader_or_any(world: World, draw: random.Random) -> RealMember:
    return world.leader() or draw.choice(world.members)


def kill(world: World, draw: random.Random) -> Steps:
    """SIGKILL of any member."""
    member = draw.choice(world.members)
    world.note(f"kill {member.name}")
    world.down(member)
    yield draw.uniform(0.0, 2.0)
    world.up(member)


def kill_leader(world: World, draw: random.Random) -> Steps:
    """SIGKILL of the leader."""
    member = _leader_or_any(world, draw)
    world.note(f"kill the leader {member.name}")
    world.down(member)
    yield draw.uniform(0.0, 3.0)
    world.up(member)


def kill_all(world: World, draw: random.Random) -> Steps:
    """SIGKILL of everybody at once."""
    world.note("kill all")
    for member in draw.sample(world.members, len(world.members)):
        world.down(member)
    yield draw.uniform(0.0, 1.0)
    for member in draw.sample(world.members, len(world.members)):
        world.up(member)
        yield draw.choice((0.0, 0.3))


def storm(world: World, draw: random.Random) -> Steps:
    """A member is killed again and again while it starts."""
    member = draw.choice(world.members)
    world.note(f"restart storm of {member.name}")
    for _ in range(draw.randint(3, 6)):
        world.down(member)
        yield draw.uniform(0.0, 0.1)
        world.up(member)
        # In the middle of its start, or in the middle of its recovery.
        yield draw.choice((draw.uniform(0.05, 0.6), draw.uniform(0.5, 2.5)))


def stop(world: World, draw: random.Random) -> Steps:
    """SIGTERM, as systemd does."""
    member = draw.choice(world.members)
    world.note(f"stop {member.name}")
    world.down(member, signal.SIGTERM)
    yield draw.uniform(0.0, 2.0)
    world.up(member)


def pause(world: World, draw: random.Random) -> Steps:
    """SIGSTOP, and SIGCONT later, of any member."""
    yield from _pause(world, draw, draw.choice(world.members))


def pause_leader(world: World, draw: random.Random) -> Steps:
    """SIGSTOP of the leader: others elect another one, and then it goes on."""
    yield from _pause(world, draw, _leader_or_any(world, draw))


def _pause(world: World, draw: random.Random, member: RealMember) -> Steps:
    seconds = draw.choice((draw.uniform(0.1, 1.0), draw.uniform(1.0, 5.0)))
    world.note(f"pause {member.name} for {seconds:.2f} s")
    world.pause(member)
    yield seconds
    world.resume(member)


def isolate(world: World, draw: random.Random) -> Steps:
    """Links of one member, often the leader, are cut."""
    yield from _isolate(world, draw, world.links.cut, "cut off")


def black_hole(world: World, draw: random.Random) -> Steps:
    """One member, often the leader, neither hears nor is heard, and nobody is told."""
    yield from _isolate(world, draw, world.links.hold, "black hole around")


def _isolate(world: World, draw: random.Random, how: Callable[[list[tuple[str, str]]], None], what: str) -> Steps:
    member = _leader_or_any(world, draw) if draw.random() < 0.6 else draw.choice(world.members)
    pairs = world.pairs([member], world.members) + world.pairs(world.members, [member])
    world.note(f"{what} {member.name}")
    how(pairs)
    yield draw.uniform(0.5, 6.0)
    world.links.heal(pairs)
    world.note(f"links of {member.name} are back")


def half_cut(world: World, draw: random.Random) -> Steps:
    """Data goes in one direction only between a member, often the leader, and one or all others."""
    member = _leader_or_any(world, draw) if draw.random() < 0.6 else draw.choice(world.members)
    others = [other for other in world.members if other is not member]
    if draw.random() < 0.4:
        others = [draw.choice(others)]
    deaf = draw.random() < 0.5
    pairs = world.pairs(others, [member]) if deaf else world.pairs([member], others)
    world.note(f"{member.name} {'does not hear' if deaf else 'is not heard by'} {[other.name for other in others]}")
    world.links.hold(pairs)
    yield draw.uniform(0.5, 6.0)
    world.links.heal(pairs)
    world.note(f"links of {member.name} are back")


def no_ring(world: World, draw: random.Random) -> Steps:
    """One link is cut: no two of the three members have the same view."""
    one, other = draw.sample(world.members, 2)
    pairs = world.pairs([one, other], [one, other])
    world.note(f"cut {one.name}-{other.name}")
    draw.choice((world.links.cut, world.links.hold))(pairs)
    yield draw.uniform(0.5, 6.0)
    world.links.heal(pairs)


def flapping(world: World, draw: random.Random) -> Steps:
    """Links of a member come and go."""
    member = draw.choice(world.members)
    pairs = world.pairs([member], world.members) + world.pairs(world.members, [member])
    world.note(f"flapping links of {member.name}")
    for _ in range(draw.randint(3, 8)):
        world.links.cut(pairs)
        yield draw.uniform(0.05, 0.6)
        world.links.heal(pairs)
        yield draw.uniform(0.05, 0.6)


def slow_links(world: World, draw: random.Random) -> Steps:
    """Everything between members takes longer."""
    delay_s = draw.choice((0.005, 0.03, 0.15))
    pairs = world.pairs(world.members, world.members)
    world.note(f"slow links, {delay_s * 1000:.0f} ms")
    world.links.slow(pairs, delay_s)
    yield draw.uniform(1.0, 5.0)
    world.links.heal(pairs)


def full_disk(world: World, draw: random.Random) -> Steps:
    """The disk of a member is full for a while; the member may end, and comes back."""
    member = draw.choice(world.members)
    world.note(f"full disk of {member.name}")
    world.fill_disk(member)
    yield draw.uniform(0.5, 3.0)
    world.free_disk(member)
    world.note(f"disk of {member.name} has room again")
    yield 0.2
    world.up(member)


def clock_step(world: World, draw: random.Random) -> Steps:
    """Wall clocks jump, forth or back, and later back."""
    offset_s = draw.uniform(-CLOCK_STEP_MAX_S, CLOCK_STEP_MAX_S)
    world.note(f"clock step {offset_s:+.1f} s")
    world.set_clock(offset_s)
    yield draw.uniform(1.0, 5.0)
    world.set_clock(0)


def defragment(world: World, draw: random.Random) -> Steps:
    """A member rewrites its store under load; sometimes it is killed meanwhile."""
    member = draw.choice(world.members)
    world.note(f"defragment {member.name}")
    channel = grpc.insecure_channel(member.url.removeprefix("http://"))
    call = channel.unary_unary(
        "/etcdserverpb.Maintenance/Defragment",
        request_serializer=pb.DefragmentRequest.SerializeToString,
        response_deserializer=pb.DefragmentResponse.FromString,
    )
    call.future(pb.DefragmentRequest(), timeout=10.0)
    yield draw.uniform(0.005, 0.3)
    if draw.random() < 0.3:
        world.note(f"kill {member.name} after its defragmentation was asked for")
        world.down(member)
        yield draw.uniform(0.0, 1.0)
        world.up(member)
    channel.close()


Fault = Callable[[World, random.Random], Steps]
OF_ONE: tuple[Fault, ...] = (kill, storm, stop, pause, full_disk, clock_step, defragment)
"""What can be done to a member that has no peers."""
OF_MANY: tuple[Fault, ...] = (
    *OF_ONE, kill_leader, kill_all, pause_leader, isolate, black_hole, half_cut, no_ring, flapping, slow_links,
)  # fmt: skip
BY_NAME: dict[str, Fault] = {fault.__name__.replace("_", "-"): fault for fault in OF_MANY}


@dataclass(frozen=True)
class Planned:
    """One fault, before it happens."""

    after_s: float
    """Since the beginning."""
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.after_s:.1f}"


class Schedule:
    """Runs planned faults, each step when its time has come."""

    def __init__(self, world: World, plan: list[Planned], seed: int) -> None:
        self._world = world
        self._plan = plan
        self._seed = seed

    def run(self, duration_s: float) -> None:
        """Raises: Broken - a member ended by itself."""
        begin = time.monotonic()
        waiting: list[tuple[float, int, Steps]] = [
            (
                begin + planned.after_s,
                planned.number,
                BY_NAME[planned.kind](self._world, random.Random(f"{self._seed}/fault/{planned.number}")),
            )
            for planned in self._plan
        ]
        heapq.heapify(waiting)
        end = begin + duration_s
        while waiting or time.monotonic() < end:
            now = time.monotonic()
            if not waiting or waiting[0][0] > now:
                self._world.look()
                time.sleep(min(0.1, max(0.0, (waiting[0][0] if waiting else end) - now)))
                continue
            _, number, steps = heapq.heappop(waiting)
            try:
                heapq.heappush(waiting, (time.monotonic() + next(steps), number, steps))
            except StopIteration:
                pass  # this fault is over
