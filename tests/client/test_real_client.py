"""The client against real etcd 3.4 and 3.5: everything it does, TLS, authentication, and members that fall silent."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from etcdops.client.client import Client
from etcdops.client.failures import Compacted, Refused, failures_of
from etcdops.client.view import Health, Silence, observe
from etcdops.errors import AccessDenied, ResultUnknown, Unreachable
from etcdops.ids import MemberID
from etcdops.proto import authpb_pb2 as authpb
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.secret import Secret
from tests.client.conftest import MakeClient, eventually
from tests.conftest import MakeCluster
from tests.support.certificates import DAY, Authority
from tests.support.real_etcd import RealCluster, Tls

pytestmark = [pytest.mark.real, pytest.mark.slow]

PATIENT = {"dial_timeout_s": 5.0, "command_timeout_s": 20.0}
"""For a busy machine: these tests are about what happens, not how fast."""


async def test_keys_transactions_and_compaction(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    """The KV service, one call of each kind."""
    client = make_client(*real_etcd().endpoints, **PATIENT)
    put = await client.kv.put("a/1", b"\xff\x00")
    for number in range(2, 8):
        await client.kv.put(f"a/{number}", str(number))
    assert (await client.kv.get("a/1")).kvs[0].value == b"\xff\x00"
    assert (await client.kv.get("a/", prefix=True, count_only=True)).count == 7
    keys = [kv.key async for page in client.kv.pages("a/", page_size=3) for kv in page.kvs]
    assert keys == [f"a/{number}".encode() for number in range(1, 8)]
    everything = [kv.key async for page in client.kv.pages(page_size=2, keys_only=True) for kv in page.kvs]
    assert everything == keys

    compare = pb.Compare(key=b"a/1", target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=1)
    write = pb.RequestOp(request_put=pb.PutRequest(key=b"a/1", value=b"new"))
    assert (await client.kv.txn(compare=[compare], success=[write])).succeeded
    assert not (await client.kv.txn(compare=[compare], success=[write])).succeeded
    assert (await client.kv.delete("a/", prefix=True)).deleted == 7

    await client.kv.compact(put.header.revision + 1, physical=True)
    with pytest.raises(Compacted):
        await client.kv.get("a/1", revision=put.header.revision)
    with pytest.raises(Refused, match="future revision"):
        await client.kv.get("a/1", revision=10_000)
    with pytest.raises(Refused, match="lease not found"):
        await client.kv.put("k", "v", lease=12345)


async def test_requests_larger_than_grpcs_own_limit(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    """gRPC stops at 4 MiB by default; a listing of keys easily has more (etcdmanager #123)."""
    cluster = real_etcd(flags=["--max-request-bytes=8388608"])
    client = make_client(*cluster.endpoints, **PATIENT)
    big = b"x" * (6 << 20)
    await client.kv.put("big", big)
    assert (await client.kv.get("big")).kvs[0].value == big
    with pytest.raises(Refused, match="too large"):
        await client.kv.put("bigger", b"x" * 8_450_000)


async def test_leases(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    client = make_client(*real_etcd().endpoints, **PATIENT)
    lease = (await client.lease.grant(60)).ID
    await client.kv.put("leased", "v", lease=lease)
    assert (await client.lease.keep_alive_once(lease)).TTL == 60
    left = await client.lease.time_to_live(lease, keys=True)
    assert list(left.keys) == [b"leased"]
    assert [found.ID for found in (await client.lease.leases()).leases] == [lease]
    await client.lease.revoke(lease)
    assert (await client.kv.get("leased")).count == 0
    assert (await client.lease.time_to_live(lease)).TTL == -1
    with pytest.raises(Refused, match="is gone"):
        await client.lease.keep_alive_once(lease)


async def test_members_and_maintenance(real_etcd: MakeCluster, make_client: MakeClient, tmp_path: Path) -> None:
    """Member list, learner, alarms, hashes, defragmentation, moving the leader, a snapshot etcd's own tool accepts."""
    # Strict checks would refuse to add a member to a cluster younger than five seconds.
    cluster = real_etcd(size=3, flags=["--strict-reconfig-check=false"])
    client = make_client(*cluster.endpoints, **PATIENT)
    members = (await client.cluster.member_list()).members
    assert {member.name for member in members} == {"m1", "m2", "m3"}
    added = await client.cluster.member_add(["http://127.0.0.1:1"], learner=True)
    assert added.member.isLearner
    with pytest.raises(Refused, match="in sync with leader"):
        await client.cluster.member_promote(MemberID(added.member.ID))
    await client.cluster.member_remove(MemberID(added.member.ID))
    assert list((await client.maintenance.alarms()).alarms) == []

    view = await observe(client, timeout_s=10, hashes=True)
    assert (view.health, view.hashes_agree()) == (Health.HEALTHY, True)
    assert view.leader_member is not None
    target = next(member for member in view.members if member.id != view.leader)
    assert target.id is not None
    with pytest.raises(Refused, match="not leader"):
        await client.maintenance.move_leader(target.id, endpoint=target.endpoint)
    await client.maintenance.move_leader(target.id, endpoint=view.leader_member.endpoint)
    await client.maintenance.defragment(cluster.endpoints[0])
    assert (await observe(client, timeout_s=10)).leader == target.id

    file = tmp_path / "snapshot.db"
    with file.open("wb") as writer:
        received = await client.maintenance.snapshot(writer)
    assert received.size_bytes == file.stat().st_size
    tool = cluster.binaries.etcdutl or cluster.binaries.etcdctl
    command = [str(tool), "snapshot", "status", str(file)]
    await asyncio.to_thread(
        subprocess.run, command, check=True, timeout=30, env={"ETCDCTL_API": "3"}, capture_output=True
    )


async def test_a_watch_goes_on_over_the_restart_of_its_member(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    """Killed and started again under a watch: every event once, in order, although some happened while it was away."""
    cluster = real_etcd(size=3)
    client = make_client(*cluster.endpoints, **PATIENT)
    seen: list[int] = []
    resumed: list[bool] = []
    async with client.watch("w/", prefix=True) as watcher:

        async def collect() -> None:
            async for batch in watcher:
                seen.extend(event.kv.mod_revision for event in batch.events)
                resumed.append(batch.resumed)

        reading = asyncio.create_task(collect())
        await eventually(lambda: bool(watcher.endpoint))
        written = [(await client.kv.put("w/k", str(n))).header.revision for n in range(5)]
        await eventually(lambda: seen == written)
        victim = next(member for member in cluster.members if member.url == watcher.endpoint)
        victim.kill()
        others = [member.url for member in cluster.members if member is not victim]
        survivor = make_client(*others, **PATIENT)
        # The others may still have to elect a leader; a read through the quorum waits for that.
        await survivor.kv.get("w/k")
        written += [(await survivor.kv.put("w/k", str(n))).header.revision for n in range(5)]
        await asyncio.to_thread(victim.start)
        written += [(await survivor.kv.put("w/k", str(n))).header.revision for n in range(5)]
        await eventually(lambda: len(seen) >= len(written), 30)
        watcher.close()
        await reading
    assert seen == written
    assert any(resumed)


async def test_a_watch_survives_the_restart_of_the_only_member(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    cluster = real_etcd()
    (member,) = cluster.members
    client = make_client(member.url, **PATIENT)
    async with client.watch("k") as watcher:
        await client.kv.put("k", "1")
        assert (await anext(watcher)).events[0].kv.value == b"1"
        await asyncio.to_thread(member.stop)
        await asyncio.to_thread(member.start)
        await client.kv.put("k", "2")
        async with asyncio.timeout(30):
            assert (await anext(watcher)).events[0].kv.value == b"2"


@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
async def test_a_watch_leaves_a_member_that_stopped_answering(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    """SIGSTOP under a quiet watch: the connection stays open, only an unanswered ping can tell (etcd #8980)."""
    cluster = real_etcd(size=3)
    client = make_client(*cluster.endpoints, **PATIENT)
    async with client.watch("k") as watcher:
        stopped = next(member for member in cluster.members if member.url == watcher.endpoint)
        stopped.pause()
        others = make_client(*(member.url for member in cluster.members if member is not stopped), **PATIENT)
        # It may have led: the read waits for the next leader, so that the put is sure to be answered.
        await others.kv.get("k")
        await others.kv.put("k", "v")
        async with asyncio.timeout(40):
            batch = await anext(watcher)
        assert batch.events[0].kv.value == b"v"
        assert watcher.endpoint != stopped.url


async def test_a_watch_into_compacted_history_says_so(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    client = make_client(*real_etcd().endpoints, **PATIENT)
    for number in range(5):
        await client.kv.put("k", str(number))
    await client.kv.compact(5)
    async with client.watch("k", start_revision=2) as watcher:
        with pytest.raises(Compacted) as raised:
            await anext(watcher)
    assert raised.value.compact_revision == 5


async def test_a_paused_member_is_shown_as_timed_out(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    """SIGSTOP: its connections stay open and nothing comes. New and standing connections alike end in time."""
    cluster = real_etcd(size=3)
    standing = make_client(*cluster.endpoints, dial_timeout_s=2.0)
    await observe(standing, timeout_s=10)
    cluster.members[2].pause()
    for client in (standing, make_client(*cluster.endpoints, dial_timeout_s=1.0)):
        view = await observe(client, timeout_s=2.0)
        paused = next(member for member in view.members if member.name == "m3")
        assert paused.silence is Silence.TIMED_OUT
        assert view.took_s < 10
    cluster.members[2].resume()


@pytest.mark.parametrize("etcd_binaries", [pytest.param("3.4", marks=pytest.mark.exhaustive), "3.5"], indirect=True)
async def test_the_loss_of_the_quorum_is_seen_and_writes_end_in_time(
    real_etcd: MakeCluster, make_client: MakeClient
) -> None:
    """Two of three killed: reads through the quorum and writes fail in bounded time, serializable reads still work."""
    cluster = real_etcd(size=3)
    client = make_client(*cluster.endpoints, dial_timeout_s=1.0)
    await client.kv.put("k", "v", timeout=20)
    for member in cluster.members[1:]:
        member.kill()
    survivor = cluster.members[0].url

    async def lost() -> bool:
        return (await observe(client, timeout_s=2.0)).health is Health.QUORUM_LOST

    async with asyncio.timeout(30):
        while not await lost():  # a member notices the loss after its election timeout
            pass
    with pytest.raises(ResultUnknown):
        await client.kv.put("k", "w", timeout=2.0, endpoint=survivor)
    with pytest.raises(Unreachable):
        await client.kv.get("k", timeout=2.0, endpoint=survivor)
    assert (await client.kv.get("k", serializable=True, timeout=10)).kvs[0].value == b"v"


async def test_two_clusters_behind_one_list_of_endpoints(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    first, second = real_etcd(), real_etcd(token="another")
    view = await observe(make_client(*first.endpoints, *second.endpoints), timeout_s=10)
    assert any("two clusters" in problem.en for problem in view.problems)
    assert len(view.members) == 1


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def tls_cluster(real_etcd: MakeCluster, authority: Authority, *, client_auth: bool = False) -> RealCluster:
    pair = authority.issue("member")
    return real_etcd(tls=Tls(authority.ca, pair.cert, pair.key, client_auth))


async def test_tls_with_our_own_authority(
    real_etcd: MakeCluster, make_client: MakeClient, authority: Authority
) -> None:
    cluster = tls_cluster(real_etcd, authority)
    client = make_client(*cluster.endpoints, cacert=str(authority.ca), **PATIENT)
    await client.kv.put("k", "v")
    assert (await observe(client, timeout_s=10)).health is Health.HEALTHY


async def test_tls_with_a_client_certificate(
    real_etcd: MakeCluster, make_client: MakeClient, authority: Authority, tmp_path: Path
) -> None:
    """Without one, or with one of a stranger, the error says so although gRPC does not know."""
    cluster = tls_cluster(real_etcd, authority, client_auth=True)
    mine = authority.issue("operator")
    stranger = Authority(tmp_path / "other", "other-ca").issue("stranger")
    files = {"cacert": str(authority.ca)}
    client = make_client(*cluster.endpoints, **files, cert=str(mine.cert), key=str(mine.key), **PATIENT)
    await client.kv.put("k", "v")
    for wrong in ({}, {"cert": str(stranger.cert), "key": str(stranger.key)}):
        with pytest.raises(Unreachable) as raised:
            await make_client(*cluster.endpoints, **files, **wrong).kv.get("k")
        assert failures_of(raised.value)[0].silence is Silence.TLS
        assert "client certificate" in raised.value.cause


async def test_a_member_with_a_certificate_we_do_not_trust_is_named(
    real_etcd: MakeCluster, make_client: MakeClient, authority: Authority, tmp_path: Path
) -> None:
    cluster = tls_cluster(real_etcd, authority)
    stranger = Authority(tmp_path / "other", "other-ca")
    for cacert in (str(stranger.ca), ""):
        with pytest.raises(Unreachable) as raised:
            await make_client(*cluster.endpoints, cacert=cacert).kv.get("k")
        assert "certificate is not accepted" in raised.value.cause
        assert "--cacert" in raised.value.hint


async def test_the_wrong_scheme_is_told(real_etcd: MakeCluster, make_client: MakeClient, authority: Authority) -> None:
    """http to a TLS port and https to a plain one: gRPC knows only "socket closed"."""
    secure = tls_cluster(real_etcd, authority)
    plain = real_etcd()
    with pytest.raises(Unreachable) as raised:
        await make_client(secure.endpoints[0].replace("https", "http")).kv.get("k")
    assert "https://" in raised.value.cause
    with pytest.raises(Unreachable) as raised:
        await make_client(plain.endpoints[0].replace("http", "https"), cacert=str(authority.ca)).kv.get("k")
    assert "http://" in raised.value.cause.partition(": ")[2]


async def test_a_certificate_for_another_name_needs_the_server_name(
    real_etcd: MakeCluster, make_client: MakeClient, authority: Authority
) -> None:
    pair = authority.issue("member", hosts=["etcd.example"])
    cluster = real_etcd(tls=Tls(authority.ca, pair.cert, pair.key))
    files = {"cacert": str(authority.ca)}
    with pytest.raises(Unreachable) as raised:
        await make_client(*cluster.endpoints, **files).kv.get("k")
    assert "127.0.0.1" in raised.value.cause
    client = make_client(*cluster.endpoints, **files, server_name="etcd.example", **PATIENT)
    await client.kv.get("k")


async def test_skipping_verification_accepts_even_an_expired_certificate_and_names_it(
    real_etcd: MakeCluster, make_client: MakeClient, authority: Authority
) -> None:
    """The usual emergency: the certificates ran out. With mTLS and large answers through the tunnel too."""
    pair = authority.issue("member", valid_from=-3 * DAY, valid_until=-DAY)
    mine = authority.issue("operator")
    flags = ["--max-request-bytes=8388608"]
    cluster = real_etcd(tls=Tls(authority.ca, pair.cert, pair.key, client_auth=True), flags=flags)
    files = {"cert": str(mine.cert), "key": str(mine.key)}
    with pytest.raises(Unreachable) as raised:
        await make_client(*cluster.endpoints, cacert=str(authority.ca), **files).kv.get("k")
    assert "expired" in raised.value.cause
    client = make_client(*cluster.endpoints, insecure_skip_tls_verify=True, **files, **PATIENT)
    big = b"y" * (5 << 20)
    await client.kv.put("k", big)
    assert (await client.kv.get("k")).kvs[0].value == big
    assert len(client.notices) == 1
    assert "certificate not verified" in client.notices[0]
    assert "sha256" in client.notices[0]


async def test_skipping_verification_refuses_another_certificate_than_at_first(
    real_etcd: MakeCluster, make_client: MakeClient, authority: Authority, tmp_path: Path
) -> None:
    """Trust on first use, whatever name is in it: nobody may step in between later."""
    pair = authority.issue("member", hosts=["elsewhere"])
    cluster = real_etcd(tls=Tls(authority.ca, pair.cert, pair.key))
    (member,) = cluster.members
    client = make_client(member.url, insecure_skip_tls_verify=True, **PATIENT)
    await client.kv.put("k", "v")
    await asyncio.to_thread(member.stop)
    other = Authority(tmp_path / "other", "other-ca").issue("impostor")
    member.tls = Tls(authority.ca, other.cert, other.key)
    await asyncio.to_thread(member.start)
    with pytest.raises(Unreachable) as raised:
        await client.kv.get("k", timeout=3.0)
    assert "another certificate than at first" in raised.value.cause


async def enable_auth(client: Client) -> None:
    """root:rootpw, and alice:alicepw who may read a/ only."""
    await client.auth.user_add("root", Secret("rootpw"))
    await client.auth.role_add("root")
    await client.auth.user_grant_role("root", "root")
    await client.auth.user_add("alice", Secret("alicepw"))
    await client.auth.role_add("reader")
    await client.auth.role_grant_permission("reader", authpb.Permission.READ, "a/", prefix=True)
    await client.auth.user_grant_role("alice", "reader")
    await client.auth.enable()


async def test_users_roles_and_passwords(real_etcd: MakeCluster, make_client: MakeClient) -> None:
    """With authentication on: root may all, alice may read, a stranger and a wrong password nothing."""
    cluster = real_etcd()
    anybody = make_client(*cluster.endpoints, **PATIENT)
    await enable_auth(anybody)
    root = make_client(*cluster.endpoints, username="root", password=Secret("rootpw"), **PATIENT)
    alice = make_client(*cluster.endpoints, username="alice", password=Secret("alicepw"), **PATIENT)
    wrong = make_client(*cluster.endpoints, username="root", password=Secret("nonsense"), **PATIENT)
    await root.kv.put("a/1", "v")
    assert (await alice.kv.get("a/1")).count == 1
    with pytest.raises(AccessDenied, match="permission denied"):
        await alice.kv.put("a/1", "w")
    with pytest.raises(AccessDenied) as raised:
        await anybody.kv.get("a/1")
    assert "--user" in raised.value.hint
    with pytest.raises(AccessDenied, match="authentication failed"):
        await wrong.kv.get("a/1")
    with pytest.raises(AccessDenied):
        async with alice.watch("b"):
            pass
    assert (await observe(root, timeout_s=10)).health is Health.HEALTHY
    assert list((await root.auth.user_list()).users) == ["alice", "root"]
    await root.auth.disable()
    assert (await anybody.kv.get("a/1")).count == 1


async def test_a_token_that_a_restart_made_worthless_is_renewed_without_notice(
    real_etcd: MakeCluster, make_client: MakeClient
) -> None:
    """Simple tokens live in a member's memory: after its restart they are invalid, and so they are after 5 minutes."""
    cluster = real_etcd()
    (member,) = cluster.members
    await enable_auth(make_client(member.url, **PATIENT))
    root = make_client(member.url, username="root", password=Secret("rootpw"), **PATIENT)
    await root.kv.put("k", "1")
    async with root.watch("k") as watcher:
        await root.kv.put("k", "2")
        assert (await anext(watcher)).events[0].kv.value == b"2"
        await asyncio.to_thread(member.kill)
        await asyncio.to_thread(member.start)
        await root.kv.put("k", "3")
        async with asyncio.timeout(30):
            assert (await anext(watcher)).events[0].kv.value == b"3"


async def test_status_is_shown_without_quorum_although_nobody_can_log_in(
    real_etcd: MakeCluster, make_client: MakeClient
) -> None:
    """Authenticate goes through the log; 3.4.23 and 3.5.16 tell their status without a token."""
    cluster = real_etcd(size=3)
    await enable_auth(make_client(*cluster.endpoints, **PATIENT))
    for member in cluster.members[1:]:
        member.kill()
    root = make_client(*cluster.endpoints, username="root", password=Secret("rootpw"), dial_timeout_s=1.0)
    async with asyncio.timeout(40):
        while (view := await observe(root, timeout_s=3.0)).health is not Health.QUORUM_LOST:
            pass
    assert [member.name for member in view.answering] == ["m1"]
