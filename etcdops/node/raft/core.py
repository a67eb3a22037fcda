"""RaftCore: the whole surface of the silent core. Values go in, Ready comes out; nothing else happens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from etcdops.ids import NO_MEMBER, LogIndex, MemberID, Term
from etcdops.node.raft import membership
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.describe import MESSAGE_NAMES
from etcdops.node.raft.election import tick_election
from etcdops.node.raft.errors import ConfChangeRefused, CoreCorrupt, ProposalDropped
from etcdops.node.raft.handlers import BY_ROLE
from etcdops.node.raft.leadership import tick_leader
from etcdops.node.raft.proposals import append_proposal, proposal
from etcdops.node.raft.size import payload_size_bytes
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.status import Status, status_of
from etcdops.node.raft.step import step
from etcdops.node.raft.storage import LogStorage
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    NoteLevel,
    Ready,
    Role,
)
from etcdops.node.raft.validate import fault, is_from_stranger


class _Outstanding(NamedTuple):
    """A Ready that is being worked on, and what becomes true once it is done."""

    ready: Ready
    own_promises: tuple[Message, ...]
    """Votes and acknowledgements of this member for itself."""

    last_term: Term
    last_index: LogIndex
    """The last entry at that time: everything up to it is then saved."""

    term: Term
    """The term at that time: in a later one the entries may be replaced already, so nothing is known then."""


class RaftCore:
    """One member of a Raft group.

    The caller loops: while `has_ready`, take `ready`, save and send and apply what it says in the order of its fields,
    then `advance`. Everything is synchronous and must be called from one thread.
    Source: etcd-io/raft rawnode.go, RawNode.
    """

    def __init__(self, config: RaftConfig, storage: LogStorage, random: random.Random) -> None:
        """A follower with what `storage` holds. Equal seeds and equal calls give equal runs.

        Raises: CoreCorrupt when the saved state contradicts the log.
        """
        raft = RaftState(config, storage, random, BY_ROLE)
        self._raft = raft
        self._outstanding: _Outstanding | None = None
        hard_state, conf_state = storage.initial_state()
        last_term, last_index = raft.log.last_entry_id()
        try:
            membership.restore_configuration(raft, conf_state)
        except ConfChangeRefused as error:
            raise CoreCorrupt(f"{raft.name} cannot restore its configuration: {error}") from error
        membership.check_restored(raft, conf_state)
        if hard_state != HardState():
            raft.load(hard_state)
        if config.applied:
            raft.log.applied_to(config.applied)
        raft.become_follower(raft.term, NO_MEMBER, None)
        peers = ",".join(f"{voter:x}" for voter in raft.tracker.config.voters.ids())
        raft.note(
            f"newRaft {raft.name} [peers: [{peers}], term: {raft.term}, commit: {raft.log.committed}, "
            f"applied: {raft.log.applied}, lastindex: {last_index}, lastterm: {last_term}]"
        )
        self._soft_state = raft.soft_state()
        self._hard_state = raft.hard_state()
        self._noted_leader = NO_MEMBER

    @property
    def id(self) -> MemberID:
        """This member."""
        return self._raft.id

    @property
    def term(self) -> Term:
        """The newest term seen."""
        return self._raft.term

    @property
    def leader(self) -> MemberID:
        """The leader of this term as far as known, else 0."""
        return self._raft.leader

    @property
    def role(self) -> Role:
        """What this member is now."""
        return self._raft.role

    @property
    def commit_index(self) -> LogIndex:
        """The highest index known to be committed."""
        return self._raft.log.committed

    @property
    def applied_index(self) -> LogIndex:
        """The highest index that was handed out and acknowledged by `advance`."""
        return self._raft.log.applied

    @property
    def last_index(self) -> LogIndex:
        """The last index in the log, saved or not."""
        return self._raft.log.last_index()

    @property
    def is_learner(self) -> bool:
        """Whether the configuration has this member as a learner."""
        return self._raft.is_learner

    @property
    def transferee(self) -> MemberID:
        """Who is being made the leader, 0 for nobody."""
        return self._raft.transferee

    @property
    def conf_state(self) -> ConfState:
        """The configuration now in force."""
        return self._raft.tracker.config.conf_state()

    def bootstrap(self, members: Sequence[tuple[MemberID, bytes]]) -> None:
        """Start a new group: the log begins with one committed CONF_CHANGE entry for each of `members`.

        Args: members - IDs and the encoded raftpb.ConfChange (ADD_NODE) that becomes the entry's data; the same in the
        same order on every first member. The entries come out in the first Ready like any others.
        Raises: ValueError when the log is not empty or `members` is.
        Source: etcd-io/raft bootstrap.go, RawNode.Bootstrap.
        """
        raft = self._raft
        if not members:
            raise ValueError("must provide at least one peer to Bootstrap")
        if raft.log.last_index():
            raise ValueError("can't bootstrap a nonempty Storage")
        self._hard_state = HardState()
        raft.become_follower(Term(1), NO_MEMBER, None)
        raft.log.append(
            [Entry(Term(1), LogIndex(index), EntryType.CONF_CHANGE, data) for index, (_, data) in enumerate(members, 1)]
        )
        raft.log.commit_to(LogIndex(len(members)))
        for member, _ in members:
            # In force at once, so that an election can be held; applying the entries again changes nothing.
            change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, member),))
            membership.apply_conf_change(raft, change)

    def step(self, message: Message) -> None:
        """Take a message from the network. What is wrong with it is noted, never raised.

        Raises: CoreCorrupt when it proves that this member, or the one that sent it, lost a part of its log.
        """
        raft = self._raft
        problem = fault(raft, message)
        if problem:
            kind = MESSAGE_NAMES[message.type]
            raft.note(f"{raft.name} ignored a {kind} message from {message.from_:x}: {problem}", NoteLevel.WARNING)
            return
        if is_from_stranger(raft, message):
            raft.note_debug(f"{raft.name} cannot step as peer {message.from_:x} not found")
            return
        try:
            step(raft, message)
        except ProposalDropped:
            pass  # noted; whoever proposed it waits in vain and times out, as in etcd
        self._note_leader()

    def tick(self) -> None:
        """One unit of time passed."""
        raft = self._raft
        if raft.role is Role.LEADER:
            tick_leader(raft)
        else:
            tick_election(raft)
        self._note_leader()

    def campaign(self) -> None:
        """Try to become the leader now."""
        self._say(MessageType.HUP)

    def propose(self, data: bytes) -> None:
        """Append `data` to the replicated log. Raises: ProposalDropped."""
        self.propose_batch((data,))

    def propose_batch(self, datas: Sequence[bytes]) -> None:
        """Append several at once: all of them or none. Raises: ProposalDropped."""
        if datas:
            step(self._raft, proposal(self._raft, EntryType.NORMAL, datas))

    def propose_conf_change(self, entry_type: EntryType, data: bytes, change: ConfChange) -> None:
        """Append a configuration change: `data` is `change` encoded as raftpb for `entry_type`.

        While another change is pending, or when it does not fit a joint configuration, the leader appends an empty
        normal entry in its place and notes why. Raises: ProposalDropped.
        """
        message = proposal(self._raft, entry_type, (data,))
        if self._raft.role is Role.LEADER:
            append_proposal(self._raft, message.entries, change)
        else:
            step(self._raft, message)

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Put a committed configuration change into force; call it while applying its entry, before `advance`.

        Raises: ConfChangeRefused when it does not fit; nothing changed then, on any member.
        """
        state = membership.apply_conf_change(self._raft, change)
        self._note_leader()
        return state

    def read_index(self, context: bytes) -> None:
        """Ask up to where a linearizable read must have applied; the answer comes as a ReadState with `context`.

        It may be lost without a word (no leader, lost message): ask again after a while.
        """
        entry = Entry(Term(0), LogIndex(0), EntryType.NORMAL, context)
        step(self._raft, Message(MessageType.READ_INDEX, entries=(entry,)))

    def transfer_leader(self, target: MemberID) -> None:
        """Make `target` the leader; proposals are dropped until that worked or an election timeout passed."""
        self._say(MessageType.TRANSFER_LEADER, target)

    def forget_leader(self) -> None:
        """Stop believing in the current leader, so that a vote for another is possible before the lease ends."""
        self._say(MessageType.FORGET_LEADER)

    def report_unreachable(self, peer: MemberID) -> None:
        """A message to `peer` was lost; stop sending ahead until it answers."""
        self._say(MessageType.UNREACHABLE, peer)

    def report_snapshot(self, peer: MemberID, ok: bool) -> None:
        """The snapshot to `peer` was delivered, or was not. Every SNAP message must get one report."""
        step(self._raft, Message(MessageType.SNAP_STATUS, from_=peer, reject=not ok))

    def has_ready(self) -> bool:
        """Whether `ready` would return something: false while a Ready is outstanding."""
        raft = self._raft
        log = raft.log
        return self._outstanding is None and bool(
            raft.messages
            or raft.messages_after_save
            or raft.notes
            or raft.read_states
            or log.has_next_unstable()
            or log.has_next_committed()
            # Named tuples compare like any other, and making one for each question costs more than the question.
            or (raft.term, raft.vote, log.committed) != self._hard_state
            or (raft.leader, raft.role) != self._soft_state
        )

    def ready(self) -> Ready | None:
        """What is to be done now, or None when there is nothing or the last Ready was not advanced yet."""
        if not self.has_ready():
            return None
        raft = self._raft
        log = raft.log
        hard_state = soft_state = None
        if (raft.term, raft.vote, log.committed) != self._hard_state:
            hard_state = raft.hard_state()
        if (raft.leader, raft.role) != self._soft_state:
            soft_state = raft.soft_state()
        entries, snapshot = log.unstable.next_entries(), log.unstable.next_snapshot()
        promises = raft.messages_after_save
        own = tuple([message for message in promises if message.to == raft.id])
        ready = Ready(
            soft_state=soft_state,
            hard_state=hard_state,
            entries=entries,
            snapshot=snapshot,
            messages=tuple(raft.messages),
            messages_after_save=tuple([message for message in promises if message.to != raft.id]),
            committed_entries=log.next_committed(),
            read_states=tuple(raft.read_states),
            must_sync=bool(entries or snapshot or (hard_state is not None and hard_state[:2] != self._hard_state[:2])),
            notes=tuple(raft.notes),
        )
        last_term, last_index = log.last_entry_id()
        self._outstanding = _Outstanding(ready, own, last_term, last_index, raft.term)
        self._soft_state = soft_state or self._soft_state
        self._hard_state = hard_state or self._hard_state
        raft.messages, raft.messages_after_save, raft.read_states, raft.notes = [], [], [], []
        log.accept_ready(ready.committed_entries)
        return ready

    def advance(self, ready: Ready) -> None:
        """The caller has saved, sent and applied everything in `ready`, the outstanding one.

        Only now does this member count for its own votes and entries.
        """
        done = self._outstanding
        if done is None or done.ready is not ready:
            raise ValueError("advance() takes the Ready that ready() returned last, once")
        self._outstanding = None
        raft = self._raft
        for message in done.own_promises:
            step(raft, message)
        if raft.term == done.term:
            raft.log.unstable.stable_to(done.last_index, done.last_term)
        if ready.snapshot is not None:
            index = ready.snapshot.metadata.index
            raft.log.unstable.stable_snapshot_to(index)
            membership.applied_to(raft, index)
        if ready.committed_entries:
            membership.applied_to(raft, ready.committed_entries[-1].index)
            size = payload_size_bytes(ready.committed_entries)
            raft.uncommitted_size_bytes = max(0, raft.uncommitted_size_bytes - size)
        self._note_leader()

    def status(self) -> Status:
        """A copy of the state, for operators."""
        return status_of(self._raft)

    def _say(self, kind: MessageType, sender: MemberID = NO_MEMBER) -> None:
        step(self._raft, Message(kind, from_=sender))
        self._note_leader()

    def _note_leader(self) -> None:
        """Say when the leader changed. Source: etcd-io/raft node.go, node.run."""
        raft, before = self._raft, self._noted_leader
        if raft.leader == before:
            return
        self._noted_leader = raft.leader
        if raft.leader == NO_MEMBER:
            raft.note(f"raft.node: {raft.name} lost leader {before:x} at term {raft.term}")
        elif before == NO_MEMBER:
            raft.note(f"raft.node: {raft.name} elected leader {raft.leader:x} at term {raft.term}")
        else:
            raft.note(f"raft.node: {raft.name} changed leader from {before:x} to {raft.leader:x} at term {raft.term}")
