"""How far one member follows the leader's log, and how eagerly it may be sent more."""

from __future__ import annotations

import enum

from etcdops.ids import LogIndex
from etcdops.node.raft.tracker.inflights import Inflights


class ProgressState(enum.Enum):
    """How the leader treats a follower; the values are how etcd prints them."""

    PROBE = "StateProbe"
    """Its last index is not known: at most one append per heartbeat until it answers."""

    REPLICATE = "StateReplicate"
    """It follows: entries are sent ahead, as many messages as its window takes."""

    SNAPSHOT = "StateSnapshot"
    """It needs entries that are compacted: nothing is sent until its snapshot is in."""


class Progress:
    """The leader's view of one member. Source: etcd-io/raft tracker/progress.go, Progress.

    Invariant: 0 <= match < next; entries in (match, next) are on their way.
    """

    __slots__ = (
        "flow_paused", "inflights", "is_learner", "match", "next", "pending_snapshot", "recent_active", "sent_commit",
        "state",
    )  # fmt: skip

    def __init__(
        self, *, next: LogIndex, inflights: Inflights, match: LogIndex, is_learner: bool, recent_active: bool = False
    ) -> None:
        """A member to be probed from `next` on."""
        self.match = match
        self.next = next
        # The highest commit index on its way; goes down when messages may have been lost.
        self.sent_commit = LogIndex(0)
        self.state = ProgressState.PROBE
        # The index of the snapshot on its way; in SNAPSHOT, next is one above it.
        self.pending_snapshot = LogIndex(0)
        # Something was heard since the last check-quorum round; always true for the leader itself.
        self.recent_active = recent_active
        # No append until a heartbeat is answered: one probe is out, or the window is full.
        self.flow_paused = False
        self.inflights = inflights
        self.is_learner = is_learner

    def clone(self) -> Progress:
        """A copy that shares the window: a configuration change replaces the original, or drops the copy."""
        copy = Progress(
            next=self.next,
            inflights=self.inflights,
            match=self.match,
            is_learner=self.is_learner,
            recent_active=self.recent_active,
        )
        copy.sent_commit = self.sent_commit
        copy.state = self.state
        copy.pending_snapshot = self.pending_snapshot
        copy.flow_paused = self.flow_paused
        return copy

    @property
    def paused(self) -> bool:
        """Whether no append may be sent now."""
        return self.flow_paused or self.state is ProgressState.SNAPSHOT

    def become_probe(self) -> None:
        """Find out where it stands: after the snapshot it was sent, else after what it surely has."""
        pending = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else LogIndex(0)
        self._enter(ProgressState.PROBE)
        self.next = LogIndex(max(self.match, pending) + 1)
        self.sent_commit = min(self.sent_commit, LogIndex(self.next - 1))

    def become_replicate(self) -> None:
        """It answered: send ahead."""
        self._enter(ProgressState.REPLICATE)
        self.next = LogIndex(self.match + 1)

    def become_snapshot(self, index: LogIndex) -> None:
        """A snapshot at `index` was sent."""
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = LogIndex(index + 1)
        self.sent_commit = index

    def sent_entries(self, count: int, size_bytes: int) -> None:
        """An append with `count` entries left, `size_bytes` of payload."""
        if self.state is ProgressState.REPLICATE:
            if count:
                self.next = LogIndex(self.next + count)
                self.inflights.add(self.next - 1, size_bytes)
            self.flow_paused = self.inflights.full
        elif count:
            self.flow_paused = True

    def can_bump_commit(self, index: LogIndex) -> bool:
        """Whether telling it that `index` is committed could move its commit index, as far as known."""
        return index > self.sent_commit and self.sent_commit < self.next - 1

    def maybe_update(self, index: LogIndex) -> bool:
        """It has everything up to `index`. Returns whether that is news."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = LogIndex(index + 1)
        self.flow_paused = False
        return True

    def maybe_decrease(self, rejected: LogIndex, hint: LogIndex) -> bool:
        """It refused an append after `rejected` and may match at `hint`. Returns false for an outdated refusal.

        A replicating member goes back to what it surely has; a probed one is asked one at a time, so a refusal counts
        only for the entry before `next`.
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = LogIndex(self.match + 1)
        else:
            if rejected != self.next - 1:
                return False
            self.next = LogIndex(max(min(rejected, hint + 1), self.match + 1))
            self.flow_paused = False
        self.sent_commit = min(self.sent_commit, LogIndex(self.next - 1))
        return True

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.flow_paused = False
        self.pending_snapshot = LogIndex(0)
        self.inflights.reset()

    def __str__(self) -> str:
        """As etcd prints it: "StateReplicate match=14 next=18 paused inflight=3[full]"."""
        parts = [f"{self.state.value} match={self.match} next={self.next}"]
        if self.is_learner:
            parts.append("learner")
        if self.paused:
            parts.append("paused")
        if self.pending_snapshot:
            parts.append(f"pendingSnap={self.pending_snapshot}")
        if not self.recent_active:
            parts.append("inactive")
        if len(self.inflights):
            parts.append(f"inflight={len(self.inflights)}{'[full]' if self.inflights.full else ''}")
        return " ".join(parts)
