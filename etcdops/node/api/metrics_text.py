"""`/metrics`: the member's counters under etcd's names, in Prometheus text format.

Source: the metrics.go files of etcd's server tree, and go-grpc-prometheus for grpc_server_*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from etcdops.ids import NO_MEMBER, format_id
from etcdops.node.api.errors import GO_CODE_NAMES
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.histogram import Histogram
from etcdops.node.rpc.service import StatusCode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GRPC_LABELS = ("grpc_code", "grpc_method", "grpc_service", "grpc_type")


class MetricsPage:
    """Renders the page. One per member."""

    def __init__(self, server: ServerPort) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(server))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        return generate_latest(self._registry)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    help: str
    value: float


class _NodeCollector(Collector):
    def __init__(self, server: ServerPort) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        for row in _gauges(self._server):
            yield GaugeMetricFamily(row.name, row.help, value=row.value)
        for row in _counters(self._server):
            yield CounterMetricFamily(row.name, row.help, value=row.value)
        for row in _misnamed_counters(self._server):
            yield _untyped(row)
        for name, help_text, histogram in _histograms(self._server):
            yield HistogramMetricFamily(name, help_text, buckets=histogram.buckets(), sum_value=histogram.sum)
        yield from _labelled(self._server)
        yield from _links(self._server)
        yield from _rpcs(self._server.metrics.rpcs)


def _gauges(server: ServerPort) -> Iterator[_Row]:
    metrics, state = server.metrics, server.state
    yield _Row("etcd_server_has_leader", "Whether or not a leader exists.", server.leader != NO_MEMBER)
    yield _Row("etcd_server_is_leader", "Whether or not this member is a leader.", server.is_leader)
    yield _Row("etcd_server_is_learner", "Whether or not this member is a learner.", server.is_learner)
    # Gauges in etcd too, whatever their names say.
    yield _Row("etcd_server_proposals_committed_total", "Consensus proposals committed.", server.commit_index)
    yield _Row("etcd_server_proposals_applied_total", "Consensus proposals applied.", server.applied_index)
    yield _Row("etcd_server_proposals_pending", "Proposals waiting to be committed.", metrics.proposals_pending)
    yield _Row("etcd_server_quota_backend_bytes", "Backend quota in bytes.", server.applier.quota.limit_bytes)
    yield _Row("etcd_mvcc_db_total_size_in_bytes", "Size of the database file in bytes.", state.size_bytes)
    yield _Row(
        "etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the database in use in bytes.", state.size_in_use_bytes
    )
    yield _Row("etcd_debugging_mvcc_keys_total", "Number of keys.", server.applier.keys_count)
    yield _Row("etcd_debugging_mvcc_current_revision", "Current revision of the store.", state.mvcc.revision)
    yield _Row("etcd_debugging_mvcc_compact_revision", "Last compacted revision.", state.mvcc.compact_revision)
    yield _Row("etcd_debugging_mvcc_watch_stream_total", "Open watch streams.", metrics.watch_streams)
    yield _Row("etcd_debugging_mvcc_watcher_total", "Watchers.", server.hub.watchers_count)
    yield _Row("etcd_debugging_mvcc_slow_watcher_total", "Unsynced slow watchers.", server.hub.slow_watchers_count)


def _counters(server: ServerPort) -> Iterator[_Row]:
    metrics = server.metrics
    yield _Row("etcd_server_leader_changes_seen", "Leader changes seen.", metrics.leader_changes_seen)
    yield _Row("etcd_server_proposals_failed", "Failed proposals seen.", metrics.proposals_failed)
    yield _Row("etcd_server_slow_apply", "Slow apply requests.", metrics.slow_applies)
    yield _Row("etcd_server_slow_read_indexes", "Pending read indexes not in time.", metrics.slow_read_indexes)
    yield _Row("etcd_server_read_indexes_failed", "Failed read indexes seen.", metrics.read_indexes_failed)
    yield _Row("etcd_server_heartbeat_send_failures", "Heartbeats that were late.", metrics.heartbeat_send_failures)
    yield _Row("etcd_debugging_server_lease_expired", "Expired leases.", metrics.leases_expired)
    yield _Row("etcd_debugging_lease_granted", "Granted leases.", metrics.leases_granted)
    yield _Row("etcd_debugging_lease_revoked", "Revoked leases.", metrics.leases_revoked)
    yield _Row("etcd_debugging_lease_renewed", "Renewals of leases on the leader.", metrics.leases_renewed)
    yield _Row("etcd_mvcc_range", "Ranges served by this member.", metrics.ranges)
    yield _Row("etcd_mvcc_put", "Puts seen by this member.", metrics.puts)
    yield _Row("etcd_mvcc_delete", "Deletes seen by this member.", metrics.deletes)
    yield _Row("etcd_mvcc_txn", "Transactions seen by this member.", metrics.txns)
    yield _Row("etcd_debugging_mvcc_events", "Events seen by this member.", metrics.events)


def _misnamed_counters(server: ServerPort) -> Iterator[_Row]:
    """Counters that etcd names without `_total`."""
    metrics = server.metrics
    yield _Row("etcd_server_learner_promote_successes", "Successful learner promotions.", metrics.learner_promotions)
    yield _Row("etcd_server_health_success", "Successful health checks.", metrics.health_successes)
    yield _Row("etcd_server_health_failures", "Failed health checks.", metrics.health_failures)
    yield _Row("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put.", metrics.put_bytes)


def _untyped(row: _Row) -> Metric:
    """A metric by exactly this name: the library would add `_total` to a counter's."""
    metric = Metric(row.name, row.help, "unknown")
    metric.add_sample(row.name, {}, row.value)
    return metric


def _histograms(server: ServerPort) -> Iterator[tuple[str, str, Histogram]]:
    metrics = server.metrics
    yield "etcd_disk_wal_fsync_duration_seconds", "Latencies of fsync of the raft log.", metrics.wal_fsync_s
    yield "etcd_disk_backend_commit_duration_seconds", "Latencies of commits of the store.", metrics.backend_commit_s
    yield "etcd_disk_backend_defrag_duration_seconds", "Latencies of defragmentation.", metrics.defragment_s
    yield "etcd_snap_db_save_total_duration_seconds", "Latencies of saving snapshots.", metrics.snapshot_save_s


def _labelled(server: ServerPort) -> Iterator[Metric]:
    cluster_version = GaugeMetricFamily("etcd_cluster_version", "Which version is running.", labels=["cluster_version"])
    version = server.applier.cluster_version
    if version:
        cluster_version.add_metric([".".join(version.split(".")[:2])], 1)
    yield cluster_version
    server_version = GaugeMetricFamily("etcd_server_version", "Which version is running.", labels=["server_version"])
    server_version.add_metric([server.version], 1)
    yield server_version
    server_id = GaugeMetricFamily("etcd_server_id", "Server or member ID in hexadecimal.", labels=["server_id"])
    server_id.add_metric([format_id(server.member_id)], 1)
    yield server_id


def _links(server: ServerPort) -> Iterator[Metric]:
    """The links to the other members. Source: etcd server/etcdserver/api/rafthttp/metrics.go."""
    ends = ["Local", "Remote"]
    active = GaugeMetricFamily("etcd_network_active_peers", "Active peer links.", labels=ends)
    lost = CounterMetricFamily("etcd_network_disconnected_peers", "Peer links lost.", labels=ends)
    sent = CounterMetricFamily("etcd_network_peer_sent_bytes", "Bytes sent to peers.", labels=["To"])
    received = CounterMetricFamily("etcd_network_peer_received_bytes", "Bytes received from peers.", labels=["From"])
    unsent = CounterMetricFamily("etcd_network_peer_sent_failures", "Messages not sent to peers.", labels=["To"])
    unread = CounterMetricFamily(
        "etcd_network_peer_received_failures", "Messages not read from peers.", labels=["From"]
    )
    trips = HistogramMetricFamily(
        "etcd_network_peer_round_trip_time_seconds", "Round-trip times between peers.", labels=["To"]
    )
    here = format_id(server.member_id)
    for member, stats in server.peer_stats().items():
        there = format_id(member)
        active.add_metric([here, there], server.peer_active_since(member) is not None)
        lost.add_metric([here, there], stats.disconnected)
        sent.add_metric([there], stats.sent_bytes)
        received.add_metric([there], stats.received_bytes)
        unsent.add_metric([there], stats.sent_failures)
        unread.add_metric([there], stats.received_failures)
        trips.add_metric([there], buckets=stats.round_trips_s.buckets(), sum_value=stats.round_trips_s.sum)
    yield from (active, lost, sent, received, unsent, unread, trips)


def _rpcs(rpcs: dict[str, RpcStats]) -> Iterator[Metric]:
    handled = CounterMetricFamily("grpc_server_handled", "RPCs completed, whatever their result.", labels=GRPC_LABELS)
    method_labels = GRPC_LABELS[1:]
    started = CounterMetricFamily("grpc_server_started", "RPCs started.", labels=method_labels)
    received = CounterMetricFamily("grpc_server_msg_received", "Messages received.", labels=method_labels)
    sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent.", labels=method_labels)
    for path, stats in sorted(rpcs.items()):
        _, service, method = path.split("/")
        labels = [method, service, stats.kind]
        unary = stats.kind == "unary"
        started.add_metric(labels, stats.started)
        received.add_metric(labels, stats.started if unary else stats.received)
        sent.add_metric(labels, stats.ok if unary else stats.sent)
        handled.add_metric(["OK", *labels], stats.ok)
        for code, count in sorted(stats.failed.items()):
            handled.add_metric([GO_CODE_NAMES[StatusCode(code)], *labels], count)
    yield from (handled, started, received, sent)
