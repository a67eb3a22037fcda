"""RaftCore: the whole surface of the silent core. Values go in, Ready comes out; nothing else happens."""

from __future__ import annotations

import random
from collections.abc import Sequence

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.status import Status
from etcdops.node.raft.storage import LogStorage
from etcdops.node.raft.types import ConfChange, ConfState, EntryType, Message, Ready, Role


class RaftCore:
    """One member of a Raft group.

    The caller loops: while `has_ready`, take `ready`, save and send and apply what it says in the order of its fields,
    then `advance`. Everything is synchronous and must be called from one thread.
    """

    def __init__(self, config: RaftConfig, storage: LogStorage, random: random.Random) -> None:
        """A follower with what `storage` holds. Equal seeds and equal calls give equal runs.

        Raises: CoreCorrupt when the saved commit index is outside the log.
        """
        raise NotImplementedError

    @property
    def id(self) -> MemberID:
        """This member."""
        raise NotImplementedError

    @property
    def term(self) -> Term:
        """The newest term seen."""
        raise NotImplementedError

    @property
    def leader(self) -> MemberID:
        """The leader of this term as far as known, else 0."""
        raise NotImplementedError

    @property
    def role(self) -> Role:
        """What this member is now."""
        raise NotImplementedError

    @property
    def commit_index(self) -> LogIndex:
        """The highest index known to be committed."""
        raise NotImplementedError

    @property
    def applied_index(self) -> LogIndex:
        """The highest index that was handed out and acknowledged by `advance`."""
        raise NotImplementedError

    @property
    def is_learner(self) -> bool:
        """Whether the configuration has this member as a learner."""
        raise NotImplementedError

    @property
    def conf_state(self) -> ConfState:
        """The configuration now in force."""
        raise NotImplementedError

    def bootstrap(self, members: Sequence[tuple[MemberID, bytes]]) -> None:
        """Start a new group: the log begins with one committed CONF_CHANGE entry for each of `members`.

        Args: members - IDs and the encoded raftpb.ConfChange (ADD_NODE) that becomes the entry's data; the same in the
        same order on every first member. The entries come out in the first Ready like any others.
        Raises: ValueError when the log is not empty or `members` is.
        """
        raise NotImplementedError

    def step(self, message: Message) -> None:
        """Take a message from the network. What is wrong with it is noted, never raised.

        Raises: CoreCorrupt when it proves that this member lost a part of its log.
        """
        raise NotImplementedError

    def tick(self) -> None:
        """One unit of time passed."""
        raise NotImplementedError

    def campaign(self) -> None:
        """Try to become the leader now."""
        raise NotImplementedError

    def propose(self, data: bytes) -> None:
        """Append `data` to the replicated log. Raises: ProposalDropped."""
        raise NotImplementedError

    def propose_batch(self, datas: Sequence[bytes]) -> None:
        """Append several at once: all of them or none. Raises: ProposalDropped."""
        raise NotImplementedError

    def propose_conf_change(self, entry_type: EntryType, data: bytes, change: ConfChange) -> None:
        """Append a configuration change: `data` is `change` encoded as raftpb for `entry_type`.

        While another change is pending, or when it does not fit a joint configuration, the leader appends an empty
        normal entry in its place and notes why. Raises: ProposalDropped.
        """
        raise NotImplementedError

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Put a committed configuration change into force; call it while applying its entry, before `advance`.

        Raises: ConfChangeRefused when it does not fit; nothing changed then, on any member.
        """
        raise NotImplementedError

    def read_index(self, context: bytes) -> None:
        """Ask up to where a linearizable read must have applied; the answer comes as a ReadState with `context`.

        It may be lost without a word (no leader, lost message): ask again after a while.
        """
        raise NotImplementedError

    def transfer_leader(self, target: MemberID) -> None:
        """Make `target` the leader; proposals are dropped until that worked or an election timeout passed."""
        raise NotImplementedError

    def forget_leader(self) -> None:
        """Stop believing in the current leader, so that a vote for another is possible before the lease ends."""
        raise NotImplementedError

    def report_unreachable(self, peer: MemberID) -> None:
        """A message to `peer` was lost; stop sending ahead until it answers."""
        raise NotImplementedError

    def report_snapshot(self, peer: MemberID, ok: bool) -> None:
        """The snapshot to `peer` was delivered, or was not. Every SNAP message must get one report."""
        raise NotImplementedError

    def has_ready(self) -> bool:
        """Whether `ready` would return something: false while a Ready is outstanding."""
        raise NotImplementedError

    def ready(self) -> Ready | None:
        """What is to be done now, or None when there is nothing or the last Ready was not advanced yet."""
        raise NotImplementedError

    def advance(self, ready: Ready) -> None:
        """The caller has saved, sent and applied everything in `ready`, the outstanding one."""
        raise NotImplementedError

    def status(self) -> Status:
        """A copy of the state, for operators."""
        raise NotImplementedError
