"""One running member: every part made and wired, and the face it shows to the API (`ServerPort`) and to its peers.

Order of life: lock the data directory, find out what to start from, recover the state, listen for peers, start raft.
Stopping goes the other way, and leaves everything on disk.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

from etcdops.clock import Clock
from etcdops.ids import LeaseID, LogIndex, MemberID, Term
from etcdops.node.api.errors import REQUEST_TOO_LARGE, STOPPED, TOO_MANY_REQUESTS, EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.api.services import EtcdServices
from etcdops.node.apply.compactor import ROWS_PER_STEP
from etcdops.node.apply.outcome import Applied, Outcome
from etcdops.node.apply.request_id import RequestIDs
from etcdops.node.config import Config
from etcdops.node.init_daemon import announce_ready
from etcdops.node.lease.expiry import INTERVAL_S as LEASE_LOOK_S
from etcdops.node.peer.remote import fetch_versions
from etcdops.node.peer.status import PeerStats
from etcdops.node.raft.types import ConfChange, Role, Snapshot, SoftState
from etcdops.node.server.background import Background
from etcdops.node.server.bootstrap import Boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.derived import api_limits, auto_compactor, raft_core
from etcdops.node.server.driver import Driver
from etcdops.node.server.ending import Ending, failure
from etcdops.node.server.hand_over import hand_over
from etcdops.node.server.head_start import HeadStart
from etcdops.node.server.heartbeat_watch import HeartbeatWatch
from etcdops.node.server.housekeeping import COMMIT_EVERY_S, COMMIT_STATEMENTS_MAX, Housekeeping
from etcdops.node.server.images import Images
from etcdops.node.server.leader_link import LeaderLink
from etcdops.node.server.log_writer import ThreadedLogWriter
from etcdops.node.server.membership import Changes, ClusterVersion, Publisher
from etcdops.node.server.peers import Peers
from etcdops.node.server.proposals import Proposals
from etcdops.node.server.reads import Reads
from etcdops.node.server.recovered import Recovered
from etcdops.node.server.state_machine import StateMachine
from etcdops.node.server.storage_thread import StorageThread
from etcdops.node.server.timeouts import Timeouts
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.state import StateStore
from etcdops.node.tls.member import MemberTls
from etcdops.node.version import MIN_CLUSTER_VERSION, SERVER_VERSION
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

T = TypeVar("T")

APPLY_GAP_MAX = 5_000
"""Committed entries that may wait to be applied before proposals are refused. Source: etcd's
maxGapBetweenApplyAndCommitIndex.
"""

WAITING_MAX = 20_000
"""Proposals under way at once: what a client sends beyond that is refused, so memory stays bounded without a leader."""

WAITING_BYTES_MAX = 256 << 20
"""The same in bytes: as many requests of the largest size would be 30 GB."""

REMOVED = "the member has been permanently removed from the cluster"
"""Source: etcd server/etcdserver/errors.go, ErrMemberRemoved."""

_ENVELOPE_BYTES = 24
"""An InternalRaftRequest's own bytes at most: two tags, two lengths, the header with a request ID."""

_STOP_TIMEOUT_S = 5.0


class Server:
    """See the module. Made by `create`, then `start`, `wait_ended`, `stop`."""

    def __init__(
        self, config: Config, directory: DataDir, boot: Boot, clock: Clock, tls: MemberTls | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._config = config
        self._directory = directory
        self._boot = boot
        self._tls = tls or MemberTls()
        self.clock = clock
        self.version = SERVER_VERSION
        self.member_id = boot.member_id
        self.cluster_id = boot.cluster_id
        self.metrics = NodeMetrics()
        self.request_ids = RequestIDs(boot.member_id, clock)
        self.limits = api_limits(config)
        self._ended: asyncio.Future[Ending] = loop.create_future()
        self._background = Background(loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self._tick_timer: asyncio.TimerHandle | None = None
        self._next_lease_look = 0.0
        self._head_start = HeadStart(config.election_ticks, clock.monotonic(), config.initial_election_tick_advance)

        recovered = Recovered(
            boot.state,
            boot.cluster_id,
            clock=clock,
            metrics=self.metrics,
            quota_bytes=config.quota_backend_bytes,
            call_soon=lambda callback: loop.call_soon(self._watched, callback),
            call_later=loop.call_later,
            storage_failed=self.failed,
        )
        self._recovered = recovered
        self.applier, self.lessor = recovered.applier, recovered.lessor
        self.hub, self.members = recovered.hub, recovered.members
        recovered.applier.compactor.rows_per_step = config.compaction_batch_limit or ROWS_PER_STEP
        recovered.applier.compactor.pause_s = config.compaction_sleep_interval_s
        recovered.applier.slow_after_s = config.warning_apply_duration_s

        self._core = raft_core(config, boot, random.Random())
        self._thread = StorageThread(loop, self.failed)
        self._leader_link = LeaderLink(self, self._tls.dial)
        self.services = EtcdServices(self)
        self._peers = Peers(
            member_id=boot.member_id,
            cluster_id=boot.cluster_id,
            advertised_urls=config.initial_advertise_peer_urls,
            members=self.members,
            applier=self.applier,
            snapshot_dir=directory.snapshots,
            routes=self.services.peer_routes,
            clock=clock,
            dial_timeout_s=1.0 + config.election_timeout_ms / 1000,
            saved_images=self.metrics.saved_images,
            removed=self._removed,
            call_later=loop.call_later,
            tls=self._tls,
        )
        writer = ThreadedLogWriter(
            boot.raft_log, self._thread, self.metrics, self._peers.received_image, sync=not config.unsafe_no_fsync
        )
        self._images = Images(
            state=lambda: self.state,
            memory=boot.memory,
            writer=writer,
            sender=self._peers.transport,
            directory=directory,
            metrics=self.metrics,
            run_in_background=self.run_in_background,
            report_failed=self._image_failed,
            storage_failed=self.failed,
            monotonic=clock.monotonic,
            snapshot_count=config.snapshot_count,
            catchup_entries=config.snapshot_catchup_entries,
        )
        self._machine = StateMachine(
            self.applier,
            self,
            applied_index=self.state.consistent_index,
            applied_term=self.state.consistent_term,
            put_in_force=self._core.apply_conf_change,
            is_leading=lambda: self.is_leader,
            keep_conf_state=lambda conf_state: self.state.keep_conf_state(conf_state),
            load_snapshot=self._load_snapshot,
        )
        self._driver = Driver(
            core=self._core,
            memory=boot.memory,
            writer=writer,
            network=self._peers,
            machine=self._machine,
            listener=self,
            proposals=Proposals(self.request_ids.next, config.request_timeout_s),
            reads=Reads(self._core.read_index, self.request_ids.next, config.request_timeout_s),
            scheduler=loop,
            clock=clock,
            metrics=self.metrics,
            heartbeats=HeartbeatWatch(config.heartbeat_interval_ms / 1000, self.metrics),
            failed=self.failed,
        )
        self._peers.serve(self._driver, self._images)
        self._changes = Changes(self._driver, self.request_ids.next, config.request_timeout_s)
        self._publisher = Publisher(
            self.propose,
            self.member_id,
            config.name,
            config.advertise_client_urls,
            lambda: announce_ready(config.listen_client_urls),
        )
        self._cluster_version = ClusterVersion(self.propose, lambda: self.applier.cluster_version)
        self._timeouts = Timeouts(self, config.election_timeout_ms / 1000, clock.monotonic)
        self._housekeeping = Housekeeping(
            store=lambda: self.state,
            propose=self.propose,
            revision=lambda: self.state.mvcc.revision,
            is_leading=lambda: self.is_leader,
            ask_versions=lambda: self._spawn(self._decide_cluster_version()),
            cluster_version_known=lambda: bool(self.applier.cluster_version),
            compactor=auto_compactor(config, clock.monotonic()),
            storage_failed=self.failed,
            metrics=self.metrics,
            monotonic=clock.monotonic,
            commit_every_s=config.backend_batch_interval_s or COMMIT_EVERY_S,
            commit_statements_max=config.backend_batch_limit or COMMIT_STATEMENTS_MAX,
        )

    # Life.

    async def start(self) -> None:
        """Listen for peers and start raft. Raises: StartRefused when an address cannot be listened on."""
        boot = self._boot
        await self._peers.start(self._config.listen_peer_urls, boot.first_members, boot.known_members)
        for url in self._config.listen_peer_urls:
            log.info("serving peer traffic", extra=fields(address=url.partition("://")[2]))
        self._driver.wake()
        self._schedule_tick(self._loop.time())

    async def wait_ended(self) -> Ending:
        """Until the member stops by itself: removed from the cluster, or unable to go on."""
        return await asyncio.shield(self._ended)

    @property
    def ending(self) -> Ending | None:
        """Why the member stopped by itself; None when it did not."""
        return self._ended.result() if self._ended.done() else None

    @property
    def data_dir(self) -> str:
        """Where its data is."""
        return str(self._directory.root)

    async def stop(self) -> None:
        """Hand the leadership over if there is somebody to take it, then close everything; all data is on disk."""
        if self.ending is None:
            longest_connected = self._peers.longest_connected_voter
            await hand_over(self, longest_connected, timeout_s=self.limits.election_timeout_s)
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        self._driver.stop()
        self._changes.fail_all(STOPPED)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._leader_link.close()
        await self._peers.transport.stop()
        written = self._thread.stop(_STOP_TIMEOUT_S)
        self._background.stop()
        self.applier.compactor.stop()
        if self.ending is not None and self.ending.error is not None:
            # What the disk refused may not be written again: the raft log has it.
            self.state.abandon()
        else:
            self.state.close()
        if written:
            self._boot.raft_log.close()
        self._directory.close()

    def _removed(self) -> None:
        self._end(Ending(REMOVED))

    def failed(self, error: BaseException) -> None:
        """The disk, the raft log or our own code failed: nothing may be acknowledged any more."""
        if not self._ended.done():
            self._end(failure(error, self.member_id, self._directory.root))

    def _end(self, ending: Ending) -> None:
        if not self._ended.done():
            if ending.error is not None:
                self.state.seal()
            self._driver.stop()
            self._ended.set_result(ending)

    # The clock.

    def _schedule_tick(self, last: float) -> None:
        # From the last tick, not from now: a busy loop does not slow the clock; but ticks that were missed are lost.
        following = max(last + self._config.heartbeat_interval_ms / 1000, self._loop.time())
        self._tick_timer = self._loop.call_at(following, self._tick, following)

    def _tick(self, at: float) -> None:
        self._schedule_tick(at)
        self._watched(self._do_what_is_due)

    def _watched(self, work: Callable[[], None]) -> None:
        """Do what reads or writes the store by itself: nobody else would notice that the disk failed it."""
        try:
            work()
        except StorageFailed as error:
            self.failed(error)

    def _do_what_is_due(self) -> None:
        now = self.clock.monotonic()
        for _ in range(
            1 + self._head_start.ticks(now, len(self.members.members()), self._peers.transport.active_peers())
        ):
            self._driver.tick()
        self._driver.proposals.expire(now, self._timeouts.reason)
        self._driver.reads.tick(now)
        self._changes.tick(now)
        self._publisher.tick(now, self.leader != 0)
        self._housekeeping.tick(now)
        if now >= self._next_lease_look:
            self._next_lease_look = now + LEASE_LOOK_S
            self.services.lease_expiry.tick()
        self._images.after_apply(self._machine.applied_index, self._machine.applied_term, self._core.conf_state)
        metrics, driver = self.metrics, self._driver
        metrics.proposals_pending, metrics.proposals_failed = len(driver.proposals), driver.proposals.failed
        metrics.slow_read_indexes, metrics.read_indexes_failed = driver.reads.slow, driver.reads.failed

    # ServerPort: what the API sees.

    @property
    def state(self) -> StateStore:
        return self._recovered.state

    @property
    def term(self) -> Term:
        return self._core.term

    @property
    def leader(self) -> MemberID:
        return self._core.leader

    @property
    def is_leader(self) -> bool:
        return self._core.role is Role.LEADER

    @property
    def is_learner(self) -> bool:
        return self._core.is_learner

    @property
    def commit_index(self) -> LogIndex:
        return self._core.commit_index

    @property
    def applied_index(self) -> LogIndex:
        return self._machine.applied_index

    def propose(self, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False) -> None:
        """See ServerPort.propose."""
        proposals = self._driver.proposals
        if (
            self._core.commit_index - self._machine.applied_index > APPLY_GAP_MAX
            or len(proposals) >= WAITING_MAX
            or proposals.waiting_bytes >= WAITING_BYTES_MAX
        ):
            done(Outcome(error=TOO_MANY_REQUESTS))
            return
        if len(request) + _ENVELOPE_BYTES > self.limits.max_request_bytes:
            done(Outcome(error=REQUEST_TOO_LARGE))
            return
        proposals.add(field, request, self.clock.monotonic(), done, term=self._core.term if as_leader else None)
        self._driver.wake()

    def linearize(self, done: Callable[[EtcdError | None], None]) -> None:
        """See ServerPort.linearize."""
        self._driver.reads.add(self.clock.monotonic(), done)
        self._driver.wake()

    def configure(self, change: ConfChange, done: Callable[[EtcdError | None], None]) -> None:
        """See ServerPort.configure."""
        self._changes.configure(change, self.clock.monotonic(), done)

    def transfer_leader(self, target: MemberID, done: Callable[[EtcdError | None], None]) -> None:
        """See ServerPort.transfer_leader."""
        self._changes.transfer(target, self.clock.monotonic(), done)

    def peer_active_since(self, member: MemberID) -> float | None:
        """See ServerPort.peer_active_since."""
        return self._peers.transport.active_since(member)

    def peer_stats(self) -> Mapping[MemberID, PeerStats]:
        """See ServerPort.peer_stats."""
        return self._peers.transport.stats()

    def learner_progress(self, member: MemberID) -> tuple[LogIndex, LogIndex] | None:
        """See ServerPort.learner_progress."""
        progress = self._core.status().progress
        if not self.is_leader or member not in progress or self.member_id not in progress:
            return None
        return progress[member].match, progress[self.member_id].match

    def voter_ids(self) -> list[MemberID]:
        """Of the members as they are now."""
        return [member.id for member in self.members.voters()]

    def leader_peer_urls(self) -> tuple[str, ...]:
        """Where to ask the leader; empty while there is none or we are it."""
        leader = self.members.get(self.leader)
        return leader.peer_urls if leader is not None and leader.id != self.member_id else ()

    def forward_lease_renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        """See ServerPort.forward_lease_renew."""
        self._spawn(self._leader_link.renew(lease, done))

    def forward_lease_time_to_live(self, request: bytes, done: Callable[[bytes, EtcdError | None], None]) -> None:
        """See ServerPort.forward_lease_time_to_live."""
        self._spawn(self._leader_link.time_to_live(request, done))

    def forward_promote(
        self, member: MemberID, metadata: Mapping[str, str | bytes], done: Callable[[EtcdError | None], None]
    ) -> None:
        """See ServerPort.forward_promote."""
        self._spawn(self._leader_link.promote(member, metadata, done))

    def run_in_background(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """See ServerPort.run_in_background."""
        self._background.run(work, done)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """See ServerPort.call_later."""
        return self._loop.call_later(delay_s, callback)

    def call_soon(self, callback: Callable[[], None]) -> object:
        """See ServerPort.call_soon."""
        return self._loop.call_soon(callback)

    # Network, Listener, Waiters: what the driver and the state machine say.

    def leadership_changed(self, before: SoftState, now: SoftState) -> None:
        """See driver.Listener."""
        if now.leader not in (before.leader, 0):
            self._timeouts.leader_elected()
        if now.role is not Role.LEADER and self.lessor.is_primary:
            # Also after a leadership so short that no Ready showed it.
            self.lessor.demote()

    def request_applied(self, applied: Applied) -> None:
        """See state_machine.Waiters."""
        self._driver.proposals.resolve(applied.request_id, applied.outcome)

    def term_began(self) -> None:
        """See state_machine.Waiters. Source: etcd server/etcdserver/server.go, applyEntryNormal (lessor.Promote)."""
        self.lessor.promote(self.limits.election_timeout_s)

    def change_applied(self, request_id: int, change: ConfChange, error: EtcdError | None) -> None:
        """See state_machine.Waiters."""
        if error is None:
            self._peers.follow(change)
        self._changes.applied(request_id, error)

    def state_replaced(self) -> None:
        """See state_machine.Waiters."""
        self._peers.follow_registry()

    # Parts.

    def _image_failed(self, member: MemberID) -> None:
        # In a later turn: the core must not hear of it while it hands the SNAP message out.
        self._loop.call_soon(self._driver.report_snapshot, member, False)

    def _load_snapshot(self, snapshot: Snapshot, done: Callable[[], None]) -> None:
        metadata = snapshot.metadata
        self.metrics.snapshot_applying = True
        log.info("applying snapshot", extra=fields(incoming_leader_snapshot_index=int(metadata.index)))

        def replace() -> None:
            try:
                self._recovered.replace(self._peers.received_image(metadata.index))
                self.state.keep_conf_state(metadata.conf_state)
                self.metrics.snapshot_applying = False
                done()
            except Exception as error:  # noqa: BLE001 - there is no state to go on with
                self.failed(error)

        # Whoever still reads the old store from another thread must finish first.
        self._background.when_quiet(replace)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # What it was to do for somebody will not be done, and nobody else would say so.
            self.failed(error)

    async def _decide_cluster_version(self) -> None:
        others = [member for member in self.members.members() if member.id != self.member_id]
        timeout_s, tls = self.limits.election_timeout_s, self._tls.dial
        answers = await fetch_versions(others, timeout_s=timeout_s, tls=tls) if others else {}
        versions: list[str | None] = [self.version]
        versions += [answer.server if answer is not None else None for answer in answers.values()]
        if self.is_leader:
            self._cluster_version.decide(versions, MIN_CLUSTER_VERSION)
