"""`/metrics`: what a member counts and is, under etcd's names, types, labels and bounds.

`tests/node/api/test_metrics_families.py` compares the page with a real etcd's: what is not here, and why, is a table
there.
Source: the metrics.go files of etcd's server tree, and go-grpc-prometheus for grpc_server_*.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import apsw
from prometheus_client import CollectorRegistry, ProcessCollector

from etcdops.ids import NO_MEMBER, format_id
from etcdops.node.api.errors import GO_CODE_NAMES
from etcdops.node.api.exposition import CONTENT_TYPE, Family, Kind, Sample, Value, render
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.apply import wire
from etcdops.node.peer.status import PeerStats
from etcdops.node.rpc.service import StatusCode

__all__ = ["CONTENT_TYPE", "MetricsPage"]

GRPC_LABELS = ("grpc_type", "grpc_service", "grpc_method")

_OPERATIONS = {
    wire.FIELD_RANGE: "Range",
    wire.FIELD_PUT: "Put",
    wire.FIELD_DELETE_RANGE: "DeleteRange",
    wire.FIELD_TXN: "Txn",
    wire.FIELD_COMPACTION: "Compaction",
    wire.FIELD_LEASE_GRANT: "LeaseGrant",
    wire.FIELD_LEASE_REVOKE: "LeaseRevoke",
    wire.FIELD_LEASE_CHECKPOINT: "LeaseCheckpoint",
    wire.FIELD_ALARM: "Alarm",
    wire.FIELD_CLUSTER_VERSION_SET: "ClusterVersionSet",
    wire.FIELD_CLUSTER_MEMBER_ATTR_SET: "ClusterMemberAttrSet",
    wire.FIELD_DOWNGRADE_INFO_SET: "DowngradeInfoSet",
}
"""The `op` of etcd_server_apply_duration_seconds. Source: etcd server/etcdserver/apply.go, applierV3backend.Apply."""


class MetricsPage:
    """Renders the page. One per member."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server
        self._process = ProcessCollector(registry=CollectorRegistry())

    def render(self) -> bytes:
        server = self._server
        parts = (_server(server), _store(server), _debugging(server), _disk(server), _network(server))
        return render([*chain.from_iterable(parts), *_rpcs(server.metrics.rpcs), *self._of_the_process()])

    def _of_the_process(self) -> Iterator[Family]:
        for metric in self._process.collect():
            name = metric.name + "_total" * (metric.type == "counter")
            kind: Kind = "counter" if metric.type == "counter" else "gauge"
            yield Family(name, kind, metric.documentation, (), [Sample((), one.value) for one in metric.samples])


def _one(kind: Kind) -> Callable[[str, str, Value], Family]:
    return lambda name, help_text, value: Family(name, kind, help_text, (), [Sample((), value)])


_gauge, _counter, _histogram = _one("gauge"), _one("counter"), _one("histogram")


def _server(server: ServerPort) -> Iterator[Family]:
    """Source: etcd server/etcdserver/metrics.go, api/membership/metrics.go, api/etcdhttp/health.go."""
    metrics = server.metrics
    yield _gauge("etcd_server_has_leader", "Whether or not a leader exists.", server.leader != NO_MEMBER)
    yield _gauge("etcd_server_is_leader", "Whether or not this member is a leader.", server.is_leader)
    yield _gauge("etcd_server_is_learner", "Whether or not this member is a learner.", server.is_learner)
    yield _counter("etcd_server_leader_changes_seen_total", "Leader changes seen.", metrics.leader_changes_seen)
    # Gauges in etcd too, whatever their names say.
    yield _gauge("etcd_server_proposals_committed_total", "Consensus proposals committed.", server.commit_index)
    yield _gauge("etcd_server_proposals_applied_total", "Consensus proposals applied.", server.applied_index)
    yield _gauge("etcd_server_proposals_pending", "Proposals waiting to be committed.", metrics.proposals_pending)
    yield _counter("etcd_server_proposals_failed_total", "Failed proposals seen.", metrics.proposals_failed)
    yield _counter("etcd_server_slow_apply_total", "Slow apply requests.", metrics.slow_applies)
    yield _counter("etcd_server_slow_read_indexes_total", "Read indexes not in time.", metrics.slow_read_indexes)
    yield _counter("etcd_server_read_indexes_failed_total", "Failed read indexes seen.", metrics.read_indexes_failed)
    yield _counter(
        "etcd_server_heartbeat_send_failures_total", "Heartbeats that were late.", metrics.heartbeat_send_failures
    )
    yield _gauge("etcd_server_quota_backend_bytes", "Backend quota in bytes.", server.applier.quota.limit_bytes)
    yield _gauge(
        "etcd_server_snapshot_apply_in_progress_total", "1 while a snapshot is applied.", metrics.snapshot_applying
    )
    yield _counter("etcd_server_health_success", "Successful health checks.", metrics.health_successes)
    yield _counter("etcd_server_health_failures", "Failed health checks.", metrics.health_failures)
    yield _counter(
        "etcd_server_learner_promote_successes", "Learners promoted as the leader.", metrics.learner_promotions
    )
    failures = [Sample((reason,), count) for reason, count in metrics.learner_promotions_failed.items()]
    yield Family(
        "etcd_server_learner_promote_failures", "counter", "Learners not promoted as the leader.", ("Reason",), failures
    )
    requests = [Sample(labels, count) for labels, count in metrics.client_requests.items()]
    labels = ("type", "client_api_version")
    yield Family("etcd_server_client_requests_total", "counter", "Requests by client version.", labels, requests)
    yield Family(
        "etcd_server_apply_duration_seconds",
        "histogram",
        "Latencies of applying a request.",
        ("version", "op", "success"),
        [
            Sample(("v3", _OPERATIONS[number], success), durations)
            for number, both in metrics.applies_s.items()
            for success, durations in zip(("false", "true"), both, strict=True)
            if durations.sum
        ],
    )
    version = ".".join(server.applier.cluster_version.split(".")[:2])
    yield _fact("etcd_cluster_version", "Which version is running.", "cluster_version", version)
    yield _fact("etcd_server_version", "Which version is running.", "server_version", server.version)
    yield _fact("etcd_server_id", "Member ID in hexadecimal.", "server_id", format_id(server.member_id))
    used, limit = _descriptors()
    yield _gauge("os_fd_used", "File descriptors in use.", used)
    yield _gauge("os_fd_limit", "File descriptors there may be.", limit)


def _fact(name: str, help_text: str, label: str, value: str) -> Family:
    return Family(name, "gauge", help_text, (label,), [Sample((value,), 1)] if value else [])


def _descriptors() -> tuple[int, int]:
    try:
        used = len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        used = 0  # not on this system
    return used, resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _store(server: ServerPort) -> Iterator[Family]:
    """Source: etcd server/mvcc/metrics.go."""
    metrics, state = server.metrics, server.state
    yield _counter("etcd_mvcc_range_total", "Ranges served by this member.", metrics.ranges)
    yield _counter("etcd_mvcc_put_total", "Puts seen by this member.", metrics.puts)
    yield _counter("etcd_mvcc_delete_total", "Deletes seen by this member.", metrics.deletes)
    yield _counter("etcd_mvcc_txn_total", "Transactions seen by this member.", metrics.txns)
    yield _gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the database file.", state.size_bytes)
    yield _gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes", "Size of what is used of the database.", state.size_in_use_bytes
    )
    yield _gauge("etcd_mvcc_db_open_read_transactions", "Readers besides the member's own.", _readers(str(state.path)))
    yield _histogram("etcd_mvcc_hash_duration_seconds", "Latencies of hashing the store.", metrics.hash_s)
    yield _histogram("etcd_mvcc_hash_rev_duration_seconds", "Latencies of hashes by revision.", metrics.hash_kv_s)


def _readers(path: str) -> int:
    """Connections of background threads, each of which reads for as long as it is open."""
    found = 0
    for connection in apsw.connections():
        try:
            found += connection.filename == path and bool(connection.open_flags & apsw.SQLITE_OPEN_READONLY)
        except apsw.Error:
            pass  # it was closed meanwhile
    return found


def _debugging(server: ServerPort) -> Iterator[Family]:
    """What etcd calls debugging: it may change between its versions. Sources: server/mvcc/metrics.go, lease/metrics.go,
    auth/metrics.go, etcdserver/metrics.go, etcdserver/api/snap/metrics.go."""
    metrics, state, compactions = server.metrics, server.state, server.metrics.compactions
    prefix = "etcd_debugging_mvcc_"
    yield _gauge(prefix + "keys_total", "Number of keys.", server.applier.keys_count)
    yield _gauge(prefix + "current_revision", "Current revision of the store.", state.mvcc.revision)
    yield _gauge(prefix + "compact_revision", "Last compacted revision.", state.mvcc.compact_revision)
    yield _counter(prefix + "range_total", "Ranges served by this member.", metrics.ranges)
    yield _gauge(prefix + "total_put_size_in_bytes", "Bytes of keys and values put.", metrics.put_bytes)
    yield _gauge(prefix + "watch_stream_total", "Open watch streams.", metrics.watch_streams)
    yield _gauge(prefix + "watcher_total", "Watchers.", server.hub.watchers_count)
    yield _gauge(prefix + "slow_watcher_total", "Unsynced slow watchers.", server.hub.slow_watchers_count)
    yield _counter(prefix + "events_total", "Events sent by this member.", metrics.events_sent)
    # A watcher whose client does not read becomes a slow one: nothing is kept for it in memory.
    yield _gauge(prefix + "pending_events_total", "Events that wait to be sent.", 0)
    yield _counter(prefix + "db_compaction_keys_total", "Old revisions removed.", compactions.keys)
    yield _gauge(prefix + "db_compaction_last", "Unix time of the last compaction's end.", compactions.last_at)
    yield _histogram(
        prefix + "db_compaction_pause_duration_milliseconds",
        "Times that compactions held all up.",
        compactions.steps_ms,
    )
    yield _histogram(
        prefix + "db_compaction_total_duration_milliseconds", "Durations of compactions.", compactions.runs_ms
    )
    yield _counter("etcd_debugging_server_lease_expired_total", "Expired leases.", metrics.leases_expired)
    yield _counter("etcd_debugging_lease_granted_total", "Granted leases.", metrics.leases_granted)
    yield _counter("etcd_debugging_lease_revoked_total", "Revoked leases.", metrics.leases_revoked)
    yield _counter("etcd_debugging_lease_renewed_total", "Renewals on the leader.", metrics.leases_renewed)
    yield _histogram("etcd_debugging_lease_ttl_total", "Seconds to live of leases granted.", metrics.lease_ttls_s)
    yield _gauge("etcd_debugging_auth_revision", "Revision of the users.", state.auth_meta.number("revision") or 1)
    yield _histogram(
        "etcd_debugging_snap_save_total_duration_seconds",
        "Latencies of recording a snapshot.",
        metrics.snapshot_recorded_s,
    )


def _disk(server: ServerPort) -> Iterator[Family]:
    """Sources: etcd server/wal/metrics.go, mvcc/backend/metrics.go, etcdserver/api/snap/metrics.go."""
    metrics, images = server.metrics, server.metrics.saved_images
    yield _histogram("etcd_disk_wal_fsync_duration_seconds", "Latencies of appending to the log.", metrics.wal_fsync_s)
    yield _gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the raft log.", metrics.wal_written_bytes)
    yield _histogram(
        "etcd_disk_backend_commit_duration_seconds", "Latencies of commits of the store.", metrics.backend_commit_s
    )
    yield _histogram("etcd_disk_backend_defrag_duration_seconds", "Latencies of defragmentation.", metrics.defragment_s)
    yield _histogram(
        "etcd_disk_backend_snapshot_duration_seconds", "Latencies of images of the store.", metrics.backend_snapshot_s
    )
    yield _gauge("etcd_disk_defrag_inflight", "Whether or not the store is defragmented now.", metrics.defragmenting)
    yield _histogram(
        "etcd_snap_fsync_duration_seconds", "Latencies of recording a snapshot.", metrics.snapshot_recorded_s
    )
    yield _histogram("etcd_snap_db_fsync_duration_seconds", "Latencies of syncing received images.", images.fsyncs_s)
    yield _histogram("etcd_snap_db_save_total_duration_seconds", "Latencies of saving received images.", images.saves_s)


def _network(server: ServerPort) -> Iterator[Family]:
    """Sources: etcd server/etcdserver/api/rafthttp/metrics.go, v3rpc/metrics.go."""
    metrics = server.metrics
    traffic = metrics.client_traffic
    yield _counter("etcd_network_client_grpc_received_bytes_total", "Bytes from gRPC clients.", traffic.received_bytes)
    yield _counter("etcd_network_client_grpc_sent_bytes_total", "Bytes to gRPC clients.", traffic.sent_bytes)
    failures = [Sample(labels, count) for labels, count in metrics.stream_failures.items()]
    labels = ("Type", "API")
    yield Family("etcd_network_server_stream_failures_total", "counter", "Streams that broke.", labels, failures)
    peers = server.peer_stats()
    here = format_id(server.member_id)
    active = [Sample((here, format_id(member)), server.peer_active_since(member) is not None) for member in peers]
    lost = [Sample((here, format_id(member)), stats.disconnected) for member, stats in peers.items()]
    ends = ("Local", "Remote")
    yield Family("etcd_network_active_peers", "gauge", "Active peer links.", ends, active)
    yield Family("etcd_network_disconnected_peers_total", "counter", "Peer links lost.", ends, lost)
    for name, kind, help_text, label, value in _LINKS:
        samples = [Sample((format_id(member),), value(stats)) for member, stats in peers.items()]
        yield Family(f"etcd_network_{name}", kind, help_text, (label,), samples)


_LINKS: list[tuple[str, Kind, str, str, Callable[[PeerStats], Value]]] = [
    ("peer_sent_bytes_total", "counter", "Bytes sent to peers.", "To", lambda link: link.sent_bytes),
    ("peer_received_bytes_total", "counter", "Bytes from peers.", "From", lambda link: link.received_bytes),
    ("peer_sent_failures_total", "counter", "Messages not sent.", "To", lambda link: link.sent_failures),
    ("peer_received_failures_total", "counter", "Messages not read.", "From", lambda link: link.received_failures),
    ("peer_round_trip_time_seconds", "histogram", "Round trips to peers.", "To", lambda link: link.round_trips_s),
    ("snapshot_send_success", "counter", "Images sent.", "To", lambda link: link.snapshots_sent),
    ("snapshot_send_failures", "counter", "Images not sent.", "To", lambda link: link.snapshot_send_failures),
    ("snapshot_send_inflights_total", "gauge", "Images being sent.", "To", lambda link: link.snapshots_in_flight),
    (
        "snapshot_send_total_duration_seconds",
        "histogram",
        "Durations of sending images.",
        "To",
        lambda link: link.snapshot_sends_s,
    ),
    ("snapshot_receive_success", "counter", "Images received.", "From", lambda link: link.snapshots_received),
    (
        "snapshot_receive_failures",
        "counter",
        "Images not received.",
        "From",
        lambda link: link.snapshot_receive_failures,
    ),
    ("snapshot_receive_inflights_total", "gauge", "Images arriving.", "From", lambda link: link.snapshots_arriving),
    (
        "snapshot_receive_total_duration_seconds",
        "histogram",
        "Durations of receiving images.",
        "From",
        lambda link: link.snapshot_receives_s,
    ),
]
"""Per link: name, kind, help, the label with the other end, and where the value is."""


def _rpcs(rpcs: dict[str, RpcStats]) -> Iterable[Family]:
    handled: list[Sample] = []
    started: list[Sample] = []
    received: list[Sample] = []
    sent: list[Sample] = []
    for path, stats in sorted(rpcs.items()):
        _, service, method = path.split("/")
        labels = (stats.kind, service, method)
        unary = stats.kind == "unary"
        started.append(Sample(labels, stats.started))
        received.append(Sample(labels, stats.started if unary else stats.received))
        sent.append(Sample(labels, stats.ok if unary else stats.sent))
        handled.append(Sample((*labels, "OK"), stats.ok))
        handled += [
            Sample((*labels, GO_CODE_NAMES[StatusCode(code)]), count) for code, count in sorted(stats.failed.items())
        ]
    coded = (*GRPC_LABELS, "grpc_code")
    return (
        Family("grpc_server_handled_total", "counter", "RPCs completed, whatever their result.", coded, handled),
        Family("grpc_server_started_total", "counter", "RPCs started.", GRPC_LABELS, started),
        Family("grpc_server_msg_received_total", "counter", "Messages received.", GRPC_LABELS, received),
        Family("grpc_server_msg_sent_total", "counter", "Messages sent.", GRPC_LABELS, sent),
    )
