"""Messages that do not arrive, or late, or twice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tests.sim.hands import Hands
from tests.sim.plan import Fault


async def _isolate(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    lonely = hands.target(fault).id
    return await hands.cut_for(hands.to_all(lonely) + hands.from_all(lonely), fault.for_s)


async def _partition(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    side = {one for one in hands.ids() if draw.random() < 0.5}
    links = [(one, two) for one in hands.ids() for two in hands.ids() if (one in side) != (two in side)]
    return await hands.cut_for(links, fault.for_s)


async def _one_way(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    one, two = hands.member(fault.member).id, hands.member(fault.other).id
    return await hands.cut_for(hands.to_all(one) if one == two else [(one, two)], fault.for_s)


async def _deaf_leader(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Followers go on hearing a leader who hears nobody: it must step down."""
    leader = hands.cluster.leader()
    return leader is not None and await hands.cut_for(hands.from_all(leader.id), fault.for_s)


async def _mute_leader(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Followers elect another one, of whom the old leader hears at once."""
    leader = hands.cluster.leader()
    return leader is not None and await hands.cut_for(hands.to_all(leader.id), fault.for_s)


async def _flap(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    links = hands.to_all(hands.target(fault).id)
    for _ in range(draw.randint(2, 8)):
        if hands.cluster.healed:
            break
        await hands.cut_for(links, draw.uniform(0.05, 0.6))
        await hands.sleep(draw.uniform(0.05, 0.6))
    return bool(links)


async def _conditions(hands: Hands, fault: Fault, **worse: float) -> bool:
    network = hands.cluster.network
    before = {name: getattr(network.conditions, name) for name in worse}
    network.conditions = replace(network.conditions, **worse)
    await hands.sleep(fault.for_s)
    network.conditions = replace(network.conditions, **before)
    return len(hands.cluster.present()) > 1


async def _drop(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    return await _conditions(hands, fault, drop=fault.amount * 0.5)


async def _slow_net(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    return await _conditions(hands, fault, slow=fault.amount * 0.5)


async def _slow_link(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """What one member is told takes its time: it is behind, and does not know; clients ask it."""
    network, member = hands.cluster.network, hands.member(fault.member)
    network.slow_to[member.id] = 0.05 + 0.5 * fault.amount
    for _ in range(4):
        hands.send_clients_to(member, draw)
        await hands.sleep(fault.for_s / 4)
    network.slow_to.pop(member.id, None)
    return len(hands.cluster.present()) > 1


async def _duplicate(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    return await _conditions(hands, fault, duplicate=fault.amount * 0.5)


KINDS: dict[str, Callable[[Hands, Fault, random.Random], Awaitable[bool]]] = {
    "isolate": _isolate,
    "partition": _partition,
    "one-way": _one_way,
    "deaf-leader": _deaf_leader,
    "mute-leader": _mute_leader,
    "flap": _flap,
    "drop": _drop,
    "slow-net": _slow_net,
    "slow-link": _slow_link,
    "duplicate": _duplicate,
}
