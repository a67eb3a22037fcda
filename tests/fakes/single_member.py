"""A member of one, without raft: what is proposed is applied in the next turn, what is asked of the leader is here.

A real state, applier, lessor, hub and registry behind `ServerPort`; only replication and peers are missing. Time is
the caller's: `advance` moves the clock and fires timers, `settle` runs everything that is due.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import TypeVar

from etcdops.clock import Clock, ManualClock
from etcdops.ids import LeaseID, LogIndex, MemberID, Term, cluster_id, member_id
from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.api.port import Limits
from etcdops.node.apply.alarms import Alarms
from etcdops.node.apply.applier import Applier
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.quota import Quota
from etcdops.node.apply.request_id import RequestIDs
from etcdops.node.lease.lessor import Lessor
from etcdops.node.member.member import Member
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.peer.status import PeerStats
from etcdops.node.raft.types import ConfChange, Entry, EntryType
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.state import StateStore
from etcdops.node.watch.hub import WatchHub
from etcdops.proto.wire import bytes_field, varint_field

T = TypeVar("T")

_PEER_URL = "http://localhost:2380"
_HEADER, _HEADER_ID = 100, 1
_APPLY_GAP_MAX = 5000


class Timer:
    """A call in the future."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self) -> None:
        if not self.cancelled:
            self.callback()


class SingleMember:
    """Implements `ServerPort`. Attributes of the leader's sort (`leader`, `is_learner`, ...) may be set by tests."""

    def __init__(self, directory: Path, *, limits: Limits | None = None, clock: Clock | None = None) -> None:
        self.limits = limits or Limits()
        self.clock: Clock = clock or ManualClock()
        self.version = "3.5.21"
        self.member_id = member_id([_PEER_URL], "etcd-cluster")
        self.cluster_id = cluster_id([self.member_id])
        self.metrics = NodeMetrics()
        self.request_ids = RequestIDs(self.member_id, self.clock)
        self.term = Term(2)
        self.leader = self.member_id
        self.is_learner = False
        self.commit_index = self.applied_index = LogIndex(0)
        self.active_since: dict[MemberID, float] = {}
        self.links: dict[MemberID, PeerStats] = {}
        self.learner_matches: dict[MemberID, tuple[LogIndex, LogIndex]] = {}
        self.linearize_error: EtcdError | None = None
        self.forwarded_renewals: list[LeaseID] = []
        self._turn: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._path = directory / "state.db"
        self._start(create=not self._path.exists())

    def _start(self, *, create: bool) -> None:
        self.state = StateStore.open(self._path, create=create)
        self.lessor = Lessor(self.state.leases, self.clock)
        self.hub = WatchHub(self.state.mvcc, self.call_soon)
        self.members = MemberRegistry(self.cluster_id, self.state.members)
        self.applier = Applier(
            self.state,
            lessor=self.lessor,
            hub=self.hub,
            members=self.members,
            alarms=Alarms(self.state.alarms),
            quota=Quota(self.limits.quota_bytes, lambda: self.state.size_bytes),
            metrics=self.metrics,
            call_later=self.call_later,
            on_storage_failure=_fail,
        )
        if create:
            self.members.bootstrap([Member(self.member_id, (_PEER_URL,), "default", ("http://localhost:2379",))])
        self.applier.recover(self.state)
        self.commit_index = self.applied_index = self.state.consistent_index
        if self.is_leader:
            self.lessor.promote(self.limits.election_timeout_s)

    def restart(self) -> None:
        """Stop and start again from what is on disk."""
        self.state.close()
        self._turn.clear()
        self._timers.clear()
        self._start(create=False)

    def close(self) -> None:
        self.state.close()

    @property
    def is_leader(self) -> bool:
        return self.leader == self.member_id

    # The log.

    def propose(self, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False) -> None:
        header = varint_field(_HEADER_ID, self.request_ids.next())
        data = bytes_field(field, request) + bytes_field(_HEADER, header)
        if self.commit_index - self.applied_index > _APPLY_GAP_MAX:
            done(Outcome(error=errors.TOO_MANY_REQUESTS))
        elif len(data) > self.limits.max_request_bytes:
            done(Outcome(error=errors.REQUEST_TOO_LARGE))
        else:
            self.call_soon(lambda: done(self.apply_data(data)))

    def apply_data(self, data: bytes) -> Outcome:
        """Commit and apply one NORMAL entry."""
        return self.applier.apply(self._next_entry(EntryType.NORMAL, data)).outcome

    def _next_entry(self, kind: EntryType, data: bytes) -> Entry:
        self.commit_index = self.applied_index = LogIndex(self.applied_index + 1)
        return Entry(self.term, self.applied_index, kind, data)

    def linearize(self, done: Callable[[EtcdError | None], None]) -> None:
        self.call_soon(lambda: done(self.linearize_error))

    def configure(self, change: ConfChange, done: Callable[[EtcdError | None], None]) -> None:
        entry = self._next_entry(EntryType.CONF_CHANGE, b"")
        self.call_soon(lambda: done(self.applier.apply_conf_change(entry, change)))

    # The other members.

    def transfer_leader(self, target: MemberID, done: Callable[[EtcdError | None], None]) -> None:
        done(errors.TIMEOUT_LEADER_TRANSFER)

    def peer_active_since(self, member: MemberID) -> float | None:
        return self.active_since.get(member)

    def peer_stats(self) -> Mapping[MemberID, PeerStats]:
        return self.links

    def learner_progress(self, member: MemberID) -> tuple[LogIndex, LogIndex] | None:
        return self.learner_matches.get(member)

    def forward_lease_renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        self.forwarded_renewals.append(lease)
        done(0, errors.TIMEOUT)

    def forward_lease_time_to_live(self, request: bytes, done: Callable[[bytes, EtcdError | None], None]) -> None:
        done(b"", errors.TIMEOUT)

    def forward_promote(
        self, member: MemberID, metadata: Mapping[str, str | bytes], done: Callable[[EtcdError | None], None]
    ) -> None:
        done(errors.TIMEOUT)

    # The loop.

    def run_in_background(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # handed on, as a thread pool does
            failure = error
            self.call_soon(lambda: done(None, failure))
        else:
            self.call_soon(lambda: done(result, None))

    def call_soon(self, callback: Callable[[], None]) -> object:
        self._turn.append(callback)
        return None

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.clock.monotonic() + delay_s, next(self._numbers), timer))
        return timer

    def settle(self) -> None:
        """Run until nothing is due, then commit as a running member does several times a second."""
        while True:
            while self._turn:
                self._turn.popleft()()
            if not self._timers or self._timers[0][0] > self.clock.monotonic():
                self.state.commit()
                return
            _, _, timer = heapq.heappop(self._timers)
            timer.fire()

    def advance(self, seconds: float) -> None:
        """Move the clock (a ManualClock) timer by timer, and settle."""
        assert isinstance(self.clock, ManualClock)
        end = self.clock.monotonic() + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            self.clock.advance(max(self._timers[0][0] - self.clock.monotonic(), 0.0))
            self.settle()
        self.clock.advance(end - self.clock.monotonic())
        self.settle()


def _fail(error: StorageFailed) -> None:
    raise AssertionError("the disk of a test broke") from error
