"""What two majorities, the incoming and the outgoing one, have agreed on (Raft thesis 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from etcdops.ids import MemberID
from etcdops.node.raft.quorum.majority import VoteResult, agreed_index, format_ids, vote_result


class JointConfig(NamedTuple):
    """The voters, in ID order. A decision needs both majorities; `outgoing` is empty unless a change is under way.

    Source: etcd-io/raft quorum/joint.go, JointConfig.
    """

    incoming: tuple[MemberID, ...] = ()
    outgoing: tuple[MemberID, ...] = ()

    @property
    def is_joint(self) -> bool:
        """Whether two configurations are in force."""
        return bool(self.outgoing)

    def ids(self) -> tuple[MemberID, ...]:
        """Every voter of either half, in ID order."""
        return tuple(sorted({*self.incoming, *self.outgoing})) if self.outgoing else self.incoming

    def agreed_index(self, index_of: Callable[[MemberID], int]) -> int:
        """The highest index that both majorities reached."""
        incoming = agreed_index([index_of(voter) for voter in self.incoming])
        if not self.outgoing:
            return incoming
        return min(incoming, agreed_index([index_of(voter) for voter in self.outgoing]))

    def vote_result(self, votes: Mapping[MemberID, bool]) -> VoteResult:
        """Won when both halves won, lost as soon as one lost."""
        results = (vote_result(self.incoming, votes), vote_result(self.outgoing, votes))
        if VoteResult.LOST in results:
            return VoteResult.LOST
        return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON

    def __str__(self) -> str:
        """As etcd prints it: "(1 2)&&(1 3)"."""
        if self.outgoing:
            return f"{format_ids(self.incoming)}&&{format_ids(self.outgoing)}"
        return format_ids(self.incoming)
