"""The values that go in and out of the raft core. Nothing here does anything.

Names and numbers are raftpb's, so encoding at the edge is a copy of fields. Hot values are named tuples: they are
immutable, cheap to make by the thousand, and print well in golden files. A field named `index` hides tuple.index,
which nobody here uses: that is what each `type: ignore[assignment]` says.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from etcdops.ids import LogIndex, MemberID, Term


class EntryType(enum.IntEnum):
    """What an entry's `data` holds: an InternalRaftRequest, or a configuration change (old or joint form)."""

    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


class MessageType(enum.IntEnum):
    """raftpb.MessageType.

    HUP, BEAT, UNREACHABLE, SNAP_STATUS and CHECK_QUORUM are said by a member to itself and never come from the network.
    """

    HUP = 0
    BEAT = 1
    PROP = 2
    APP = 3
    APP_RESP = 4
    VOTE = 5
    VOTE_RESP = 6
    SNAP = 7
    HEARTBEAT = 8
    HEARTBEAT_RESP = 9
    UNREACHABLE = 10
    SNAP_STATUS = 11
    CHECK_QUORUM = 12
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESP = 16
    PRE_VOTE = 17
    PRE_VOTE_RESP = 18
    FORGET_LEADER = 23


class Entry(NamedTuple):
    """One record of the replicated log. `data` is empty in the entry a new leader commits first."""

    term: Term
    index: LogIndex  # type: ignore[assignment]
    type: EntryType
    data: bytes


class HardState(NamedTuple):
    """What a member must not forget: saved before any message that depends on it is sent."""

    term: Term = Term(0)
    vote: MemberID = MemberID(0)
    commit: LogIndex = LogIndex(0)


class ConfState(NamedTuple):
    """The configuration at one index; the `_outgoing` and `_next` parts are non-empty only in a joint one."""

    voters: tuple[MemberID, ...] = ()
    learners: tuple[MemberID, ...] = ()
    voters_outgoing: tuple[MemberID, ...] = ()
    learners_next: tuple[MemberID, ...] = ()
    auto_leave: bool = False


class SnapshotMetadata(NamedTuple):
    """Which point of the log a snapshot stands for: everything up to and including `index` is in it."""

    index: LogIndex = LogIndex(0)  # type: ignore[assignment]
    term: Term = Term(0)
    conf_state: ConfState = ConfState()


class Snapshot(NamedTuple):
    """A snapshot as raft sees it. `data` is opaque to the core; the database travels beside the message."""

    metadata: SnapshotMetadata = SnapshotMetadata()
    data: bytes = b""


class Message(NamedTuple):
    """raftpb.Message: one thing said from one member to another (or by a member to itself).

    The meaning of `index`, `log_term`, `commit`, `reject_hint` depends on `type`; see core.py at each handler.
    """

    type: MessageType
    to: MemberID = MemberID(0)
    from_: MemberID = MemberID(0)
    term: Term = Term(0)
    log_term: Term = Term(0)
    index: LogIndex = LogIndex(0)  # type: ignore[assignment]
    entries: tuple[Entry, ...] = ()
    commit: LogIndex = LogIndex(0)
    vote: MemberID = MemberID(0)
    snapshot: Snapshot | None = None
    reject: bool = False
    reject_hint: LogIndex = LogIndex(0)
    context: bytes = b""


class ConfChangeType(enum.IntEnum):
    """raftpb.ConfChangeType."""

    ADD_NODE = 0
    REMOVE_NODE = 1
    UPDATE_NODE = 2
    ADD_LEARNER_NODE = 3


class ConfChangeTransition(enum.IntEnum):
    """raftpb.ConfChangeTransition: how a change of more than one member gets out of the joint configuration."""

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class ConfChangeSingle(NamedTuple):
    """One member's part of a configuration change."""

    type: ConfChangeType
    node_id: MemberID


class ConfChange(NamedTuple):
    """A configuration change to apply: raftpb.ConfChange as one element of `changes`, or a ConfChangeV2.

    An empty `changes` leaves a joint configuration.
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: ConfChangeTransition = ConfChangeTransition.AUTO
    context: bytes = b""


class Role(enum.Enum):
    """What a member is right now. Learners are followers that do not vote and never campaign."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class NoteLevel(enum.IntEnum):
    """How loud a note is; the values are those of the standard library's logging."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Note(str):
    """What happened inside, in etcd's words ("8e9e05c52164694d became leader at term 2"), and how loud it is."""

    __slots__ = ("level",)

    level: NoteLevel

    def __new__(cls, text: str, level: NoteLevel = NoteLevel.INFO) -> Note:
        """The text with its level; it stays a plain string for whoever only prints it."""
        note = super().__new__(cls, text)
        note.level = level
        return note


class SoftState(NamedTuple):
    """What everybody may ask and nobody needs to save."""

    leader: MemberID
    role: Role


class ReadState(NamedTuple):
    """The answer to `read_index`: once applied >= index, a read is linearizable for the request `context`."""

    index: LogIndex  # type: ignore[assignment]
    context: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything the core wants done, in the order of its fields. The caller does it, then calls `advance`.

    At most one Ready is outstanding. While it is, `step`, `tick`, `propose` and `read_index` may still be called.
    """

    soft_state: SoftState | None
    """Leader or role, when one of them changed."""

    hard_state: HardState | None
    """When it changed: to be saved together with `entries`."""

    entries: tuple[Entry, ...]
    """To be appended to stable storage, replacing any entry at the same or a higher index."""

    snapshot: Snapshot | None
    """When set: to be installed before `entries` are appended; the state machine becomes this snapshot."""

    messages: tuple[Message, ...]
    """To be sent at once. They do not depend on anything in this Ready being saved: a leader's entries may travel
    while they are written here (Raft thesis 10.2.1)."""

    messages_after_save: tuple[Message, ...]
    """To be sent only once `hard_state`, `entries` and `snapshot` are on stable storage: votes and acknowledgements."""

    committed_entries: tuple[Entry, ...]
    """To be applied to the state machine, in order. They are on stable storage of a quorum, and at or below what this
    member has itself saved before this Ready or saves with it."""

    read_states: tuple[ReadState, ...]
    """Reads that may be answered once the state machine reached their index."""

    must_sync: bool
    """False when only the commit index moved, which needs no fsync."""

    notes: tuple[Note, ...] = ()
    """What happened inside since the last Ready: for log and golden files."""
