"""A group of members without a network, a disk or a clock: the test moves every message and every tick.

A Member is a core with the smallest driver that keeps the promises of Ready: what is saved survives `restart`, what was
not is lost. A World is the members and the messages between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.errors import ConfChangeRefused
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.types import (
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    Note,
    ReadState,
    Ready,
    Role,
    Snapshot,
    SnapshotMetadata,
)
from tests.node.raft.conf_changes import change_of, decode, encode


class StateLog(MemoryLog):
    """A log whose newest snapshot is always that of the state machine, as with a driver that makes one on demand."""

    state: Snapshot = Snapshot()

    def initial_state(self) -> tuple[HardState, ConfState]:
        """The saved hard state, and the configuration that the state machine is in."""
        return super().initial_state()[0], self.state.metadata.conf_state

    def snapshot(self) -> Snapshot:
        """The state machine as it is now."""
        return self.state


class Member:
    """One core, its log, and a state machine that keeps everything it applied."""

    def __init__(self, config: RaftConfig, snapshot: Snapshot, seed: int) -> None:
        """A member that starts from `snapshot`, an empty one for a new member."""
        self.config = config
        self.seed = seed
        self.log = StateLog(snapshot=snapshot)
        self.log.state = snapshot
        self.reads: list[ReadState] = []
        # What a loss of power goes back to: the state machine and a commit index alone are written without fsync.
        self.synced = HardState()
        self.checkpoint = snapshot
        self.core = self._start(snapshot.metadata.index)

    def _start(self, applied: LogIndex) -> RaftCore:
        config = replace(self.config, applied=applied, conf_change_decoder=decode)
        return RaftCore(config, self.log, random.Random(self.seed))

    @property
    def id(self) -> MemberID:
        """Its ID."""
        return self.config.id

    def propose_change(self, text: str, entry_type: EntryType = EntryType.CONF_CHANGE_V2) -> None:
        """Propose "v1 r2"; an empty text leaves a joint configuration."""
        change = change_of(text)
        self.core.propose_conf_change(entry_type, encode(entry_type, change), change)

    def save(self, ready: Ready) -> None:
        """Hard state, snapshot and entries go to the disk."""
        if ready.hard_state is not None:
            self.log.set_hard_state(ready.hard_state)
        if ready.snapshot is not None:
            self.log.apply_snapshot(ready.snapshot)
            self.log.state = self.checkpoint = ready.snapshot
        self.log.append(ready.entries)
        if ready.must_sync:
            self.synced = self.log.initial_state()[0]

    def apply(self, ready: Ready) -> None:
        """Committed entries go into the state machine: their data, one after the other."""
        self.reads += ready.read_states
        for entry in ready.committed_entries:
            self.apply_entry(entry)

    def apply_entry(self, entry: Entry) -> None:
        """One committed entry."""
        metadata, data = self.log.state
        conf_state = metadata.conf_state
        if entry.type is EntryType.NORMAL:
            data += entry.data
        else:
            change = decode(entry)
            if change is not None:
                try:
                    conf_state = self.core.apply_conf_change(change)
                except ConfChangeRefused as error:
                    data += f"<{error}>".encode()
        self.log.state = Snapshot(SnapshotMetadata(entry.index, entry.term, conf_state), data)

    def handle_ready(self) -> tuple[Message, ...]:
        """Do everything that is to be done once. Returns the messages to send."""
        ready = self.core.ready()
        if ready is None:
            return ()
        self.save(ready)
        self.apply(ready)
        self.core.advance(ready)
        return (*ready.messages, *ready.messages_after_save)

    def compact(self, index: int) -> None:
        """Drop the log up to `index`, which the state machine has surely."""
        self.checkpoint = self.log.state
        self.log.compact(LogIndex(index))

    def restart(self, *, power_lost: bool = False) -> None:
        """Kill it and start it again with what is on its disk."""
        if power_lost:
            self.log.state = self.checkpoint
            commit = max(self.synced.commit, self.checkpoint.metadata.index)
            self.log.set_hard_state(self.log.initial_state()[0]._replace(commit=commit))
        self.core = self._start(self.log.state.metadata.index)

    def take_notes(self) -> list[Note]:
        """What the core said since the last time, without a Ready for it."""
        notes, self.core._raft.notes = self.core._raft.notes, []
        return notes


class World:
    """Members by ID, and the messages that are under way, oldest first."""

    def __init__(self) -> None:
        """Nobody."""
        self.members: dict[MemberID, Member] = {}
        self.network: list[Message] = []

    def add(self, config: RaftConfig, snapshot: Snapshot) -> Member:
        """One more member."""
        member = Member(config, snapshot, seed=config.id)
        self.members[config.id] = member
        return member

    def member(self, number: int) -> Member:
        """The member with this ID."""
        return self.members[MemberID(number)]

    def core(self, number: int) -> RaftCore:
        """The core of the member with this ID."""
        return self.member(number).core

    def take(self, wanted: Callable[[Message], bool]) -> list[Message]:
        """Take messages out of the network."""
        taken = [message for message in self.network if wanted(message)]
        self.network = [message for message in self.network if not wanted(message)]
        return taken

    def deliver(self, messages: Iterable[Message]) -> None:
        """Hand messages to whom they are for; those to nobody are lost."""
        for message in messages:
            if message.to in self.members:
                self.members[message.to].core.step(message)

    def settle(self, *, without: Iterable[int] = (), rounds_max: int = 1000) -> None:
        """Let everybody work and deliver until nothing is left to do; nothing reaches or leaves those `without`."""
        cut = {MemberID(number) for number in without}
        for _ in range(rounds_max):
            busy = False
            for member in self.members.values():
                while member.core.has_ready():
                    self.network += member.handle_ready()
                    busy = True
            messages = self.take(lambda message: True)
            self.deliver(message for message in messages if message.to not in cut and message.from_ not in cut)
            if not busy and not messages:
                return
        raise AssertionError("the group never came to rest")

    def tick(self, number: int, count: int) -> None:
        """Let time pass for one member."""
        for _ in range(count):
            self.core(number).tick()

    def elect(self, number: int) -> None:
        """Make this member the leader, whatever it takes short of a vote."""
        self.core(number).campaign()
        self.settle()
        assert self.core(number).role is Role.LEADER


def group(
    size: int = 3,
    *,
    index: int = 0,
    learners: Iterable[int] = (),
    settings: Callable[[RaftConfig], RaftConfig] | None = None,
) -> World:
    """Members 1 to `size` with equal logs that end at `index`, compacted. Elections without pre-vote and leases, and
    unlimited messages, unless `settings` changes that.
    """
    world = World()
    learning = tuple(MemberID(number) for number in learners)
    ids = tuple(MemberID(number) for number in range(1, size + 1))
    voters = tuple(member for member in ids if member not in learning)
    metadata = SnapshotMetadata(LogIndex(index), Term(1 if index else 0), ConfState(voters, learning))
    for member in ids:
        config = RaftConfig(id=member, check_quorum=False, pre_vote=False, debug_notes=True)
        world.add(settings(config) if settings else config, Snapshot(metadata))
    return world
