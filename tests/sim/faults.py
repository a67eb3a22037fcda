"""What each fault of a plan does. Every one ends by itself after its time; the end of the run heals the rest.

`member` and `other` are taken modulo the members there are at that moment.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar

from etcdops.ids import MemberID
from etcdops.node.rpc.service import RpcError
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.sim.calls import CallLost, SimUnary
from tests.sim.cluster import MEMBERS_MAX, SimCluster
from tests.sim.member import SimMember
from tests.sim.plan import Fault

CALL_TIMEOUT_S = 3.0
NO_ROOM = "no room for "
"""How a fault is counted that met a cluster to which it could not be done."""


class Faults:
    """Carries out a plan."""

    def __init__(self, cluster: SimCluster, plan: list[Fault]) -> None:
        self._cluster = cluster
        self._plan = plan
        self.tasks: list[asyncio.Task[None]] = []
        self._shrinking = False

    async def run(self) -> None:
        """Begin each fault at its time; `tasks` are those under way."""
        loop = self._cluster.loop
        for fault in self._plan:
            await asyncio.sleep(max(0.0, fault.at - loop.time()))
            self._cluster.trace("fault", fault.line())
            self.tasks.append(self._cluster.spawn(self._one(fault)))

    async def _one(self, fault: Fault) -> None:
        happened = await self._KINDS[fault.kind](
            self, fault, random.Random(f"{self._cluster.seed}/fault/{fault.number}")
        )
        self._cluster.counts[fault.kind if happened else NO_ROOM + fault.kind] += 1

    def _member(self, number: int) -> SimMember:
        present = self._cluster.present()
        return present[number % len(present)]

    def _target(self, fault: Fault) -> SimMember:
        """Half of the time it meets the leader."""
        leader = self._cluster.leader() if fault.other % 2 else None
        return leader or self._member(fault.member)

    def _restart(self, member: SimMember) -> None:
        if member.state == "down" and not self._cluster.healed:
            member.start()

    def _hit(self, fault: Fault) -> SimMember | None:
        member = self._target(fault)
        return member if member.serves else None

    # Power and processes.

    async def _crash(self, fault: Fault, draw: random.Random) -> bool:
        member = self._hit(fault)
        if member is None:
            return False
        member.crash(fault.mode)
        await asyncio.sleep(fault.for_s)
        self._restart(member)
        return True

    async def _crash_in_write(self, fault: Fault, draw: random.Random) -> bool:
        """The power fails in the middle of the next writes."""
        member = self._hit(fault)
        if member is None:
            return False
        member.lose = fault.mode
        member.disk.dies_in = draw.randint(1, 60)
        for _ in range(100):
            await asyncio.sleep(0.1)
            if member.state == "down" or self._cluster.healed:
                break
        await asyncio.sleep(min(fault.for_s, 1.0))
        if self._cluster.healed:
            return True
        if draw.random() < 0.3:
            # Again, in the middle of the start.
            member.disk.dies_in = draw.randint(1, 40)
            self._restart(member)
            await asyncio.sleep(0.5)
        self._restart(member)
        return True

    async def _crash_all(self, fault: Fault, draw: random.Random) -> bool:
        members = self._cluster.up()
        for member in members:
            member.crash(fault.mode)
        await asyncio.sleep(min(fault.for_s, 2.0))
        for member in members:
            await asyncio.sleep(draw.uniform(0, 0.3))
            self._restart(member)
        return bool(members)

    async def _pause(self, fault: Fault, draw: random.Random) -> bool:
        member = self._hit(fault)
        if member is None:
            return False
        member.pause()
        await asyncio.sleep(fault.for_s)
        member.resume(draw)
        return True

    # The network.

    def _ids(self) -> list[MemberID]:
        return [member.id for member in self._cluster.present()]

    async def _cut(self, pairs: list[tuple[MemberID, MemberID]], for_s: float) -> bool:
        network = self._cluster.network
        for pair in pairs:
            network.cut(*pair)
        await asyncio.sleep(for_s)
        for pair in pairs:
            network.mend(*pair)
        return bool(pairs)

    async def _isolate(self, fault: Fault, draw: random.Random) -> bool:
        lonely = self._target(fault).id
        others = [one for one in self._ids() if one != lonely]
        return await self._cut([(lonely, one) for one in others] + [(one, lonely) for one in others], fault.for_s)

    async def _partition(self, fault: Fault, draw: random.Random) -> bool:
        side = {one for one in self._ids() if draw.random() < 0.5}
        pairs = [(one, two) for one in self._ids() for two in self._ids() if (one in side) != (two in side)]
        return await self._cut(pairs, fault.for_s)

    async def _one_way(self, fault: Fault, draw: random.Random) -> bool:
        one, two = self._member(fault.member).id, self._member(fault.other).id
        if one == two:
            others = [(one, other) for other in self._ids() if other != one]
            return await self._cut(others, fault.for_s)
        return await self._cut([(one, two)], fault.for_s)

    async def _flap(self, fault: Fault, draw: random.Random) -> bool:
        lonely = self._target(fault).id
        pairs = [(lonely, one) for one in self._ids() if one != lonely]
        for _ in range(draw.randint(2, 8)):
            if self._cluster.healed:
                break
            await self._cut(pairs, draw.uniform(0.05, 0.6))
            await asyncio.sleep(draw.uniform(0.05, 0.6))
        return bool(pairs)

    async def _conditions(self, fault: Fault, **worse: float) -> bool:
        network = self._cluster.network
        before = {name: getattr(network.conditions, name) for name in worse}
        network.conditions = replace(network.conditions, **worse)
        await asyncio.sleep(fault.for_s)
        network.conditions = replace(network.conditions, **before)
        return len(self._cluster.present()) > 1

    async def _drop(self, fault: Fault, draw: random.Random) -> bool:
        return await self._conditions(fault, drop=fault.amount * 0.5)

    async def _slow_net(self, fault: Fault, draw: random.Random) -> bool:
        return await self._conditions(fault, slow=fault.amount * 0.5)

    async def _duplicate(self, fault: Fault, draw: random.Random) -> bool:
        return await self._conditions(fault, duplicate=fault.amount * 0.5)

    # Clocks and disks.

    async def _clock_jump(self, fault: Fault, draw: random.Random) -> bool:
        self._member(fault.member).wall_ahead_s += draw.choice((-3600.0, -10.0, -0.5, 0.5, 10.0, 3600.0))
        return True

    async def _slow_disk(self, fault: Fault, draw: random.Random) -> bool:
        member = self._member(fault.member)
        member.disk_slow = 5 + fault.amount * 200
        await asyncio.sleep(fault.for_s)
        member.disk_slow = 1.0
        return True

    async def _full_disk(self, fault: Fault, draw: random.Random) -> bool:
        member = self._member(fault.member)
        member.disk.full = True
        await asyncio.sleep(fault.for_s)
        member.disk.full = False
        self._restart(member)
        return True

    async def _corrupt(self, fault: Fault, draw: random.Random) -> bool:
        """The end of a stopped member's raft log is damaged; it is refused, and the member is replaced."""
        voters = self._cluster.voters()
        gone = sum(member.corrupted for member in self._cluster.members)
        member = self._hit(fault)
        if member is None or len(voters) < 3 or gone >= (len(voters) - 1) // 2 or member.id not in voters:
            return False
        if self._shrinking:
            # A removal that nobody knows the outcome of, and a lost member: together they may be a lost quorum.
            return False
        member.crash("nothing")
        damaged = damage_tail(member, draw)
        await asyncio.sleep(min(fault.for_s, 1.0))
        if not damaged or self._cluster.healed:
            member.corrupted = False
            self._restart(member)
            return False
        self._restart(member)
        if member.state != "refused":
            # What was damaged was not needed: `Memory.compare` has seen to that.
            member.corrupted = False
            return True
        if await self._take_out(member.id):
            await self._add(promote=True)
        return True

    # Operators.

    async def ask(self, member: SimMember, path: str, request: bytes) -> bytes | None:
        """One administrative call; None when it failed, for whatever reason."""
        call = SimUnary(self._cluster.loop, self._cluster.network.delay_s)
        timer = self._cluster.loop.call_later(CALL_TIMEOUT_S, call.give_up)
        member.call(path, request, call)
        try:
            return await call.answered
        except (RpcError, CallLost) as error:
            self._cluster.trace("operator", f"{path.rpartition('/')[2]} at {member.name}: {error}")
            return None
        finally:
            timer.cancel()

    async def _ask_anybody(self, path: str, request: bytes, tries: int = 8) -> bytes | None:
        for number in range(tries):
            up = self._cluster.up()
            if up and not self._cluster.healed:
                leader = self._cluster.leader()
                answer = await self.ask(leader or up[number % len(up)], path, request)
                if answer is not None:
                    return answer
            await asyncio.sleep(0.5)
        return None

    async def _take_out(self, member: MemberID) -> bool:
        request = pb.MemberRemoveRequest(ID=member).SerializeToString()
        await self._ask_anybody("/etcdserverpb.Cluster/MemberRemove", request)
        return member in self._cluster.truth.removed

    async def _add(self, *, promote: bool) -> bool:
        cluster = self._cluster
        if len(cluster.members) >= MEMBERS_MAX + 3 or len(cluster.present()) >= MEMBERS_MAX:
            return False
        member = cluster.add_member()
        request = pb.MemberAddRequest(peerURLs=[member.url], isLearner=True).SerializeToString()
        answer = await self._ask_anybody("/etcdserverpb.Cluster/MemberAdd", request, tries=16)
        if answer is None or cluster.healed:
            # Perhaps it was added all the same: a learner that never starts harms nobody.
            return False
        member.id = MemberID(pb.MemberAddResponse.FromString(answer).member.ID)
        for _ in range(20):
            # An operator asks again where the new member is not known yet; the members' list comes from the first up.
            if cluster.up() and all(one.server.members.get(member.id) for one in cluster.up()):
                break
            await asyncio.sleep(0.2)
        else:
            return False
        if cluster.healed:
            return False
        member.state = "down"
        member.start()
        if promote:
            request = pb.MemberPromoteRequest(ID=member.id).SerializeToString()
            await self._ask_anybody("/etcdserverpb.Cluster/MemberPromote", request, tries=10)
        return True

    async def _replace(self, fault: Fault, draw: random.Random) -> bool:
        """A new member comes, then an old one goes."""
        if not await self._add(promote=True):
            return False
        return await self._remove(fault, draw)

    async def _grow(self, fault: Fault, draw: random.Random) -> bool:
        return await self._add(promote=draw.random() < 0.7)

    async def _remove(self, fault: Fault, draw: random.Random) -> bool:
        voters = self._cluster.voters()
        member = self._member(fault.member)
        corrupted = sum(one.corrupted for one in self._cluster.members)
        if len(voters) < 3 or corrupted or member.id not in voters:
            return False
        self._shrinking = True
        return await self._take_out(member.id)

    async def _remove_leader(self, fault: Fault, draw: random.Random) -> bool:
        leader = self._cluster.leader()
        if leader is None:
            return False
        return await self._remove(replace(fault, member=self._cluster.present().index(leader)), draw)

    async def _leader_leaves(self, fault: Fault, draw: random.Random) -> bool:
        """It is stopped in order, and comes back."""
        leader = self._cluster.leader()
        if leader is None:
            return False
        await leader.stop()
        await asyncio.sleep(min(fault.for_s, 2.0))
        self._restart(leader)
        return True

    async def _transfer(self, fault: Fault, draw: random.Random) -> bool:
        leader = self._cluster.leader()
        if leader is None:
            return False
        request = pb.MoveLeaderRequest(targetID=self._member(fault.other).id)
        answer = await self.ask(leader, "/etcdserverpb.Maintenance/MoveLeader", request.SerializeToString())
        return answer is not None

    async def _compact(self, fault: Fault, draw: random.Random) -> bool:
        back = draw.choice((0, 0, 1, 3, 10, 50))
        revision = max(1, self._cluster.truth.model.revision - back)
        request = pb.CompactionRequest(revision=revision, physical=draw.random() < 0.3).SerializeToString()
        return await self._ask_anybody("/etcdserverpb.KV/Compact", request, tries=2) is not None

    async def _defragment(self, fault: Fault, draw: random.Random) -> bool:
        member = self._hit(fault)
        if member is None:
            return False
        return await self.ask(member, "/etcdserverpb.Maintenance/Defragment", b"") is not None

    _KINDS: ClassVar[dict[str, Callable[[Faults, Fault, random.Random], Awaitable[bool]]]] = {
        "crash": _crash,
        "crash-in-write": _crash_in_write,
        "crash-all": _crash_all,
        "pause": _pause,
        "isolate": _isolate,
        "partition": _partition,
        "one-way": _one_way,
        "flap": _flap,
        "drop": _drop,
        "slow-net": _slow_net,
        "duplicate": _duplicate,
        "clock-jump": _clock_jump,
        "slow-disk": _slow_disk,
        "full-disk": _full_disk,
        "corrupt": _corrupt,
        "replace": _replace,
        "grow": _grow,
        "remove": _remove,
        "remove-leader": _remove_leader,
        "leader-leaves": _leader_leaves,
        "transfer": _transfer,
        "compact": _compact,
        "defragment": _defragment,
    }


_FRAME = struct.Struct(">6I")
_HEADER_BYTES = 32
_FRAME_BYTES = 24 + 4096


def damage_tail(member: SimMember, draw: random.Random) -> bool:
    """Change a bit near the end of the raft log, but not in its very last transaction: the loss of that one cannot be
    told from a crash (see etcdops/node/storage/log_damage.py). False when there is too little to damage.
    """
    path = member.root / "member" / "wal.db-wal"
    log = bytearray(path.read_bytes()) if path.exists() else bytearray()
    ends = _transactions(log)
    if len(ends) < 2:
        return False
    at = draw.randrange(max(_HEADER_BYTES, ends[-2] - 3 * _FRAME_BYTES), ends[-2])
    log[at] ^= 1 << draw.randrange(8)
    path.write_bytes(log)
    member.corrupted = True
    member.cluster.trace(member.name, f"its raft log is damaged at {at} of {len(log)}")
    return True


def _transactions(log: bytearray) -> list[int]:
    """Where each transaction of an SQLite write-ahead log ends, as far as it is in use."""
    ends = []
    for at in range(_HEADER_BYTES, len(log) - _FRAME_BYTES + 1, _FRAME_BYTES):
        _, commit, *salts = _FRAME.unpack_from(log, at)[:4]
        if bytes(log[16:24]) != struct.pack(">2I", *salts):
            break
        if commit:
            ends.append(at + _FRAME_BYTES)
    return ends
