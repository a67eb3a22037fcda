"""The transport against real etcd 3.4 and 3.5: as a stranger to it, as its follower and as its leader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from etcdops.ids import ClusterID, LogIndex, MemberID, Term, cluster_id, format_id, member_id
from etcdops.node.member.member import Member
from etcdops.node.peer import codec, probe, remote
from etcdops.node.peer.transport import Transport
from etcdops.node.raft.types import ConfChangeType, Entry, EntryType, Message, MessageType
from etcdops.proto import etcdserverpb_pb2 as etcdserverpb
from tests.conftest import MakeCluster
from tests.node.peer.support import DEADLINE_S, FakeRaft, eventually
from tests.support.ports import free_ports
from tests.support.real_etcd import EtcdBinaries, RealCluster, RealMember

pytestmark = [pytest.mark.real, pytest.mark.slow]

TOKEN = "etcd-cluster"
STRANGER = MemberID(0x57AA6E)


@dataclass
class Follower(FakeRaft):
    """Says yes to everything a candidate or leader asks, as a follower with an empty log would."""

    transport: Transport | None = None
    log: dict[LogIndex, Entry] = field(default_factory=dict)

    def process(self, message: Message) -> None:
        super().process(message)
        assert self.transport is not None
        answer = Message(MessageType.HUP, to=message.from_, from_=message.to, term=message.term)
        match message.type:
            case MessageType.PRE_VOTE:
                answer = answer._replace(type=MessageType.PRE_VOTE_RESP)
            case MessageType.VOTE:
                answer = answer._replace(type=MessageType.VOTE_RESP)
            case MessageType.HEARTBEAT:
                answer = answer._replace(type=MessageType.HEARTBEAT_RESP, context=message.context)
            case MessageType.APP:
                self.log.update((entry.index, entry) for entry in message.entries)
                last = message.entries[-1].index if message.entries else message.index
                answer = answer._replace(type=MessageType.APP_RESP, index=last)
            case _:
                return
        self.transport.send([answer])

    def kinds(self) -> set[MessageType]:
        return {message.type for message in self.received}


class Leader(Follower):
    """Leads a real etcd: replicates what it is told to and what its follower proposes.

    Begins after the two entries with which every member of a new cluster of two starts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.term = Term(7)
        self.last = Entry(Term(1), LogIndex(2), EntryType.CONF_CHANGE, b"")
        self.commit = LogIndex(2)

    def process(self, message: Message) -> None:
        self.received.append(message)
        if message.type is MessageType.PROP:
            self.append(message.from_, [entry.data for entry in message.entries])
        elif message.type is MessageType.APP_RESP and not message.reject and message.index > self.commit:
            self.commit = message.index
            self.append(message.from_, [])

    def append(self, follower: MemberID, datas: Sequence[bytes]) -> None:
        assert self.transport is not None
        before = self.last
        entries = tuple(
            Entry(self.term, LogIndex(before.index + n), EntryType.NORMAL, data) for n, data in enumerate(datas, 1)
        )
        self.last = entries[-1] if entries else before
        message = Message(
            MessageType.APP,
            to=follower,
            from_=self.transport.member_id,
            term=self.term,
            log_term=before.term,
            index=before.index,
            entries=entries,
            commit=self.commit,
        )
        self.transport.send([message])


@dataclass
class Couple:
    """A cluster of two: a real etcd and our transport."""

    etcd: RealMember
    etcd_id: MemberID
    our_id: MemberID
    raft: Follower
    transport: Transport

    def ctl_nowait(self, *arguments: str) -> asyncio.Future[str]:
        return asyncio.ensure_future(asyncio.to_thread(self._ctl, *arguments))

    def _ctl(self, *arguments: str) -> str:
        return RealCluster(self.etcd.binaries, [self.etcd]).ctl(*arguments)


@asynccontextmanager
async def couple(
    binaries: EtcdBinaries, folder: Path, *flags: str, raft: Follower | None = None
) -> AsyncIterator[Couple]:
    """Static bootstrap of two members, of which one is ours."""
    client, theirs, ours = free_ports(3)
    our_url, their_url = f"http://127.0.0.1:{ours}", f"http://127.0.0.1:{theirs}"
    our_id, etcd_id = member_id([our_url], TOKEN), member_id([their_url], TOKEN)
    raft = raft or Follower()
    (folder / "snap").mkdir()
    transport = raft.transport = Transport(
        member_id=our_id,
        cluster_id=cluster_id([our_id, etcd_id]),
        peer_urls=[our_url],
        handler=raft,
        snapshot_dir=folder / "snap",
    )
    etcd = RealMember(
        binaries, "m1", folder, client, theirs, flags=flags, initial_cluster=f"m1={their_url},us={our_url}"
    )
    transport.add_peer(etcd_id, [their_url])
    await transport.start([our_url])
    try:
        etcd.start_nowait()
        yield Couple(etcd, etcd_id, our_id, raft, transport)
    finally:
        await asyncio.to_thread(etcd.kill)
        await transport.stop()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every message and entry that the codec reads: the bytes as they came, and as we write them."""
    seen: list[tuple[bytes, bytes]] = []
    real_message, real_entry = codec.decode_message, codec.decode_entry

    def message(data: bytes) -> Message:
        result = real_message(data)
        seen.append((data, codec.encode_message(result)))
        return result

    def entry(data: bytes) -> Entry:
        result = real_entry(data)
        seen.append((data, codec.encode_entry(result)))
        return result

    monkeypatch.setattr(codec, "decode_message", message)
    monkeypatch.setattr(codec, "decode_entry", entry)
    return seen


async def test_etcd_leads_us_and_every_byte_it_sends_is_what_we_would_send(
    etcd_binaries: EtcdBinaries, tmp_path: Path, decoded: list[tuple[bytes, bytes]]
) -> None:
    """Votes, appends in both forms and heartbeats of a real leader are decoded, and encode back to the same bytes."""
    async with couple(etcd_binaries, tmp_path, "--strict-reconfig-check=false") as pair:
        raft = pair.raft
        await eventually(lambda: MessageType.APP in raft.kinds(), pair.etcd.log_tail(), 40)
        await asyncio.to_thread(pair.etcd.wait_ready)
        for n in range(20):
            await pair.ctl_nowait("put", f"key{n}", "v" * (n * 400))
        puts = [entry for entry in raft.log.values() if b"key19" in entry.data]
        assert len(puts) == 1, "a put was acknowledged that did not reach the only other member"
        await eventually(lambda: MessageType.HEARTBEAT in raft.kinds())
        assert MessageType.VOTE in raft.kinds()
        assert not raft.told_removed
        assert pair.transport.active_since(pair.etcd_id) is not None
        await pair.ctl_nowait("member", "add", "new", "--learner", "--peer-urls=http://127.0.0.1:1")
        (change,) = [entry for entry in raft.log.values() if entry.type is EntryType.CONF_CHANGE]
        request = codec.decode_conf_change(change.type, change.data)
        assert [single.type for single in request.change.changes] == [ConfChangeType.ADD_LEARNER_NODE]
        assert codec.encode_conf_change(request.request_id, request.change) == change.data
        assert len(decoded) > 20
        for came, ours in decoded:
            assert came == ours, f"{came.hex()} came, {ours.hex()} is ours"


async def test_we_lead_etcd_which_applies_what_we_append(etcd_binaries: EtcdBinaries, tmp_path: Path) -> None:
    """A real follower grants our vote, takes whole messages and bare entries, and applies the put in them."""
    patient = ("--election-timeout=50000", "--heartbeat-interval=5000")
    async with couple(etcd_binaries, tmp_path, *patient, raft=Leader()) as pair:
        leader = pair.raft
        assert isinstance(leader, Leader)
        vote = Message(
            MessageType.VOTE, to=pair.etcd_id, from_=pair.our_id, term=leader.term, log_term=Term(1), index=LogIndex(2)
        )

        def granted() -> bool:
            pair.transport.send([vote])
            return MessageType.VOTE_RESP in leader.kinds()

        await eventually(granted, pair.etcd.log_tail(), 40)
        peer = pair.transport.find_peer(pair.etcd_id)
        assert peer is not None
        await eventually(lambda: peer.streaming)
        put = etcdserverpb.InternalRaftRequest(
            header=etcdserverpb.RequestHeader(ID=1), put=etcdserverpb.PutRequest(key=b"from", value=b"us")
        )
        leader.append(pair.etcd_id, [b""])
        leader.append(pair.etcd_id, [put.SerializeToString()])
        await asyncio.to_thread(pair.etcd.wait_ready)
        assert await pair.ctl_nowait("get", "from", "--consistency=s", "--print-value-only") == "us\n"


async def test_a_stranger_is_told_what_etcd_tells_one(
    real_etcd: MakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Real etcd refuses our streams and posts in its own words, and both sides' logs name the reason."""
    etcd = real_etcd(size=1).members[0]
    etcd_id = member_id([etcd.peer_url], etcd.token)
    right, wrong = cluster_id([etcd_id]), ClusterID(0xBAD)
    async with stranger(tmp_path, etcd, etcd_id, wrong) as (transport, raft):
        transport.send([Message(MessageType.HEARTBEAT, to=etcd_id, from_=STRANGER, term=Term(1))])
        await eventually(lambda: raft.unreachable == [etcd_id])
        await eventually(lambda: "request sent was ignored due to cluster ID mismatch" in caplog.text)
        await eventually(lambda: "request sent was ignored by remote peer due to cluster ID mismatch" in caplog.text)
        await eventually(lambda: "request cluster ID mismatch" in etcd.log.read_text())
        assert transport.active_since(etcd_id) is None
    async with stranger(tmp_path, etcd, etcd_id, right):
        await eventually(lambda: "failed to find remote peer in cluster" in etcd.log.read_text())
        await eventually(lambda: "added new remote peer" in etcd.log.read_text())


@asynccontextmanager
async def stranger(
    folder: Path, etcd: RealMember, etcd_id: MemberID, cluster: ClusterID
) -> AsyncIterator[tuple[Transport, FakeRaft]]:
    """Our transport, which takes `etcd` for a fellow member of `cluster`."""
    url, raft = f"http://127.0.0.1:{free_ports(1)[0]}", FakeRaft()
    transport = Transport(member_id=STRANGER, cluster_id=cluster, peer_urls=[url], handler=raft, snapshot_dir=folder)
    transport.add_peer(etcd_id, [etcd.peer_url])
    await transport.start([url])
    try:
        yield transport, raft
    finally:
        await transport.stop()


async def test_our_port_and_etcds_give_the_same_answers(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """Status, body and the headers that matter are equal for right, wrong and malformed requests."""
    etcd = real_etcd(size=1).members[0]
    etcd_id = member_id([etcd.peer_url], etcd.token)
    cluster = cluster_id([etcd_id])
    raft = FakeRaft()
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    transport = Transport(member_id=etcd_id, cluster_id=cluster, peer_urls=[url], handler=raft, snapshot_dir=tmp_path)
    await transport.start([url])
    good = {
        "X-Server-From": format_id(STRANGER),
        "X-Server-Version": etcd.binaries.version,
        "X-Min-Cluster-Version": "3.0.0",
        "X-Etcd-Cluster-ID": format_id(cluster),
        "X-Raft-To": format_id(etcd_id),
    }
    to_us = codec.encode_message(Message(MessageType.HEARTBEAT, to=etcd_id, from_=STRANGER, term=Term(1)))
    requests: list[tuple[str, str, dict[str, str], bytes]] = [
        ("GET", "/raft", good, b""),
        ("POST", "/raft", good, b"\xff\xff"),
        ("POST", "/raft", good, to_us),
        ("POST", "/raft", {**good, "X-Etcd-Cluster-ID": "bad"}, b""),
        ("POST", "/raft", {**good, "X-Min-Cluster-Version": "3.99.0"}, b""),
        ("POST", "/raft", {**good, "X-Server-Version": "2.3.0"}, b""),
        ("POST", "/raft", {name: text for name, text in good.items() if "Version" not in name}, b""),
        ("POST", "/raft/stream/message/1", good, b""),
        ("GET", "/raft/stream/message/1", {**good, "X-Etcd-Cluster-ID": "bad"}, b""),
        ("GET", "/raft/stream/message/1", good, b""),
        ("GET", "/raft/stream/msgapp/1", good, b""),
        ("GET", "/raft/stream/msgapp/xyz", good, b""),
        ("GET", "/raft/stream/other/1", good, b""),
        ("GET", "/raft/snapshot", good, b""),
        ("POST", "/raft/snapshot", good, len(to_us).to_bytes(8, "big") + to_us),
        ("GET", "/raft/unknown", good, b""),
        ("POST", "/members", good, b""),
        ("GET", "/unknown", good, b""),
    ]
    try:
        async with aiohttp.ClientSession() as session:
            for method, path, headers, body in requests:
                theirs = await _ask(session, etcd.peer_url, method, path, headers, body)
                ours = await _ask(session, url, method, path, headers, body)
                assert ours == theirs, (method, path)
            async with session.get(etcd.peer_url + probe.PATH) as response:
                assert abs(probe.parse_answer(await response.read()) - time.time()) < DEADLINE_S
    finally:
        await transport.stop()


async def test_a_running_cluster_describes_itself(real_etcd: MakeCluster) -> None:
    """Members, IDs and versions as a joining member asks for them."""
    cluster = real_etcd(size=1)
    etcd = cluster.members[0]
    await asyncio.to_thread(cluster.ctl, "put", "a", "b")
    found = await remote.fetch_cluster(["http://127.0.0.1:1", etcd.peer_url])
    etcd_id = member_id([etcd.peer_url], etcd.token)
    assert found.cluster_id == cluster_id([etcd_id])
    assert found.source == etcd.peer_url
    assert found.disagreements == ()
    assert found.members == (Member(etcd_id, (etcd.peer_url,), "m1", (etcd.url,)),)
    versions = await remote.fetch_versions(found.members)
    version = versions[etcd_id]
    assert version is not None
    assert version.server == cluster.binaries.version


async def _ask(
    session: aiohttp.ClientSession, url: str, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, bytes, str | None, str | None]:
    async with session.request(method, url + path, headers=headers, data=body or None) as response:
        text = await response.read()
        return response.status, text, response.headers.get("X-Etcd-Cluster-ID"), response.headers.get("Allow")
