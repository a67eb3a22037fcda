"""The peer port as a stranger sees it, request by request."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from etcdops.ids import MemberID, format_id
from etcdops.node.peer import codec, transport
from etcdops.node.peer.port import Answer, PeerRoutes
from etcdops.node.raft.types import Message, MessageType
from tests.node.peer.support import ALICE, BOB, CAROL, Node, append, heartbeat, port_of, running

GOOD = {
    "X-Server-From": format_id(BOB),
    "X-Server-Version": "3.5.0",
    "X-Min-Cluster-Version": "3.0.0",
    "X-Etcd-Cluster-ID": "c1",
    "X-Raft-To": format_id(ALICE),
}


async def _echo(body: bytes) -> Answer:
    return Answer(200, b"answer to " + body)


async def _refuse(_: bytes) -> Answer:
    return Answer(404, b"lease not found")


async def _promote(member: MemberID, authorization: str) -> Answer:
    if member != CAROL:
        return Answer(412, b"etcdserver: can only promote a learner member which is in sync with leader")
    return Answer(200, json.dumps([authorization]).encode())


async def _false() -> Answer:
    return Answer(200, b"false")


ROUTES = PeerRoutes(leases=_echo, leases_internal=_refuse, promote=_promote, hash_kv=_echo, downgrade_enabled=_false)


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Node]:
    async with running(tmp_path, ALICE, routes=ROUTES, peers={CAROL: ["http://127.0.0.1:1"]}) as node:
        yield node


async def ask(
    node: Node, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, node.url + path, data=body or None, headers=GOOD if headers is None else headers
        ) as got,
    ):
        return got.status, await got.read(), dict(got.headers)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("GET", "/raft", b"", 405, b"Method Not Allowed\n"),
        ("POST", "/raft", b"", 400, b"error unmarshalling raft message\n"),
        ("POST", "/raft", b"\x08\x63", 400, b"error unmarshalling raft message\n"),
        ("POST", "/raft", codec.encode_message(heartbeat(BOB, CAROL)), 412, b"to field mismatch\n"),
        ("POST", "/raft", codec.encode_message(heartbeat(BOB, ALICE)), 204, b""),
        ("POST", "/raft/probing", b"", 200, None),
        ("POST", "/raft/stream/message/1", b"", 405, b"Method Not Allowed\n"),
        ("GET", "/raft/stream/message/b0b", b"", 404, b"error sender not found\n"),
        ("GET", "/raft/stream/message/xyz", b"", 404, b"invalid from\n"),
        ("GET", "/raft/stream/message/", b"", 404, b"invalid from\n"),
        ("GET", "/raft/stream/other/1", b"", 404, b"invalid path\n"),
        ("GET", "/raft/stream/message/a/b", b"", 404, b"invalid path\n"),
        ("GET", "/raft/snapshot", b"", 405, b"Method Not Allowed\n"),
        ("GET", "/raft/nothing", b"", 404, b"404 page not found\n"),
        ("GET", "/", b"", 404, b"404 page not found\n"),
        ("POST", "/members", b"", 405, b"Method Not Allowed\n"),
        ("GET", "/version", b"", 200, b'{"etcdserver":"3.5.21","etcdcluster":"3.5.0"}'),
        ("POST", "/leases", b"request", 200, b"answer to request"),
        ("GET", "/leases", b"", 405, b"Method Not Allowed\n"),
        ("POST", "/leases", b"x" * 70_000, 400, b"error reading body\n"),
        ("POST", "/leases/internal", b"request", 404, b"lease not found\n"),
        ("GET", "/members/hashkv", b'{"revision":1}', 200, b'answer to {"revision":1}'),
        ("POST", "/members/hashkv", b"", 405, b"Method Not Allowed\n"),
        ("POST", "/members/promote/abc", b"", 404, b"member abc not found in cluster\n"),
        ("POST", "/members/promote/18446744073709551616", b"", 404, None),
        ("GET", "/members/promote/1", b"", 405, b"Method Not Allowed\n"),
        ("GET", "/downgrade/enabled", b"", 200, b"false"),
    ],
)
async def test_every_path_answers_as_etcds(
    alice: Node, method: str, path: str, body: bytes, status: int, answer: bytes | None
) -> None:
    """Statuses and bodies, down to Go's line ends. test_real_etcd compares many of them with etcd itself."""
    got = await ask(alice, method, path, body)
    assert (got[0], got[1] if answer is not None else None) == (status, answer)


@pytest.mark.parametrize(
    ("path", "changed", "status", "answer"),
    [
        ("/raft", {"X-Etcd-Cluster-ID": "c2"}, 412, b"cluster ID mismatch\n"),
        ("/raft", {"X-Min-Cluster-Version": "3.6.0"}, 412, b"incompatible version\n"),
        ("/raft", {"X-Server-Version": "x"}, 400, b"invalid version\n"),
        ("/raft/snapshot", {"X-Etcd-Cluster-ID": "c2"}, 412, b"cluster ID mismatch\n"),
        ("/raft/stream/message/ca401", {"X-Etcd-Cluster-ID": "c2"}, 412, b"cluster ID mismatch\n"),
        ("/raft/stream/message/ca401", {"X-Raft-To": "1"}, 412, b"to field mismatch\n"),
        ("/raft/stream/message/dead", {}, 410, b"removed member\n"),
        ("/members/hashkv", {"X-Etcd-Cluster-ID": "c2"}, 412, b"cluster ID mismatch\n"),
    ],
)
async def test_a_stranger_is_told_what_is_wrong_with_it(
    alice: Node, path: str, changed: dict[str, str], status: int, answer: bytes
) -> None:
    """And our cluster ID, so that it can say what it found."""
    alice.raft.removed.add(MemberID(0xDEAD))
    method = "GET" if "stream" in path or "hashkv" in path else "POST"
    got = await ask(alice, method, path, headers={**GOOD, **changed})
    assert got[:2] == (status, answer)
    if path.startswith("/raft"):
        assert got[2]["X-Etcd-Cluster-ID"] == "c1"


async def test_a_removed_members_post_is_forbidden(alice: Node) -> None:
    """From 403 the sender knows that it is no longer a member."""
    alice.raft.removed.add(BOB)
    status, body, headers = await ask(alice, "POST", "/raft", codec.encode_message(heartbeat(BOB, ALICE)))
    assert (status, json.loads(body)) == (403, {"message": "cannot process message from removed member"})
    assert headers["Content-Type"] == "application/json"
    assert not alice.raft.received


async def test_members_are_listed_with_the_cluster_they_form(alice: Node) -> None:
    """What a joining member reads."""
    status, body, headers = await ask(alice, "GET", "/members")
    assert status == 200
    assert headers["X-Etcd-Cluster-ID"] == "c1"
    assert json.loads(body)[0]["name"] == "alice"
    assert body.endswith(b"\n")


async def test_promotion_is_asked_by_decimal_id_with_the_callers_token(alice: Node) -> None:
    """Whoever was allowed to ask there must be allowed here."""
    path = f"/members/promote/{int(CAROL)}"
    status, body, _ = await ask(alice, "POST", path, headers={"Authorization": "token.1"})
    assert (status, json.loads(body)) == (200, ["token.1"])
    status, body, _ = await ask(alice, "POST", "/members/promote/1")
    assert (status, body[-12:]) == (412, b"with leader\n")


async def test_a_long_post_is_refused_without_being_kept(alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can post to this port."""
    monkeypatch.setattr("etcdops.node.peer.raft_routes.MESSAGE_BYTES_MAX", 100_000)
    status, body, _ = await ask(alice, "POST", "/raft", b"x" * 100_001)
    assert (status, body) == (400, b"error reading raft message\n")


async def test_a_compressed_body_is_not_unpacked(alice: Node) -> None:
    """A kilobyte must not become a gigabyte here."""
    packed = gzip.compress(codec.encode_message(heartbeat(BOB, ALICE)))
    status, _, _ = await ask(alice, "POST", "/raft", packed, {**GOOD, "Content-Encoding": "gzip"})
    assert status == 400
    assert not alice.raft.received


async def test_a_message_that_needs_its_database_is_not_taken_without_it(alice: Node) -> None:
    """Raft would install a file that never came."""
    metadata = codec.encode_message(Message(MessageType.SNAP, to=ALICE, from_=BOB))
    assert (await ask(alice, "POST", "/raft", metadata))[0] == 400
    assert not alice.raft.received


async def test_an_append_out_of_order_is_malformed(alice: Node) -> None:
    """It never reaches the core."""
    message = append(BOB, ALICE, 10, 2)
    broken = message._replace(entries=message.entries[::-1])
    assert (await ask(alice, "POST", "/raft", codec.encode_message(broken)))[0] == 400
    assert not alice.raft.received


@pytest.mark.parametrize("urls", ["not a url", "http://a:1,ftp://b:2", "http://[::1", "http://a:99999999", ","])
async def test_malformed_peer_urls_are_ignored(alice: Node, urls: str) -> None:
    """etcd stops itself on them: anybody who knows the cluster ID could stop every member."""
    message = codec.encode_message(heartbeat(BOB, ALICE))
    assert (await ask(alice, "POST", "/raft", message, {**GOOD, "X-PeerURLs": urls}))[0] == 204


async def test_strangers_that_want_answers_are_bounded(alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one costs tasks and a queue; the oldest gives way."""
    monkeypatch.setattr(transport, "REMOTES_MAX", 3)
    before = len(asyncio.all_tasks())
    for number in range(1, 20):
        headers = {**GOOD, "X-Server-From": format_id(number), "X-PeerURLs": "http://127.0.0.1:1"}
        message = codec.encode_message(heartbeat(MemberID(number), ALICE))
        assert (await ask(alice, "POST", "/raft", message, headers))[0] == 204
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) <= before + 3 * 4 + 2


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /raft/stream/message/ca401 HTTP/1.0\r\nX-Server-Version: 3.5.0\r\nX-Min-Cluster-Version: 3.0.0\r\n"
        b"X-Etcd-Cluster-ID: c1\r\nX-Raft-To: a11ce\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 10_000 + b"\r\n\r\n",
        b"POST /raft HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_bad_http_is_answered_and_closed(alice: Node, request_bytes: bytes) -> None:
    """The port stays up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(alice.url))
    writer.write(request_bytes)
    try:
        answer = await asyncio.wait_for(reader.readline(), 10)
        assert b" 400 " in answer
    finally:
        writer.close()
    assert (await ask(alice, "GET", "/version"))[0] == 200
