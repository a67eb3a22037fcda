"""What faults are done with: members to choose from, links to cut, and calls as an operator makes them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from etcdops.ids import MemberID
from etcdops.node.rpc.service import RpcError
from tests.sim.calls import CallLost, SimUnary
from tests.sim.cluster import SimCluster
from tests.sim.member import SimMember
from tests.sim.plan import Fault

CALL_TIMEOUT_S = 3.0

Links = list[tuple[MemberID, MemberID]]


class Hands:
    """On one cluster. `member` and `other` of a fault are taken modulo the members there are at that moment."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.shrinking = False
        """Somebody was removed, or perhaps: with a member lost as well it could be too many."""

    async def sleep(self, for_s: float) -> None:
        """For so long, or until everything is healed."""
        await asyncio.wait((self.cluster.over,), timeout=for_s)

    # Members.

    def member(self, number: int) -> SimMember:
        present = self.cluster.present()
        return present[number % len(present)]

    def target(self, fault: Fault) -> SimMember:
        """Half of the time it meets the leader."""
        leader = self.cluster.leader() if fault.other % 2 else None
        return leader or self.member(fault.member)

    def hit(self, fault: Fault) -> SimMember | None:
        """A target that runs."""
        member = self.target(fault)
        return member if member.serves else None

    def restart(self, member: SimMember) -> None:
        if member.state == "down" and not self.cluster.healed:
            member.start()

    def send_clients_to(self, member: SimMember, draw: random.Random) -> None:
        """Some of them turn to this member with what they ask next."""
        for caller in self.cluster.callers:
            if draw.random() < 0.5:
                caller.at = member

    # Links.

    def ids(self) -> list[MemberID]:
        return [member.id for member in self.cluster.present()]

    def others(self, member: MemberID) -> list[MemberID]:
        return [one for one in self.ids() if one != member]

    def to_all(self, member: MemberID) -> Links:
        return [(member, one) for one in self.others(member)]

    def from_all(self, member: MemberID) -> Links:
        return [(one, member) for one in self.others(member)]

    def cut(self, links: Iterable[tuple[MemberID, MemberID]]) -> None:
        for link in links:
            self.cluster.network.cut(*link)

    def mend(self, links: Iterable[tuple[MemberID, MemberID]]) -> None:
        for link in links:
            self.cluster.network.mend(*link)

    async def cut_for(self, links: Links, for_s: float) -> bool:
        """Cut, and mend after so long. Returns whether there was anything to cut."""
        self.cut(links)
        await self.sleep(for_s)
        self.mend(links)
        return bool(links)

    # Calls.

    async def ask(self, member: SimMember, path: str, request: bytes) -> bytes | None:
        """One administrative call; None when it failed, for whatever reason."""
        call = SimUnary(self.cluster.loop, self.cluster.network.delay_s)
        timer = self.cluster.loop.call_later(CALL_TIMEOUT_S, call.give_up)
        member.call(path, request, call)
        try:
            return await call.answered
        except (RpcError, CallLost) as error:
            self.cluster.trace("operator", f"{path.rpartition('/')[2]} at {member.name}: {error}")
            return None
        finally:
            timer.cancel()

    async def ask_anybody(self, path: str, request: bytes, tries: int = 8) -> bytes | None:
        """Again and again, first the leader; None when it never worked, or faults are over."""
        for number in range(tries):
            up = self.cluster.up()
            if up and not self.cluster.healed:
                answer = await self.ask(self.cluster.leader() or up[number % len(up)], path, request)
                if answer is not None:
                    return answer
            await self.sleep(0.5)
        return None
