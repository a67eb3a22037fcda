"""A cluster that exists only in this process: the console's port, with a script of looks and a sorted list of keys."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from etcdops.client.failures import Compacted
from etcdops.client.metrics import (
    COMMIT,
    FSYNC,
    KEYS,
    LEADER_CHANGES,
    PROPOSALS,
    RESIDENT,
    WATCHERS,
    Histogram,
    MemberMetrics,
    NoMetrics,
)
from etcdops.client.view import Alarm, ClusterView, MemberStatus, MemberView, Silence
from etcdops.clock import Clock
from etcdops.errors import EtcdopsError
from etcdops.ids import ClusterID, LeaseID, LogIndex, MemberID, Revision, Term
from etcdops.tui.feed import NO_LEASE, NOW, KeyEntry, KeyPage

GB = 1024**3
MEMBER_IDS = tuple(MemberID(0x8E9E05C52164694D + step) for step in range(9))
START = 1_700_000_000.0
FIRST_REVISION = Revision(5_000)


def member(
    number: int,
    *,
    name: str | None = None,
    leader: int = 1,
    term: int = 42,
    index: int = 91_846_220,
    applied: int | None = None,
    size: float = 6.7,
    in_use: float = 2.8,
    quota: float = 8.0,
    version: str = "3.5.16",
    is_learner: bool = False,
    silence: Silence = Silence.NONE,
    error: str = "",
    errors: tuple[str, ...] = (),
    rtt_s: float = 0.003,
    seen: float | None = START,
) -> MemberView:
    """Member `number` (from 1) as a look shows it; sizes in GB. With `silence` it does not answer."""
    status = MemberStatus(
        version=version,
        db_size_bytes=int(size * GB),
        db_size_in_use_bytes=int(in_use * GB),
        db_quota_bytes=int(quota * GB),
        leader=MEMBER_IDS[leader - 1] if leader else MemberID(0),
        raft_term=Term(term),
        raft_index=LogIndex(index),
        raft_applied_index=LogIndex(index if applied is None else applied),
        revision=Revision(18_204_551),
        errors=errors,
        is_learner=is_learner,
    )
    answers = silence is Silence.NONE
    return MemberView(
        id=MEMBER_IDS[number - 1],
        name=f"etcd-{number}" if name is None else name,
        peer_urls=(f"http://10.0.0.{number}:2380",),
        client_urls=(f"http://10.0.0.{number}:2379",),
        is_learner=is_learner,
        started=silence is not Silence.UNSTARTED,
        endpoint=f"http://10.0.0.{number}:2379",
        status=status if answers else None,
        error=error or ("" if answers else "deadline exceeded after 2 s"),
        silence=silence,
        rtt_s=rtt_s if answers else None,
        last_seen=seen if answers else None,
        last_status=status if answers else None,
    )


def cluster(
    *members: MemberView,
    alarms: Sequence[Alarm] = (),
    at: float = START,
    linearizable: bool | None = None,
    **more: object,
) -> ClusterView:
    """A look at these members, whose quorum is as good as their answers unless `linearizable` says otherwise."""
    view = ClusterView(ClusterID(0x6F2A9C1E04D7B3A1), members, tuple(alarms), taken_at=at, took_s=0.01)
    proved = view.quorum.holds and view.leader != 0 if linearizable is None else linearizable
    return dataclasses.replace(view, serves_linearizable=proved, **more)  # type: ignore[arg-type]  # a view's fields


def healthy(at: float = START) -> ClusterView:
    """Three members, all well."""
    return cluster(
        member(1, size=1.2, in_use=0.9, seen=at),
        member(2, size=1.2, in_use=0.9, rtt_s=0.005, applied=91_846_218, seen=at),
        member(3, size=1.1, in_use=0.9, rtt_s=0.004, seen=at),
        at=at,
    )


def degraded(at: float = START) -> ClusterView:
    """A leader close to its quota and a follower that stopped answering."""
    return cluster(
        member(1, seen=at),
        member(2, size=2.8, in_use=2.7, rtt_s=0.005, applied=91_846_218, seen=at),
        member(3, silence=Silence.TIMED_OUT),
        at=at,
    )


def quorum_lost(at: float = START) -> ClusterView:
    """One of three is left, and it knows no leader."""
    return cluster(
        member(1, silence=Silence.REFUSED, error="connection refused"),
        member(2, leader=0, term=44, seen=at),
        member(3, silence=Silence.REFUSED, error="connection refused"),
        at=at,
    )


def readings(view: ClusterView, at_s: float, *, load: float = 800.0) -> dict[str, MemberMetrics | NoMetrics]:
    """What `/metrics` of the answering members would say after `at_s` seconds of steady load."""
    done = (at_s - START) * load
    bounds = (0.001, 0.002, 0.004, 0.008, 0.016, float("inf"))
    commits = Histogram(bounds, tuple(done * share for share in (0.2, 0.5, 0.9, 0.995, 1.0, 1.0)))
    syncs = Histogram(bounds, tuple(done * share for share in (0.4, 0.8, 0.99, 1.0, 1.0, 1.0)))
    trips = Histogram(bounds, tuple((at_s - START) * share for share in (0.9, 1.0, 1.0, 1.0, 1.0, 1.0)))
    return {
        m.label: MemberMetrics(
            at_s,
            {PROPOSALS: done, KEYS: 120_000.0, WATCHERS: 1_370.0, LEADER_CHANGES: 1.0, RESIDENT: 310e6},
            {COMMIT: commits, FSYNC: syncs},
            {format(other.id or 0, "x"): trips for other in view.members if other.id != m.id},
        )
        for m in view.answering
    }


class NumberedKeys(Sequence[bytes]):
    """`count` sorted keys that take no memory: `<prefix>0000000` and so on."""

    def __init__(self, prefix: bytes, count: int) -> None:
        self._prefix = prefix
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return b"%s%07d" % (self._prefix, index)


@dataclass
class FakeFeed:
    """Answers at once. `views` are handed out one after the other, the last one again and again.

    Reads of old revisions see `versions`; every request is counted in `requests`.
    """

    views: list[ClusterView | Exception] = field(default_factory=lambda: [healthy()])
    keys: Sequence[bytes] = ()
    values: dict[bytes, bytes] = field(default_factory=dict)
    versions: dict[bytes, list[KeyEntry]] = field(default_factory=dict)
    """Older versions of a key, newest first; for keys not in it there is only version 1."""
    revision: Revision = FIRST_REVISION
    compacted: Revision = NOW
    with_metrics: bool = True
    metrics_by_look: list[Mapping[str, MemberMetrics | NoMetrics]] = field(default_factory=list)
    fail_with: EtcdopsError | None = None
    """Raised by every request for keys while it is set."""
    requests: list[str] = field(default_factory=list)
    clock: Clock | None = None
    """When `/metrics` are read; without it, ten seconds pass between two looks."""
    looks: int = 0
    closed: bool = False

    def notices(self) -> Sequence[str]:
        return ()

    async def observe(self) -> ClusterView:
        self.looks += 1
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        if isinstance(view, Exception):
            raise view
        return view

    async def metrics(self, view: ClusterView) -> Mapping[str, MemberMetrics | NoMetrics]:
        if self.metrics_by_look:
            return self.metrics_by_look.pop(0) if len(self.metrics_by_look) > 1 else self.metrics_by_look[0]
        if self.with_metrics:
            return readings(view, self.clock.monotonic() if self.clock else 10.0 * self.looks)
        return {m.label: NoMetrics(m.endpoint.removeprefix("http://"), "connection refused") for m in view.answering}

    async def page(self, start: bytes, end: bytes, *, limit: int, revision: Revision) -> KeyPage:
        self._asked(f"page {limit}", revision)
        low = bisect.bisect_left(self.keys, start)
        high = len(self.keys) if end == b"\0" else bisect.bisect_left(self.keys, end)
        chosen = self.keys[low : min(high, low + limit)]
        entries = tuple(dataclasses.replace(self._entry(key), value=b"") for key in chosen)
        return KeyPage(entries, max(0, high - low), high - low > limit, revision or self.revision)

    async def get(self, key: bytes, *, revision: Revision) -> KeyEntry | None:
        self._asked("get", revision)
        for entry in self.versions.get(key) or [self._entry(key)]:
            if revision == NOW or entry.mod_revision <= revision:
                return entry
        return None

    async def put(self, key: bytes, value: bytes, *, expected: Revision, lease: LeaseID = NO_LEASE) -> Revision | None:
        self._asked("put", NOW)
        position = bisect.bisect_left(self.keys, key)
        exists = position < len(self.keys) and self.keys[position] == key
        old = self._entry(key) if exists else None
        if (old.mod_revision if old else NOW) != expected:
            return None
        self.revision = Revision(self.revision + 1)
        if not exists:
            self.keys = [*self.keys[:position], key, *self.keys[position:]]
        created, version = (old.create_revision, old.version + 1) if old else (self.revision, 1)
        new = KeyEntry(key, created, self.revision, version, lease, value)
        self.versions[key] = [new, *(self.versions.get(key) or ([old] if old else []))]
        return self.revision

    async def delete(self, key: bytes, *, expected: Revision) -> Revision | None:
        self._asked("delete", NOW)
        if key not in self.keys or self._entry(key).mod_revision != expected:
            return None
        self.revision = Revision(self.revision + 1)
        self.keys = [other for other in self.keys if other != key]
        return self.revision

    async def close(self) -> None:
        self.closed = True

    def _entry(self, key: bytes) -> KeyEntry:
        if key in self.versions:
            return self.versions[key][0]
        return KeyEntry(key, Revision(7), Revision(7), 1, NO_LEASE, self.values.get(key, b"value of " + key))

    def _asked(self, what: str, revision: Revision) -> None:
        self.requests.append(what)
        if self.fail_with:
            raise self.fail_with
        if 0 < revision < self.compacted:
            raise Compacted("compacted", text="mvcc: required revision has been compacted", status="OUT_OF_RANGE")
