"""The Ready loop: raft's core on one side; disk, network and state machine on the other.

Everything here runs on the event loop. What arrives in one turn of the loop (messages, proposals, reads, a tick) is
handed to the core, and then one Ready is taken out for all of it: that is where proposals become a batch and fsyncs are
shared. The raft log is written by the storage thread meanwhile, at most one Ready at a time.

Time comes from `Scheduler` and `Clock`, writes go through `LogWriter`, messages through `Network`: a simulator supplies
all four.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, Protocol

from etcdops.clock import Clock
from etcdops.ids import LogIndex, MemberID
from etcdops.node.api.errors import STOPPED
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.errors import ProposalDropped
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.types import (
    ConfChange,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Ready,
    Role,
    Snapshot,
    SoftState,
)
from etcdops.node.server.heartbeat_watch import HeartbeatWatch
from etcdops.node.server.proposals import Proposals
from etcdops.node.server.reads import Reads

log = logging.getLogger(__name__)

P = ParamSpec("P")

READYS_PER_TURN = 4
"""A member that applies a long backlog (after a restart, or after being away) lets others run in between: each Ready
hands out a bounded amount, see derived.COMMITTED_BYTES_PER_READY_MAX.
"""


class Scheduler(Protocol):
    """The part of an event loop that the driver uses."""

    def call_soon(self, callback: Callable[[], None]) -> object: ...


class LogWriter(Protocol):
    """Durable writes of the raft log, in order, off the loop; each `done` comes back on the loop."""

    def append(self, hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]) -> None: ...

    def install(self, snapshot: Snapshot, hard_state: HardState, done: Callable[[], None]) -> None:
        """Check the received database image, then let the log start over at `snapshot`."""


class Network(Protocol):
    """Sends messages and forgets them."""

    def send(self, messages: Iterable[Message]) -> None: ...

    def send_snapshot(self, message: Message) -> None:
        """Send a SNAP message with an image of the database as it is now, or report that it failed."""


class Machine(Protocol):
    """The state machine: what committed entries are applied to."""

    applied_index: LogIndex

    def apply(self, entries: tuple[Entry, ...]) -> None: ...

    def install(self, snapshot: Snapshot, done: Callable[[], None]) -> None:
        """Become the state of a received snapshot, whose image the log writer has checked; then `done`."""


class Listener(Protocol):
    """Who wants to know about leadership."""

    def leadership_changed(self, before: SoftState, now: SoftState) -> None: ...


class Driver:
    """Owns the core; nobody else calls it. `start` once, then feed it; `stop` ends it."""

    def __init__(
        self,
        *,
        core: RaftCore,
        memory: MemoryLog,
        writer: LogWriter,
        network: Network,
        machine: Machine,
        listener: Listener,
        proposals: Proposals,
        reads: Reads,
        scheduler: Scheduler,
        clock: Clock,
        metrics: NodeMetrics,
        heartbeats: HeartbeatWatch,
        failed: Callable[[Exception], None],
    ) -> None:
        """Args: failed hears, once, why this member cannot go on; the driver has stopped then. A log that contradicts
        the cluster (CoreCorrupt), a disk that does not take what was applied (StorageFailed), or an error of ours."""
        self.core = core
        self._memory = memory
        self._writer = writer
        self._network = network
        self._machine = machine
        self._listener = listener
        self.proposals = proposals
        self.reads = reads
        self._scheduler = scheduler
        self._clock = clock
        self._metrics = metrics
        self._heartbeats = heartbeats
        self._failed = failed
        self._soft_state = SoftState(core.leader, core.role)
        self._stable_index = memory.last_index()
        """The last index known to be on this member's disk."""
        self._stable_commit = memory.initial_state()[0].commit
        """The commit index there."""
        self._turn_scheduled = False
        self._stopped = False

    # What comes in. Each call only notes the input and asks for a turn.

    def wake(self) -> None:
        """Handle what came in, in the next turn of the loop; once stopped, refuse it there."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._scheduler.call_soon(self._turn)

    def process(self, message: Message) -> None:
        """A message from a peer."""
        if not self._stopped:
            self._guard(self.core.step, message)
            self.wake()

    def tick(self) -> None:
        """One heartbeat interval passed."""
        if not self._stopped:
            self._guard(self.core.tick)
            self.wake()

    def propose_conf_change(self, data: bytes, change: ConfChange) -> bool:
        """Propose a change of one member. False: there is no leader to take it, nothing was proposed."""
        if self._stopped:
            return False
        try:
            self.core.propose_conf_change(EntryType.CONF_CHANGE, data, change)
        except ProposalDropped:
            return False
        self.wake()
        return True

    def transfer_leader(self, target: MemberID) -> None:
        """Begin to hand the leadership over; the outcome shows in `core.leader`."""
        if not self._stopped:
            self._guard(self.core.transfer_leader, target)
            self.wake()

    def report_unreachable(self, member: MemberID) -> None:
        """A message to `member` was lost."""
        if not self._stopped:
            self._guard(self.core.report_unreachable, member)
            self.wake()

    def report_snapshot(self, member: MemberID, ok: bool) -> None:
        """The snapshot to `member` arrived, or did not."""
        if not self._stopped:
            self._guard(self.core.report_snapshot, member, ok)
            self.wake()

    def stop(self) -> None:
        """Do nothing any more, and answer everybody who waits."""
        self._stopped = True
        self.proposals.fail_all(STOPPED)
        self.reads.fail_all(STOPPED)

    def _guard(self, work: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """Do what may find out that this member cannot go on: then it must end, not fall silent with half a Ready
        done, and not tell whoever called (a peer's stream, a timer) about it."""
        try:
            work(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next step could be built on sand
            try:
                self.stop()
            finally:
                self._failed(error)

    # What goes out.

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._stopped:
            self.stop()
        else:
            self._guard(self._take_turn)

    def _take_turn(self) -> None:
        self._propose()
        self.reads.start_round(self._clock.monotonic())
        # A Ready that needs no disk is done at once, and doing it may produce the next one.
        for _ in range(READYS_PER_TURN):
            ready = self.core.ready()
            if ready is None or self._stopped:
                return
            self._begin(ready)
        self.wake()

    def _propose(self) -> None:
        if not self.proposals.has_unsent or self.core.leader == 0:
            return
        batch = self.proposals.take_unsent(self.core.term if self.core.role is Role.LEADER else None)
        if not batch:
            return
        try:
            self.core.propose_batch([unsent.data for unsent in batch])
        except ProposalDropped as dropped:
            # During a leader transfer, or with too much uncommitted: nothing was proposed, so trying again is safe.
            log.debug("proposals wait: %s", dropped)
            self.proposals.put_back(batch)

    def _begin(self, ready: Ready) -> None:
        """Everything of `ready` that need not wait for the disk, and the write itself."""
        for note in ready.notes:
            log.log(note.level, note)
        if ready.soft_state is not None and ready.soft_state != self._soft_state:
            before, self._soft_state = self._soft_state, ready.soft_state
            self._leadership(before, ready.soft_state)
        for state in ready.read_states:
            self.reads.confirmed(state.index, state.context, self._machine.applied_index)
        if ready.messages:
            self._send([message for message in ready.messages if message.type is not MessageType.VOTE])
        if ready.snapshot is not None:
            hard_state = ready.hard_state or self._memory.initial_state()[0]
            self._writer.install(ready.snapshot, hard_state, lambda: self._guard(self._installed, ready))
        elif ready.must_sync or self._reconfigures(ready.committed_entries):
            # The commit index rides along, also one that moved in a Ready before: without it a member would not know,
            # after a loss of power, which configuration is in force, and could wait for members that were removed. That
            # is worth a write of its own when the configuration changes: the next entries may be far.
            hard_state = ready.hard_state or self._memory.initial_state()[0]
            self._stable_commit = hard_state.commit
            self._writer.append(hard_state, ready.entries, lambda: self._guard(self._saved, ready))
            # Entries saved earlier are applied while the disk is busy. Not those being saved in the place of others
            # that the disk still has: with their effects in the store, a crash would leave it ahead of its log.
            if ready.committed_entries:
                settled = min(self._stable_index, ready.entries[0].index - 1) if ready.entries else self._stable_index
                self._apply(_before_a_change(ready.committed_entries, settled))
        else:
            # Only the commit index moved: losing it costs a question to the leader, so it waits for the next write.
            self._saved(ready)

    def _reconfigures(self, committed: Sequence[Entry]) -> bool:
        """Whether one of them changes the members, and the disk does not know that it is committed."""
        return any(entry.type is not EntryType.NORMAL and entry.index > self._stable_commit for entry in committed)

    def _installed(self, ready: Ready) -> None:
        assert ready.snapshot is not None
        if self._stopped:
            return
        self._memory.apply_snapshot(ready.snapshot)
        self._stable_index = ready.snapshot.metadata.index
        self._machine.install(ready.snapshot, lambda: self._guard(self._replaced, ready))

    def _replaced(self, ready: Ready) -> None:
        if self._stopped:
            return
        self.reads.applied(self._machine.applied_index)
        if ready.entries:
            # They follow the snapshot and are written like any others, once the log starts there.
            self._writer.append(None, ready.entries, lambda: self._guard(self._saved, ready))
        else:
            self._saved(ready)

    def _saved(self, ready: Ready) -> None:
        if self._stopped:
            return
        if ready.hard_state is not None:
            self._memory.set_hard_state(ready.hard_state)
        if ready.entries:
            self._memory.append(ready.entries)
            self._stable_index = ready.entries[-1].index
        # A candidate that lost its term or its last entries in a crash could ask again in the same term, and take votes
        # that were given for the log it had: what it asks with must be saved. etcd-io/raft leaves that to its caller.
        if ready.messages:
            self._send([message for message in ready.messages if message.type is MessageType.VOTE])
        self._send(ready.messages_after_save)
        if ready.committed_entries:
            applied = self._machine.applied_index
            self._apply(tuple([entry for entry in ready.committed_entries if entry.index > applied]))
        if self._stopped:
            return
        self.core.advance(ready)
        self.wake()

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        if entries:
            self._machine.apply(entries)
            self.reads.applied(self._machine.applied_index)

    def _send(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        for message in messages:
            if message.type is MessageType.SNAP:
                self._network.send_snapshot(message)
            elif message.type is MessageType.HEARTBEAT:
                self._heartbeats.sent(message.to, self._clock.monotonic())
        self._network.send([message for message in messages if message.type is not MessageType.SNAP])

    def _leadership(self, before: SoftState, now: SoftState) -> None:
        self._heartbeats.reset()
        if before.leader != now.leader:
            if now.leader != 0:
                self._metrics.leader_changes_seen += 1
            self.reads.leader_changed()
        self._listener.leadership_changed(before, now)


def _before_a_change(committed: Sequence[Entry], last: int) -> tuple[Entry, ...]:
    """Those up to `last` that come before any change of members.

    A change is applied right before the core is told so (`advance`): until then it takes it for pending and refuses the
    next one, which whoever was answered may send at once.
    """
    found: list[Entry] = []
    for entry in committed:
        if entry.index > last or entry.type is not EntryType.NORMAL:
            break
        found.append(entry)
    return tuple(found)
