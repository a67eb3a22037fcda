"""Maintenance (S), hashes of files (C22), and what has no header (H07, H08)."""

from __future__ import annotations

import hashlib

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.conftest import Start
from tests.differential.requests import delete, get, put

pytestmark = [pytest.mark.real, pytest.mark.slow]


@executes("S01", "S02", "S03")
def test_the_status(server: Server, prefix: bytes) -> None:
    """Of a member that leads itself."""
    revision = server.client.put(put(prefix)).header.revision
    status = server.client.status()
    server.check("S01", status.header.revision, revision)
    server.check("S01", (status.leader, status.isLearner), (status.header.member_id, False))
    server.check("S01", (status.raftTerm, status.version.count(".")), (status.header.raft_term, 2))
    server.check("S01", status.dbSize >= status.dbSizeInUse > 0, True)
    server.check("S03", status.raftIndex >= status.raftAppliedIndex > 0, True)
    server.check("S02.quota", status.dbSizeQuota, 2 << 30)
    server.check("S02.storage", status.storageVersion, "3.6.0")


@executes("H07", "S09", "S13", "C22", "S15")
def test_defragmenting(fresh: Start) -> None:
    """The content stays, the file shrinks; neither this answer nor that of MoveLeader has a header."""
    server = fresh()
    client = server.client
    for number in range(40):
        client.put(put(b"big", b"%d" % number + b"v" * 100_000))
    client.put(put(b"kept"))
    client.delete(delete(b"big"))
    client.compact(client.revision())
    size, hashed = client.status().dbSize, client.hash_kv().hash
    answer = client.call("Maintenance/Defragment", pb.DefragmentRequest(), pb.DefragmentResponse)
    server.check("H07", answer.HasField("header"), False)
    server.check("S09", (client.hash_kv().hash, client.status().dbSize < size // 4), (hashed, True))
    server.check("S09", client.range(get(b"kept")).count, 1)
    me = client.status().header.member_id
    moved = client.call("Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=me), pb.MoveLeaderResponse)
    server.check("S13", moved.HasField("header"), False)
    first, second = (client.call("Maintenance/Hash", pb.HashRequest(), pb.HashResponse).hash for _ in range(2))
    server.check("C22", (first == second, first > 0), (True, True))


@executes("S05", "S06", "S07", "H08")
def test_a_snapshot(server: Server, prefix: bytes) -> None:
    """Pieces of 32 KiB, counted down to none, then the checksum of them all."""
    for number in range(3):
        server.client.put(put(prefix + b"%d" % number, b"v" * 100_000))
    pieces = server.client.snapshot()
    *content, last = pieces
    blob = b"".join(piece.blob for piece in content)
    server.check("S05", last.blob, hashlib.sha256(blob).digest())
    server.check("S05", (last.remaining_bytes, content[-1].remaining_bytes), (0, 0))
    server.check("S05", (len(blob) + 32) % 512, 32)
    sizes = {len(piece.blob) for piece in content[:-1]}
    server.check("S05", sizes, {32 << 10})
    left = [piece.remaining_bytes for piece in content]
    server.check("S07", left, sorted(left, reverse=True))
    server.check("S06", {piece.version for piece in pieces}, {"3.6.0"})
    server.check("H08", [piece.HasField("header") for piece in pieces], [False] * len(pieces))


@executes("S16")
def test_downgrades_that_can_be_asked_about(server: Server) -> None:
    """One minor version below the cluster's."""
    request = pb.DowngradeRequest(action=pb.DowngradeRequest.VALIDATE, version="3.4.0")
    server.check("S16.validate", server.client.refusal("Maintenance/Downgrade", request), "OK")


@executes("S16", "E48", "E49")
def test_one_downgrade_at_a_time(fresh: Start) -> None:
    """A second is refused while the first is on; it can be called off once."""
    server = fresh()
    server.runs("S16")
    enable = pb.DowngradeRequest(action=pb.DowngradeRequest.ENABLE, version="3.4.0")
    cancel = pb.DowngradeRequest(action=pb.DowngradeRequest.CANCEL)
    answers = [server.client.refusal("Maintenance/Downgrade", request) for request in (enable, enable, cancel, cancel)]
    server.check("S16.job", [answer.partition(": ")[0] for answer in answers], ["OK", "FAILED_PRECONDITION"] * 2)
