"""Everything a member serves, put together: gRPC methods, HTTP pages, answers to other members, and lease expiry."""

from __future__ import annotations

import logging
from collections.abc import Callable

from etcdops.ids import NO_MEMBER
from etcdops.node.api import auth, health
from etcdops.node.api.answer import Answer, Handler, Headers
from etcdops.node.api.cluster import ClusterService
from etcdops.node.api.election import ElectionService
from etcdops.node.api.errors import (
    INVALID_CLIENT_API_VERSION,
    NO_LEADER,
    NOT_CAPABLE,
    NOT_SUPPORTED_FOR_LEARNER,
    EtcdError,
)
from etcdops.node.api.http import HttpHandlers
from etcdops.node.api.kv import KVService, range_stream
from etcdops.node.api.lease import LeaseService
from etcdops.node.api.lock import LockService
from etcdops.node.api.maintenance import MaintenanceService
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.own_client import OwnClient
from etcdops.node.api.peer_routes import PeerQuestions
from etcdops.node.api.port import ServerPort
from etcdops.node.api.quota import QuotaGuard
from etcdops.node.api.rights import RIGHTS, Row
from etcdops.node.api.snapshot import SnapshotService
from etcdops.node.api.streams import OpenStreams, requires_leader
from etcdops.node.api.watch import WatchService
from etcdops.node.api.work_files import WorkFiles
from etcdops.node.lease.expiry import LeaseExpiry
from etcdops.node.peer.port import PeerRoutes
from etcdops.node.rpc.service import (
    Method,
    Methods,
    RpcError,
    Stream,
    StreamCall,
    StreamHandler,
    Unary,
    UnaryCall,
    UnaryHandler,
    is_text,
)

log = logging.getLogger(__name__)

StreamService = Callable[[StreamCall, RpcStats], None]

CAPABLE_OF = frozenset({"", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5"})
"""Cluster versions (major.minor) whose API this member knows; not decided yet counts too.

Source: etcd server/etcdserver/api/capability.go.
"""


class EtcdServices:
    """All of a member's API. Made once the server's parts are there; holds no state that must survive."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server
        headers = Headers(server)
        quota = QuotaGuard(server)
        streams = OpenStreams(server)
        work_files = WorkFiles(server.state.path.parent)
        leases = LeaseService(server, headers, quota, streams)
        cluster = ClusterService(server, headers)
        self._headers = headers
        self._version = ""
        self._capable = True
        keys = KVService(server, quota).handlers()
        client = OwnClient(server, headers, {**keys, **leases.handlers()})
        elections = ElectionService(client)
        self._unary: dict[str, Handler] = {
            **keys,
            **leases.handlers(),
            **cluster.handlers(),
            **MaintenanceService(server, headers, work_files).handlers(),
            **auth.handlers(),
            **LockService(client).handlers(),
            **elections.handlers(),
            **health.handlers(),
        }
        self._streams: dict[str, StreamService] = {
            "/etcdserverpb.KV/RangeStream": range_stream,
            "/etcdserverpb.Watch/Watch": WatchService(server, headers, streams).watch,
            "/etcdserverpb.Lease/LeaseKeepAlive": leases.keep_alive,
            "/etcdserverpb.Maintenance/Snapshot": SnapshotService(server, work_files).snapshot,
            "/v3electionpb.Election/Observe": elections.observe,
            "/grpc.health.v1.Health/Watch": health.watch,
        }
        self.http = HttpHandlers(server)
        """`http.handle` answers HTTP/1.1; `http.version_json` is for the peer port too."""

        self.lease_expiry = LeaseExpiry(server)
        """`lease_expiry.tick()` every lease.expiry.INTERVAL_S."""

        self.peer_routes: PeerRoutes = PeerQuestions(server, leases, cluster).routes()

    def methods(self) -> Methods:
        """Every RPC with a row in RIGHTS; one without a row is not served."""
        methods: dict[str, Method] = {}
        for path, row in RIGHTS.items():
            stats = self._server.metrics.rpcs.setdefault(path, RpcStats(row.kind.value))
            if path in self._unary:
                methods[path] = Unary(self._guard_unary(self._unary[path], row, stats))
            else:
                methods[path] = Stream(self._guard_stream(self._streams[path], row, stats))
        return Methods(methods, self._server.metrics.client_traffic)

    def _guard_unary(self, handler: Handler, row: Row, stats: RpcStats) -> UnaryHandler:
        headers, metrics = self._headers, self._server.metrics

        def handle(message: bytes, call: UnaryCall) -> None:
            stats.started += 1
            metadata = call.metadata
            version = metadata.get("client-api-version", "unknown")
            if is_text(version):
                metrics.count_client("unary", version)
                error = self._refusal(metadata.get("hasleader") == "true", row)
            else:
                error = INVALID_CLIENT_API_VERSION
            try:
                if error is not None:
                    raise error()
                handler(message, Answer(call, headers, stats))
            except RpcError as refused:
                stats.count_failed(refused.code)
                raise

        return handle

    def _guard_stream(self, handler: StreamService, row: Row, stats: RpcStats) -> StreamHandler:
        metrics = self._server.metrics

        def handle(call: StreamCall) -> None:
            stats.started += 1
            version = call.metadata.get("client-api-version", "unknown")
            if is_text(version):
                metrics.count_client("stream", version)
                error = self._refusal(requires_leader(call.metadata), row)
            else:
                error = INVALID_CLIENT_API_VERSION
            if error is not None:
                stats.count_failed(error.code)
                call.end(error())
            else:
                handler(call, stats)

        return handle

    def _refusal(self, leader_required: bool, row: Row) -> EtcdError | None:
        """What no call may pass, in etcd's order. Source: etcd v3rpc/interceptor.go, newUnaryInterceptor."""
        server = self._server
        if server.applier.cluster_version is not self._version:
            self._version = server.applier.cluster_version
            self._capable = ".".join(self._version.split(".")[:2]) in CAPABLE_OF
        if not self._capable:
            return NOT_CAPABLE
        if server.is_learner and not row.on_learner:
            return NOT_SUPPORTED_FOR_LEARNER
        if leader_required and server.leader == NO_MEMBER:
            return NO_LEADER
        return None
