"""One member whose peers are played by the test: what it hears is written by hand, what it says is looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.config import NO_LIMIT, RaftConfig
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.types import (
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    ReadState,
    Role,
    Snapshot,
    SnapshotMetadata,
)


def entry(term: int, index: int, data: bytes = b"") -> Entry:
    """A normal entry."""
    return Entry(Term(term), LogIndex(index), EntryType.NORMAL, data)


def entries(*terms: int, first: int = 1) -> tuple[Entry, ...]:
    """Consecutive entries of these terms."""
    return tuple(entry(term, first + position) for position, term in enumerate(terms))


class Lone:
    """Member 1 of a group of `size`, with election timeout 10 and heartbeat 1."""

    def __init__(
        self,
        size: int = 3,
        *,
        terms: Sequence[int] = (),
        hard_state: tuple[int, int, int] = (0, 0, 0),
        seed: int = 1,
        pre_vote: bool = False,
        check_quorum: bool = False,
    ) -> None:
        voters = tuple(MemberID(number) for number in range(1, size + 1))
        term, vote, commit = hard_state
        self.log = MemoryLog(
            snapshot=Snapshot(SnapshotMetadata(conf_state=ConfState(voters))),
            hard_state=HardState(Term(term), MemberID(vote), LogIndex(commit)),
            entries=entries(*terms),
        )
        config = RaftConfig(id=MemberID(1), pre_vote=pre_vote, check_quorum=check_quorum)
        self.core = RaftCore(config, self.log, random.Random(seed))
        self.applied: list[Entry] = []
        self.reads: list[ReadState] = []
        self.work()

    def work(self) -> list[Message]:
        """Save, apply and advance until nothing is left to do. Returns everything it wanted to send."""
        sent: list[Message] = []
        while (ready := self.core.ready()) is not None:
            self.log.append(ready.entries)
            if ready.hard_state is not None:
                self.log.set_hard_state(ready.hard_state)
            sent += (*ready.messages, *ready.messages_after_save)
            self.applied += ready.committed_entries
            self.reads += ready.read_states
            self.core.advance(ready)
        return sent

    def hear(self, kind: MessageType, sender: int = 2, term: int | None = None, **fields: object) -> list[Message]:
        """A message arrives, in the current term if none is given. Returns the answers."""
        message = Message(kind, MemberID(1), MemberID(sender), self.core.term if term is None else Term(term))
        self.core.step(message._replace(**fields))  # type: ignore[arg-type]  # the test names the fields
        return self.work()

    def be_follower(self, term: int = 1, leader: int = 2) -> None:
        """Follow this leader."""
        self.hear(MessageType.HEARTBEAT, leader, term)
        assert (self.core.role, self.core.leader, self.core.term) == (Role.FOLLOWER, leader, term)

    def be_candidate(self) -> list[Message]:
        """Campaign. Returns the requests."""
        self.core.campaign()
        sent = self.work()
        assert self.core.role is Role.CANDIDATE
        return sent

    def be_leader(self) -> list[Message]:
        """Win an election with everybody's vote. Returns the first appends."""
        self.core.campaign()
        requests = self.work()
        appends: list[Message] = []
        for request in requests:
            if self.core.role is Role.CANDIDATE:
                appends += self.hear(MessageType.VOTE_RESP, request.to)
        assert self.core.role is Role.LEADER
        return appends

    def accept(self, appends: Sequence[Message], *, only: Sequence[int] | None = None) -> list[Message]:
        """The peers take these appends. Returns what is sent then."""
        sent: list[Message] = []
        for append in appends:
            if append.type is MessageType.APP and (only is None or append.to in only):
                sent += self.hear(MessageType.APP_RESP, append.to, index=append.index + len(append.entries))
        return sent

    def lead(self) -> None:
        """Lead, with the empty entry committed everywhere."""
        self.accept(self.accept(self.be_leader()))
        assert self.core.commit_index == self.core.last_index
        self.applied.clear()

    def whole_log(self) -> tuple[Entry, ...]:
        """What is saved."""
        first, last = self.log.first_index(), self.log.last_index()
        return tuple(self.log.entries(first, LogIndex(last + 1), size_max_bytes=NO_LIMIT)) if last >= first else ()
