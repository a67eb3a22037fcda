"""What must hold at every moment of a run: Raft's promises, and every member's state against the model's.

- election safety, log matching, leader completeness, state machine safety (Raft figure 3);
- the same entry gives the same revision on every member, and the same HashKV every so many entries;
- a lease that nobody revoked ends no earlier than promised.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etcdops.ids import LogIndex, MemberID, format_id
from etcdops.node.raft.storage import LogError
from etcdops.node.raft.types import ConfChange, ConfChangeType, Entry, EntryType, Role, SoftState
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.api_model import Done, Model
from tests.model.broken import Broken

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster
    from tests.sim.member import SimMember

HASH_EVERY = 40
"""Entries between two comparisons of HashKV."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One entry, when it was first applied anywhere."""

    entry: Entry
    at: float
    term: int
    """Of whoever applied it first: leaders of later terms have it."""
    done: Done | None


class Truth:
    """Everything that was ever seen in the cluster, and what must not contradict it."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self.model = Model()
        self.log: list[Committed] = []
        """The entry at index i is log[i - 1]."""
        self.by_revision: dict[int, Committed] = {}
        self.revision_at: list[int] = [1]
        """The store's revision after each index."""
        self.compacted_at: list[int] = [-1]
        self.removed: set[MemberID] = set()
        self.promised: dict[int, float] = {}
        """Lease -> until when somebody was told that it lives."""
        self.revoke_asked: set[int] = set()
        """Leases that some client wanted to be revoked."""
        self.granted_at: dict[int, float] = {}
        self.expired: dict[int, float] = {}
        self._leaders: dict[int, MemberID] = {}
        self._entries: dict[tuple[int, int], tuple[int, int | None]] = {}
        self._hashes: dict[int, tuple[int, int, int]] = {}

    # Raft.

    def started(self, member: SimMember) -> None:
        """A member begins a life."""
        state = member.server.state
        index = state.consistent_index
        if index >= len(self.revision_at):
            raise Broken("state machine safety", f"{member.name} starts with entry {index} applied, nobody knows it")
        self._compare(member, index)

    def leadership(self, member: SimMember, now: SoftState) -> None:
        """A member changed its role or its leader."""
        if now.role is not Role.LEADER:
            return
        self._cluster.elected(member)
        core = member.server._core
        if self._leaders.setdefault(core.term, member.id) != member.id:
            raise Broken("election safety", f"term {core.term} has two leaders")
        log = core._raft.log
        for committed in self.log[max(log.first_index() - 1, 0) :]:
            if committed.term >= core.term:
                continue
            index = committed.entry.index
            try:
                term = log.term(LogIndex(index))
            except LogError:
                raise Broken("leader completeness", f"{member.name}, leader of {core.term}, lacks {index}") from None
            if term != committed.entry.term:
                raise Broken("leader completeness", f"{member.name}, leader of {core.term}, has another entry {index}")

    def appended(self, member: SimMember, entries: tuple[Entry, ...]) -> None:
        """Entries are given to a member's log."""
        if not entries:
            return
        log = member.server._core._raft.log
        try:
            before: int | None = log.term(LogIndex(entries[0].index - 1))
        except LogError:
            before = None
        for entry in entries:
            digest = zlib.crc32(entry.data, entry.type)
            known, known_before = self._entries.setdefault((entry.index, entry.term), (digest, before))
            if known != digest:
                raise Broken("log matching", f"two entries at {entry.index} of term {entry.term}")
            if None not in (before, known_before) and before != known_before:
                raise Broken("log matching", f"logs with entry {entry.index} of term {entry.term} differ before it")
            before = entry.term

    # The state machine.

    def sees(self, member: SimMember, entry: Entry) -> None:
        """A member applies an entry: the same one that everybody else applied there."""
        if entry.index <= len(self.log):
            known = self.log[entry.index - 1].entry
            if known != entry:
                raise Broken("state machine safety", f"{member.name} applies another entry at {entry.index}")
            return
        if entry.index != len(self.log) + 1:
            raise Broken("state machine safety", f"{member.name} applies {entry.index} after {len(self.log)}")
        done, what = self._model(entry)
        now = self._cluster.loop.time()
        self._cluster.committed(member)
        self.log.append(Committed(entry, now, member.server.term, done))
        self.revision_at.append(self.model.revision)
        self.compacted_at.append(self.model.compacted)
        if done is not None and done.changed:
            self.by_revision[done.revision] = self.log[-1]
        self._cluster.trace(member.name, f"applies {entry.index}/{entry.term} {what} rev {self.model.revision}")

    def applied(self, member: SimMember, entry: Entry) -> None:
        """The member's store has it."""
        self._compare(member, entry.index)

    def changed(self, change: ConfChange, refused: object) -> None:
        """A configuration change was applied, or refused."""
        if refused is None:
            for single in change.changes:
                if single.type is ConfChangeType.REMOVE_NODE:
                    self.removed.add(single.node_id)

    def compare_hash(self, member: SimMember) -> None:
        """The member's HashKV against everybody's at the same entry."""
        state = member.server.state
        found = state.mvcc.hash_kv()
        known = self._hashes.setdefault(state.consistent_index, (found.hash, found.compact_revision, found.revision))
        if known != (found.hash, found.compact_revision, found.revision):
            raise Broken(
                "state machine safety", f"{member.name} has HashKV {found} at {state.consistent_index}, not {known}"
            )

    def _compare(self, member: SimMember, index: int) -> None:
        mvcc = member.server.state.mvcc
        if mvcc.revision != self.revision_at[index]:
            raise Broken(
                "state machine safety",
                f"{member.name} is at revision {mvcc.revision} after entry {index}, not {self.revision_at[index]}",
            )
        if mvcc.compact_revision != self.compacted_at[index]:
            raise Broken(
                "state machine safety",
                f"{member.name} is compacted to {mvcc.compact_revision} after {index}, not {self.compacted_at[index]}",
            )
        if index % HASH_EVERY == 0:
            self.compare_hash(member)

    def _model(self, entry: Entry) -> tuple[Done | None, str]:
        if entry.type is not EntryType.NORMAL:
            return None, "change"
        if not entry.data:
            return None, "-"
        request = pb.InternalRaftRequest.FromString(entry.data)
        if request.HasField("lease_revoke"):
            self._revoked(request.lease_revoke.ID)
        if request.HasField("lease_grant"):
            self.granted_at.setdefault(request.lease_grant.ID, self._cluster.loop.time())
        done = self.model.apply(request)
        return done, done.field if done is not None else "other"

    # Leases.

    def _revoked(self, lease: int) -> None:
        if lease not in self.model.leases:
            return
        now = self._cluster.loop.time()
        self.expired[lease] = now
        if lease in self.revoke_asked:
            return
        ttl = self.model.leases[lease]
        # The fastest clock decides.
        granted = self.granted_at[lease] + ttl / self._cluster.options.rate_max
        earliest = max(granted, self.promised.get(lease, 0.0))
        if now < earliest - 0.002:
            raise Broken("leases", f"lease {format_id(lease)} of {ttl} s ended at {now:.3f}, not after {earliest:.3f}")
