"""Who is in the group, as the core works with it."""

from __future__ import annotations

from dataclasses import dataclass

from etcdops.ids import MemberID
from etcdops.node.raft.quorum import JointConfig, format_ids
from etcdops.node.raft.types import ConfState


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Voters and learners, each in ID order. Source: etcd-io/raft tracker/tracker.go, Config.

    Invariants: nobody is voter and learner at once; `learners_next` are voters of the outgoing half that become
    learners once it is left, and only a joint configuration has them.
    """

    voters: JointConfig = JointConfig()  # noqa: RUF009 - an immutable value
    learners: tuple[MemberID, ...] = ()
    learners_next: tuple[MemberID, ...] = ()
    auto_leave: bool = False
    """The leader leaves the joint configuration by itself once it is applied."""

    def conf_state(self) -> ConfState:
        """The same as it is saved with a snapshot."""
        return ConfState(self.voters.incoming, self.learners, self.voters.outgoing, self.learners_next, self.auto_leave)

    def __str__(self) -> str:
        """As etcd prints it: "voters=(1 2)&&(1 2 3) learners=(4) autoleave"."""
        parts = [f"voters={self.voters}"]
        if self.learners:
            parts.append(f"learners={format_ids(self.learners)}")
        if self.learners_next:
            parts.append(f"learners_next={format_ids(self.learners_next)}")
        if self.auto_leave:
            parts.append("autoleave")
        return " ".join(parts)
