"""What a member says about itself at `/metrics`: the few families the console shows, and rates between two readings.

Source: etcd's metric names, server/storage/backend/metrics.go, server/storage/wal/metrics.go,
server/etcdserver/metrics.go, server/etcdserver/api/rafthttp/metrics.go, server/storage/mvcc/metrics.go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from prometheus_client.parser import text_string_to_metric_families

from etcdops.client.view import ClusterView, MemberView
from etcdops.ids import MemberID

COMMIT = "etcd_disk_backend_commit_duration_seconds"
FSYNC = "etcd_disk_wal_fsync_duration_seconds"
PEER_RTT = "etcd_network_peer_round_trip_time_seconds"
PROPOSALS = "etcd_server_proposals_committed_total"
PROPOSALS_PENDING = "etcd_server_proposals_pending"
PROPOSALS_FAILED = "etcd_server_proposals_failed_total"
LEADER_CHANGES = "etcd_server_leader_changes_seen_total"
SLOW_APPLIES = "etcd_server_slow_apply_total"
QUOTA = "etcd_server_quota_backend_bytes"
WATCHERS = "etcd_debugging_mvcc_watcher_total"
KEYS = "etcd_debugging_mvcc_keys_total"
RESIDENT = "process_resident_memory_bytes"
OPEN_FILES = "process_open_fds"
OPEN_FILES_MAX = "process_max_fds"
STARTED = "process_start_time_seconds"
SLOW_WATCHERS = "etcd_debugging_mvcc_slow_watcher_total"
SLOW_READ_INDEXES = "etcd_server_slow_read_indexes_total"
READ_INDEXES_FAILED = "etcd_server_read_indexes_failed_total"
HEARTBEATS_LATE = "etcd_server_heartbeat_send_failures_total"
LEASES_GRANTED = "etcd_debugging_lease_granted_total"
LEASES_REVOKED = "etcd_debugging_lease_revoked_total"
GO_VERSION = "etcd_server_go_version"
"""Only etcd's own binaries have it."""

_HISTOGRAMS = frozenset({COMMIT, FSYNC, PEER_RTT})
_NUMBERS = frozenset(
    {
        PROPOSALS,
        PROPOSALS_PENDING,
        PROPOSALS_FAILED,
        LEADER_CHANGES,
        SLOW_APPLIES,
        QUOTA,
        WATCHERS,
        KEYS,
        RESIDENT,
        OPEN_FILES,
        OPEN_FILES_MAX,
        STARTED,
        SLOW_WATCHERS,
        SLOW_READ_INDEXES,
        READ_INDEXES_FAILED,
        HEARTBEATS_LATE,
        LEASES_GRANTED,
        LEASES_REVOKED,
        GO_VERSION,
    }
)
_WANTED = tuple(sorted(_HISTOGRAMS | _NUMBERS))

RATE_WINDOW_S = 60.0
"""Rates and percentiles are over about the last minute: one poll has too few samples for a p99."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by upper bound, as Prometheus counts them: bounds ascend, the last one is infinite."""

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    def since(self, older: Histogram) -> Histogram:
        """What was counted after `older`; everything, when the member restarted in between (counts went down)."""
        if older.bounds != self.bounds or any(new < old for new, old in zip(self.counts, older.counts, strict=True)):
            return self
        return Histogram(self.bounds, tuple(new - old for new, old in zip(self.counts, older.counts, strict=True)))

    def quantile(self, q: float) -> float | None:
        """The value below which the share `q` lies, interpolated inside its bucket; None of nothing."""
        if not self.counts or self.counts[-1] <= 0:
            return None
        rank = q * self.counts[-1]
        below, low = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank:
                if bound == float("inf"):
                    return low
                return low + (bound - low) * (rank - below) / (count - below) if count > below else bound
            below, low = count, bound
        return low


NO_SAMPLES = Histogram()
_NONE_KNOWN: Mapping[MemberID | None, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MemberMetrics:
    """One reading of one member's `/metrics`. What the member does not export is not in it."""

    taken_at_s: float
    """Monotonic time of the reading."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    peer_rtt: Mapping[str, Histogram] = field(default_factory=dict)
    """By the peer's ID as etcd writes it (hex)."""

    def histogram(self, name: str) -> Histogram:
        return self.histograms.get(name, NO_SAMPLES)


@dataclass(frozen=True, slots=True)
class NoMetrics:
    """Why a member's `/metrics` could not be read, and where it was looked for."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened between two readings of one member; None where nothing did or it cannot be told."""

    commit_p99_s: float | None = None
    fsync_p99_s: float | None = None
    peer_rtt_p99_s: Mapping[str, float | None] = field(default_factory=dict)
    proposals_per_s: float | None = None

    @property
    def worst_peer_rtt_s(self) -> float | None:
        return max((rtt for rtt in self.peer_rtt_p99_s.values() if rtt is not None), default=None)


def parse_metrics(text: str, *, taken_at_s: float) -> MemberMetrics:
    """The families of interest in a Prometheus text page; others are skipped before they are parsed.

    Raises: ValueError - a line of interest is no sample.
    """
    wanted = "\n".join(row for row in text.splitlines() if row.removeprefix("# TYPE ").startswith(_WANTED)) + "\n"
    numbers: dict[str, float] = {}
    buckets: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for family in text_string_to_metric_families(wanted):
        for sample in family.samples:
            name = sample.name.removesuffix("_bucket")
            if sample.name in _NUMBERS:
                numbers[sample.name] = numbers.get(sample.name, 0.0) + sample.value
            elif name in _HISTOGRAMS and "le" in sample.labels:
                peer = sample.labels.get("To", "")
                buckets.setdefault((name, peer), []).append((float(sample.labels["le"]), sample.value))
    histograms = {key: _histogram(pairs) for key, pairs in buckets.items()}
    return MemberMetrics(
        taken_at_s,
        numbers,
        {name: histogram for (name, _), histogram in histograms.items() if name != PEER_RTT},
        {peer: histogram for (name, peer), histogram in histograms.items() if name == PEER_RTT},
    )


def rates_between(older: MemberMetrics, newer: MemberMetrics) -> Rates:
    """What one member did between two of its readings."""

    def p99(name: str) -> float | None:
        return newer.histogram(name).since(older.histogram(name)).quantile(0.99)

    elapsed_s = newer.taken_at_s - older.taken_at_s
    done = newer.numbers.get(PROPOSALS, 0.0) - older.numbers.get(PROPOSALS, 0.0)
    counted = PROPOSALS in newer.numbers and PROPOSALS in older.numbers and elapsed_s > 0 and done >= 0
    return Rates(
        commit_p99_s=p99(COMMIT),
        fsync_p99_s=p99(FSYNC),
        peer_rtt_p99_s={
            peer: histogram.since(older.peer_rtt.get(peer, NO_SAMPLES)).quantile(0.99)
            for peer, histogram in sorted(newer.peer_rtt.items())
        },
        proposals_per_s=done / elapsed_s if counted else None,
    )


def keep_window(readings: Iterable[MemberMetrics], now_s: float) -> tuple[MemberMetrics, ...]:
    """The readings rates are computed from: those of the window, and the newest one before it."""
    kept = sorted(readings, key=lambda reading: reading.taken_at_s)
    older = [reading for reading in kept if reading.taken_at_s <= now_s - RATE_WINDOW_S]
    return (*older[-1:], *kept[len(older) :])


def with_quotas(
    view: ClusterView,
    metrics: Mapping[str, MemberMetrics | NoMetrics],
    known: Mapping[MemberID | None, int] = _NONE_KNOWN,
) -> ClusterView:
    """The view with the quotas of members before 3.6, which tell them at `/metrics` only; `metrics` by member's label.

    `known`: from before, for members whose metrics cannot be read now; a quota changes only by a restart.
    """

    def filled(member: MemberView) -> MemberView:
        if member.status is None or member.status.db_quota_bytes:
            return member
        reading = metrics.get(member.label)
        told = int(reading.numbers.get(QUOTA, 0)) if isinstance(reading, MemberMetrics) else 0
        status = dataclasses.replace(member.status, db_quota_bytes=told or known.get(member.id, 0))
        return dataclasses.replace(member, status=status, last_status=status)

    return dataclasses.replace(view, members=tuple(filled(member) for member in view.members))


def _histogram(pairs: list[tuple[float, float]]) -> Histogram:
    ordered = sorted(pairs)
    return Histogram(tuple(bound for bound, _ in ordered), tuple(count for _, count in ordered))
