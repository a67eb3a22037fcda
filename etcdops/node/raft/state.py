"""RaftState: what one member remembers, and the few ways in which all parts of the algorithm change it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from etcdops.ids import NO_MEMBER, LogIndex, MemberID, Term, format_id
from etcdops.node.raft.config import NO_LIMIT, RaftConfig
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.log import LogView
from etcdops.node.raft.read_only import ReadOnly
from etcdops.node.raft.roles import TRANSITIONS, Cause
from etcdops.node.raft.storage import LogStorage
from etcdops.node.raft.tracker import ProgressTracker
from etcdops.node.raft.types import HardState, Message, MessageType, Note, NoteLevel, ReadState, Role, SoftState

Handler = Callable[["RaftState", Message], None]
HandlersByRole = Mapping[Role, Mapping[MessageType, Handler]]

NO_INDEX = LogIndex(0)

AFTER_SAVE = frozenset((MessageType.APP_RESP, MessageType.VOTE_RESP, MessageType.PRE_VOTE_RESP))
"""Promises: they may leave only once what they promise is on stable storage (thesis 3.8). Refusals too, to be safe."""


class RaftState:
    """The mutable heart of one member. The modules beside this one are functions over it.

    Source: etcd-io/raft raft.go, raft.
    """

    def __init__(
        self, config: RaftConfig, storage: LogStorage, random: random.Random, handlers_by_role: HandlersByRole
    ) -> None:
        """A follower of term 0 with the log of `storage` and no configuration; `core` restores the rest."""
        self.config = config
        self.id = config.id
        self.name = format_id(config.id)
        self.debug = config.debug_notes
        self.random = random
        self._handlers_by_role = handlers_by_role

        self.term = Term(0)
        self.vote = NO_MEMBER
        self.leader = NO_MEMBER
        self.role = Role.FOLLOWER
        self.handlers = handlers_by_role[Role.FOLLOWER]
        self.is_learner = False

        self.notes: list[Note] = []
        self.messages: list[Message] = []
        self.messages_after_save: list[Message] = []
        self.read_states: list[ReadState] = []

        committed_max = config.size_max_bytes_committed_per_ready or config.size_max_bytes_per_message
        self.storage = storage
        self.log = LogView(storage, committed_max, self.note)
        self.tracker = self.new_tracker()
        # Ticks since the election timeout last passed or, on a follower, since the leader was last heard.
        self.election_elapsed = 0
        # Ticks since the last heartbeat went out; leaders only.
        self.heartbeat_elapsed = 0
        # Drawn anew with every role, from [timeout, 2 * timeout - 1], so that elections rarely collide (5.2).
        self.randomized_election_timeout = 0

        # Who is being made the leader (thesis 3.10).
        self.transferee = NO_MEMBER
        # At or above the index of any configuration change that may not be applied yet: one at a time.
        self.pending_conf_index = NO_INDEX
        # Payload in the log that is not applied; an estimate that is never too high. Leaders only.
        self.uncommitted_size_bytes = 0
        self.uncommitted_size_max_bytes = config.size_max_bytes_uncommitted or NO_LIMIT
        self.read_only = ReadOnly()
        # Reads that came before this leader committed anything in its term: until then it does not know what is.
        self.pending_reads: list[Message] = []

    def new_tracker(self) -> ProgressTracker:
        """A tracker without members."""
        return ProgressTracker(self.config.inflight_messages_max, self.config.inflight_bytes_max)

    def note(self, text: str, level: NoteLevel = NoteLevel.INFO) -> None:
        """Say what happened, in etcd's words."""
        self.notes.append(Note(text, level))

    def note_debug(self, text: str) -> None:
        """Say what only a debug log shows. Callers ask `debug` first where the text costs."""
        if self.debug:
            self.notes.append(Note(text, NoteLevel.DEBUG))

    def send(self, message: Message) -> None:
        """Queue a message: for at once, or for after saving when it is a promise. It is complete, term included."""
        if message.type in AFTER_SAVE:
            self.messages_after_save.append(message)
        else:
            assert message.to != self.id, f"message should not be self-addressed when sending {message.type.name}"
            self.messages.append(message)

    def soft_state(self) -> SoftState:
        """What need not be saved."""
        return SoftState(self.leader, self.role)

    def hard_state(self) -> HardState:
        """What must be saved."""
        return HardState(self.term, self.vote, self.log.committed)

    def load(self, hard_state: HardState) -> None:
        """Take up what was saved. Raises: CoreCorrupt when its commit index is outside the log."""
        if not self.log.committed <= hard_state.commit <= self.log.last_index():
            raise CoreCorrupt(
                f"{self.name} state.commit {hard_state.commit} is out of range "
                f"[{self.log.committed}, {self.log.last_index()}]"
            )
        self.log.committed = hard_state.commit
        self.term = hard_state.term
        self.vote = hard_state.vote

    @property
    def promotable(self) -> bool:
        """Whether this member may campaign: it is a voter, and no snapshot waits to be installed."""
        own = self.tracker.progress.get(self.id)
        return own is not None and not own.is_learner and self.log.unstable.snapshot is None

    def become_follower(self, term: Term, leader: MemberID, cause: Cause | None) -> None:
        """Follow `leader` (0: nobody known) in `term`. A cause of None is for the start."""
        self._become(cause, Role.FOLLOWER)
        self.reset(term)
        self.leader = leader
        self.note(f"{self.name} became follower at term {self.term}")

    def become_pre_candidate(self) -> None:
        """Ask for an election without raising the term."""
        self._become(Cause.PRE_CAMPAIGN, Role.PRE_CANDIDATE)
        self.tracker.votes = {}
        self.leader = NO_MEMBER
        self.note(f"{self.name} became pre-candidate at term {self.term}")

    def become_candidate(self) -> None:
        """Start an election in the next term, voting for itself."""
        self._become(Cause.CAMPAIGN, Role.CANDIDATE)
        self.reset(Term(self.term + 1))
        self.vote = self.id
        self.note(f"{self.name} became candidate at term {self.term}")

    def become_leader(self) -> None:
        """Lead this term. The caller appends the empty entry that a leader starts with."""
        self._become(Cause.ELECTED, Role.LEADER)
        self.reset(self.term)
        self.leader = self.id
        own = self.tracker.progress[self.id]
        own.become_replicate()
        own.recent_active = True
        # There may be a configuration change among the entries not applied yet; looking for it could take long.
        self.pending_conf_index = self.log.last_index()

    def reset(self, term: Term) -> None:
        """Forget what belonged to the previous role."""
        if term != self.term:
            self.term = term
            self.vote = NO_MEMBER
        self.leader = NO_MEMBER
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        timeout = self.config.election_timeout_ticks
        self.randomized_election_timeout = timeout + self.random.randrange(timeout)
        self.transferee = NO_MEMBER
        self.tracker.reset(self.id, self.log.last_index())
        self.pending_conf_index = NO_INDEX
        self.uncommitted_size_bytes = 0
        self.read_only = ReadOnly()
        self.pending_reads = []

    def _become(self, cause: Cause | None, role: Role) -> None:
        if cause is not None:
            allowed = TRANSITIONS[self.role].get(cause)
            assert allowed is role, f"invalid transition [{self.role.value} -> {role.value}]: {cause.value}"
        self.role = role
        self.handlers = self._handlers_by_role[role]
