"""What the API needs from the member around it. The driver (node/server) is the real one, tests use a fake.

Everything is called on the event loop's thread and never blocks. Every `done` is called exactly once, later or at
once, also when the client is gone; the driver owns all request deadlines (5 s + 2 election timeouts by default).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from etcdops.clock import Clock
from etcdops.ids import ClusterID, LeaseID, LogIndex, MemberID, Term
from etcdops.node.api.errors import EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply.applier import Applier
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.request_id import RequestIDs
from etcdops.node.lease.lessor import Lessor
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.peer.status import PeerStats
from etcdops.node.raft.types import ConfChange
from etcdops.node.storage.state import StateStore
from etcdops.node.watch.hub import WatchHub

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings the API obeys; the driver fills them from the configuration."""

    quota_bytes: int = 2 * 1024**3
    """Backend quota; negative = none. 0 in the configuration means this default."""

    max_request_bytes: int = 1536 * 1024
    """Of the encoded InternalRaftRequest; the driver answers REQUEST_TOO_LARGE above it."""

    max_txn_ops: int = 128
    max_learners: int = 1
    strict_reconfig_check: bool = True

    host_whitelist: tuple[str, ...] = ("*",)
    """Host headers that HTTP/1.1 requests without TLS may have."""

    cors: tuple[str, ...] = ("*",)
    """Origins whose pages may read HTTP/1.1 answers."""

    request_timeout_s: float = 7.0
    """5 s + 2 election timeouts."""

    election_timeout_s: float = 1.0
    watch_progress_interval_s: float = 600.0


class TimerHandle(Protocol):
    """What `call_later` returns (asyncio.TimerHandle does)."""

    def cancel(self) -> None: ...


class ServerPort(Protocol):
    """One running member. Plain attributes are cheap to read and current."""

    limits: Limits
    clock: Clock
    version: str
    """The etcd version this member speaks as, "3.5.x"."""

    member_id: MemberID
    cluster_id: ClusterID
    applier: Applier
    lessor: Lessor
    hub: WatchHub
    members: MemberRegistry
    metrics: NodeMetrics
    request_ids: RequestIDs

    @property
    def state(self) -> StateStore:
        """Another one after a snapshot was installed."""

    @property
    def term(self) -> Term: ...
    @property
    def leader(self) -> MemberID: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def is_learner(self) -> bool: ...
    @property
    def commit_index(self) -> LogIndex: ...
    @property
    def applied_index(self) -> LogIndex: ...

    def propose(self, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False) -> None:
        """Replicate and apply `request`, the encoded member `field` of InternalRaftRequest.

        Args: as_leader - only as the leader of this term: never handed to another one, LEADER_CHANGED instead.
        The driver adds the header with a fresh request ID. `done` gets what Applier returned for it, or an Outcome
        whose error is TOO_MANY_REQUESTS, REQUEST_TOO_LARGE, STOPPED or one of the TIMEOUTs.
        """

    def linearize(self, done: Callable[[EtcdError | None], None]) -> None:
        """ReadIndex, many callers in one round: `done(None)` once everything committed before now is applied.

        Errors: TIMEOUT, LEADER_CHANGED, STOPPED.
        """

    def configure(self, change: ConfChange, done: Callable[[EtcdError | None], None]) -> None:
        """Propose a configuration change of one member (old raftpb.ConfChange form; `context` is in place).

        `done(None)` once this member applied it. All checks (node/member/reconfig.py) were made before.
        """

    def transfer_leader(self, target: MemberID, done: Callable[[EtcdError | None], None]) -> None:
        """Move the leadership to a voter. Errors: TIMEOUT_LEADER_TRANSFER, STOPPED. Asked on the leader only."""

    def peer_active_since(self, member: MemberID) -> float | None:
        """Monotonic time since when the link to `member` works; None = it does not (or it is unknown)."""

    def peer_stats(self) -> Mapping[MemberID, PeerStats]:
        """What was counted on the link to each other member. Live: read, do not keep."""

    def learner_progress(self, member: MemberID) -> tuple[LogIndex, LogIndex] | None:
        """(match index of that member, our own match index) when we lead and know it, else None."""

    def forward_lease_renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        """Renew at the leader over the peer port: `done(ttl_seconds, None)`, or LEASE_NOT_FOUND, TIMEOUT, ..."""

    def forward_lease_time_to_live(self, request: bytes, done: Callable[[bytes, EtcdError | None], None]) -> None:
        """Ask the leader over the peer port: encoded LeaseTimeToLiveRequest in, LeaseTimeToLiveResponse out."""

    def forward_promote(
        self, member: MemberID, metadata: Mapping[str, str | bytes], done: Callable[[EtcdError | None], None]
    ) -> None:
        """Have the leader promote a learner (POST /members/promote/<decimal id>); done once applied *here* too."""

    def run_in_background(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run `work` on a background thread, then `done(result, error)` on the loop."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> TimerHandle:
        """One timer on the loop."""

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Run `callback` in the next turn of the loop."""
