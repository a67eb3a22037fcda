"""Health, versions and metrics over HTTP/1.1 (G01-G06)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client.parser import text_string_to_metric_families

from etcdops.ids import NO_MEMBER, MemberID, format_id
from etcdops.node.api import errors
from etcdops.node.apply.wire import FIELD_CLUSTER_VERSION_SET
from etcdops.node.peer.status import PeerStats
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import membershippb_pb2 as membershippb
from tests.fakes.calls import Api, WatchClient
from tests.fakes.single_member import SingleMember

ACTIVATE = pb.AlarmRequest.ACTIVATE


@pytest.fixture(autouse=True)
def turns_at_once(api: Api, member: SingleMember) -> None:
    """Coroutines cannot settle the member, so what it would do in the next turn it does now."""
    api.put(b"a", b"v")
    member.call_soon = lambda callback: callback()  # type: ignore[method-assign]


async def get(api: Api, path: str, method: str = "GET") -> tuple[int, str]:
    response = await api.services.http.handle(make_mocked_request(method, path))
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


async def test_versions(api: Api, member: SingleMember) -> None:
    """G01."""
    assert await get(api, "/version") == (200, '{"etcdserver":"3.5.21","etcdcluster":"not_decided"}')
    request = membershippb.ClusterVersionSetRequest(ver="3.5.0")
    member.propose(FIELD_CLUSTER_VERSION_SET, request.SerializeToString(), lambda outcome: None)
    assert json.loads((await get(api, "/version"))[1])["etcdcluster"] == "3.5.0"


async def test_health(api: Api, member: SingleMember) -> None:
    """G02, G03."""
    assert await get(api, "/health") == (200, '{"health":"true","reason":""}')
    member.linearize_error = errors.TIMEOUT
    assert await get(api, "/health") == (
        503,
        '{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}\n',
    )
    member.leader = NO_MEMBER
    assert await get(api, "/health") == (503, '{"health":"false","reason":"RAFT NO LEADER"}\n')
    assert (await get(api, "/health?serializable=true"))[0] == 200
    assert (member.metrics.health_successes, member.metrics.health_failures) == (2, 2)


async def test_alarms_in_health(api: Api, member: SingleMember) -> None:
    """G03: each can be excluded."""
    member.settle()
    api.alarm(ACTIVATE, 5, pb.NOSPACE)
    assert await get(api, "/health") == (503, '{"health":"false","reason":"ALARM NOSPACE"}\n')
    assert (await get(api, "/health?exclude=NOSPACE"))[0] == 200
    api.alarm(ACTIVATE, 5, pb.CORRUPT)
    assert (await get(api, "/health?exclude=NOSPACE"))[0] == 503
    assert (await get(api, "/health?exclude=NOSPACE&exclude=CORRUPT"))[0] == 200


async def test_live_and_ready(api: Api, member: SingleMember) -> None:
    """G04."""
    assert await get(api, "/livez") == (200, "ok\n")
    ready = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n"
    assert await get(api, "/readyz?verbose") == (200, ready)
    member.linearize_error = errors.TIMEOUT
    status, report = await get(api, "/readyz")
    assert (status, "[-]linearizable_read failed: etcdserver: request timed out\n" in report) == (503, True)
    assert await get(api, "/readyz?exclude=linearizable_read") == (200, "ok\n")
    assert await get(api, "/readyz/serializable_read") == (200, "ok\n")
    assert (await get(api, "/readyz/linearizable_read"))[0] == 503
    assert (await get(api, "/livez"))[0] == 200
    api.alarm(ACTIVATE, 5, pb.CORRUPT)
    assert (await get(api, "/readyz/data_corruption"))[0] == 503


@pytest.mark.parametrize("path", ["/health", "/version", "/livez", "/readyz/serializable_read"])
async def test_only_get(api: Api, path: str) -> None:
    """G05."""
    assert (await get(api, path, "POST"))[0] == 405


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/debug/vars", "/debug/pprof/", "/readyz/nope", "/livez/a/b", "/v2/keys"]
)
async def test_other_paths_are_not_there(api: Api, path: str) -> None:
    """G22, G23."""
    assert (await get(api, path))[0] == 404


async def test_metrics_have_etcds_names(api: Api, member: SingleMember) -> None:
    """G06: dashboards made for etcd find what they look for."""
    watch = WatchClient(api)
    watch.create(b"a")
    member.metrics.wal_fsync_s.observe(0.003)
    peer = PeerStats(sent_bytes=7, received_bytes=5)
    peer.round_trips_s.observe(0.0003)
    member.links = {MemberID(0xAB): peer}
    status, text = await get(api, "/metrics")
    assert status == 200
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    plain = {name: value for (name, labels), value in samples.items() if not labels}
    assert plain["etcd_server_has_leader"] == plain["etcd_server_is_leader"] == 1
    assert plain["etcd_server_proposals_committed_total"] == plain["etcd_server_proposals_applied_total"] == 1
    assert plain["etcd_server_leader_changes_seen_total"] == plain["etcd_server_proposals_failed_total"] == 0
    assert plain["etcd_mvcc_db_total_size_in_bytes"] >= plain["etcd_mvcc_db_total_size_in_use_in_bytes"] > 0
    assert (plain["etcd_debugging_mvcc_keys_total"], plain["etcd_mvcc_put_total"]) == (1, 1)
    assert plain["etcd_debugging_mvcc_watcher_total"] == plain["etcd_debugging_mvcc_watch_stream_total"] == 1
    # The parser would have these end in _total.
    assert {"etcd_server_health_success 0", "etcd_server_health_failures 0"} <= set(text.splitlines())
    assert plain["process_open_fds"] > 0
    assert samples["etcd_network_peer_sent_bytes_total", (("To", "ab"),)] == 7
    assert samples["etcd_network_peer_received_bytes_total", (("From", "ab"),)] == 5
    assert samples["etcd_network_active_peers", (("Local", format_id(member.member_id)), ("Remote", "ab"))] == 0
    assert samples["etcd_network_peer_round_trip_time_seconds_bucket", (("To", "ab"), ("le", "0.0004"))] == 1
    handled = {"grpc_code": "OK", "grpc_method": "Put", "grpc_service": "etcdserverpb.KV", "grpc_type": "unary"}
    assert samples["grpc_server_handled_total", tuple(sorted(handled.items()))] == 1
    assert samples["etcd_disk_wal_fsync_duration_seconds_bucket", (("le", "0.004"),)] == 1
    assert samples["etcd_disk_wal_fsync_duration_seconds_bucket", (("le", "0.002"),)] == 0
    assert plain["etcd_disk_backend_commit_duration_seconds_count"] == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:2379", 200),
        ("localhost", 200),
        ("[::1]:2379", 200),
        ("evil.example", 421),
        ("evil:2379", 421),
        ("", 421),
    ],
)
async def test_hosts_outside_the_whitelist_are_misdirected(
    api: Api, member: SingleMember, host: str, status: int
) -> None:
    """G17, CVE-2018-1099: a name that an attacker's DNS points at us is not one of ours."""
    member.limits = replace(member.limits, host_whitelist=("localhost", "::1"))
    request = make_mocked_request("GET", "/version", headers={"Host": host})
    assert (await api.services.http.handle(request)).status == status


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        (("*",), "http://a", "*"),
        (("http://a",), "http://a", "http://a"),
        (("http://a",), "http://b", None),
        (("http://a",), "", None),
    ],
)
@pytest.mark.parametrize("path", ["/version", "/nothing"])
async def test_pages_of_allowed_origins_may_read_the_answer(
    api: Api, member: SingleMember, cors: tuple[str, ...], origin: str, allowed: str | None, path: str
) -> None:
    """G16: on every answer, also one that is none."""
    member.limits = replace(member.limits, cors=cors)
    request = make_mocked_request("GET", path, headers={"Host": "a", "Origin": origin})
    response = await api.services.http.handle(request)
    assert response.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.parametrize("path", ["/health", "/nothing", "//a"])
async def test_options_is_answered_everywhere(api: Api, path: str) -> None:
    """G16: what a browser asks first."""
    response = await api.services.http.handle(make_mocked_request("OPTIONS", path, headers={"Host": "a"}))
    assert (response.status, isinstance(response, web.Response) and response.body) == (200, None)


@pytest.mark.parametrize(
    ("path", "location"),
    [("//health", "/health"), ("/./version", "/version"), ("/a/../version", "/version"), ("/../a/", "/a/")],
)
async def test_paths_that_are_not_clean_are_elsewhere(api: Api, path: str, location: str) -> None:
    """net/http's ServeMux sends clients to the clean path."""
    response = await api.services.http.handle(make_mocked_request("GET", path, headers={"Host": "a"}))
    assert (response.status, response.headers["Location"]) == (301, location)
