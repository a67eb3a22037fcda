"""What the member counts, and how it shows it: etcd's names in Prometheus text format.

Counting must cost next to nothing, so a counter is a plain attribute that its owner increments; everything that can be
read from the running member is read when somebody asks for `/metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from etcdops.node.histogram import Histogram

DISK_BUCKETS_S = tuple(0.001 * 2**power for power in range(14))
"""1 ms to 8 s. Source: etcd server/wal/metrics.go, prometheus.ExponentialBuckets(0.001, 2, 14)."""

SNAPSHOT_BUCKETS_S = tuple(0.1 * 2**power for power in range(13))
"""Defragmentations and snapshots: 100 ms to 7 minutes."""


def _disk() -> Histogram:
    return Histogram(DISK_BUCKETS_S)


def _long() -> Histogram:
    return Histogram(SNAPSHOT_BUCKETS_S)


@dataclass(slots=True)
class NodeMetrics:
    """One member's counters since it started. Whoever does the thing increments the number."""

    # The driver's.
    leader_changes_seen: int = 0
    proposals_pending: int = 0
    proposals_failed: int = 0
    slow_applies: int = 0
    slow_read_indexes: int = 0
    read_indexes_failed: int = 0
    heartbeat_send_failures: int = 0
    wal_fsync_s: Histogram = field(default_factory=_disk)
    backend_commit_s: Histogram = field(default_factory=_disk)
    snapshot_save_s: Histogram = field(default_factory=_long)

    # The applier's and the services'.
    puts: int = 0
    put_bytes: int = 0
    deletes: int = 0
    txns: int = 0
    ranges: int = 0
    events: int = 0
    compacted_keys: int = 0
    watch_streams: int = 0
    leases_granted: int = 0
    leases_revoked: int = 0
    leases_renewed: int = 0
    leases_expired: int = 0
    learner_promotions: int = 0
    health_successes: int = 0
    health_failures: int = 0
    defragment_s: Histogram = field(default_factory=_long)

    rpcs: dict[str, RpcStats] = field(default_factory=dict)
    """By path, "/etcdserverpb.KV/Put"."""


@dataclass(slots=True)
class RpcStats:
    """Calls of one gRPC method."""

    kind: str
    """As grpc-prometheus calls it: unary, server_stream, bidi_stream."""

    started: int = 0
    ok: int = 0
    failed: dict[int, int] = field(default_factory=dict)
    """Ended calls by code, OK left out."""
    received: int = 0
    sent: int = 0
    """Messages. Of a unary method they follow from the calls: see `metrics_text.py`."""

    def count_failed(self, code: int) -> None:
        self.failed[code] = self.failed.get(code, 0) + 1
