"""What a simple majority of voters has agreed on."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping

from etcdops.ids import MemberID

EVERYTHING = (1 << 64) - 1
"""What nobody has agreed on: an empty majority stands in no one's way, so that half a joint one behaves like one."""


class VoteResult(enum.Enum):
    """Where an election stands."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


def agreed_index(indexes: list[int]) -> int:
    """The highest index that a majority reached, given one index for each voter (0 for nothing heard).

    The list is sorted in place; EVERYTHING when it is empty.
    Source: etcd-io/raft quorum/majority.go, MajorityConfig.CommittedIndex.
    """
    if not indexes:
        return EVERYTHING
    indexes.sort()
    return indexes[(len(indexes) - 1) // 2]


def vote_result(voters: Collection[MemberID], votes: Mapping[MemberID, bool]) -> VoteResult:
    """Whether a majority of `voters` said yes, can still say it, or cannot any more. No voters: won."""
    if not voters:
        return VoteResult.WON
    quorum = len(voters) // 2 + 1
    granted = sum(votes.get(voter) is True for voter in voters)
    if granted >= quorum:
        return VoteResult.WON
    missing = sum(voter not in votes for voter in voters)
    return VoteResult.PENDING if granted + missing >= quorum else VoteResult.LOST


def format_ids(ids: Iterable[MemberID]) -> str:
    """A set of members as etcd prints it: "(1 2 3)", in hex."""
    return "(" + " ".join(f"{member:x}" for member in ids) + ")"
