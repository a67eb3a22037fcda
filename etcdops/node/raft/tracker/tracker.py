"""All members of the group as one of them sees it, and the votes of an election."""

from __future__ import annotations

from etcdops.ids import LogIndex, MemberID
from etcdops.node.raft.quorum import VoteResult, agreed_index
from etcdops.node.raft.tracker.config import TrackerConfig
from etcdops.node.raft.tracker.inflights import Inflights
from etcdops.node.raft.tracker.progress import Progress


class ProgressTracker:
    """The configuration in force with one Progress for each of its members. Source: etcd-io/raft tracker/tracker.go."""

    __slots__ = ("_inflight_bytes_max", "_inflight_messages_max", "config", "progress", "votes")

    def __init__(self, inflight_messages_max: int, inflight_bytes_max: int) -> None:
        """Nobody yet. Args: bytes of 0 mean no bound."""
        self._inflight_messages_max = inflight_messages_max
        self._inflight_bytes_max = inflight_bytes_max
        self.config = TrackerConfig()
        # In ID order, so that walking it sends messages in the same order every time.
        self.progress: dict[MemberID, Progress] = {}
        self.votes: dict[MemberID, bool] = {}

    def switch(self, config: TrackerConfig, progress: dict[MemberID, Progress]) -> None:
        """Put another configuration into force."""
        self.config = config
        self.progress = dict(sorted(progress.items()))

    def new_inflights(self) -> Inflights:
        """An empty window for one more member."""
        return Inflights(self._inflight_messages_max, self._inflight_bytes_max)

    def reset(self, own_id: MemberID, last_index: LogIndex) -> None:
        """A term begins: nothing is known of the others but who they are."""
        self.votes = {}
        for member, old in self.progress.items():
            self.progress[member] = Progress(
                next=LogIndex(last_index + 1),
                inflights=self.new_inflights(),
                match=last_index if member == own_id else LogIndex(0),
                is_learner=old.is_learner,
            )

    @property
    def is_singleton(self) -> bool:
        """Whether one voter decides alone."""
        voters = self.config.voters
        return len(voters.incoming) == 1 and not voters.outgoing

    def committed(self) -> LogIndex:
        """The highest index that is in the logs of a quorum."""
        progress = self.progress
        voters = self.config.voters
        index = agreed_index([progress[voter].match for voter in voters.incoming])
        if voters.outgoing:
            index = min(index, agreed_index([progress[voter].match for voter in voters.outgoing]))
        return LogIndex(index)

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since the last check-quorum round."""
        active = {member: seen.recent_active for member, seen in self.progress.items() if not seen.is_learner}
        return self.config.voters.vote_result(active) is VoteResult.WON

    def record_vote(self, voter: MemberID, granted: bool) -> None:
        """The first answer counts."""
        self.votes.setdefault(voter, granted)

    def tally_votes(self) -> tuple[int, int, VoteResult]:
        """Votes granted and rejected by voters, and what that means."""
        cast = [
            self.votes[member] for member, seen in self.progress.items() if not seen.is_learner and member in self.votes
        ]
        granted = sum(cast)
        return granted, len(cast) - granted, self.config.voters.vote_result(self.votes)
