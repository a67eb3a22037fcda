"""Members of the driver's size, without sockets, threads or a clock of their own.

Everything above and below the driver is real (core, memory log, applier, store in a folder, codec); disk, network, loop
and time are the test's: saves complete when it says so, messages arrive when it ticks.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from etcdops import ids
from etcdops.clock import ManualClock
from etcdops.ids import ClusterID, LogIndex, MemberID
from etcdops.node.api.errors import TIMEOUT, EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply.outcome import Applied, Outcome
from etcdops.node.apply.request_id import RequestIDs
from etcdops.node.apply.wire import FIELD_PUT
from etcdops.node.member.member import Member, members_json
from etcdops.node.peer.codec import encode_conf_change
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Entry,
    HardState,
    Message,
    Role,
    Snapshot,
    SnapshotMetadata,
    SoftState,
)
from etcdops.node.server.bootstrap import FIRST_TERM, first_entries
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.driver import Driver
from etcdops.node.server.heartbeat_watch import HeartbeatWatch
from etcdops.node.server.images import Images
from etcdops.node.server.proposals import Proposals
from etcdops.node.server.reads import Reads
from etcdops.node.server.recovered import Recovered
from etcdops.node.server.state_machine import StateMachine
from etcdops.node.storage.state import StateStore
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.fakes.network import Network

T = TypeVar("T")

TICK_S = 0.1
TIMEOUT_S = 7.0
CLUSTER = ClusterID(1)


class Turns:
    """The loop: `Scheduler`, and the timers nobody waits for here."""

    def __init__(self) -> None:
        self._due: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> object:
        self._due.append(callback)
        return None

    def run(self) -> bool:
        """Run what is due now, not what that adds. Whether there was anything."""
        due, self._due = self._due, deque()
        for callback in due:
            callback()
        return bool(due)


@dataclass
class Save:
    """One write of the raft log that the disk has not confirmed yet."""

    hard_state: HardState | None
    entries: tuple[Entry, ...]
    finish: Callable[[], None]
    snapshot: Snapshot | None = None


class HeldWriter:
    """LogWriter and LogCutter. `disk` has what was completed: all that a crash leaves."""

    def __init__(self, disk: MemoryLog) -> None:
        self.disk = disk
        self.held = False
        """While True saves wait for `complete`."""
        self.waiting: deque[Save] = deque()
        self.batches: list[int] = []
        """Entries of every append so far."""
        self.cuts: list[LogIndex] = []

    def append(self, hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]) -> None:
        self.batches.append(len(entries))

        def finish() -> None:
            if hard_state is not None:
                self.disk.set_hard_state(hard_state)
            self.disk.append(entries)
            done()

        self.waiting.append(Save(hard_state, entries, finish))

    def install(self, snapshot: Snapshot, hard_state: HardState, done: Callable[[], None]) -> None:
        def finish() -> None:
            self.disk.apply_snapshot(snapshot)
            self.disk.set_hard_state(hard_state)
            done()

        self.waiting.append(Save(hard_state, (), finish, snapshot))

    def record_snapshot(self, metadata: SnapshotMetadata, keep_after: LogIndex, done: Callable[[], None]) -> None:
        def finish() -> None:
            self.cuts.append(keep_after)
            self.disk.create_snapshot(metadata.index, metadata.conf_state)
            if keep_after >= self.disk.first_index():
                self.disk.compact(keep_after)
            done()

        self.waiting.append(Save(None, (), finish))

    def complete(self) -> None:
        """The oldest save is on disk."""
        self.waiting.popleft().finish()


class HeldBackground:
    """ServerPort.run_in_background. Work runs when the world settles, or when the test says so."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: deque[Callable[[], None]] = deque()

    def run(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        def job() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  # handed on, as a thread pool does
                done(None, error)
            else:
                done(result, None)

        self.waiting.append(job)

    def complete(self) -> None:
        self.waiting.popleft()()


@dataclass
class Answers:
    """What one caller was told. More than one answer is a failure of any test."""

    outcomes: list[Outcome] = field(default_factory=list)

    def __call__(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        assert len(self.outcomes) == 1, f"answered twice: {self.outcomes}"

    @property
    def answered(self) -> bool:
        return bool(self.outcomes)

    @property
    def revision(self) -> int:
        (outcome,) = self.outcomes
        assert outcome.error is None, outcome.error
        return outcome.revision

    @property
    def error(self) -> EtcdError | None:
        (outcome,) = self.outcomes
        return outcome.error


class DrivenMember:
    """One member. `crash` takes its memory; `start` goes on from what its disk has."""

    def __init__(
        self, world: World, member_id: MemberID, disk: MemoryLog, *, snapshot_count: int, catchup_entries: int
    ) -> None:
        self.world = world
        self.id = member_id
        self.turns = world.turns
        self.directory = DataDir.open(world.folder / f"{member_id:x}")
        self.request_ids = RequestIDs(member_id, world.clock)
        self.failures: list[Exception] = []
        self.storage_failures: list[BaseException] = []
        self.changes: list[tuple[int, EtcdError | None]] = []
        self.roles: list[SoftState] = []
        self.terms_began = self.states_replaced = 0
        self.running = False
        self._snapshot_count = snapshot_count
        self._catchup_entries = catchup_entries
        self._disk = disk
        StateStore.open(self.directory.state, create=True).close()
        self.start()

    def start(self) -> None:
        """Start from what the disk has."""
        assert not self.running
        world = self.world
        self.metrics = NodeMetrics()
        self.writer = HeldWriter(self._disk)
        self.background = HeldBackground()
        state = StateStore.open(self.directory.state, create=False)
        self.recovered = Recovered(
            state,
            CLUSTER,
            clock=world.clock,
            metrics=self.metrics,
            quota_bytes=0,
            call_soon=self.turns.call_soon,
            call_later=_no_timers,
            storage_failed=self.storage_failures.append,
        )
        hard_state, conf_state = self._disk.initial_state()
        self.memory = MemoryLog(
            hard_state=hard_state._replace(commit=max(hard_state.commit, state.consistent_index)),
            snapshot=self._disk.snapshot(),
            entries=_entries_of(self._disk),
            conf_state=state.conf_state or conf_state,
        )
        config = RaftConfig(id=self.id, applied=state.consistent_index, step_down_on_removal=False)  # as derived.py
        self.core = RaftCore(config, self.memory, random.Random(world.seed ^ self.id))
        self.transport = world.network.join(self.id, self, self.directory.snapshots)
        for member in world.ids:
            if member != self.id:
                self.transport.add_peer(member, ())
        self.machine = StateMachine(
            self.recovered.applier,
            self,
            applied_index=state.consistent_index,
            applied_term=state.consistent_term,
            put_in_force=self.core.apply_conf_change,
            is_leading=lambda: self.core.role is Role.LEADER,
            keep_conf_state=lambda conf_state: self.state.keep_conf_state(conf_state),
            load_snapshot=self._load_snapshot,
        )
        self.driver = Driver(
            core=self.core,
            memory=self.memory,
            writer=self.writer,
            network=self,
            machine=self.machine,
            listener=self,
            proposals=Proposals(self.request_ids.next, TIMEOUT_S),
            reads=Reads(self.core.read_index, self.request_ids.next, TIMEOUT_S),
            scheduler=self.turns,
            clock=world.clock,
            metrics=self.metrics,
            heartbeats=HeartbeatWatch(TICK_S, self.metrics),
            failed=self.failures.append,
        )
        self.images = Images(
            state=lambda: self.state,
            memory=self.memory,
            writer=self.writer,
            sender=self.transport,
            directory=self.directory,
            metrics=self.metrics,
            run_in_background=self.background.run,
            report_failed=self._image_failed,
            storage_failed=self.storage_failures.append,
            monotonic=world.clock.monotonic,
            snapshot_count=self._snapshot_count,
            catchup_entries=self._catchup_entries,
        )
        self.running = True
        self.driver.wake()

    def crash(self) -> None:
        """Power and memory are gone; what was not completed never happened."""
        self.running = False
        self.world.network.leave(self.id)
        self.driver.stop()
        self.state.abandon()

    def tick(self) -> None:
        """As Server does it every heartbeat interval."""
        now = self.world.clock.monotonic()
        self.driver.tick()
        self.driver.proposals.expire(now, lambda started: TIMEOUT)
        self.driver.reads.tick(now)
        self.images.after_apply(self.machine.applied_index, self.machine.applied_term, self.core.conf_state)

    def settle(self) -> bool:
        """Complete what is not held. Whether anything happened."""
        happened = False
        while self.writer.waiting and not self.writer.held:
            self.writer.complete()
            happened = True
        while self.background.waiting and not self.background.held:
            self.background.complete()
            happened = True
        return happened

    # What a client does.

    def propose(self, number: int, request: bytes) -> Answers:
        answers = Answers()
        self.driver.proposals.add(number, request, self.world.clock.monotonic(), answers)
        self.driver.wake()
        return answers

    def put(self, key: str, value: str = "") -> Answers:
        request = pb.PutRequest(key=key.encode(), value=value.encode())
        return self.propose(FIELD_PUT, request.SerializeToString())

    def read(self) -> Answers:
        """A linearizable read: answered without an error once it may look at this member's store."""
        answers = Answers()
        self.driver.reads.add(self.world.clock.monotonic(), lambda error: answers(Outcome(error=error)))
        self.driver.wake()
        return answers

    def change(self, kind: ConfChangeType, member: MemberID, context: bytes = b"") -> bool:
        change = ConfChange((ConfChangeSingle(kind, member),), context=context)
        return self.driver.propose_conf_change(encode_conf_change(self.request_ids.next(), change), change)

    # What a test looks at.

    @property
    def state(self) -> StateStore:
        return self.recovered.state

    @property
    def is_leader(self) -> bool:
        return self.core.role is Role.LEADER

    def live_keys(self) -> list[str]:
        return [mvccpb.KeyValue.FromString(stored).key.decode() for stored in self.state.mvcc.range(b"\0", b"\0").kvs]

    def hash(self) -> int:
        return self.state.mvcc.hash_kv().hash

    # Network: what the driver sends with.

    def send(self, messages: Iterable[Message]) -> None:
        self.transport.send(messages)

    def send_snapshot(self, message: Message) -> None:
        self.images.send(message)

    # PeerHandler: what the network brings.

    def process(self, message: Message) -> None:
        self.driver.process(message)

    def report_unreachable(self, member: MemberID) -> None:
        self.driver.report_unreachable(member)

    def report_snapshot(self, member: MemberID, ok: bool) -> None:
        self.images.sent(member, ok)
        self.driver.report_snapshot(member, ok)

    def is_removed(self, member: MemberID) -> bool:
        return self.recovered.members.is_removed(member)

    def removed_from_cluster(self) -> None:
        self.failures.append(RuntimeError("told of its removal"))

    def members_json(self) -> bytes:
        return members_json(self.recovered.members.members())

    def version_json(self) -> bytes:
        return b"{}"

    # Listener and Waiters.

    def leadership_changed(self, before: SoftState, now: SoftState) -> None:
        self.roles.append(now)

    def request_applied(self, applied: Applied) -> None:
        self.driver.proposals.resolve(applied.request_id, applied.outcome)

    def term_began(self) -> None:
        self.terms_began += 1

    def change_applied(self, request_id: int, change: ConfChange, error: EtcdError | None) -> None:
        self.changes.append((request_id, error))

    def state_replaced(self) -> None:
        self.states_replaced += 1

    def _image_failed(self, member: MemberID) -> None:
        self.turns.call_soon(lambda: self.driver.report_snapshot(member, False))

    def _load_snapshot(self, snapshot: Snapshot, done: Callable[[], None]) -> None:
        self.recovered.replace(received_path(self.directory.snapshots, snapshot.metadata.index))
        self.state.keep_conf_state(snapshot.metadata.conf_state)
        done()


class World:
    """A cluster of some members, all of them new."""

    def __init__(
        self,
        folder: Path,
        size: int = 3,
        *,
        seed: int = 1,
        snapshot_count: int = 10_000,
        catchup_entries: int = 5_000,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.clock = ManualClock()
        self.network = Network(random.Random(seed), clock=self.clock, tick_s=TICK_S)
        self.turns = Turns()
        first = [_member(number) for number in range(size)]
        self.ids = [member.id for member in first]
        self.members: list[DrivenMember] = []
        for member_id in self.ids:
            entries = first_entries(first)
            disk = MemoryLog(hard_state=HardState(FIRST_TERM, commit=LogIndex(len(entries))), entries=entries)
            self.members.append(
                DrivenMember(self, member_id, disk, snapshot_count=snapshot_count, catchup_entries=catchup_entries)
            )
        self.settle()

    def close(self) -> None:
        for member in self.members:
            if member.running:
                member.crash()

    def settle(self) -> None:
        """Run the loop until nothing happens without time or the network."""
        happened = True
        while happened:
            happened = self.turns.run()
            for member in self.members:
                happened |= member.running and member.settle()

    def tick(self, count: int = 1) -> None:
        """Some heartbeat intervals: messages arrive, members tick."""
        for _ in range(count):
            self.network.tick()
            self.settle()
            for member in self.members:
                if member.running:
                    member.tick()
            self.settle()

    def tick_until(self, condition: Callable[[], object], ticks_max: int = 300) -> None:
        """Tick until `condition()`; a test fails that waits for longer."""
        for _ in range(ticks_max):
            if condition():
                return
            self.tick()
        assert condition(), f"not within {ticks_max} ticks"

    def elect(self) -> DrivenMember:
        """Tick until the running members agree on a leader that has committed in its term."""
        running = [member for member in self.members if member.running]

        def agreed() -> bool:
            leaders = {member.core.leader for member in running}
            return len(leaders) == 1 and any(member.is_leader and member.terms_began for member in running)

        self.tick_until(agreed)
        return next(member for member in running if member.is_leader)

    def followers(self) -> list[DrivenMember]:
        return [member for member in self.members if member.running and not member.is_leader]

    def wait_equal(self) -> None:
        """Tick until all running members have applied everything, and see that it is the same."""
        self.settle()
        running = [member for member in self.members if member.running]

        def done() -> bool:
            return len({index for one in running for index in (one.machine.applied_index, one.core.last_index)}) == 1

        self.tick_until(done)
        assert len({member.hash() for member in running}) == 1
        assert len({member.members_json() for member in running}) == 1


def _member(number: int) -> Member:
    url = f"http://127.0.0.1:{2380 + number}"
    return Member(ids.member_id([url], "etcd-cluster"), (url,), f"m{number + 1}")


def new_member(number: int) -> Member:
    """Somebody who is not in the cluster."""
    return _member(100 + number)


def _entries_of(log: MemoryLog) -> list[Entry]:
    return log.entries(log.first_index(), LogIndex(log.last_index() + 1), size_max_bytes=1 << 62)


def _no_timers(delay_s: float, callback: Callable[[], None]) -> _Timer:
    return _Timer()


class _Timer:
    def cancel(self) -> None:
        """Nothing was started."""
