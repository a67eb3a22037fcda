"""Quorum arithmetic: how many voters a cluster needs, how many it has, and how many more it may lose.

Pure: numbers in, numbers out. Voters are counted from the member list, never from the endpoints somebody typed.
"""

from __future__ import annotations

from dataclasses import dataclass


def quorum_of(voters: int) -> int:
    """The smallest majority of `voters` >= 0 members; 0 of none.

    Source: Raft §5.2; etcd-io/raft quorum/majority.go, MajorityConfig.
    """
    return voters // 2 + 1 if voters else 0


@dataclass(frozen=True, slots=True)
class Quorum:
    """The state of one majority. Invariant: 0 <= present <= voters.

    `present` counts voters that took part or answered; learners never count.
    """

    voters: int
    present: int

    @property
    def needed(self) -> int:
        """How many voters must work together for a write or a linearizable read."""
        return quorum_of(self.voters)

    @property
    def holds(self) -> bool:
        """Whether enough voters are present. A cluster without voters has no quorum."""
        return self.voters > 0 and self.present >= self.needed

    @property
    def tolerates(self) -> int:
        """How many of the present voters may still fail before the quorum is lost; 0 when it is lost already."""
        return max(0, self.present - self.needed)

    @property
    def missing(self) -> int:
        """How many voters must come back before the quorum holds again; 0 while it holds."""
        return max(0, self.needed - self.present)

    def __str__(self) -> str:
        """The count in words: "1 of 3 voters answers"."""
        noun = "voter" if self.voters == 1 else "voters"
        return f"{self.present} of {self.voters} {noun} {'answers' if self.present == 1 else 'answer'}"

    def after(self, *, voters: int = 0, present: int = 0) -> Quorum:
        """The quorum after a change, given as differences: `after(voters=-1)` removes a dead voter."""
        total = max(0, self.voters + voters)
        return Quorum(total, min(total, max(0, self.present + present)))
