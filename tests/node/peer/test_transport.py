"""Two transports on loopback ports, as raft sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from etcdops.errors import StartRefused
from etcdops.ids import ClusterID, MemberID, format_id
from etcdops.node.peer import listener, stream, writer
from etcdops.node.raft.types import MessageType
from tests.node.peer.proxy import proxy_to
from tests.node.peer.support import (
    ALICE,
    BOB,
    CAROL,
    CLUSTER,
    Node,
    append,
    connected,
    eventually,
    heartbeat,
    pair,
    port_of,
    running,
)
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow


async def arrives(sender: Node, receiver: Node, *, commit: int) -> None:
    """Wait until a heartbeat sent now and again gets through."""

    def came() -> bool:
        sender.transport.send([heartbeat(sender.member, receiver.member, commit)])
        return any(message.commit == commit for message in receiver.raft.received)

    await eventually(came, "no heartbeat came through")


async def test_messages_arrive_whole_and_in_order_on_both_streams(tmp_path: Path) -> None:
    """Entries take the msgapp stream, everything else the message stream; each keeps its order."""
    async with pair(tmp_path) as (alice, bob):
        appends = [append(ALICE, BOB, index, 3) for index in range(10, 310, 3)]
        beats = [heartbeat(ALICE, BOB, commit) for commit in range(100)]
        for one, two in zip(appends, beats, strict=True):
            alice.transport.send([one, two])
        await eventually(lambda: len(bob.raft.received) == 200)
        assert [message for message in bob.raft.received if message.type is MessageType.APP] == appends
        assert [message for message in bob.raft.received if message.type is MessageType.HEARTBEAT] == beats
        assert not alice.raft.unreachable


async def test_what_is_sent_in_one_loop_turn_goes_out_in_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One system call and one packet for the messages of a whole Ready, of several even."""
    writes: list[int] = []
    real = web.StreamResponse.write

    async def write(self: web.StreamResponse, data: bytes) -> None:
        writes.append(len(data))
        await real(self, data)

    async with pair(tmp_path) as (alice, bob):
        monkeypatch.setattr(web.StreamResponse, "write", write)
        for commit in range(50):
            alice.transport.send([heartbeat(ALICE, BOB, commit)])
        await eventually(lambda: len(bob.raft.received) == 50)
        assert len(writes) == 1


async def test_a_member_that_has_not_dialled_gets_its_messages_posted(tmp_path: Path) -> None:
    """A new member does not know its cluster yet: it is posted to, and can answer whoever told it its URLs."""
    async with (
        running(tmp_path, BOB) as bob,
        running(tmp_path, ALICE, peers={BOB: [bob.url]}) as alice,
    ):
        alice.transport.send([append(ALICE, BOB, 10, 3)])
        await eventually(lambda: bob.raft.received == [append(ALICE, BOB, 10, 3)])
        bob.transport.send([heartbeat(BOB, ALICE)])
        await eventually(lambda: alice.raft.received == [heartbeat(BOB, ALICE)])


async def test_a_member_that_joins_answers_those_it_was_told_of(tmp_path: Path) -> None:
    """Before its log says who they are, and before it runs. They become peers later."""
    one, two = free_ports(2)
    async with (
        running(tmp_path, ALICE, port=one, peers={BOB: [f"http://127.0.0.1:{two}"]}) as alice,
        running(tmp_path, BOB, port=two, remotes={ALICE: [alice.url]}) as bob,
    ):
        bob.transport.send([heartbeat(BOB, ALICE)])
        await eventually(lambda: alice.raft.received == [heartbeat(BOB, ALICE)])
        bob.transport.add_peer(ALICE, [alice.url])
        await connected(alice, BOB)


async def test_a_partition_is_noticed_and_healed(tmp_path: Path) -> None:
    """While cut, raft hears that the peer is unreachable; afterwards messages flow again by themselves."""
    one, two = free_ports(2)
    async with (
        proxy_to(one) as to_alice,
        proxy_to(two) as to_bob,
        running(tmp_path, ALICE, port=one, peers={BOB: [to_bob.url]}) as alice,
        running(tmp_path, BOB, port=two, peers={ALICE: [to_alice.url]}) as bob,
    ):
        await connected(alice, BOB)
        await connected(bob, ALICE)
        since = alice.transport.active_since(BOB)
        assert since is not None
        await to_alice.cut()
        await to_bob.cut()
        await eventually(lambda: alice.transport.active_since(BOB) is None)
        await eventually(lambda: bob.transport.active_peers() == 0)
        alice.transport.send([heartbeat(ALICE, BOB)])
        await eventually(lambda: BOB in alice.raft.unreachable)
        await to_alice.mend()
        await to_bob.mend()
        await connected(alice, BOB)
        await arrives(alice, bob, commit=77)
        later = alice.transport.active_since(BOB)
        assert later is not None
        assert later > since


async def test_a_restarted_peer_is_found_again(tmp_path: Path) -> None:
    """The same member on the same port, after its streams broke."""
    one, two = free_ports(2)
    async with running(tmp_path, ALICE, port=one, peers={BOB: [f"http://127.0.0.1:{two}"]}) as alice:
        for commit in (1, 2):
            async with running(tmp_path, BOB, port=two, peers={ALICE: [alice.url]}) as bob:
                await connected(alice, BOB)
                await arrives(alice, bob, commit=commit)


async def test_a_peer_with_several_urls_is_reached_by_the_one_that_works(tmp_path: Path) -> None:
    """They are tried in turn; an update takes their place."""
    dead, one, two = free_ports(3)
    urls = [f"http://127.0.0.1:{port}" for port in (dead, two)]
    async with (
        running(tmp_path, ALICE, port=one, peers={BOB: urls}) as alice,
        running(tmp_path, BOB, port=two, peers={ALICE: [f"http://127.0.0.1:{dead}"]}) as bob,
    ):
        bob.transport.update_peer(ALICE, ["http://127.0.0.1:1"])
        await connected(bob, ALICE)
        await arrives(alice, bob, commit=1)
        bob.transport.update_peer(ALICE, [alice.url])
        await connected(alice, BOB)
        await arrives(bob, alice, commit=2)


async def test_a_peer_that_left_is_not_talked_to(tmp_path: Path) -> None:
    """Its streams end at once and nothing more is sent; what is unknown is ignored."""
    async with pair(tmp_path) as (alice, bob):
        alice.transport.remove_peer(BOB)
        alice.transport.remove_peer(CAROL)
        alice.transport.send([heartbeat(ALICE, BOB, 5), heartbeat(ALICE, CAROL), heartbeat(ALICE, MemberID(0))])
        await eventually(lambda: bob.transport.active_since(ALICE) is None)
        assert alice.transport.active_since(BOB) is None
        assert not bob.raft.received


async def test_a_removed_member_is_told_so(tmp_path: Path) -> None:
    """By 410 on its streams and 403 on what it posts. Source: rafthttp/http.go, streamHandler."""
    async with running(tmp_path, BOB) as bob:
        bob.raft.removed.add(ALICE)
        async with running(tmp_path, ALICE, peers={BOB: [bob.url]}) as alice:
            await eventually(lambda: alice.raft.told_removed >= 2)
            told = alice.raft.told_removed
            alice.transport.send([heartbeat(ALICE, BOB)])
            await eventually(lambda: alice.raft.unreachable == [BOB])
            assert alice.raft.told_removed > told
            assert not bob.raft.received


async def test_members_of_two_clusters_refuse_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both log it as etcd does: who was asked and who asked, by stream and by post."""
    one, two = free_ports(2)
    async with (
        running(tmp_path, ALICE, port=one, peers={BOB: [f"http://127.0.0.1:{two}"]}) as alice,
        running(tmp_path, BOB, port=two, cluster=ClusterID(0xC2), peers={ALICE: [alice.url]}) as bob,
    ):
        alice.transport.send([heartbeat(ALICE, BOB)])
        bob.transport.send([heartbeat(BOB, ALICE)])
        await eventually(lambda: alice.raft.unreachable == [BOB] and bob.raft.unreachable == [ALICE])

        def mismatches(message: str) -> set[tuple[object, object]]:
            about = [record.__dict__["zap_fields"] for record in caplog.records if record.message == message]
            return {(each.get("local-member-cluster-id"), each["remote-peer-cluster-id"]) for each in about}

        both = {("c1", "c2"), ("c2", "c1")}
        await eventually(lambda: mismatches("request cluster ID mismatch") == both)
        await eventually(
            lambda: mismatches("request sent was ignored by remote peer due to cluster ID mismatch") == both
        )
        await eventually(lambda: mismatches("request sent was ignored due to cluster ID mismatch") == both)
        assert not alice.raft.received
        assert not bob.raft.received
        assert not alice.raft.told_removed
        assert alice.transport.active_peers() == bob.transport.active_peers() == 0


async def test_a_url_that_leads_to_another_member_is_not_taken_for_removal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Carol's URL leads to Bob: nobody is removed, and the log names the mismatch."""
    async with (
        running(tmp_path, BOB, peers={ALICE: ["http://127.0.0.1:1"]}) as bob,
        running(tmp_path, ALICE, peers={CAROL: [bob.url]}) as alice,
    ):
        alice.transport.send([heartbeat(ALICE, CAROL)])
        await eventually(lambda: alice.raft.unreachable == [CAROL])
        await eventually(lambda: "ignored streaming request; ID mismatch" in caplog.messages)
        assert "rejected Raft message to mismatch member" in caplog.messages
        assert not alice.raft.told_removed
        assert not bob.raft.received


async def test_a_version_from_before_our_cluster_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both sides say so. Source: rafthttp/util.go, checkVersionCompatibility."""
    async with (
        running(tmp_path, BOB) as bob,
        running(tmp_path, ALICE, version="2.3.8", peers={BOB: [bob.url]}),
    ):
        await eventually(lambda: "failed to check version compatibility" in caplog.messages)
        expected = "request sent was ignored by remote peer due to server version incompatibility"
        await eventually(lambda: expected in caplog.messages)


async def test_a_reader_that_does_not_read_costs_a_bounded_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages beyond it are dropped and reported, and the stream is closed when a write does not move."""
    monkeypatch.setattr(writer, "IO_TIMEOUT_S", 0.5)
    async with (
        running(tmp_path, ALICE, peers={BOB: ["http://127.0.0.1:1"]}) as alice,
        RawStream(alice, BOB, "msgapp"),
    ):
        peer = alice.transport.find_peer(BOB)
        assert peer is not None
        out = peer.writer(stream.StreamKind.MSGAPP)
        await eventually(lambda: out.working)
        big = append(ALICE, BOB, 10, 1, size=1 << 20)
        sent = 0
        while BOB not in alice.raft.unreachable:
            alice.transport.send([big])
            sent += 1
            assert sent < 200, "the queue takes more than its bound"
        await eventually(lambda: not out.working)


async def test_a_reader_of_small_messages_is_bounded_by_their_number(tmp_path: Path) -> None:
    """Source: rafthttp/stream.go, streamBufSize."""
    async with (
        running(tmp_path, ALICE, peers={BOB: ["http://127.0.0.1:1"]}) as alice,
        RawStream(alice, BOB, "message"),
    ):
        peer = alice.transport.find_peer(BOB)
        assert peer is not None
        await eventually(lambda: peer.writer(stream.StreamKind.MESSAGE).working)
        alice.transport.send([heartbeat(ALICE, BOB)] * (writer.QUEUE_MESSAGES_MAX + 7))
        assert alice.raft.unreachable == [BOB] * 7
        assert alice.transport.stats()[BOB].sent_failures == 7


async def test_a_quiet_stream_is_kept_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Link heartbeats go out when nothing else does, and raft never sees them."""
    monkeypatch.setattr(writer, "HEARTBEAT_INTERVAL_S", 0.05)
    async with pair(tmp_path) as (_, bob):
        before = bob.transport.stats()[ALICE].received_bytes
        await eventually(lambda: bob.transport.stats()[ALICE].received_bytes > before + 200)
        assert not bob.raft.received


async def test_a_silent_stream_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose machine froze: the reader's deadline passes, and the link is down."""
    monkeypatch.setattr("etcdops.node.peer.reader.IO_TIMEOUT_S", 0.2)
    async with pair(tmp_path) as (_, bob):
        await eventually(lambda: bob.transport.stats()[ALICE].received_failures >= 2)


async def test_garbage_on_a_stream_closes_it_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A hostile server under a peer's URL: every stream it serves is cut, and dialled again later."""
    dialled: list[str] = []

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        dialled.append(request.path)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        response.headers["X-Server-Version"] = "3.5.0"
        await response.prepare(request)
        await response.write(b"\xff" * 64)
        return response

    server = web.Server(serve)
    port = free_ports(1)[0]
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    try:
        async with running(tmp_path, ALICE, peers={BOB: [f"http://127.0.0.1:{port}"]}) as alice:
            await eventually(lambda: dialled.count("/raft/stream/msgapp/" + format_id(ALICE)) >= 2)
            await eventually(lambda: dialled.count("/raft/stream/message/" + format_id(ALICE)) >= 2)
            assert "lost TCP streaming connection with remote peer" in caplog.messages
            assert not alice.raft.received
    finally:
        listening.close()
        await server.shutdown()


async def test_a_connection_that_never_asks_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle sockets must not fill up the port."""
    monkeypatch.setattr(listener, "FIRST_REQUEST_TIMEOUT_S", 0.1)
    async with running(tmp_path, ALICE) as alice:
        reader, out = await asyncio.open_connection("127.0.0.1", port_of(alice.url))
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except ConnectionResetError:
            pass
        finally:
            out.close()


async def test_a_port_in_use_is_named_and_nothing_is_left_open(tmp_path: Path) -> None:
    """In Go's words, and with what to do."""
    async with running(tmp_path, ALICE) as alice:
        address = alice.url.removeprefix("http://")
        with pytest.raises(StartRefused) as caught:
            async with running(tmp_path, BOB, port=port_of(alice.url)):
                pass
        assert caught.value.message == f"listen tcp {address}: bind: address already in use"
        assert "stop the process that listens there" in caught.value.hint


async def test_stopping_leaves_nothing_running(tmp_path: Path) -> None:
    """No task, no timer that fires, no open stream."""
    before = asyncio.all_tasks()
    async with pair(tmp_path) as (alice, _):
        alice.transport.send([heartbeat(ALICE, BOB)])
    await eventually(lambda: asyncio.all_tasks() == before)


class RawStream:
    """`member`'s end of a stream, dialled by hand and never read from."""

    def __init__(self, node: Node, member: MemberID, kind: str) -> None:
        self._url = f"{node.url}/raft/stream/{kind}/{member:x}"
        self._headers = {
            "X-Server-Version": "3.5.0",
            "X-Min-Cluster-Version": "3.0.0",
            "X-Etcd-Cluster-ID": format_id(CLUSTER),
            "X-Raft-To": format_id(node.member),
        }
        self._session = aiohttp.ClientSession()

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self._response = response = await self._session.get(self._url, headers=self._headers)
        assert response.status == 200
        return response

    async def __aexit__(self, *_: object) -> None:
        self._response.close()
        await self._session.close()
