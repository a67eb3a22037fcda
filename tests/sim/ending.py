"""The end of a run: faults are over, and everything that was promised for then must come true, in bounded time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from etcdops.ids import MemberID
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.api_model import covers
from tests.model.broken import Broken
from tests.model.history import Call
from tests.sim.clients import KeyClient, WatchClient
from tests.sim.cluster import TICK_S, SimCluster
from tests.sim.hands import Hands
from tests.sim.member import SimMember
from tests.sim.operations import make_room

AGREEMENT_TICKS_MAX = 150
"""From the end of all faults to a leader that commits: 15 election timeouts."""

ALARM_TICKS_MAX = 5
REMOVAL_S_MAX = 2.0
"""How long a request is on its way at most, once there is a leader."""

COMPACTION_TICKS_MAX = 150
CATCH_UP_TICKS_MAX = 150
LEASES_TICKS_MAX = 150
_TRIES = 5
_FORCED_TICKS_MAX = 50


class Ending:
    """Of one run."""

    def __init__(self, cluster: SimCluster, calls: list[Call]) -> None:
        """Args: calls gets what is asked here."""
        self._cluster = cluster
        self._hands = Hands(cluster)
        self._client = KeyClient(cluster, 99, calls)

    async def majority_goes_on(self) -> None:
        """A minority goes away as the plan says: the others elect and commit all the same.

        Only once everybody knows the configuration: who leaves with a removal that others have not heard of yet may
        take their quorum along. And once no removal can be on its way any more, whose operator has given up.
        """
        if self._cluster.removals:
            await asyncio.sleep(REMOVAL_S_MAX)
            await self.agree()
        away = self._minority()
        if not away:
            return
        cluster, hands = self._cluster, self._hands
        cluster.trace("cluster", f"{', '.join(member.name for member in away)}: {cluster.options.away}")
        for member in away:
            if cluster.options.away == "down":
                member.crash("nothing")
            if cluster.options.away in ("cut", "deaf"):
                hands.cut(hands.from_all(member.id))
            if cluster.options.away in ("cut", "mute"):
                hands.cut(hands.to_all(member.id))
        await self.agree(away)
        cluster.counts[f"times that a majority went on without members that were {cluster.options.away}"] += 1
        cluster.heal()
        await self.agree()

    def _minority(self) -> list[SimMember]:
        cluster = self._cluster
        voters = cluster.voters()
        here = [member for member in cluster.up() if member.id in voters]
        spared = len(here) - (len(voters) // 2 + 1)
        if cluster.options.away == "here" or spared < 1:
            return []
        return random.Random(f"{cluster.seed}/away").sample(here, spared)

    async def agree(self, away: Sequence[SimMember] = ()) -> None:
        """A leader is elected and commits, asked through every voter that is not away."""
        cluster = self._cluster

        def here() -> list[SimMember]:
            voters = cluster.voters()
            return [
                member
                for member in cluster.up()
                if member.id in voters and not member.server.is_learner and member not in away
            ]

        def agreed() -> bool:
            leader = cluster.leader()
            return leader is not None and all(member.server.leader == leader.id for member in here())

        await cluster.wait_until(agreed, AGREEMENT_TICKS_MAX, "everybody knows one leader")
        for member in here():
            if member.serves and not await self._writes(member, away) and member.serves and member in here():
                raise Broken("liveness", f"{member.name} takes no write although a majority is well and connected")

    async def _writes(self, member: SimMember, away: Sequence[SimMember] = ()) -> bool:
        for _ in range(_TRIES):
            self._client.at = member
            call = await self._client.put(b"k-last", 3.0)
            if call is not None and call.answered:
                return True
            if call is not None and "space exceeded" in call.error and self._cluster.options.quota_bytes:
                await self._make_room(away)
        return False

    async def _make_room(self, away: Sequence[SimMember]) -> None:
        """Once the alarm is there: a member that has not heard that it was disarmed raises none."""
        cluster = self._cluster
        for _ in range(ALARM_TICKS_MAX):
            if cluster.truth.model.no_space:
                break
            await asyncio.sleep(TICK_S)
        # A member that is behind, or waits for an image, still has what the others have compacted.
        await self._all_apply(len(cluster.truth.log), "those who are to make room have caught up", away)
        await make_room(self._hands, cluster)
        # A file shrinks by what a compaction has removed: one that takes its time, row by row, is waited for.
        await cluster.wait_until(
            lambda: not any(member.server.applier.compactor.running for member in cluster.up()),
            COMPACTION_TICKS_MAX,
            "compactions have removed everything",
        )

    async def leases_end(self) -> None:
        """Nobody renews any more: every lease ends."""
        leases = self._cluster.truth.model.leases
        await self._cluster.wait_until(lambda: not leases, LEASES_TICKS_MAX, "all leases end")

    async def catch_up(self) -> None:
        """All members apply everything."""
        await self._all_apply(None, "every member has applied everything")

    async def _all_apply(self, index: int | None, what: str, away: Sequence[SimMember] = ()) -> None:
        """Up to an index; None: to the end of the log."""
        cluster = self._cluster

        def equal() -> bool:
            return all(
                member.server.applied_index >= (len(cluster.truth.log) if index is None else index)
                for member in cluster.up()
                if member not in away
                and member.id not in cluster.truth.removed
                and member.server.members.get(member.id) is not None
            )

        await cluster.wait_until(equal, CATCH_UP_TICKS_MAX, what)

    async def watchers_see_everything(self, watchers: list[WatchClient]) -> None:
        """Also those that were slow."""

        def seen() -> bool:
            return all(
                not any(
                    happened.revision >= watcher.seen.next
                    for happened in reversed(self._cluster.truth.model.events[-50:])
                    if covers(happened.key, watcher.seen.key, watcher.seen.range_end)
                )
                for watcher in watchers
                if watcher.seen.start
            )

        for watcher in watchers:
            # What is slow for ever would have to be waited for: break it off, it resumes at full speed.
            watcher._slow = 0.0
            if watcher.stream is not None and watcher.stream.read_s:
                watcher.stream.end(None)
        await self._cluster.wait_until(seen, CATCH_UP_TICKS_MAX, "every watcher has seen everything")

    def compare(self) -> None:
        """All members hold the same, and it is what the model holds."""
        truth = self._cluster.truth
        expected = _everything(self._cluster)
        first: SimMember | None = None
        for member in self._cluster.up():
            if member.id in truth.removed or member.server.applied_index != len(truth.log):
                continue
            truth.compare_hash(member)
            if _held(member) != expected:
                raise Broken("state machine safety", f"{member.name} holds other keys than the committed log gives")
            if sorted(lease.id for lease in member.server.lessor.leases()) != sorted(truth.model.leases):
                raise Broken("leases", f"{member.name} has other leases than the committed log gives")
            first = first or member
            if _cluster_data(member) != _cluster_data(first):
                raise Broken("state machine safety", f"{member.name} and {first.name} differ about the cluster")
            voters = {one.id for one in member.server.members.members() if not one.is_learner}
            if voters != set(member.server._core.conf_state.voters):
                raise Broken("state machine safety", f"{member.name} counts others than it shows as its voters")

    async def survive(self) -> None:
        """All members but one are lost for good; that one begins a new cluster, with everything."""
        cluster = self._cluster
        voters = cluster.voters()
        survivors = [member for member in cluster.up() if member.id in voters]
        if not survivors:
            return
        survivor = random.Random(f"{cluster.seed}/survivor").choice(survivors)
        # What only the others have is lost with them, and leaders go on compacting: nobody can keep that promise.
        await cluster.wait_until(
            lambda: survivor.server.applied_index == len(cluster.truth.log),
            CATCH_UP_TICKS_MAX,
            f"{survivor.name} has applied everything",
        )
        before = _everything(cluster)
        for member in cluster.up():
            if member is not survivor:
                member.crash("nothing")
        await survivor.stop()
        survivor.force_new_cluster = True
        survivor.start()
        if not survivor.serves or _held(survivor) != before:
            raise Broken("durability", f"{survivor.name} does not have everything after --force-new-cluster")
        await cluster.wait_until(lambda: survivor.server.is_leader, _FORCED_TICKS_MAX, "the survivor leads")
        if not await self._writes(survivor):
            raise Broken("liveness", f"{survivor.name} takes no write after --force-new-cluster")
        left = [MemberID(member.id) for member in survivor.server.members.members()]
        if left != [survivor.id]:
            raise Broken("state machine safety", f"{survivor.name} has other members after --force-new-cluster: {left}")
        cluster.counts["new clusters forced"] += 1


def _everything(cluster: SimCluster) -> bytes:
    model = cluster.truth.model
    return model.range(pb.RangeRequest(key=b"\0", range_end=b"\0"), model.revision).SerializeToString(
        deterministic=True
    )


def _held(member: SimMember) -> bytes:
    found = member.server.state.mvcc.range(b"\0", b"\0")
    answer = pb.RangeResponse(count=found.count)
    for kv in found.kvs:
        answer.kvs.add().ParseFromString(kv)
    return answer.SerializeToString(deterministic=True)


def _cluster_data(member: SimMember) -> object:
    server = member.server
    applier = server.applier
    members = sorted(
        (one.id, tuple(one.peer_urls), one.name, tuple(one.client_urls), one.is_learner)
        for one in server.members.members()
    )
    return members, applier.alarms.raised(), applier.cluster_version, applier.downgrade_target
