"""A whole cluster in one process, from its first start to the moment when everything is healed and compared."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etcdops.ids import MemberID
from etcdops.node.config import Config
from etcdops.node.server.ending import Ending
from tests.model.broken import Broken
from tests.model.history import Call
from tests.model.watched import Watched
from tests.sim.checks import Truth
from tests.sim.disk import Disks
from tests.sim.loop import SimLoop
from tests.sim.member import SimMember
from tests.sim.network import SimNetwork
from tests.sim.plan import HEARTBEAT_MS, Options
from tests.sim.seams import Seams
from tests.sim.trace import Trace

if TYPE_CHECKING:
    from tests.sim.clients import Caller

TICK_S = HEARTBEAT_MS / 1000
MEMBERS_MAX = 7
PROGRESS_S = 0.7
"""How often watchers that want to know are told up to where they have seen everything."""


class SimCluster:
    """Members by number; everything they share."""

    def __init__(self, options: Options, folder: Path, disks: Disks, show: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.seed = options.seed
        self.folder = folder
        self.disks = disks
        self.loop = SimLoop()
        self.trace = Trace(self.loop.time, show)
        self.network = SimNetwork(self.loop, random.Random(f"{self.seed}/network"), self.trace)
        self.network.conditions.delay_s_max = options.delay_s_max
        self.counts: Counter[str] = Counter()
        self.members: list[SimMember] = []
        self.seams = Seams(self)
        self.truth = Truth(self)
        self.calls: list[Call] = []
        """What key and lease clients asked, and what they were told."""
        self.watched: list[Watched] = []
        self.callers: list[Caller] = []
        """Everybody who talks to one member until that fails."""
        self.over: asyncio.Future[None] = self.loop.create_future()
        """Done when faults are over: none begins any more, and those under way end."""
        self.removals = 0
        """How many members somebody has tried to remove; whether one was is known later, if at all."""
        self._first_urls = ""
        self._elected: asyncio.Future[SimMember] = self.loop.create_future()
        self._commits: tuple[SimMember, asyncio.Future[None]] | None = None
        self._image: asyncio.Future[SimMember] = self.loop.create_future()

    def create(self) -> None:
        """The first members, all started."""
        for _ in range(self.options.members):
            self.add_member()
        self._first_urls = ",".join(f"{member.name}={member.url}" for member in self.members)
        for member in self.members:
            member.start()

    def add_member(self) -> SimMember:
        """A machine that was never started."""
        number = len(self.members)
        root = self.folder / f"m{number}"
        member = SimMember(self, number, root, rate=self.options.rates[number])
        self.members.append(member)
        return member

    def config_of(self, member: SimMember) -> Config:
        first = member.number < self.options.members
        flags = member.flags_of or member
        views = [one.server.members for one in self.members if one.serves]
        known = next((view for view in views if view.get(member.id)), views[0] if views else None)
        joining = (
            []
            if known is None
            else [
                f"{member.name if member.url in one.peer_urls else one.name or f'x{one.id:x}'}={url}"
                for one in known.members()
                for url in one.peer_urls
            ]
        )
        return Config(
            name=flags.name,
            data_dir=str(member.root),
            snapshot_count=self.options.snapshot_count,
            snapshot_catchup_entries=self.options.catchup_entries,
            heartbeat_interval_ms=HEARTBEAT_MS,
            election_timeout_ms=self.options.election_ms,
            listen_peer_urls=(flags.url,),
            initial_advertise_peer_urls=(flags.url,),
            advertise_client_urls=(f"http://127.0.0.1:{10000 + flags.number}",),
            initial_cluster=self._first_urls if first else ",".join(joining),
            initial_cluster_state="new" if first else "existing",
            pre_vote=self.options.pre_vote,
            watch_progress_notify_interval_s=PROGRESS_S,
            quota_backend_bytes=self.options.quota_bytes,
            auto_compaction_mode=self.options.auto_compaction[0] or "periodic",
            auto_compaction_retention=self.options.auto_compaction[1] or "0",
            backend_batch_interval_s=self.options.commit_every_s,
            compaction_batch_limit=self.options.compaction_batch,
            force_new_cluster=member.force_new_cluster,
        )

    @property
    def healed(self) -> bool:
        return self.over.done()

    def without_folder(self, text: str) -> str:
        """A text as every run of this seed says it: where the files are is another place each time."""
        return text.replace(f"{self.folder}/", "")

    # Who is who.

    def by_id(self, member_id: MemberID) -> SimMember | None:
        return next((member for member in self.members if member.id == member_id), None)

    def present(self) -> list[SimMember]:
        """Members of the cluster, whether they run or not."""
        return [member for member in self.members if member.state not in ("new", "removed", "refused")]

    def up(self) -> list[SimMember]:
        return [member for member in self.members if member.serves]

    def leader(self) -> SimMember | None:
        """Whoever leads in the highest term."""
        leading = [member for member in self.up() if member.server.is_leader]
        return max(leading, key=lambda member: member.server.term, default=None)

    def elected(self, member: SimMember) -> None:
        """A member became leader."""
        before, self._elected = self._elected, self.loop.create_future()
        before.set_result(member)

    async def next_leader(self, within_s: float) -> SimMember | None:
        """Whoever is elected next, at that very moment, or leads already; None: nobody, or faults are over."""
        leader = self.leader()
        if leader is not None:
            return leader
        elected = self._elected
        await asyncio.wait((elected, self.over), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return elected.result() if elected.done() else None

    def committed(self, member: SimMember) -> None:
        """A member is the first to apply something."""
        if self._commits is not None and self._commits[0] is member:
            before, self._commits = self._commits, None
            before[1].set_result(None)

    async def next_commit(self, member: SimMember, within_s: float) -> None:
        """Until this member is the first to apply something, or faults are over."""
        seen: asyncio.Future[None] = self.loop.create_future()
        self._commits = member, seen
        await asyncio.wait((seen, self.over), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)

    def installs_image(self, member: SimMember) -> None:
        """A member has got an image."""
        before, self._image = self._image, self.loop.create_future()
        before.set_result(member)

    async def next_image(self, within_s: float) -> SimMember | None:
        """Whoever gets an image next, at that very moment; None: nobody, or faults are over."""
        seen = self._image
        await asyncio.wait((seen, self.over), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return seen.result() if seen.done() else None

    def voters(self) -> set[MemberID]:
        """As the most advanced member knows them."""
        newest = max(self.up(), key=lambda member: member.server.applied_index, default=None)
        return set() if newest is None else set(newest.server.voter_ids())

    def member_ended(self, member: SimMember, ending: Ending) -> None:
        """A member stopped by itself: only for what was done to it."""
        if ending.error is None:
            if member.id not in self.truth.removed:
                raise Broken("availability", f"{member.name} thinks that it was removed")
            return
        if member.disk.full or ending.reason in ("the disk is full",):
            return
        error = ending.error
        raise Broken("availability", f"{member.name} ended: {error.message} ({error.cause})")

    # Waiting.

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task; what it raises ends the run."""
        task = self.loop.create_task(work)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.loop.errors.append(error)
                self.loop.stop()

        task.add_done_callback(ended)
        return task

    async def wait_until(self, condition: Callable[[], bool], ticks_max: int, what: str) -> None:
        """Raises: Broken - not within so many ticks."""
        for _ in range(ticks_max):
            if condition():
                return
            await asyncio.sleep(TICK_S)
        if not condition():
            raise Broken("liveness", f"not within {ticks_max} ticks: {what}")

    # The end.

    def heal(self) -> None:
        """No fault is left: every member that has its data runs."""
        if not self.healed:
            self.over.set_result(None)
        self.trace("cluster", "is healed")
        self.network.heal()
        for member in self.members:
            member.disk.full = False
            member.disk.dies_in = None
            member.disk_slow = 1.0
            member.resume()
            if member.state == "down":
                member.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end. Raises: whatever it raises, and what any callback or task raised."""
        loop = self.loop
        self.spawn(work).add_done_callback(lambda _: loop.stop())
        try:
            loop.run_forever()
            if loop.errors:
                error = loop.errors[0]
                raise error if isinstance(error, BaseException) else RuntimeError(error)
        finally:
            for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # the world ends with it
                task.cancel()

    def close(self) -> None:
        """End every life; nothing of this cluster runs again."""
        for member in self.members:
            member.disk.dead = True
            member._close()
        self.loop.close()
