"""The node's API and a real etcd 3.5, asked the same: answers, errors, hashes and watches must be equal.

Longer runs by hand, with another seed: `ETCDOPS_DIFFERENTIAL=7:20000 pytest tests/node/api/test_differential.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from etcdops.proto import authpb_pb2 as authpb
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.conftest import MakeCluster
from tests.fakes.served_member import ServedMember
from tests.node.api.comparing import Target, WatchStream, events_by_watch
from tests.node.api.random_requests import KEYS, RandomRequests, Request

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True),
]

SEED, COUNT = (int(part) for part in os.environ.get("ETCDOPS_DIFFERENTIAL", "1:1500").split(":"))
_WATCHES_EVERY = 100
_PROBE: Request = ("/etcdserverpb.KV/Range", pb.RangeRequest(key=b"probe"), pb.RangeResponse)


@pytest.fixture
def both(real_etcd: MakeCluster, tmp_path: Path) -> Iterator[tuple[Target, Target]]:
    """(ours, etcd)."""
    cluster = real_etcd(size=1)
    folder = tmp_path / "ours"
    folder.mkdir()
    with ServedMember(folder) as served:
        targets = Target(served.address), Target(cluster.endpoints[0].removeprefix("http://"))
        yield targets
        for target in targets:
            target.close()


def random_watch(requests: RandomRequests, compacted: int) -> pb.WatchCreateRequest:
    """From no compacted revision: a watch cancelled for that keeps etcd from ever promising progress again."""
    draw = requests.random
    return pb.WatchCreateRequest(
        key=draw.choice([b"", *KEYS]),
        range_end=draw.choice([b"", b"\0", b"c", b"b"]),
        start_revision=draw.choice([0, 0, max(1, compacted), max(1, compacted, requests.revision - 9)]),
        prev_kv=requests.flag(0.5),
        fragment=requests.flag(0.2),
        watch_id=draw.choice([0, 0, 7, 1000 + requests.revision]),
        filters=[draw.choice(pb.WatchCreateRequest.FilterType.values())] if requests.flag(0.2) else [],
    )


def revision_of(answer: str) -> int:
    """The header's revision in a normalised answer."""
    lines = [line.split(":")[1] for line in answer.splitlines()[:3] if line.strip().startswith("revision:")]
    return int(lines[0]) if lines else 0


def test_random_requests_are_answered_alike(both: tuple[Target, Target]) -> None:
    """Valid and invalid requests over few keys: equal answers word for word, equal HashKV, equal events."""
    requests = RandomRequests(SEED)
    streams: list[WatchStream] = [target.watch() for target in both]
    for stream in streams:  # progress is only told to streams that have a watcher
        stream.create(pb.WatchCreateRequest(key=b"probe", watch_id=99))
    compacted = 0
    for number in range(COUNT):
        if number % _WATCHES_EVERY == 0:
            watch = random_watch(requests, compacted)
            for stream in streams:
                stream.create(watch)
        request = requests.next()
        if isinstance(request[1], pb.CompactionRequest):
            # What a compaction cancels depends on who has been read to already, and what it hashes on its end.
            request[1].physical = True
            for stream in streams:
                stream.wait_progress(requests.revision)
        ours, theirs = (target.ask(request) for target in both)
        assert ours == theirs, f"seed {SEED}, request {number}: {request[0]}\n{request[1]}"
        requests.revision = max(requests.revision, revision_of(ours))
        if isinstance(request[1], pb.CompactionRequest) and revision_of(ours):
            compacted = request[1].revision
    seen = [events_by_watch(stream.wait_progress(requests.revision)) for stream in streams]
    assert sum(map(len, seen[0].values())) > COUNT // 10
    assert seen[0] == seen[1]
    hashes: Request = ("/etcdserverpb.Maintenance/HashKV", pb.HashKVRequest(), pb.HashKVResponse)
    assert both[0].ask(hashes) == both[1].ask(hashes)
    for stream in streams:
        stream.close()


def calls() -> list[Request]:
    """Requests that fail, or that answer the same on any fresh single member, in this order."""

    def kv(name: str, request: Message, answer: type[Message]) -> Request:
        return f"/etcdserverpb.{name}", request, answer

    put = pb.PutRequest
    big = pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))] * 129)
    twice = pb.TxnRequest(success=[pb.RequestOp(request_put=put(key=b"a"))] * 2)
    return [
        kv("KV/Range", pb.RangeRequest(), pb.RangeResponse),
        kv("KV/Range", pb.RangeRequest(key=b"a", revision=99), pb.RangeResponse),
        kv("KV/RangeStream", pb.RangeRequest(key=b"a"), pb.RangeStreamResponse),
        kv("KV/Nonsense", pb.RangeRequest(key=b"a"), pb.RangeResponse),
        kv("Nonsense/Range", pb.RangeRequest(key=b"a"), pb.RangeResponse),
        kv("KV/Put", put(), pb.PutResponse),
        kv("KV/Put", put(key=b"a", value=b"1", ignore_value=True), pb.PutResponse),
        kv("KV/Put", put(key=b"a", lease=1, ignore_lease=True), pb.PutResponse),
        kv("KV/Put", put(key=b"a", lease=1), pb.PutResponse),
        kv("KV/Put", put(key=b"a", ignore_value=True), pb.PutResponse),
        kv("KV/Put", put(key=b"a", value=b"v" * 1_572_864), pb.PutResponse),
        kv("KV/Put", put(key=b"a", value=b"v" * 2_200_000), pb.PutResponse),
        kv("KV/Put", put(key=b"abc", value=b"v" * 1_572_824), pb.PutResponse),
        kv("KV/DeleteRange", pb.DeleteRangeRequest(), pb.DeleteRangeResponse),
        kv("KV/Txn", big, pb.TxnResponse),
        kv("KV/Txn", twice, pb.TxnResponse),
        kv("KV/Txn", pb.TxnRequest(success=[pb.RequestOp()]), pb.TxnResponse),
        kv("KV/Compact", pb.CompactionRequest(revision=99), pb.CompactionResponse),
        kv("KV/Compact", pb.CompactionRequest(revision=-1), pb.CompactionResponse),
        kv("KV/Compact", pb.CompactionRequest(), pb.CompactionResponse),
        kv("KV/Compact", pb.CompactionRequest(), pb.CompactionResponse),
        kv("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=9_000_000_001, ID=5), pb.LeaseGrantResponse),
        kv("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=-3, ID=-5), pb.LeaseGrantResponse),
        kv("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60, ID=-5), pb.LeaseGrantResponse),
        kv("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=77), pb.LeaseRevokeResponse),
        kv("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=77), pb.LeaseTimeToLiveResponse),
        kv("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=-5), pb.LeaseRevokeResponse),
        kv("Lease/LeaseLeases", pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse),
        kv("Cluster/MemberAdd", pb.MemberAddRequest(), pb.MemberAddResponse),
        kv("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://a"]), pb.MemberAddResponse),
        kv("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://a:1/b"]), pb.MemberAddResponse),
        kv("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=77), pb.MemberRemoveResponse),
        kv("Cluster/MemberUpdate", pb.MemberUpdateRequest(ID=77, peerURLs=["http://a:1"]), pb.MemberUpdateResponse),
        kv("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=77), pb.MemberPromoteResponse),
        kv("Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=77), pb.MoveLeaderResponse),
        kv("Maintenance/HashKV", pb.HashKVRequest(revision=99), pb.HashKVResponse),
        kv("Maintenance/Alarm", pb.AlarmRequest(), pb.AlarmResponse),
        kv("Maintenance/Alarm", pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE), pb.AlarmResponse),
        kv(
            "Maintenance/Alarm",
            pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=5, alarm=pb.NOSPACE),
            pb.AlarmResponse,
        ),
        kv("KV/Put", put(key=b"a"), pb.PutResponse),
        kv(
            "Maintenance/Alarm",
            pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=5, alarm=pb.NOSPACE),
            pb.AlarmResponse,
        ),
        kv("Maintenance/Defragment", pb.DefragmentRequest(), pb.DefragmentResponse),
        kv("Maintenance/Downgrade", pb.DowngradeRequest(version="junk"), pb.DowngradeResponse),
        kv("Maintenance/Downgrade", pb.DowngradeRequest(action=pb.DowngradeRequest.CANCEL), pb.DowngradeResponse),
        kv("Auth/AuthStatus", pb.AuthStatusRequest(), pb.AuthStatusResponse),
        kv("Auth/AuthEnable", pb.AuthEnableRequest(), pb.AuthEnableResponse),
        kv("Auth/AuthDisable", pb.AuthDisableRequest(), pb.AuthDisableResponse),
        kv("Auth/Authenticate", pb.AuthenticateRequest(name="root", password="x"), pb.AuthenticateResponse),
        kv("Auth/UserAdd", pb.AuthUserAddRequest(), pb.AuthUserAddResponse),
        kv("Auth/UserGet", pb.AuthUserGetRequest(name="a"), pb.AuthUserGetResponse),
        kv("Auth/UserList", pb.AuthUserListRequest(), pb.AuthUserListResponse),
        kv("Auth/UserDelete", pb.AuthUserDeleteRequest(name="a"), pb.AuthUserDeleteResponse),
        kv("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="a", role="b"), pb.AuthUserGrantRoleResponse),
        kv("Auth/UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="a"), pb.AuthUserRevokeRoleResponse),
        kv("Auth/UserChangePassword", pb.AuthUserChangePasswordRequest(name="a"), pb.AuthUserChangePasswordResponse),
        kv("Auth/RoleAdd", pb.AuthRoleAddRequest(), pb.AuthRoleAddResponse),
        kv("Auth/RoleGet", pb.AuthRoleGetRequest(role="a"), pb.AuthRoleGetResponse),
        kv("Auth/RoleList", pb.AuthRoleListRequest(), pb.AuthRoleListResponse),
        kv("Auth/RoleDelete", pb.AuthRoleDeleteRequest(role="a"), pb.AuthRoleDeleteResponse),
        kv("Auth/RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(), pb.AuthRoleGrantPermissionResponse),
        kv(
            "Auth/RoleGrantPermission",
            pb.AuthRoleGrantPermissionRequest(name="a", perm=authpb.Permission(key=b"k")),
            pb.AuthRoleGrantPermissionResponse,
        ),
        kv("Auth/RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(), pb.AuthRoleRevokePermissionResponse),
    ]


def test_errors_are_etcds_word_for_word(both: tuple[Target, Target]) -> None:
    """Section 0 of the checklist: one request for every error that a single member without users can give."""
    different = []
    for request in calls():
        ours, theirs = (target.ask(request) for target in both)
        if ours != theirs:
            different.append(f"{request[0]} {str(request[1])[:200]}\nours: {ours}\netcd: {theirs}")
    assert different == []


def test_watches_that_cannot_be_served_end_alike(both: tuple[Target, Target]) -> None:
    """W04, W05, W10, W12: refused at once, or cancelled with the compacted revision."""
    for target in both:
        for _ in range(5):
            target.ask(("/etcdserverpb.KV/Put", pb.PutRequest(key=b"a"), pb.PutResponse))
        target.ask(("/etcdserverpb.KV/Compact", pb.CompactionRequest(revision=4, physical=True), pb.CompactionResponse))
    create = pb.WatchCreateRequest
    for watch in (
        create(key=b"a", start_revision=3),
        create(key=b"a", start_revision=-1),
        create(key=b"a", start_revision=4),
        create(key=b"b", range_end=b"a"),
        create(key=b"a", watch_id=-7, start_revision=1),
    ):
        seen = []
        for target in both:
            stream = target.watch()
            stream.create(watch)
            stream.create(create(key=b"probe", watch_id=5))
            stream.create(create(key=b"probe", watch_id=5))
            seen.append(sorted(stream.wait_quiet()))  # etcd comes to those behind only every 100 ms
            stream.close()
        assert seen[0] == seen[1], watch


def test_both_have_the_same_revision_at_the_start(both: tuple[Target, Target]) -> None:
    """H04: so that everything above is compared from the same point."""
    assert both[0].ask(_PROBE) == both[1].ask(_PROBE)
