"""Processes, their power, their disks and their clocks."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tests.sim import operations
from tests.sim.damage import damage_tail
from tests.sim.hands import Hands
from tests.sim.member import SimMember
from tests.sim.plan import LOSSES, Fault


async def _crash(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    member = hands.hit(fault)
    if member is None:
        return False
    member.crash(fault.mode)
    await hands.sleep(fault.for_s)
    hands.restart(member)
    if draw.random() < 0.2:
        await _lose_power_soon(hands, member, draw)
    return True


async def _lose_power_soon(hands: Hands, member: SimMember, draw: random.Random) -> None:
    """Right after a start: what an earlier life left unsynced, and this one believes, is still at stake."""
    await hands.sleep(draw.choice((0.0, 0.01, 0.1)) * draw.random())
    if member.serves and not hands.cluster.healed:
        member.crash(draw.choice(("all", "tail", "some")))
        await hands.sleep(draw.uniform(0.0, 0.5))
        hands.restart(member)


async def _crash_in_write(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """The power fails in the middle of the next writes."""
    member = hands.hit(fault)
    if member is None:
        return False
    member.lose = fault.mode
    member.disk.dies_in = draw.randint(1, 60)
    for _ in range(100):
        await hands.sleep(0.1)
        if member.state == "down" or hands.cluster.healed:
            break
    await hands.sleep(min(fault.for_s, 1.0))
    if hands.cluster.healed:
        return True
    if draw.random() < 0.3:
        # Again, in the middle of the start: with what was left unsynced at stake.
        member.lose = draw.choice(LOSSES)
        member.disk.dies_in = draw.randint(1, 40)
        hands.restart(member)
        await hands.sleep(0.5)
    hands.restart(member)
    if fault.mode == "nothing":
        await _lose_power_soon(hands, member, draw)
    return True


async def _crash_at_image(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """A member is away until it needs an image; the power of whoever gets one fails then, or soon after."""
    cluster = hands.cluster
    followers = [member for member in cluster.up() if member is not cluster.leader()]
    if not followers:
        return False
    behind = followers[fault.member % len(followers)]
    links = hands.to_all(behind.id) + hands.from_all(behind.id)
    hands.cut(links)
    missed = len(cluster.truth.log) + 2 * cluster.options.snapshot_count
    got: SimMember | None = None
    for _ in range(20):
        got = await cluster.next_image(0.1)
        if got is not None or len(cluster.truth.log) > missed or cluster.healed:
            break
    hands.mend(links)
    got = got or await cluster.next_image(2.0)
    if got is None or cluster.healed:
        return False
    got.lose = draw.choice(("all", "tail", "some"))
    if draw.random() < 0.5:
        got.disk.dies_in = draw.randint(1, 30)
        await hands.sleep(0.3)
        got.disk.dies_in = None
    else:
        await hands.sleep(draw.choice((0.0, 0.01, 0.05)) * draw.random())
    if got.serves:
        got.crash(got.lose)
    await hands.sleep(draw.uniform(0.0, 0.5))
    hands.restart(got)
    return True


async def _crash_all(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    members = hands.cluster.up()
    for member in members:
        member.crash(fault.mode)
    await hands.sleep(min(fault.for_s, 2.0))
    for member in members:
        await hands.sleep(draw.uniform(0, 0.3))
        hands.restart(member)
    return bool(members)


async def _pause(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    member = hands.hit(fault)
    if member is None:
        return False
    member.pause()
    await hands.sleep(fault.for_s)
    member.resume(draw)
    return True


async def _pause_leader(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """The others elect somebody else, and the old leader wakes up with what clients have asked of it meanwhile: some of
    them for the last time. It may take a moment longer until it hears of the others."""
    leader = hands.cluster.leader()
    if leader is None:
        return False
    links = hands.to_all(leader.id) + hands.from_all(leader.id) if draw.random() < 0.7 else []
    hands.cut(links)
    leader.pause()
    for _ in range(draw.randint(2, 6)):
        await hands.sleep(0.5)
        hands.send_clients_to(leader, draw)
    await hands.sleep(draw.uniform(0.0, 0.5))
    for caller in hands.cluster.callers:
        caller.lets_go = draw.random() < 0.8
    leader.resume(draw)
    await hands.sleep(0.3)
    hands.mend(links)
    return True


async def _hunt_leaders(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Whoever is elected is killed soon, often before anybody heard of its entries, and the one before comes back.

    So entries of several terms meet that a minority has: Raft figure 8 is a kind of this.
    """
    cluster = hands.cluster
    before: SimMember | None = None
    killed = 0
    for _ in range(3 + int(12 * fault.amount)):
        leader = await cluster.next_leader(3.0)
        if cluster.healed:
            break
        if leader is None:
            continue
        links = hands.to_all(leader.id) if draw.random() < 0.5 else []
        hands.cut(links)
        await _moment(hands, leader, draw)
        if leader.serves and not cluster.healed:
            leader.crash(fault.mode)
            killed += 1
        hands.mend(links)
        if before is not None:
            hands.restart(before)
        before = leader
    await hands.sleep(min(fault.for_s, 1.0))
    for member in cluster.members:
        hands.restart(member)
    return killed > 1


async def _moment(hands: Hands, leader: SimMember, draw: random.Random) -> None:
    """When to kill it: after a while, or as soon as it has committed something."""
    a_while = draw.choice((0.005, 0.02, 0.1, 0.3)) * draw.random() + hands.cluster.network.conditions.delay_s_max
    if draw.random() < 0.5:
        await hands.sleep(a_while)
    else:
        await hands.cluster.next_commit(leader, 2 * a_while)


async def _clock_jump(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Of the wall clock, forwards or back; the monotonic one never jumps."""
    hands.target(fault).wall_ahead_s += draw.choice((-3600.0, -10.0, -0.5, 0.5, 10.0, 3600.0))
    return True


async def _slow_disk(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    member = hands.target(fault)
    member.disk_slow = 5 + fault.amount * 200
    await hands.sleep(fault.for_s)
    member.disk_slow = 1.0
    return True


async def _full_disk(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    member = hands.target(fault)
    member.disk.full = True
    await hands.sleep(fault.for_s)
    member.disk.full = False
    hands.restart(member)
    return True


async def _corrupt(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """The end of a stopped member's raft log is damaged; it is refused, and the member is replaced."""
    cluster = hands.cluster
    voters = cluster.voters()
    gone = sum(member.corrupted for member in cluster.members)
    member = hands.hit(fault)
    if member is None or len(voters) < 3 or gone >= (len(voters) - 1) // 2 or member.id not in voters:
        return False
    if hands.shrinking:
        # A removal that nobody knows the outcome of, and a lost member: together they may be a lost quorum.
        return False
    member.crash("nothing")
    member.disk.settle()
    damaged = damage_tail(member, draw)
    await hands.sleep(min(fault.for_s, 1.0))
    if not damaged or cluster.healed:
        member.corrupted = False
        hands.restart(member)
        return False
    hands.restart(member)
    if member.state != "refused":
        # What was damaged was not needed: `Memory.compare` has seen to that.
        member.corrupted = False
        return True
    if await operations.take_out(hands, member.id):
        await operations.add(hands, promote=True)
    return True


async def _swap_data(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Two members are started with each other's data directories, until somebody notices."""
    one, two = hands.member(fault.member), hands.member(fault.other)
    if one is two or not (one.serves and two.serves):
        return False
    await _restart_as(hands, one, two, two, one)
    await hands.sleep(fault.for_s)
    await _restart_as(hands, one, None, two, None)
    return True


async def _restart_as(
    hands: Hands, one: SimMember, flags_of_one: SimMember | None, two: SimMember, flags_of_two: SimMember | None
) -> None:
    for member, flags_of in ((one, flags_of_one), (two, flags_of_two)):
        member.crash("nothing")
        member.flags_of = flags_of
    for member in (one, two):
        hands.restart(member)
        await hands.sleep(0.1)


KINDS: dict[str, Callable[[Hands, Fault, random.Random], Awaitable[bool]]] = {
    "crash": _crash,
    "crash-in-write": _crash_in_write,
    "crash-all": _crash_all,
    "crash-at-image": _crash_at_image,
    "pause": _pause,
    "pause-leader": _pause_leader,
    "hunt-leaders": _hunt_leaders,
    "clock-jump": _clock_jump,
    "slow-disk": _slow_disk,
    "swap-data": _swap_data,
    "full-disk": _full_disk,
    "corrupt": _corrupt,
}
