"""HashKV: etcd's own vectors, and what they do not cover."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import crc32c
import pytest

from etcdops.ids import LeaseID
from etcdops.node.storage.errors import Compacted, FutureRevision
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.state import StateStore

CYCLE = 71
TOTAL = 1210
HALF_WAY = [
    (4082599214, -1, 35), (2279933401, 35, 106), (3284231217, 106, 177), (126286495, 177, 248), (900108730, 248, 319),
    (2475485232, 319, 390), (1226296507, 390, 461), (2503661030, 461, 532), (4155130747, 532, 603),
    (106915399, 603, 674), (406914006, 674, 745), (1882211381, 745, 816), (806177088, 816, 887), (664311366, 887, 958),
    (1496914449, 958, 1029), (2434525091, 1029, 1100), (3988652253, 1100, 1171), (1122462288, 1171, 1242),
    (724436716, 1242, 1883),
]  # fmt: skip
AT_THE_END = [
    (1913897190, -1, 73), (224860069, 73, 145), (1565167519, 145, 217), (1566261620, 217, 289), (2037173024, 289, 361),
    (691659396, 361, 433), (2713730748, 433, 505), (3919322507, 505, 577), (769967540, 577, 649),
    (2909194793, 649, 721),
    (1576921157, 721, 793), (4067701532, 793, 865), (2226384237, 865, 937), (2923408134, 937, 1009),
    (2680329256, 1009, 1081), (1546717673, 1081, 1153), (2713657846, 1153, 1225), (1046575299, 1225, 1297),
    (2017735779, 1297, 2508),
]  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore.open(tmp_path / "state.db", create=True)
    yield store
    store.close()


def pick_key(number: int) -> bytes:
    """Source: etcd server/storage/mvcc/testutil/hash.go, PickKey."""
    if number % (CYCLE * 2) == 30:
        return b"zenek"
    if number % CYCLE == 30:
        return b"xavery"
    return (b"alice", b"bob", b"celine", b"dominik", b"eve", b"frederica", b"gorge")[number % 7]


def put(mvcc: Mvcc, key: bytes, value: bytes) -> None:
    txn = mvcc.begin()
    txn.put(key, value, LeaseID(0))
    txn.end()


def delete(mvcc: Mvcc, key: bytes) -> None:
    txn = mvcc.begin()
    txn.delete_range(key, b"")
    txn.end()


def compact(mvcc: Mvcc, revision: int, rows_max: int = 1_000) -> None:
    mvcc.compact(revision)
    while not mvcc.compact_step(rows_max):
        pass


def put_numbers(mvcc: Mvcc, first: int, count: int) -> None:
    for number in range(first, first + count + 1):
        put(mvcc, pick_key(number), str(number).encode())


@pytest.mark.parametrize("rows_max", [1_000, 7])
@pytest.mark.parametrize("expected", [HALF_WAY, AT_THE_END], ids=["half-way", "at-the-end"])
def test_etcds_own_vectors_are_reproduced(
    expected: list[tuple[int, int, int]], rows_max: int, state: StateStore
) -> None:
    """Source: etcd server/storage/mvcc/hash_test.go, TestHashByRevValue and TestHashByRevValueLastRevision."""
    mvcc = state.mvcc
    found = []
    steps = [(first, CYCLE) for first in range(0, TOTAL, CYCLE)]
    steps.append((steps[-1][0] + CYCLE, TOTAL))
    for first, count in steps:
        put_numbers(mvcc, first, count)
        revision = first + count // 2 if expected is HALF_WAY else mvcc.revision
        found.append(tuple(mvcc.hash_kv(revision)))
        compact(mvcc, revision, rows_max)
    assert found == expected
    assert [tuple(each) for each in mvcc.compaction_hashes] == expected[-10:]


def test_a_compaction_does_not_change_the_hash_at_its_revision(state: StateStore) -> None:
    """Source: etcd mvcc/testutil/hash.go, TestCompactionHash: puts and deletes, defragmented in between."""
    mvcc = state.mvcc
    first = 0
    for count in [CYCLE] * 18 + [TOTAL]:
        for number in range(first, first + count + 1):
            if number % 67 == 0:
                delete(mvcc, pick_key(number + 83))
            else:
                put(mvcc, pick_key(number), str(number).encode())
        before = mvcc.hash_kv(first + count)
        compact(mvcc, first + count)
        state.defragment()
        assert mvcc.hash_kv(first + count) == before
        first += count


def test_the_hash_does_not_depend_on_how_far_a_compaction_came(state: StateStore) -> None:
    """C23: equal on all members, whatever the physical progress."""
    mvcc = state.mvcc
    put_numbers(mvcc, 0, 60)
    for key in (b"alice", b"bob"):
        delete(mvcc, key)
    put_numbers(mvcc, 3, 20)
    mvcc.compact(55)
    hashes = {mvcc.hash_kv(revision) for revision in (58, 70)}
    while not mvcc.compact_step(3):
        assert {mvcc.hash_kv(revision) for revision in (58, 70)} == hashes
    assert {mvcc.hash_kv(revision) for revision in (58, 70)} == hashes


def test_the_hash_of_a_store_where_nothing_is_left_does_not_depend_on_it_either(state: StateStore) -> None:
    """With nothing to keep etcd skips nothing (C13): what a finished compaction leaves is what counts."""
    mvcc = state.mvcc
    put_numbers(mvcc, 0, 20)
    delete(mvcc, b"alice")
    put(mvcc, b"alice", b"again")
    mvcc.compact(mvcc.revision)
    txn = mvcc.begin()
    txn.delete_range(b"\0", b"\0")
    txn.end()
    expected = mvcc.hash_kv()
    while not mvcc.compact_step(2):
        assert mvcc.hash_kv() == expected
    assert mvcc.hash_kv() == expected


def test_a_fresh_store_has_the_hash_of_the_buckets_name(state: StateStore) -> None:
    """Source: etcd hash.go, newKVHasher."""
    assert state.mvcc.hash_kv() == (crc32c.crc32c(b"key"), -1, 1)


def test_revisions_that_cannot_be_hashed_are_named(state: StateStore) -> None:
    """C15, C16; C15's exception: the hash of a compaction is remembered."""
    mvcc = state.mvcc
    put_numbers(mvcc, 0, 20)
    with pytest.raises(FutureRevision):
        mvcc.hash_kv(mvcc.revision + 1)
    at_ten = mvcc.hash_kv(10)
    compact(mvcc, 10)
    compact(mvcc, 15)
    with pytest.raises(Compacted):
        mvcc.hash_kv(9)
    assert mvcc.hash_kv(10) == at_ten
