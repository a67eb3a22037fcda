"""Pages over HTTP/1.1 (G)."""

from __future__ import annotations

import json

import grpc
import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.client import Client
from tests.differential.conftest import Start
from tests.differential.requests import put

pytestmark = [pytest.mark.real, pytest.mark.slow]


@executes("G01", "K15")
def test_versions(server: Server) -> None:
    """Of the member, and of the cluster: its major and minor version."""
    status, body = server.client.get("/version")
    found = json.loads(body)
    server.check("G01", (status, sorted(found)), (200, ["etcdcluster", "etcdserver"]))
    server.check("G01", found["etcdserver"], server.client.status().version)
    server.check("K15", found["etcdcluster"], ".".join([*found["etcdserver"].split(".")[:2], "0"]))


@executes("G02")
@pytest.mark.parametrize("path", ["/health", "/health?serializable=true"])
def test_health(server: Server, path: str) -> None:
    """Byte for byte what probes look for."""
    server.check("G02", server.client.get(path), (200, '{"health":"true","reason":""}'))


@executes("G04")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/readyz?verbose", "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n"),
        ("/readyz/linearizable_read", "ok\n"),
        ("/readyz?exclude=linearizable_read", "ok\n"),
    ],
)
def test_live_and_ready(server: Server, path: str, expected: str) -> None:
    """The checks, by name."""
    found = server.client.get(path)
    server.check("G04", (found[0], sorted(found[1].splitlines())), (200, sorted(expected.splitlines())))


@executes("G05")
@pytest.mark.parametrize("path", ["/health", "/version", "/livez", "/readyz"])
def test_get_only(server: Server, path: str) -> None:
    """Anything else is not allowed."""
    statement = "G05.livez" if path in ("/livez", "/readyz") else "G05"
    server.check(statement, server.client.get(path, "POST")[0], 405)


METRICS = [
    "etcd_server_has_leader",
    "etcd_server_is_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_mvcc_put_total",
    "etcd_mvcc_range_total",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_disk_wal_fsync_duration_seconds_count",
    "etcd_disk_backend_commit_duration_seconds_count",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_server_quota_backend_bytes",
    "etcd_server_version",
    "etcd_server_id",
    "etcd_cluster_version",
    "etcd_server_is_learner",
    "etcd_server_health_success",
    "grpc_server_handled_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
]


@executes("G06")
def test_metrics_have_their_names(server: Server, prefix: bytes) -> None:
    """Those that dashboards and alerts are made of."""
    server.client.put(put(prefix))
    server.client.get("/health")
    status, body = server.client.get("/metrics")
    names = {line.partition("{")[0].partition(" ")[0] for line in body.splitlines() if not line.startswith("#")}
    server.check("G06", (status, sorted(set(METRICS) - names)), (200, []))


@executes("X18")
def test_the_quota_nobody_set(server: Server) -> None:
    """2 GiB."""
    _, body = server.client.get("/metrics")
    quota = next(line.split()[1] for line in body.splitlines() if line.startswith("etcd_server_quota_backend_bytes "))
    server.check("X18", float(quota), float(2 << 30))


@executes("G22", "G23")
@pytest.mark.parametrize("path", ["/debug/pprof/", "/debug/requests", "/config/local/log", "/nope"])
def test_pages_that_are_not_there(server: Server, path: str) -> None:
    """Profiles only where they are wanted; the log's level cannot be set."""
    statement = "G23" if path.startswith("/config") else "G22"
    server.check(statement, server.client.get(path, "PUT" if statement == "G23" else "GET")[0], 404)


@executes("G22")
def test_variables_are_not_told(server: Server) -> None:
    """etcd up to 3.5 tells the command line to everybody."""
    server.check("G22.vars", server.client.get("/debug/vars")[0], 404)


@executes("G19")
def test_the_peer_port_serves_no_clients(server: Server) -> None:
    """No gRPC there."""
    stranger = Client(server.cluster.members[0].peer_url)
    try:
        refusal = stranger.refusal("KV/Range", pb.RangeRequest(key=b"a"), timeout_s=5)
        server.check("G19", refusal == "OK", False)
    except grpc.RpcError as error:
        raise AssertionError("refusals are answers") from error
    finally:
        stranger.close()


@executes("G17")
def test_strange_hosts(fresh: Start) -> None:
    """CVE-2018-1099: names that are not in --host-whitelist are not ours."""
    server = fresh(flags=["--host-whitelist=localhost,127.0.0.1"])
    for host, status in (("localhost:2379", 200), ("127.0.0.1", 200), ("evil.example", 421), ("evil.example:80", 421)):
        server.check("G17", server.client.get("/version", headers={"Host": host})[0], status)


@executes("G16")
def test_pages_from_elsewhere(fresh: Start) -> None:
    """--cors: who may read the answers; browsers ask with OPTIONS first."""
    server = fresh(flags=["--cors=http://a.example:80"])
    for origin, allowed in (("http://a.example:80", "http://a.example:80"), ("http://b.example:80", None)):
        for method in ("GET", "OPTIONS"):
            found = server.client.headers("/version", method, {"Origin": origin})
            server.check("G16", found.get("Access-Control-Allow-Origin"), allowed)
    server.check("G16", server.client.get("/nothing", "OPTIONS"), (200, ""))
