"""What the console needs from a cluster: a port. `live.py` is the real one, `tests/fakes/cluster_feed.py` the other.

Everything here is a value of our own; no protobuf and no grpc reach a screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from etcdops.client.metrics import MemberMetrics, NoMetrics
from etcdops.client.view import ClusterView
from etcdops.errors import UsageError
from etcdops.ids import LeaseID, Revision

NO_LEASE = LeaseID(0)
NOW = Revision(0)
"""As a revision to read at: the current one. As an expected mod_revision: the key must not exist."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key as of one revision. In listings `value` is empty: keys come first, values one by one."""

    key: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseID = NO_LEASE
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some consecutive keys of a range, without values."""

    entries: tuple[KeyEntry, ...]
    count: int
    """All keys from the page's first one to the end of the range, not only those in `entries`."""
    more: bool
    revision: Revision
    """The revision the page was read at: the pinned one, or the current one when none was pinned."""
    serializable: bool = False
    """True = read without the quorum, from one member: it may lack the newest changes."""


class ClusterFeed(Protocol):
    """Reads and guarded writes of one cluster. Every call ends within the connection's timeout.

    Raises, all of them but `metrics`: EtcdopsError - what happened and what to do; `client.failures.Compacted`, which
    is one, when a pinned revision is gone.
    """

    def notices(self) -> Sequence[str]:
        """Sentences the user should see, e.g. which unverified certificate is trusted; the list grows."""

    async def observe(self) -> ClusterView:
        """One look at every member. Members that do not answer are in it; raises only when nothing can be tried."""

    async def metrics(self, view: ClusterView) -> Mapping[str, MemberMetrics | NoMetrics]:
        """Each answering member's `/metrics`, by label, or why it could not be read. Never raises for a member."""

    async def page(self, start: bytes, end: bytes, *, limit: int, revision: Revision) -> KeyPage:
        """At most `limit` keys of [start, end), in order, as of `revision` (0 = now). `end` b"\\0" = no end."""

    async def get(self, key: bytes, *, revision: Revision) -> KeyEntry | None:
        """The key with its value as of `revision` (0 = now); None when it did not exist then."""

    async def put(self, key: bytes, value: bytes, *, expected: Revision, lease: LeaseID) -> Revision | None:
        """Write the key if its mod_revision still is `expected` (0 = it must not exist), keeping `lease`.

        Returns: the revision of the write, None when the key was changed by somebody else and nothing was written.
        Raises: ResultUnknown - sent, but no answer came; read before trying again.
        """

    async def delete(self, key: bytes, *, expected: Revision) -> Revision | None:
        """Delete the key if its mod_revision still is `expected`. Returns and raises as `put`."""

    async def close(self) -> None:
        """End all connections."""


class NoCluster:
    """The port when no cluster was named, as for logs at hand: nobody is asked, and every request says so."""

    REASON = "no cluster is asked; name one with --endpoints or --cluster"

    def notices(self) -> Sequence[str]:
        return ()

    async def observe(self) -> ClusterView:
        raise self._refusal()

    async def metrics(self, view: ClusterView) -> Mapping[str, MemberMetrics | NoMetrics]:
        return {}

    async def page(self, start: bytes, end: bytes, *, limit: int, revision: Revision) -> KeyPage:
        raise self._refusal()

    async def get(self, key: bytes, *, revision: Revision) -> KeyEntry | None:
        raise self._refusal()

    async def put(self, key: bytes, value: bytes, *, expected: Revision, lease: LeaseID) -> Revision | None:
        raise self._refusal()

    async def delete(self, key: bytes, *, expected: Revision) -> Revision | None:
        raise self._refusal()

    async def close(self) -> None:
        pass

    def _refusal(self) -> UsageError:
        what, _, how = self.REASON.partition("; ")
        return UsageError(what, hint=how)
