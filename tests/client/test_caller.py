"""How requests travel: failover, retries, deadlines, tokens, and the errors that come out. Against fake members."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import grpc
import pytest

from etcdops.client.failures import Compacted, Refused, failures_of
from etcdops.client.view import Silence
from etcdops.errors import AccessDenied, ResultUnknown, Unhealthy, Unreachable
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.secret import Secret
from tests.client.conftest import MakeClient, StartFakes, eventually
from tests.fakes.etcd_server import Fail, FakeEtcd, Hang
from tests.support.ports import free_ports

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def nobody() -> str:
    """An endpoint where nobody listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"


async def test_a_request_goes_to_the_next_endpoint_when_one_refuses_connections(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Nothing was sent, so even a write may try elsewhere."""
    (member,) = await fakes(1)
    member.on("KV/Put", pb.PutResponse(header=member.header))
    client = make_client(nobody(), nobody(), member.url)
    for _ in range(3):
        assert (await client.kv.put("k", "v")).header.member_id == member.member_id
    assert len(member.requests("KV/Put")) == 3


async def test_endpoints_that_work_take_turns(fakes: StartFakes, make_client: MakeClient) -> None:
    """Balancing: six reads over three members are two each."""
    members = await fakes(3)
    for member in members:
        member.on("KV/Range", pb.RangeResponse(header=member.header))
    client = make_client(*(member.url for member in members))
    for _ in range(6):
        await client.kv.get("k")
    assert [len(member.requests("KV/Range")) for member in members] == [2, 2, 2]


async def test_a_read_is_repeated_elsewhere_when_a_member_has_no_leader(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """A partitioned member must not make reads fail while the others work."""
    lonely, fine = await fakes(2)
    lonely.on("KV/Range", Fail(UNAVAILABLE, "etcdserver: no leader"))
    fine.on("KV/Range", pb.RangeResponse(header=fine.header, count=1))
    client = make_client(lonely.url, fine.url)
    assert (await client.kv.get("k")).count == 1
    assert (await client.kv.get("k")).count == 1


@pytest.mark.slow
async def test_a_read_leaves_a_hanging_member_in_time_to_ask_another(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """One stopped process (SIGSTOP) costs a share of the deadline, not all of it."""
    stuck, fine = await fakes(2)
    stuck.on("KV/Range", Hang())
    fine.on("KV/Range", pb.RangeResponse(header=fine.header, count=1))
    client = make_client(stuck.url, fine.url, command_timeout_s=1.5, dial_timeout_s=0.3)
    assert (await client.kv.get("k")).count == 1


@pytest.mark.parametrize(
    "failure",
    [
        Fail(UNAVAILABLE, "etcdserver: request timed out"),
        Fail(UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure"),
        Fail(UNAVAILABLE, "etcdserver: server stopped"),
        Fail(UNAVAILABLE, "Socket closed"),
        Fail(grpc.StatusCode.UNKNOWN, "Stream removed"),
        Fail(grpc.StatusCode.CANCELLED, "context canceled"),
    ],
)
async def test_a_write_that_may_have_happened_is_reported_as_unknown_and_never_sent_twice(
    fakes: StartFakes, make_client: MakeClient, failure: Fail
) -> None:
    """At most once: the second member must not see the put (exit code 11 exists for this)."""
    members = await fakes(2)
    for member in members:
        member.on("KV/Put", failure)
    client = make_client(*(member.url for member in members))
    with pytest.raises(ResultUnknown, match="may or may not have taken effect"):
        await client.kv.put("k", "v")
    assert sum(len(member.requests("KV/Put")) for member in members) == 1


async def test_a_write_without_an_answer_is_unknown_within_its_deadline(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Never a hidden infinite wait."""
    (member,) = await fakes(1)
    member.on("KV/Put", Hang())
    started = time.monotonic()
    with pytest.raises(ResultUnknown):
        await make_client(member.url).kv.put("k", "v", timeout=0.2)
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("text", ["etcdserver: no leader", "etcdserver: too many requests", "raft proposal dropped"])
async def test_a_write_that_was_certainly_not_done_is_sent_again(
    fakes: StartFakes, make_client: MakeClient, text: str
) -> None:
    (member,) = await fakes(1)
    code = UNAVAILABLE if "leader" in text else grpc.StatusCode.UNKNOWN
    member.on("KV/Put", Fail(code, text), Fail(code, text), pb.PutResponse(header=member.header))
    await make_client(member.url).kv.put("k", "v")
    assert len(member.requests("KV/Put")) == 3


async def test_a_txn_that_only_reads_is_retried_like_a_read(fakes: StartFakes, make_client: MakeClient) -> None:
    (member,) = await fakes(1)
    member.on("KV/Txn", Fail(UNAVAILABLE, "etcdserver: leader changed"), pb.TxnResponse(header=member.header))
    reading = [pb.RequestOp(request_range=pb.RangeRequest(key=b"k"))]
    await make_client(member.url).kv.txn(success=reading)
    assert len(member.requests("KV/Txn")) == 2


@pytest.mark.slow
async def test_unreachable_names_every_endpoint_and_why(fakes: StartFakes, make_client: MakeClient) -> None:
    """The operator sees at one glance which address has which trouble."""
    refused, unknown = nobody(), "http://no-such-host.invalid:2379"
    client = make_client(refused, unknown, dial_timeout_s=0.3)
    with pytest.raises(Unreachable) as raised:
        await client.kv.get("k", timeout=1.0)
    assert "none of 2 endpoints answered KV/Range" in raised.value.message
    assert f"{refused}: connection refused" in raised.value.cause
    assert f"{unknown}: the host name is not known" in raised.value.cause
    assert raised.value.hint
    assert {failure.silence for failure in failures_of(raised.value)} == {Silence.REFUSED, Silence.NAME}


async def test_a_port_that_never_speaks_is_a_timeout(make_client: MakeClient) -> None:
    """A paused process accepts TCP connections in the kernel and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable) as raised:
            await make_client(url, dial_timeout_s=0.2).kv.get("k")
    assert "no connection within 0.2 s" in raised.value.cause


@pytest.mark.slow
async def test_a_web_server_is_called_not_etcd(make_client: MakeClient) -> None:
    """A wrong port is the commonest mistake."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    web = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}"
    with pytest.raises(Unreachable) as raised:
        await make_client(url).kv.get("k")
    web.close()
    assert failures_of(raised.value)[0].silence is Silence.NOT_ETCD


async def test_a_named_endpoint_is_the_only_one_asked(fakes: StartFakes, make_client: MakeClient) -> None:
    """Status speaks for one member: another one's answer would be a lie."""
    first, second = await fakes(2)
    first.on("Maintenance/Status", pb.StatusResponse(header=first.header, version="3.5.0"))
    gone = nobody()
    client = make_client(gone, first.url, second.url)
    assert (await client.maintenance.status(first.url)).version == "3.5.0"
    started = time.monotonic()
    with pytest.raises(Unreachable, match=f"{gone} did not answer Maintenance/Status"):
        await client.maintenance.status(gone)
    assert time.monotonic() - started < 1.0, "a refused connection is known at once"
    assert second.requests("Maintenance/Status") == []


@pytest.mark.slow
async def test_without_quorum_a_read_ends_as_unhealthy(fakes: StartFakes, make_client: MakeClient) -> None:
    """The members are reachable; the cluster is not well. Exit codes 3 and 5 differ for that."""
    (member,) = await fakes(1)
    member.on("KV/Range", Fail(UNAVAILABLE, "etcdserver: request timed out"))
    with pytest.raises(Unhealthy, match="no quorum, or no leader"):
        await make_client(member.url).kv.get("k", timeout=2.0)


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", AccessDenied),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", AccessDenied),
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", AccessDenied),
        (grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Refused),
        (grpc.StatusCode.UNKNOWN, "etcdserver: re-configuration failed due to not enough started members", Refused),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: unhealthy cluster", Unhealthy),
        (grpc.StatusCode.DATA_LOSS, "etcdserver: corrupt cluster", Unhealthy),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service etcdserverpb.KV", Unreachable),
    ],
)
async def test_refusals_become_errors_with_a_next_step_and_are_not_repeated(
    fakes: StartFakes, make_client: MakeClient, code: grpc.StatusCode, text: str, error: type[Exception]
) -> None:
    """etcd-semantics.md table 0: the text decides, the code helps."""
    members = await fakes(2)
    for member in members:
        member.on("KV/Put", Fail(code, text))
    with pytest.raises(error) as raised:
        await make_client(*(member.url for member in members)).kv.put("k", "v")
    assert sum(len(member.requests("KV/Put")) for member in members) == 1
    assert getattr(raised.value, "hint", "") or "invalid auth token" in text


async def test_an_expired_token_is_renewed_once_and_the_request_repeated(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Simple tokens expire after 5 minutes; a long-running dashboard must not notice."""
    (member,) = await fakes(1)
    member.on("Auth/Authenticate", pb.AuthenticateResponse(token="old"), pb.AuthenticateResponse(token="new"))
    expired = Fail(grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
    member.on("KV/Put", pb.PutResponse(), expired, pb.PutResponse())
    client = make_client(member.url, username="root", password=Secret("pw"))
    await client.kv.put("k", "1")
    await client.kv.put("k", "2")
    tokens = [received.metadata.get("token") for received in member.received if received.method == "KV/Put"]
    assert tokens == ["old", "old", "new"]


async def test_a_token_that_is_refused_when_fresh_is_access_denied(fakes: StartFakes, make_client: MakeClient) -> None:
    """No endless loop of new tokens."""
    (member,) = await fakes(1)
    member.on("Auth/Authenticate", pb.AuthenticateResponse(token="t"))
    member.on("KV/Put", Fail(grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"))
    with pytest.raises(AccessDenied):
        await make_client(member.url, username="root", password=Secret("pw")).kv.put("k", "v")
    assert len(member.requests("Auth/Authenticate")) == 2


async def test_many_requests_at_once_share_one_authentication(fakes: StartFakes, make_client: MakeClient) -> None:
    """Each authentication costs the member a bcrypt comparison."""
    (member,) = await fakes(1)
    member.on("Auth/Authenticate", pb.AuthenticateResponse(token="t"))
    member.on("KV/Range", pb.RangeResponse())
    client = make_client(member.url, username="root", password=Secret("pw"))
    await asyncio.gather(*(client.kv.get("k") for _ in range(20)))
    assert len(member.requests("Auth/Authenticate")) == 1


async def test_credentials_are_harmless_where_authentication_is_off(fakes: StartFakes, make_client: MakeClient) -> None:
    (member,) = await fakes(1)
    off = Fail(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
    member.on("Auth/Authenticate", off)
    member.on("KV/Range", pb.RangeResponse(count=3))
    client = make_client(member.url, username="root", password=Secret("pw"))
    assert (await client.kv.get("k")).count == 3
    assert "token" not in member.received[-1].metadata


@pytest.mark.slow
async def test_status_is_asked_without_a_token_when_no_quorum_can_give_one(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """With the quorum lost nobody can log in, and that is when the status is needed most."""
    (member,) = await fakes(1)
    member.on("Auth/Authenticate", Fail(UNAVAILABLE, "etcdserver: request timed out"))
    member.on("Maintenance/Status", pb.StatusResponse(version="3.4.23"))
    client = make_client(member.url, username="root", password=Secret("pw"), command_timeout_s=0.6)
    assert (await client.maintenance.status(member.url)).version == "3.4.23"


async def test_a_cancelled_request_is_cancelled_at_the_member_too(fakes: StartFakes, make_client: MakeClient) -> None:
    """A screen that is left must not leave work behind."""
    (member,) = await fakes(1)
    member.on("KV/Range", Hang())
    task = asyncio.create_task(make_client(member.url).kv.get("k", timeout=30))
    await eventually(lambda: bool(member.requests("KV/Range")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_socket_file_is_an_endpoint_too(make_client: MakeClient, tmp_path: Path) -> None:
    """etcd listens on unix:// for clients on the same host."""
    client = make_client(f"unix://{tmp_path}/etcd.sock")
    with pytest.raises(Unreachable) as raised:
        await client.maintenance.status(client.endpoints[0])
    assert "no such socket file" in raised.value.cause
    async with FakeEtcd(socket_path=f"{tmp_path}/etcd.sock") as member:
        member.on("KV/Range", pb.RangeResponse(count=1))
        assert (await client.kv.get("k", timeout=10)).count == 1


@pytest.mark.slow
async def test_a_member_that_comes_back_is_used_again(fakes: StartFakes, make_client: MakeClient) -> None:
    """Channels reconnect by themselves."""
    (member,) = await fakes(1)
    member.on("KV/Range", pb.RangeResponse(count=1))
    client = make_client(member.url, dial_timeout_s=5.0, command_timeout_s=5.0)
    await client.kv.get("k")
    await member.stop()
    with pytest.raises(Unreachable):
        await client.kv.get("k", timeout=0.3)
    await member.start()
    assert (await client.kv.get("k")).count == 1
