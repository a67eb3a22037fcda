"""Reads that wait until a quorum confirmed that the leader still leads (ReadIndex, Raft thesis 6.4)."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from etcdops.ids import LogIndex, MemberID
from etcdops.node.raft.quorum import JointConfig
from etcdops.node.raft.types import Message

CONTEXT_SIZE_BYTES = 8


class WaitingRead(NamedTuple):
    """A READ_INDEX request, and the commit index when it came in."""

    request: Message
    commit: LogIndex


class ReadOnly:
    """Requests in the order of arrival, counted; a heartbeat carries the count it confirms.

    So one heartbeat round confirms every read that came before it, and only those.
    Source: etcd-io/raft read_only.go.
    """

    __slots__ = ("_acks", "_confirmed", "_waiting")

    def __init__(self) -> None:
        """Nothing waits. Every term starts with a new one."""
        self._confirmed = 0
        self._waiting: deque[WaitingRead] = deque()
        # For each member, the highest count it has confirmed.
        self._acks: dict[MemberID, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Message, commit: LogIndex) -> None:
        """A read came in."""
        self._waiting.append(WaitingRead(request, commit))

    def heartbeat_context(self) -> bytes:
        """What a heartbeat carries so that its answer confirms all reads that wait now; empty when none does."""
        if not self._waiting:
            return b""
        return (self._confirmed + len(self._waiting)).to_bytes(CONTEXT_SIZE_BYTES, "little")

    def acknowledge(self, member: MemberID, context: bytes) -> None:
        """`member` answered the heartbeat with this context. One that was never sent counts for nothing."""
        count = int.from_bytes(context, "little")
        if len(context) == CONTEXT_SIZE_BYTES and count <= self._confirmed + len(self._waiting):
            self._acks[member] = max(self._acks.get(member, 0), count)

    def advance(self, voters: JointConfig) -> list[WaitingRead]:
        """The reads that a quorum has confirmed since the last call, in order."""
        count = voters.agreed_index(lambda member: self._acks.get(member, 0))
        confirmed: list[WaitingRead] = []
        while self._waiting and self._confirmed < count:
            confirmed.append(self._waiting.popleft())
            self._confirmed += 1
        return confirmed
