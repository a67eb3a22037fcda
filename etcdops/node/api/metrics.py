"""What the member counts, and how it shows it: etcd's names in Prometheus text format.

Counting must cost next to nothing, so a counter is a plain attribute that its owner increments; everything that can be
read from the running member is read when somebody asks for `/metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from etcdops.node.apply.compactor import CompactionStats
from etcdops.node.histogram import Histogram, exponential
from etcdops.node.peer.status import SavedImages
from etcdops.node.rpc.service import Traffic

DISK_BUCKETS_S = tuple(0.001 * 2**power for power in range(14))
"""1 ms to 8 s. Source: etcd server/wal/metrics.go, prometheus.ExponentialBuckets(0.001, 2, 14)."""

CLIENT_VERSIONS_MAX = 64
"""Versions that clients say they have and that are counted one by one; a client may say anything."""


def _disk() -> Histogram:
    return Histogram(DISK_BUCKETS_S)


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
    wal_written_bytes: int = 0
    backend_commit_s: Histogram = field(default_factory=_disk)
    backend_snapshot_s: Histogram = field(default_factory=lambda: exponential(0.01, 17))
    snapshot_recorded_s: Histogram = field(default_factory=_disk)
    """Of a snapshot's place in the raft log, with its fsync."""
    snapshot_applying: bool = False
    saved_images: SavedImages = field(default_factory=SavedImages)

    # The applier's and the services'.
    puts: int = 0
    put_bytes: int = 0
    deletes: int = 0
    txns: int = 0
    ranges: int = 0
    events_sent: int = 0
    applies_s: dict[int, tuple[Histogram, Histogram]] = field(default_factory=dict)
    """By the request's field in InternalRaftRequest: those that were refused, those that were done."""
    lease_ttls_s: Histogram = field(default_factory=lambda: exponential(1.0, 24))
    compactions: CompactionStats = field(default_factory=CompactionStats)
    watch_streams: int = 0
    leases_granted: int = 0
    leases_revoked: int = 0
    leases_renewed: int = 0
    leases_expired: int = 0
    learner_promotions: int = 0
    health_successes: int = 0
    health_failures: int = 0
    learner_promotions_failed: dict[str, int] = field(default_factory=dict)
    """By reason, in etcd's words."""
    defragment_s: Histogram = field(default_factory=lambda: exponential(0.1, 13))
    defragmenting: bool = False
    hash_s: Histogram = field(default_factory=lambda: exponential(0.01, 15))
    hash_kv_s: Histogram = field(default_factory=lambda: exponential(0.01, 15))
    stream_failures: dict[tuple[str, str], int] = field(default_factory=dict)
    """By ("receive" or "send", "watch" or "lease-keepalive"): streams that broke, and not because the client left."""
    client_requests: dict[tuple[str, str], int] = field(default_factory=dict)
    """By ("unary" or "stream", the client's version)."""
    client_traffic: Traffic = field(default_factory=Traffic)

    rpcs: dict[str, RpcStats] = field(default_factory=dict)
    """By path, "/etcdserverpb.KV/Put"."""

    def count_client(self, kind: str, version: str | bytes) -> None:
        """A call began. Source: etcd v3rpc/interceptor.go, clientRequests."""
        requests, key = self.client_requests, (kind, str(version))
        if key in requests:
            requests[key] += 1
        elif len(requests) < CLIENT_VERSIONS_MAX:
            requests[key] = 1
        else:
            requests[kind, "other"] = requests.get((kind, "other"), 0) + 1

    def count_stream_failure(self, direction: str, stream: str) -> None:
        """Source: etcd v3rpc/metrics.go, streamFailures."""
        self.stream_failures[direction, stream] = self.stream_failures.get((direction, stream), 0) + 1


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
