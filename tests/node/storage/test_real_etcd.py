"""The same random history through a real etcd and through the store: same keys, same history, same HashKV."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message

from etcdops.ids import LeaseID
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.state import StateStore
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.conftest import MakeCluster

Answer = TypeVar("Answer", bound=Message)
TIMEOUT_S = 20
KEYS = [b"a", b"a/1", b"a/2", b"b", b"\0", b"\xff\xfe", b"long" * 50]


class Etcd:
    """The few calls this test needs, by name: no stubs are generated for the project."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, method: str, request: Message, answer: type[Answer]) -> Answer:
        invoke: Callable[..., Answer] = self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return invoke(request, timeout=TIMEOUT_S)

    def txn(self, operations: Sequence[pb.RequestOp]) -> int:
        return self.call("KV/Txn", pb.TxnRequest(success=operations), pb.TxnResponse).header.revision

    def compact(self, revision: int) -> None:
        self.call("KV/Compact", pb.CompactionRequest(revision=revision, physical=True), pb.CompactionResponse)

    def hash_kv(self, revision: int) -> tuple[int, int]:
        found = self.call("Maintenance/HashKV", pb.HashKVRequest(revision=revision), pb.HashKVResponse)
        return found.hash, found.compact_revision

    def everything(self, revision: int) -> list[bytes]:
        request = pb.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
        found = self.call("KV/Range", request, pb.RangeResponse)
        return [kv.SerializeToString() for kv in found.kvs]


@contextmanager
def connected(url: str) -> Iterator[Etcd]:
    with grpc.insecure_channel(url.removeprefix("http://")) as channel:
        yield Etcd(channel)


def put(key: bytes, value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def delete(key: bytes, range_end: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=range_end))


def nested(*operations: pb.RequestOp) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=operations))


def random_operations(dice: random.Random) -> list[pb.RequestOp]:
    """One transaction of a kind that etcd accepts (T19, T21)."""
    kind = dice.random()
    if kind < 0.45:
        return [put(dice.choice(KEYS), b"%x" % dice.getrandbits(40))]
    if kind < 0.65:
        return [delete(dice.choice(KEYS), dice.choice([b"", b"", b"b", b"\0"]))]
    if kind < 0.85:
        return [put(key, b"txn") for key in dice.sample(KEYS, 3)]
    if kind < 0.95:
        key = dice.choice(KEYS)
        return [nested(put(key, b"and gone")), nested(delete(key, b""))]
    return [delete(b"\0", b"\0")]


def apply_here(mvcc: Mvcc, operations: Sequence[pb.RequestOp]) -> int:
    txn = mvcc.begin()

    def run(some: Sequence[pb.RequestOp]) -> None:
        for operation in some:
            if operation.HasField("request_txn"):
                run(operation.request_txn.success)
            elif operation.HasField("request_put"):
                txn.put(operation.request_put.key, operation.request_put.value, LeaseID(0))
            else:
                txn.delete_range(operation.request_delete_range.key, operation.request_delete_range.range_end)

    run(operations)
    txn.end()
    return mvcc.revision


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_hash_kv_is_the_number_etcd_gives(seed: int, real_etcd: MakeCluster, tmp_path: Path) -> None:
    """C12-C17, C23: through puts, deletions, nested transactions and compactions, at the newest and older revisions."""
    dice = random.Random(seed)
    cluster = real_etcd(size=1)
    old = cluster.binaries.minor == "3.4"  # keeps no hashes of compactions, and refuses the compacted revision itself
    state = StateStore.open(tmp_path / "state.db", create=True, keep_hashes=not old)
    mvcc = state.mvcc
    with connected(cluster.members[0].url) as etcd:
        for _ in range(25):
            for _ in range(dice.randrange(1, 15)):
                operations = random_operations(dice)
                assert etcd.txn(operations) == apply_here(mvcc, operations)
            revision = mvcc.revision - dice.choice([0, 0, 1, 5, 20])
            if revision > max(mvcc.compact_revision, 0) and dice.random() < 0.6:
                etcd.compact(revision)
                mvcc.compact(revision)
                while not mvcc.compact_step(7):
                    pass
            asked = [dice.randrange(max(mvcc.compact_revision, 1), mvcc.revision + 1) for _ in range(4)]
            for revision in asked:
                assert etcd.everything(revision) == mvcc.range(b"\0", b"\0", revision=revision).kvs
            for revision in [0, *asked, *(each.revision for each in mvcc.compaction_hashes)]:
                if not old or (revision or mvcc.revision) > mvcc.compact_revision:
                    found = mvcc.hash_kv(revision)
                    assert etcd.hash_kv(revision) == (found.hash, found.compact_revision), revision
    state.close()
