"""Snapshots and leases as they stream, against fake members."""

from __future__ import annotations

import hashlib
import io

import grpc
import pytest

from etcdops.client.failures import Refused
from etcdops.client.maintenance import SnapshotProgress
from etcdops.errors import AccessDenied, SnapshotCorrupt, Unreachable
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.client.conftest import MakeClient, StartFakes
from tests.fakes.etcd_server import Stream, StreamScript

DATABASE = bytes(range(256)) * 300
WHOLE = DATABASE + hashlib.sha256(DATABASE).digest()


def sending(data: bytes, *, chunk: int = 10_000, then: str = "end") -> StreamScript:
    async def script(stream: Stream) -> None:
        for at in range(0, len(data), chunk):
            piece = data[at : at + chunk]
            await stream.send(pb.SnapshotResponse(blob=piece, remaining_bytes=len(data) - at - len(piece)))
        if then == "break":
            await stream.fail(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if then == "hang":
            await stream.hang()

    return script


async def test_a_snapshot_arrives_whole_with_its_hash_checked_and_progress_told(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    (member,) = await fakes(1)
    member.on_stream("Maintenance/Snapshot", sending(WHOLE))
    file, told = io.BytesIO(), list[SnapshotProgress]()
    received = await make_client(member.url).maintenance.snapshot(file, progress=told.append)
    assert file.getvalue() == WHOLE
    assert (received.size_bytes, received.sha256) == (len(WHOLE), hashlib.sha256(DATABASE).hexdigest())
    assert told[0] == SnapshotProgress(10_000, len(WHOLE))
    assert told[-1] == SnapshotProgress(len(WHOLE), len(WHOLE))


@pytest.mark.parametrize("chunk", [1, 31, 32, 33, len(WHOLE)])
async def test_the_hash_is_found_however_the_stream_is_cut(
    fakes: StartFakes, make_client: MakeClient, chunk: int
) -> None:
    """The last 32 bytes may be spread over many pieces."""
    (member,) = await fakes(1)
    small = b"0123456789"
    member.on_stream("Maintenance/Snapshot", sending(small + hashlib.sha256(small).digest(), chunk=chunk))
    received = await make_client(member.url).maintenance.snapshot(io.BytesIO())
    assert received.size_bytes == 42


@pytest.mark.parametrize("data", [WHOLE[:-1], WHOLE[1:], b"", DATABASE])
async def test_a_snapshot_whose_hash_does_not_fit_is_corrupt(
    fakes: StartFakes, make_client: MakeClient, data: bytes
) -> None:
    """dr-traps 15: found now, not on the day of the disaster. A stream that ends early looks complete to gRPC."""
    (member,) = await fakes(1)
    member.on_stream("Maintenance/Snapshot", sending(data))
    with pytest.raises(SnapshotCorrupt):
        await make_client(member.url).maintenance.snapshot(io.BytesIO())


@pytest.mark.slow
@pytest.mark.parametrize("then", ["break", "hang"])
async def test_a_snapshot_that_breaks_or_stalls_ends_with_how_far_it_came(
    fakes: StartFakes, make_client: MakeClient, then: str
) -> None:
    """etcd #10298: `snapshot save` waits for ever. Each piece has its own deadline here."""
    (member,) = await fakes(1)
    member.on_stream("Maintenance/Snapshot", sending(WHOLE[:20_000], then=then))
    with pytest.raises(Unreachable, match="broke off after 20000 bytes"):
        await make_client(member.url).maintenance.snapshot(io.BytesIO(), chunk_timeout=0.3)


async def test_a_snapshot_without_permission_is_access_denied(fakes: StartFakes, make_client: MakeClient) -> None:
    (member,) = await fakes(1)

    async def refuse(stream: Stream) -> None:
        await stream.fail(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")

    member.on_stream("Maintenance/Snapshot", refuse)
    with pytest.raises(AccessDenied):
        await make_client(member.url).maintenance.snapshot(io.BytesIO())


def renewing(ttl: int) -> StreamScript:
    async def script(stream: Stream) -> None:
        request = await stream.receive()
        await stream.send(pb.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl))
        await stream.hang()

    return script


async def test_a_lease_is_renewed_at_another_member_when_one_breaks(fakes: StartFakes, make_client: MakeClient) -> None:
    broken, fine = await fakes(2)

    async def breaks(stream: Stream) -> None:
        await stream.fail(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    broken.on_stream("Lease/LeaseKeepAlive", breaks)
    fine.on_stream("Lease/LeaseKeepAlive", renewing(30))
    answer = await make_client(broken.url, fine.url).lease.keep_alive_once(5)
    assert (answer.ID, answer.TTL) == (5, 30)


async def test_a_lease_that_is_gone_is_an_error_not_a_time_of_zero(fakes: StartFakes, make_client: MakeClient) -> None:
    """etcd answers TTL 0 instead of NOT_FOUND; who does not look would go on believing."""
    (member,) = await fakes(1)
    member.on_stream("Lease/LeaseKeepAlive", renewing(0))
    with pytest.raises(Refused, match="lease 5 is gone"):
        await make_client(member.url).lease.keep_alive_once(5)


@pytest.mark.slow
async def test_a_renewal_without_an_answer_ends_in_time(fakes: StartFakes, make_client: MakeClient) -> None:
    (member,) = await fakes(1)

    async def silent(stream: Stream) -> None:
        await stream.hang()

    member.on_stream("Lease/LeaseKeepAlive", *[silent] * 50)
    with pytest.raises(Unreachable):
        await make_client(member.url).lease.keep_alive_once(5, timeout=0.3)


@pytest.mark.slow
async def test_keeping_alive_ends_when_the_lease_must_have_expired(fakes: StartFakes, make_client: MakeClient) -> None:
    """Not earlier: a lease survives a short outage of the cluster."""
    (member,) = await fakes(1)
    member.on_stream("Lease/LeaseKeepAlive", renewing(1))
    renewals = make_client(member.url, dial_timeout_s=0.1).lease.keep_alive(5, ttl_s=0.3)
    assert (await anext(renewals)).TTL == 1
    await member.stop()
    with pytest.raises(Unreachable, match="has expired"):
        await anext(renewals)
