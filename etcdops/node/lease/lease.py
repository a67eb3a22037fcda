"""One lease."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from etcdops.ids import LeaseID

FOREVER = math.inf


@dataclass(slots=True, eq=False)
class Lease:
    """A promise to delete some keys unless somebody keeps renewing it. Times are seconds."""

    id: LeaseID
    ttl_s: int
    """As granted."""

    remaining_ttl_s: int = 0
    """Last checkpoint of what was left; 0 = none, the full TTL counts."""

    expires_at: float = FOREVER
    """Monotonic time of this member; only the leader's means anything, everybody else waits forever."""

    keys: set[bytes] = field(default_factory=set)

    checkpoints_begun: int = 0
    """How many were proposed since this member leads. Any of them may be yet to be applied, lost ones too."""

    checkpoints_void: int = 0
    """How many of those are followed, in the log, by one of 0."""

    @property
    def next_ttl_s(self) -> int:
        """How long the lease lives from a renewal or a leader change on."""
        return self.remaining_ttl_s if self.remaining_ttl_s > 0 else self.ttl_s

    @property
    def may_be_shortened(self) -> bool:
        """Whether the next leader may start from less than the full TTL."""
        return self.remaining_ttl_s > 0 or self.checkpoints_begun > self.checkpoints_void

    def remaining_s(self, now: float) -> float:
        """Seconds left, infinite when this member is not the one that counts; negative when overdue."""
        return self.expires_at - now
