"""Quorums once more, in the dumbest way that is surely right: the second opinion of the quorum tests."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

from etcdops.ids import MemberID
from etcdops.node.raft.quorum import EVERYTHING, JointConfig, VoteResult


def is_quorum(voters: Collection[MemberID], agreeing: Collection[MemberID]) -> bool:
    """More than half of the voters agree; nobody has to when there are none."""
    return not voters or 2 * len([voter for voter in voters if voter in agreeing]) > len(voters)


def decides(config: JointConfig, agreeing: Collection[MemberID]) -> bool:
    """Both halves agree."""
    return is_quorum(config.incoming, agreeing) and is_quorum(config.outgoing, agreeing)


def committed_by_counting(config: JointConfig, acked: Mapping[MemberID, int]) -> int:
    """Try every index from the top: the first one that a quorum has reached."""
    if not config.ids():
        return EVERYTHING
    for index in sorted({0, *acked.values()}, reverse=True):
        if decides(config, [voter for voter in config.ids() if acked.get(voter, 0) >= index]):
            return index
    raise AssertionError("every voter has reached index 0")


def vote_by_trying(config: JointConfig, votes: Mapping[MemberID, bool]) -> VoteResult:
    """Let those who have not voted do so in every possible way: won or lost when that makes no difference."""
    silent = [voter for voter in config.ids() if voter not in votes]
    outcomes = set()
    for rest in itertools.product((False, True), repeat=len(silent)):
        all_votes = {**votes, **dict(zip(silent, rest, strict=True))}
        outcomes.add(decides(config, [voter for voter, granted in all_votes.items() if granted]))
    if len(outcomes) == 2:
        return VoteResult.PENDING
    return VoteResult.WON if outcomes == {True} else VoteResult.LOST
