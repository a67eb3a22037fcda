"""What operators do, at the wrong moment if need be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from etcdops.ids import MemberID
from etcdops.node.version import SERVER_VERSION
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.sim.clients import KeyClient
from tests.sim.cluster import MEMBERS_MAX, SimCluster
from tests.sim.hands import Hands
from tests.sim.member import SimMember
from tests.sim.plan import Fault

_CLUSTER = "/etcdserverpb.Cluster/"
_MAINTENANCE = "/etcdserverpb.Maintenance/"


# Members.


async def take_out(hands: Hands, member: MemberID) -> bool:
    """Remove a member; returns whether it is known to be removed."""
    hands.cluster.removals += 1
    request = pb.MemberRemoveRequest(ID=member).SerializeToString()
    await hands.ask_anybody(_CLUSTER + "MemberRemove", request)
    return member in hands.cluster.truth.removed


async def add(hands: Hands, *, promote: bool) -> bool:
    """Add a learner, start it and perhaps make it a voter."""
    cluster = hands.cluster
    if len(cluster.members) >= MEMBERS_MAX + 3 or len(cluster.present()) >= MEMBERS_MAX:
        return False
    member = cluster.add_member()
    request = pb.MemberAddRequest(peerURLs=[member.url], isLearner=True).SerializeToString()
    answer = await hands.ask_anybody(_CLUSTER + "MemberAdd", request, tries=16)
    if answer is None or cluster.healed:
        # Perhaps it was added all the same: a learner that never starts harms nobody.
        return False
    member.id = MemberID(pb.MemberAddResponse.FromString(answer).member.ID)
    for _ in range(20):
        # An operator asks again where the new member is not known yet; the members' list comes from the first up.
        if cluster.up() and all(one.server.members.get(member.id) for one in cluster.up()):
            break
        await hands.sleep(0.2)
    else:
        return False
    if cluster.healed:
        return False
    member.state = "down"
    member.start()
    if promote:
        await hands.ask_anybody(_CLUSTER + "MemberPromote", _promotion(member.id), tries=10)
    return True


def _promotion(member: MemberID) -> bytes:
    return pb.MemberPromoteRequest(ID=member).SerializeToString()


async def _promote(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """A new learner is promoted through several members at once, while it may lack everything."""
    cluster = hands.cluster
    if not await add(hands, promote=False):
        return False
    learner = cluster.members[-1].id
    for _ in range(10):
        asked = [hands.ask(one, _CLUSTER + "MemberPromote", _promotion(learner)) for one in cluster.up()]
        if any(await asyncio.gather(*asked)) or cluster.healed:
            break
        await hands.sleep(draw.uniform(0.0, 0.3))
    return True


async def _replace(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """A new member comes, then an old one goes."""
    return await add(hands, promote=True) and await _remove(hands, fault, draw)


async def _grow(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    return await add(hands, promote=draw.random() < 0.7)


async def _remove(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    voters = hands.cluster.voters()
    member = hands.member(fault.member)
    corrupted = sum(one.corrupted for one in hands.cluster.members)
    if len(voters) < 3 or corrupted or member.id not in voters:
        return False
    hands.shrinking = True
    return await take_out(hands, member.id)


async def _remove_leader(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    leader = hands.cluster.leader()
    if leader is None:
        return False
    return await _remove(hands, replace(fault, member=hands.cluster.present().index(leader)), draw)


async def _return_removed(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Somebody starts removed members again, with the data they had."""

    def find() -> list[SimMember]:
        return [member for member in hands.cluster.members if member.state == "removed"]

    if not find() and await _remove(hands, fault, draw):
        await hands.sleep(min(fault.for_s, 1.0))
    removed = find()
    for member in removed:
        member.start()
    return bool(removed)


# The leadership.


async def _leader_leaves(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """It is stopped in order, and comes back."""
    leader = hands.cluster.leader()
    if leader is None:
        return False
    await leader.stop()
    await hands.sleep(min(fault.for_s, 2.0))
    hands.restart(leader)
    return True


async def _transfer(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    leader = hands.cluster.leader()
    if leader is None:
        return False
    request = pb.MoveLeaderRequest(targetID=hands.member(fault.other).id)
    return await hands.ask(leader, _MAINTENANCE + "MoveLeader", request.SerializeToString()) is not None


async def _transfer_cut(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """The leadership goes to somebody who is cut off, or whose new leader is."""
    leader = hands.cluster.leader()
    if leader is None:
        return False
    target = hands.member(fault.other)
    lonely = draw.choice((leader, target)).id
    links = hands.to_all(lonely) if draw.random() < 0.5 else hands.from_all(lonely)
    moving = asyncio.ensure_future(_transfer(hands, fault, draw))
    await hands.sleep(draw.uniform(0.0, 4 * hands.cluster.network.conditions.delay_s_max))
    happened = await hands.cut_for(links, fault.for_s)
    await moving
    return happened


# The store.


async def _compact(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    back = draw.choice((0, 0, 1, 3, 10, 50))
    revision = max(1, hands.cluster.truth.model.revision - back)
    request = pb.CompactionRequest(revision=revision, physical=draw.random() < 0.3).SerializeToString()
    return await hands.ask_anybody("/etcdserverpb.KV/Compact", request, tries=2) is not None


async def _defragment(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    member = hands.hit(fault)
    return member is not None and await hands.ask(member, _MAINTENANCE + "Defragment", b"") is not None


async def _defragment_crash(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """The power fails in the middle of a defragmentation."""
    member = hands.hit(fault)
    if member is None:
        return False
    member.lose = fault.mode
    member.disk.dies_in = draw.randint(1, 40)
    await hands.ask(member, _MAINTENANCE + "Defragment", b"")
    await hands.sleep(min(fault.for_s, 1.0))
    member.disk.dies_in = None
    hands.restart(member)
    return True


async def make_room(hands: Hands, cluster: SimCluster) -> bool:
    """What etcd's documentation tells to do about a NOSPACE alarm: compact, defragment every member, disarm."""
    up = cluster.up()
    if not up:
        return False
    asked = cluster.leader() or up[0]
    request = pb.CompactionRequest(revision=cluster.truth.model.revision, physical=True).SerializeToString()
    await hands.ask(asked, "/etcdserverpb.KV/Compact", request)
    for member in up:
        if member.serves:
            await hands.ask(member, _MAINTENANCE + "Defragment", b"")
    disarm = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NOSPACE)
    for alarmed in sorted(cluster.truth.model.no_space):
        disarm.memberID = alarmed
        await hands.ask(asked, _MAINTENANCE + "Alarm", disarm.SerializeToString())
    return not cluster.truth.model.no_space


async def _make_room(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """Somebody fills the quota, until an alarm asks for room, which may take its time."""
    cluster = hands.cluster
    alarmed = cluster.truth.model.no_space
    writer = KeyClient(cluster, 90 + fault.number, cluster.calls)
    for _ in range(100):
        if alarmed or cluster.healed:
            break
        await writer.put(b"k0", 0.5, size=1500)
    if alarmed:
        # It takes a while until somebody comes: members that start again, or lead anew, know of the alarm too.
        await hands.sleep(draw.uniform(0.1, 0.5))
        again = draw.choice(cluster.present())
        again.crash("nothing")
        hands.restart(again)
        writer.at = again
        await writer.put(b"k0", 0.5)
    return bool(alarmed) and await make_room(hands, cluster)


async def _downgrade(hands: Hands, fault: Fault, draw: random.Random) -> bool:
    """A downgrade is announced, and taken back."""
    major, minor = SERVER_VERSION.split(".")[:2]
    enable = pb.DowngradeRequest(action=pb.DowngradeRequest.ENABLE, version=f"{major}.{int(minor) - 1}.0")
    begun = await hands.ask_anybody(_MAINTENANCE + "Downgrade", enable.SerializeToString(), tries=3)
    await hands.sleep(fault.for_s)
    cancel = pb.DowngradeRequest(action=pb.DowngradeRequest.CANCEL)
    await hands.ask_anybody(_MAINTENANCE + "Downgrade", cancel.SerializeToString(), tries=3)
    return begun is not None


KINDS: dict[str, Callable[[Hands, Fault, random.Random], Awaitable[bool]]] = {
    "replace": _replace,
    "grow": _grow,
    "remove": _remove,
    "remove-leader": _remove_leader,
    "return-removed": _return_removed,
    "promote": _promote,
    "leader-leaves": _leader_leaves,
    "transfer": _transfer,
    "transfer-cut": _transfer_cut,
    "compact": _compact,
    "defragment": _defragment,
    "defragment-crash": _defragment_crash,
    "make-room": _make_room,
    "downgrade": _downgrade,
}
