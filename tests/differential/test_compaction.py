"""Compaction and hashes (C)."""

from __future__ import annotations

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.conftest import Start
from tests.differential.requests import delete, end_of, get, put
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]


@executes("C01", "C04", "C05", "E20")
@pytest.mark.parametrize("physical", [False, True])
def test_what_can_be_compacted(server: Server, prefix: bytes, physical: bool) -> None:
    """The present can, and stays readable; a second time it is compacted already."""
    revision = server.client.put(put(prefix)).header.revision
    server.check("C04", server.client.compact(revision, physical=physical).header.revision, revision)
    server.check("C04", server.client.range(get(prefix, revision=revision)).count, 1)
    request = pb.CompactionRequest(revision=revision)
    server.check("C01", server.client.refusal("KV/Compact", request), REFUSALS["E19"])
    request = pb.CompactionRequest(revision=revision + 1)
    server.check("C02", server.client.refusal("KV/Compact", request), REFUSALS["E20"])


@executes("C03", "C17", "C15")
def test_compacting_to_zero(fresh: Start) -> None:
    """Nothing was compacted yet, so zero can be, once; it is then what is compacted."""
    server = fresh()
    server.check("C17", server.client.hash_kv().compact_revision, -1)
    server.check("C03", server.client.refusal("KV/Compact", pb.CompactionRequest()), "OK")
    server.check("C03", server.client.refusal("KV/Compact", pb.CompactionRequest()), REFUSALS["E19"])


@executes("C07", "C08", "W41", "C15", "C14", "C16", "C17", "C12", "C13", "C18")
def test_what_a_compaction_keeps(fresh: Start) -> None:
    """The same writes give the same hashes on every server: the pairs that count are part of the answer."""
    server = fresh()
    client = server.client
    for number in range(6):
        client.put(put(b"k%d" % (number % 3), b"%d" % number))  # revisions 2 to 7
    client.delete(delete(b"k0"))  # 8
    client.put(put(b"k3"))  # 9
    client.delete(delete(b"k1"))  # 10
    server.check("C12", client.hash_kv().hash, 4242682237)
    server.check("C12", client.hash_kv(5).hash, 588816241)
    client.compact(8)
    with client.watch() as watch:
        watch.ask(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k", range_end=b"l", start_revision=8)))
        events = [event for message in watch.more() for event in message.events]
    seen = [(event.type, event.kv.key, event.kv.mod_revision) for event in events]
    server.check("W41", [event for event in seen if event[2] == 8], [(1, b"k0", 8)])
    server.check("C07", [event for event in seen if event[2] > 8], [(0, b"k3", 9), (1, b"k1", 10)])
    left = {pair.key: pair.mod_revision for pair in client.range(get(b"k", b"l", revision=8)).kvs}
    server.check("C08", left, {b"k1": 6, b"k2": 7})
    hashed = client.hash_kv(9)
    server.check("C17", (hashed.compact_revision, hashed.header.revision), (8, 10))
    server.check("C13", (hashed.hash, client.hash_kv(0).hash), (1465846858, 3376417350))
    server.check("C14", client.hash_kv(10).hash, client.hash_kv(0).hash)
    server.check("C18", client.refusal("Maintenance/HashKV", pb.HashKVRequest(revision=8)), "OK")
    server.check("C15", client.refusal("Maintenance/HashKV", pb.HashKVRequest(revision=7)), REFUSALS["E19"])
    server.check("C16", client.refusal("Maintenance/HashKV", pb.HashKVRequest(revision=11)), REFUSALS["E20"])


@executes("C10", "V08")
def test_others_are_served_while_it_compacts(server: Server, prefix: bytes) -> None:
    """Many versions of few keys; a read and a write are answered before the physical end and after it."""
    for _ in range(20):
        server.client.txn(
            pb.TxnRequest(success=[pb.RequestOp(request_put=put(prefix + b"%d" % n)) for n in range(100)])
        )
    revision = server.client.revision()
    server.client.compact(revision, physical=False)
    server.check("C10", server.client.put(put(prefix)).header.revision, revision + 1)
    server.check("C10", server.client.range(get(prefix, end_of(prefix))).count, 101)
