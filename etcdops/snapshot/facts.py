"""What a snapshot says about itself and its cluster besides the keys. Both formats fill the same values."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.snapshot.records import NO_COMPACTION


class SnapshotFormat(enum.Enum):
    """Whose file it is; the value is the word shown and the engine that can restore it."""

    ETCD = "etcd"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class SnapshotMember:
    """A member of the cluster the snapshot was taken from. A restore replaces all of them."""

    id: MemberID
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class SnapshotAlarm:
    """An alarm that was raised; it survives a restore."""

    member: MemberID
    type: str
    """NOSPACE or CORRUPT."""


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """The small tables of a snapshot."""

    consistent_index: LogIndex
    """Last raft entry whose effects are in the file."""
    term: Term
    scheduled_compact: int = NO_COMPACTION
    finished_compact: int = NO_COMPACTION
    storage_version: str = ""
    """`3.6.0` and so on; empty before 3.6, which is when etcd began to write it."""
    cluster_version: str = ""
    members: tuple[SnapshotMember, ...] = ()
    removed_members: tuple[MemberID, ...] = ()
    alarms: tuple[SnapshotAlarm, ...] = ()
    lease_count: int = 0
    auth_enabled: bool = False
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def compact_revision(self) -> int:
        """The compacted revision a server started on this file has: a scheduled compaction counts, unfinished too."""
        return max(self.scheduled_compact, self.finished_compact)
