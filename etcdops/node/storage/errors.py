"""What can go wrong with a member's storage while it runs. At start it is `etcdops.errors.StartRefused`.

EtcdopsError
├── Compacted            a read, watch or compaction at a revision that is gone
├── FutureRevision       … at a revision that is not there yet
├── TooManyChanges       one transaction changes more keys than a revision can number
└── StorageFailed        the disk did not do what it was told; the member must stop writing
    └── NoSpace          … because it is full: free some and go on, nothing was lost
"""

from __future__ import annotations

from etcdops.errors import EtcdopsError
from etcdops.ids import Revision


class Compacted(EtcdopsError):
    """The revision asked for was compacted; `compact_revision` is the oldest one still there."""

    code = "compacted"

    def __init__(self, revision: int, compact_revision: Revision) -> None:
        super().__init__(f"revision {revision} was compacted; the oldest is {compact_revision}")
        self.revision = revision
        self.compact_revision = compact_revision


class FutureRevision(EtcdopsError):
    """The revision asked for is above the store's current one."""

    code = "future-revision"

    def __init__(self, revision: int, current: Revision) -> None:
        super().__init__(f"revision {revision} is in the future; the store is at {current}")
        self.revision = revision
        self.current = current


class TooManyChanges(EtcdopsError):
    """One transaction would change more keys than fit under one main revision. Abort it: every member does."""

    code = "too-many-changes"


class StorageFailed(EtcdopsError):
    """A write or an fsync failed. What was acknowledged is safe; nothing more may be acknowledged."""

    code = "storage-failed"


class NoSpace(StorageFailed):
    """The disk is full. The write is not on disk and not lost either: it may be tried again."""

    code = "no-space"
