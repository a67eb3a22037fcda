"""Databases from member to member: whole, or not there at all."""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
from pathlib import Path

import aiohttp
import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.peer import codec, snapshot_sender
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.types import ConfState, Message, MessageType, Snapshot, SnapshotMetadata
from tests.node.peer.proxy import proxy_to
from tests.node.peer.support import ALICE, BOB, CAROL, Node, eventually, heartbeat, pair, port_of, running
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow

INDEX = LogIndex(0x1234)


def snap(sender: MemberID = ALICE, to: MemberID = BOB) -> Message:
    metadata = SnapshotMetadata(INDEX, Term(5), ConfState(voters=(ALICE, BOB)))
    return Message(MessageType.SNAP, to=to, from_=sender, term=Term(5), snapshot=Snapshot(metadata))


def database(folder: Path, size: int) -> Path:
    path = folder / "state.db"
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def files(node: Node) -> list[str]:
    return sorted(path.name for path in node.snapshot_dir.iterdir())


async def test_a_database_of_50_megabytes_arrives_unchanged(tmp_path: Path) -> None:
    """Under etcd's name for it, before raft hears of it; the sender hears that it is done."""
    path = database(tmp_path, 50_000_000)
    async with pair(tmp_path) as (alice, bob):
        alice.transport.send_snapshot(snap(), path)
        await eventually(lambda: alice.raft.snapshots == [(BOB, True)], timeout_s=40)
        assert bob.raft.received == [snap()]
        assert files(bob) == ["0000000000001234.snap.db"]
        received = received_path(bob.snapshot_dir, INDEX)
        with path.open("rb") as sent, received.open("rb") as came:
            assert hashlib.file_digest(sent, "sha256").digest() == hashlib.file_digest(came, "sha256").digest()
        assert received.stat().st_mode & 0o777 == 0o600
        assert not alice.raft.unreachable
        assert alice.transport.stats()[BOB].snapshots_sent == 1
        assert bob.transport.stats()[ALICE].snapshots_received == 1


async def test_messages_flow_while_a_database_travels(tmp_path: Path) -> None:
    """A leader that sends gigabytes to one member must not miss its heartbeats."""
    path = database(tmp_path, 30_000_000)
    async with pair(tmp_path) as (alice, bob):
        alice.transport.send_snapshot(snap(), path)
        await eventually(lambda: alice.transport.stats()[BOB].snapshots_in_flight == 1)
        for commit in range(20):
            alice.transport.send([heartbeat(ALICE, BOB, commit)])
            await asyncio.sleep(0)
        await eventually(lambda: (ALICE, 19) in {(each.from_, each.commit) for each in bob.raft.received})
        await eventually(lambda: alice.raft.snapshots == [(BOB, True)], timeout_s=40)


async def test_a_transfer_that_breaks_off_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    """Both sides drop what they had; raft hears of the failure once and sends another one later."""
    path = database(tmp_path, 20_000_000)
    one, two = free_ports(2)
    async with (
        proxy_to(two) as to_bob,
        running(tmp_path, ALICE, port=one, peers={BOB: [to_bob.url]}) as alice,
        running(tmp_path, BOB, port=two, peers={ALICE: [alice.url]}) as bob,
    ):
        to_bob.cut_after_bytes = 5_000_000
        alice.transport.send_snapshot(snap(), path)
        await eventually(lambda: alice.raft.snapshots == [(BOB, False)])
        assert alice.raft.unreachable[-1] == BOB
        await eventually(lambda: files(bob) == [], "the part that came is still there")
        assert not [each for each in bob.raft.received if each.type is MessageType.SNAP]
        to_bob.cut_after_bytes = None
        alice.transport.send_snapshot(snap(), path)
        await eventually(lambda: alice.raft.snapshots == [(BOB, False), (BOB, True)], timeout_s=40)
        assert files(bob) == ["0000000000001234.snap.db"]


async def test_a_disk_that_cannot_take_it_is_reported_to_the_sender(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """500 with the reason, as etcd; nothing reaches raft."""
    path = database(tmp_path, 100_000)
    async with pair(tmp_path) as (alice, bob):
        bob.snapshot_dir.rmdir()
        alice.transport.send_snapshot(snap(), path)
        await eventually(lambda: alice.raft.snapshots == [(BOB, False)])
        assert not bob.raft.received
        assert "failed to save incoming database snapshot" in caplog.messages
        assert "failed to send database snapshot" in caplog.messages


async def test_a_receiver_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and reads nothing: the transfer ends without it."""
    monkeypatch.setattr(snapshot_sender, "STALL_TIMEOUT_S", 0.3)
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0, limit=1)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with running(tmp_path, ALICE, peers={BOB: [url]}) as alice:
            alice.transport.send_snapshot(snap(), database(tmp_path, 30_000_000))
            await eventually(lambda: alice.raft.snapshots == [(BOB, False)])
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()


async def test_a_database_nobody_can_have_is_reported_at_once(tmp_path: Path) -> None:
    """To a stranger, or from a file that is gone: raft must not wait for ever."""
    async with running(tmp_path, ALICE, peers={BOB: ["http://127.0.0.1:1"]}) as alice:
        alice.transport.send_snapshot(snap(to=CAROL), database(tmp_path, 10))
        assert alice.raft.snapshots == [(CAROL, False)]
        alice.transport.send_snapshot(snap(), tmp_path / "gone.db")
        await eventually(lambda: alice.raft.snapshots[-1] == (BOB, False))


async def test_stopping_ends_a_transfer_with_a_report(tmp_path: Path) -> None:
    """Whoever keeps the file learns that it is no longer needed."""
    async with pair(tmp_path) as (alice, _):
        alice.transport.send_snapshot(snap(), database(tmp_path, 30_000_000))
        await eventually(lambda: alice.transport.stats()[BOB].snapshots_in_flight == 1)
        alice.transport.remove_peer(BOB)
        await eventually(lambda: len(alice.raft.snapshots) == 1)


async def test_a_transfer_that_never_began_is_reported_too(tmp_path: Path) -> None:
    """The peer is removed in the very turn of the loop in which it was to get a database."""
    async with running(tmp_path, ALICE, peers={BOB: ["http://127.0.0.1:1"]}) as alice:
        alice.transport.send_snapshot(snap(), database(tmp_path, 10))
        alice.transport.remove_peer(BOB)
        await eventually(lambda: alice.raft.snapshots == [(BOB, False)])


async def test_the_same_state_twice_is_kept_once(tmp_path: Path) -> None:
    """Source: etcd snap/db.go, SaveDBFrom: a file of that index that is there already stays."""
    async with pair(tmp_path) as (alice, bob):
        received_path(bob.snapshot_dir, INDEX).write_bytes(b"first")
        alice.transport.send_snapshot(snap(), database(tmp_path, 100))
        await eventually(lambda: alice.raft.snapshots == [(BOB, True)])
        assert files(bob) == ["0000000000001234.snap.db"]
        assert received_path(bob.snapshot_dir, INDEX).read_bytes() == b"first"


def envelope(data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">Q", len(data) if size is None else size) + data


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        pytest.param(b"", 400, "failed to decode raft message", id="nothing"),
        pytest.param(envelope(b"", (1 << 64) - 1), 400, "error limit exceeded", id="hostile length"),
        pytest.param(envelope(b"", 64 << 20), 400, "failed to decode raft message", id="nothing of what it announces"),
        pytest.param(envelope(b"\xff\xff"), 400, "failed to decode raft message", id="no message"),
        pytest.param(envelope(codec.encode_message(heartbeat(ALICE, BOB))), 400, "wrong raft message type", id="type"),
        pytest.param(envelope(codec.encode_message(snap(to=CAROL))) + b"db", 412, "to field mismatch", id="other"),
        pytest.param(envelope(codec.encode_message(snap(CAROL))) + b"db", 403, "removed member", id="removed"),
    ],
)
async def test_what_is_no_snapshot_for_us_is_refused_before_a_byte_is_saved(
    tmp_path: Path, body: bytes, status: int, text: str
) -> None:
    """etcd saves the database first and asks afterwards."""
    async with running(tmp_path, BOB) as bob, aiohttp.ClientSession() as session:
        bob.raft.removed.add(CAROL)
        headers = {"X-Etcd-Cluster-ID": "c1", "X-Server-Version": "3.5.0", "X-Min-Cluster-Version": "3.0.0"}
        async with session.post(f"{bob.url}/raft/snapshot", data=body, headers=headers) as response:
            assert response.status == status
            assert text in await response.text()
        assert files(bob) == []
        assert not bob.raft.received
        assert port_of(bob.url)
