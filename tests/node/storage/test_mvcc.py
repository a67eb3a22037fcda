"""Corners of the store that random histories reach too rarely; the rest is in test_mvcc_model.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.ids import LeaseID, Revision
from etcdops.node.storage import reading
from etcdops.node.storage.errors import Compacted, TooManyChanges
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.reading import Event, EventType
from etcdops.node.storage.state import StateStore
from etcdops.snapshot.sqlite_schema import MAIN_MAX, SUB_MAX, Meta, RevisionLimit, decode_revision, encode_revision


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore.open(tmp_path / "state.db", create=True)
    yield store
    store.abandon()


@pytest.fixture
def mvcc(state: StateStore) -> Mvcc:
    return state.mvcc


def put(mvcc: Mvcc, key: bytes, value: bytes = b"v") -> None:
    txn = mvcc.begin()
    txn.put(key, value, LeaseID(0))
    txn.end()


def test_compaction_to_zero_works_once(mvcc: Mvcc) -> None:
    """C03: the mark starts at -1. Its hash is not kept: revision 0 in a request means now."""
    mvcc.compact(0)
    assert mvcc.compact_step()
    with pytest.raises(Compacted):
        mvcc.compact(0)
    assert mvcc.compaction_hashes == []


def test_a_previous_pair_below_the_compacted_revision_is_absent_at_once(mvcc: Mvcc) -> None:
    """W22: whether or not it is still on disk."""
    for value in (b"1", b"2", b"3"):
        put(mvcc, b"k", value)
    at_three, at_four = mvcc.events(Revision(3), Revision(5), limit=10)
    mvcc.compact(3)
    assert mvcc.compaction_pending
    assert mvcc.prev_kv(at_three) is None
    assert mvcc.kv_before(b"k", 3) is None
    assert mvcc.prev_kv(at_four) == mvcc.kv_before(b"k", 4) == at_three.kv


def test_at_the_compacted_revision_only_what_stays_is_shown(mvcc: Mvcc) -> None:
    """W11: a key put and deleted in one transaction shows its deletion, before and after the work was done."""
    txn = mvcc.begin()
    txn.put(b"k", b"", LeaseID(0))
    txn.delete_range(b"k", b"")
    txn.end()
    mvcc.compact(2)
    while True:
        (event,) = mvcc.events(Revision(2), Revision(3), limit=10)
        assert (event.type, event.sub) == (EventType.DELETE, 1)
        if mvcc.compact_step(1):
            break


def test_history_is_given_in_whole_revisions(mvcc: Mvcc) -> None:
    """W18: also when one revision is larger than the limit."""
    put(mvcc, b"first")
    txn = mvcc.begin()
    for number in range(20):
        txn.put(b"%d" % number, b"", LeaseID(0))
    txn.end()
    assert [event.revision for event in mvcc.events(Revision(2), Revision(9), limit=5)] == [2]
    assert [event.revision for event in mvcc.events(Revision(3), Revision(9), limit=5)] == [3] * 20


def test_a_key_with_a_long_history_is_read_at_any_revision(mvcc: Mvcc) -> None:
    """The chain of its changes is walked inside SQLite."""
    for number in range(3_000):
        put(mvcc, b"counter", b"%d" % number)
    found = mvcc.range(b"counter", b"", revision=3)
    assert found.kvs[0].endswith(b"*\x011")


def test_a_transaction_with_too_many_changes_is_refused_and_can_be_aborted(
    mvcc: Mvcc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every member comes to the same end: nothing changed."""
    monkeypatch.setattr("etcdops.node.storage.write_txn.SUB_MAX", 4)
    for number in range(6):
        put(mvcc, b"%d" % number)
    before = mvcc.range(b"\0", b"\0")
    txn = mvcc.begin()
    txn.put(b"x", b"", LeaseID(0))
    with pytest.raises(TooManyChanges):
        txn.delete_range(b"\0", b"\0")
    txn.abort()
    assert mvcc.range(b"\0", b"\0") == before


def test_an_empty_transaction_leaves_the_revision(mvcc: Mvcc) -> None:
    """D02, T23."""
    txn = mvcc.begin()
    assert txn.delete_range(b"nothing", b"") == []
    assert (txn.revision, txn.end(), mvcc.revision) == (1, [], 1)


def test_hashes_of_the_ten_newest_compactions_are_kept(mvcc: Mvcc) -> None:
    """C18."""
    for number in range(12):
        put(mvcc, b"k%d" % number)
        mvcc.compact(mvcc.revision)
        while not mvcc.compact_step():
            pass
    assert [found.revision for found in mvcc.compaction_hashes] == list(range(4, 14))
    assert [found.compact_revision for found in mvcc.compaction_hashes] == list(range(3, 13))


def test_a_compaction_that_was_interrupted_leaves_no_hash(state: StateStore) -> None:
    """It would not cover what the first run deleted. Source: etcd kvstore.go, store.compact."""
    mvcc = state.mvcc
    for number in range(10):
        put(mvcc, b"k%d" % (number % 3))
    mvcc.compact(5)
    mvcc.compact_step(2)
    mvcc.compact(8)
    while not mvcc.compact_step(2):
        pass
    assert mvcc.compaction_hashes == []
    assert state.meta.number(Meta.FINISHED_COMPACTION) == 8


@pytest.mark.parametrize("main", [0, 1, MAIN_MAX])
@pytest.mark.parametrize("sub", [0, 1, SUB_MAX])
def test_a_revision_is_one_integer_and_back(main: int, sub: int) -> None:
    """63 bits, in the order of (main, sub)."""
    assert decode_revision(encode_revision(main, sub)) == (main, sub)
    assert 0 <= encode_revision(main, sub) < 1 << 63


@pytest.mark.parametrize(("main", "sub"), [(-1, 0), (MAIN_MAX + 1, 0), (1, SUB_MAX + 1), (1, -1)])
def test_a_revision_that_does_not_fit_is_named(main: int, sub: int) -> None:
    """Never cut off."""
    with pytest.raises(RevisionLimit, match="cannot be stored"):
        encode_revision(main, sub)


@pytest.mark.parametrize("sizes", [(10,) * 30, (400, 5, 5, 400), (5, 5, 500, 5), (900,), (900, 900, 900)])
def test_history_for_watchers_is_read_by_bytes_too(
    mvcc: Mvcc, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    """Slices are whole revisions, at least one, and nothing is left out between two of them."""
    monkeypatch.setattr(reading, "EVENTS_BYTES_MAX", 300)
    put(mvcc, b"first")
    for size in sizes:
        txn = mvcc.begin()
        for key in (b"a", b"b"):
            txn.put(key, bytes(size), LeaseID(0))
        txn.end()
    mvcc.compact(2)
    while not mvcc.compact_step():
        pass
    whole = [(event.revision, event.key) for revision in range(3, 3 + len(sizes)) for event in _at(mvcc, revision)]
    seen, low = [], Revision(3)
    while events := mvcc.events(low, Revision(mvcc.revision + 1), limit=1000):
        assert len({event.revision for event in events}) == 1 or sum(len(event.kv) for event in events) <= 300
        seen += [(event.revision, event.key) for event in events]
        low = Revision(events[-1].revision + 1)
    assert seen == whole
    assert len(seen) == 2 * len(sizes)


def test_a_gap_before_a_large_revision_is_not_the_end_of_history(mvcc: Mvcc, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty slice means that there is nothing more: watchers would be told so."""
    for number in range(5):
        put(mvcc, b"key", str(number).encode())
    put(mvcc, b"large", bytes(500))
    mvcc.compact(5)
    while not mvcc.compact_step():
        pass
    monkeypatch.setattr(reading, "EVENTS_BYTES_MAX", 10)
    assert [event.key for event in mvcc.events(Revision(6), Revision(8), limit=10)] == [b"key"]
    assert [event.key for event in mvcc.events(Revision(7), Revision(8), limit=10)] == [b"large"]


def _at(mvcc: Mvcc, revision: int) -> list[Event]:
    return mvcc.events(Revision(revision), Revision(revision + 1), limit=1000)
