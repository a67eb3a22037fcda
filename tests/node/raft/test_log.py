"""The log as the core sees it: stable and unstable parts, their seam, and what agrees with another log."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdops.ids import LogIndex, Term
from etcdops.node.raft.config import NO_LIMIT
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.log import LogView
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.size import count_within, entries_size_bytes, entry_size_bytes
from etcdops.node.raft.storage import Compacted, Unavailable
from etcdops.node.raft.types import Entry, EntryType, Snapshot, SnapshotMetadata
from etcdops.proto import raftpb_pb2 as raftpb
from tests.node.raft.lone import entries, entry


def view(stable: tuple[int, ...] = (), unstable: tuple[int, ...] = (), *, snapshot: int = 0) -> LogView:
    """A log with these terms after a snapshot at index `snapshot` of term 1."""
    metadata = SnapshotMetadata(LogIndex(snapshot), Term(1 if snapshot else 0))
    storage = MemoryLog(snapshot=Snapshot(metadata), entries=entries(*stable, first=snapshot + 1))
    log = LogView(storage, NO_LIMIT, lambda note: None)
    if unstable:
        log.append(entries(*unstable, first=snapshot + 1 + len(stable)))
    return log


@given(
    stable=st.integers(0, 6),
    unstable=st.integers(0, 6),
    low=st.integers(0, 12),
    count=st.integers(0, 12),
    size_max=st.integers(0, 120),
)
@settings(max_examples=100)
def test_a_slice_over_the_seam_is_cut_like_one_list(
    stable: int, unstable: int, low: int, count: int, size_max: int
) -> None:
    """Reading from two places gives what reading from one gives, also when cut to size."""
    everything = [entry(1, index, b"x" * (index % 5)) for index in range(1, stable + unstable + 1)]
    low = 1 + min(low, len(everything))
    high = min(low + count, len(everything) + 1)
    split = LogView(MemoryLog(entries=everything[:stable]), NO_LIMIT, lambda note: None)
    if unstable:
        split.append(everything[stable:])
    wanted = everything[low - 1 : high - 1]
    found = split.slice(LogIndex(low), LogIndex(high), size_max)
    assert list(found) == wanted[: count_within(wanted, size_max)]


def test_terms_are_known_from_the_one_before_the_first_to_the_last() -> None:
    """Over both parts."""
    log = view((1, 2), (2, 3), snapshot=10)
    assert (log.first_index(), log.last_index()) == (11, 14)
    assert [log.term(LogIndex(index)) for index in range(10, 15)] == [1, 1, 2, 2, 3]
    with pytest.raises(Compacted):
        log.term(LogIndex(9))
    with pytest.raises(Unavailable):
        log.term(LogIndex(15))
    assert [log.term_or_zero(LogIndex(index)) for index in (9, 12, 15)] == [0, 2, 0]


@pytest.mark.parametrize(
    ("index", "term", "found"),
    [
        (5, 9, (5, 5)),
        (5, 5, (5, 5)),
        (5, 4, (3, 3)),
        (5, 2, (2, 1)),
        (2, 9, (2, 1)),
        (5, 0, (0, 0)),
        (9, 3, (9, 0)),
    ],
)
def test_the_place_where_logs_may_agree_is_found_by_terms(index: int, term: int, found: tuple[int, int]) -> None:
    """Source: etcd-io/raft log.go, findConflictByTerm. Beyond the end the term is not known, so it may agree there."""
    log = view((1, 1, 3, 5, 5))
    assert log.find_conflict_by_term(LogIndex(index), Term(term)) == found


def test_below_the_snapshot_logs_may_agree_without_a_known_term() -> None:
    """The search stops at what is compacted."""
    log = view((5, 5), snapshot=10)
    assert log.find_conflict_by_term(LogIndex(12), Term(0)) == (9, 0)
    assert log.find_conflict_by_term(LogIndex(12), Term(4)) == (10, 1)


def test_a_log_is_up_to_date_by_its_last_term_then_by_its_length() -> None:
    """Raft 5.4.1."""
    log = view((1, 3), (3,))
    assert [log.is_up_to_date(Term(term), LogIndex(index)) for term, index in ((2, 9), (3, 2), (3, 3), (4, 1))] == [
        False,
        False,
        True,
        True,
    ]


def test_what_is_committed_is_never_replaced() -> None:
    """Whatever a leader says."""
    log = view((1, 1, 1))
    log.commit_to(LogIndex(2))
    with pytest.raises(CoreCorrupt, match=r"after\(1\) is out of range \[committed\(2\)\]"):
        log.append(entries(2, first=2))
    with pytest.raises(CoreCorrupt, match=r"entry 2 conflict with committed entry \[committed\(2\)\]"):
        log.maybe_append(LogIndex(1), Term(1), entries(2, first=2), LogIndex(0))
    with pytest.raises(CoreCorrupt, match="entry 1 conflict with committed entry"):
        log.check_committed(LogIndex(0), Term(0), entries(2, 2))
    log.check_committed(LogIndex(0), Term(0), entries(1, 1, 9))


def test_committing_beyond_the_end_is_a_lost_log() -> None:
    """The words are etcd's, and diagnoses look for them."""
    with pytest.raises(CoreCorrupt) as raised:
        view((1,)).commit_to(LogIndex(2))
    assert str(raised.value) == (
        "tocommit(2) is out of range [lastIndex(1)]. Was the raft log corrupted, truncated, or lost?"
    )


def test_an_entry_that_storage_lost_is_corruption() -> None:
    """The core appended it, saved it, and now it is not there."""
    storage = MemoryLog(entries=entries(1, 1, 1))
    log = LogView(storage, NO_LIMIT, lambda note: None)
    storage._entries.pop()
    with pytest.raises(CoreCorrupt, match=r"entries\[1:4\) is unavailable from storage"):
        log.slice(LogIndex(1), LogIndex(4), NO_LIMIT)


def test_unstable_entries_are_handed_out_once_and_dropped_when_saved() -> None:
    """Unless they were replaced meanwhile. Source: etcd-io/raft log_unstable_test.go."""
    log = view((1,), (1, 1))
    unstable = log.unstable
    assert unstable.next_entries() == entries(1, 1, first=2)
    unstable.accept_in_progress()
    assert not log.has_next_unstable()
    log.append(entries(2, 2, first=3))
    assert unstable.next_entries() == entries(2, 2, first=3)
    unstable.stable_to(LogIndex(3), Term(1))
    assert unstable.entries == list(entries(1, 2, 2, first=2))
    unstable.stable_to(LogIndex(2), Term(1))
    assert (unstable.offset, unstable.entries) == (3, list(entries(2, 2, first=3)))
    unstable.accept_in_progress()
    unstable.stable_to(LogIndex(4), Term(2))
    assert (unstable.offset, unstable.entries) == (5, [])


def test_entries_before_the_unstable_ones_replace_all_of_them() -> None:
    """And what is on stable storage from there on."""
    notes: list[str] = []
    storage = MemoryLog(entries=entries(1, 1, 1))
    log = LogView(storage, NO_LIMIT, notes.append)
    log.append(entries(1, first=4))
    log.append(entries(2, first=2))
    assert log.last_index() == 2
    assert log.slice(LogIndex(1), LogIndex(3), NO_LIMIT) == entries(1, 2)
    assert notes == ["replace the unstable entries from index 2"]
    storage.append(log.unstable.next_entries())
    assert storage.last_index() == 2


def test_a_snapshot_hides_the_whole_log_until_it_is_installed() -> None:
    """And nothing is applied before it."""
    log = view((1, 1), (1,))
    log.commit_to(LogIndex(3))
    log.restore(Snapshot(SnapshotMetadata(LogIndex(9), Term(4))))
    assert (log.first_index(), log.last_index(), log.committed) == (10, 9, 9)
    assert log.last_entry_id() == (4, 9)
    assert log.next_committed() == ()
    log.append(entries(4, first=10))
    assert log.unstable.next_snapshot() is not None
    assert log.unstable.next_entries() == entries(4, first=10)
    log.unstable.accept_in_progress()
    assert log.unstable.next_snapshot() is None
    log.unstable.stable_snapshot_to(LogIndex(8))
    assert log.unstable.snapshot is not None
    log.unstable.stable_snapshot_to(LogIndex(9))
    assert log.unstable.snapshot is None


@given(
    term=st.integers(0, 2**63),
    index=st.integers(0, 2**63),
    kind=st.sampled_from(EntryType),
    data=st.binary(max_size=300),
)
@settings(max_examples=60)
def test_the_size_of_an_entry_is_that_of_its_encoding(term: int, index: int, kind: EntryType, data: bytes) -> None:
    """Without encoding it. Source: etcd raft/raftpb raft.pb.go (3.5), Entry.Size."""
    wire = raftpb.Entry(Term=term, Index=index, Type=raftpb.EntryType.ValueType(kind))
    if data:
        wire.Data = data
    assert entry_size_bytes(Entry(Term(term), LogIndex(index), kind, data)) == wire.ByteSize()


@given(sizes=st.lists(st.integers(0, 40), max_size=8), size_max=st.integers(0, 300))
@settings(max_examples=60)
def test_as_many_entries_as_fit_and_never_none(sizes: list[int], size_max: int) -> None:
    """One more would not fit."""
    held = [entry(1, index, b"x" * size) for index, size in enumerate(sizes, 1)]
    count = count_within(held, size_max)
    assert count <= len(held)
    assert count >= min(1, len(held))
    if count > 1:
        assert entries_size_bytes(held[:count]) <= size_max
    if count < len(held):
        assert entries_size_bytes(held[: count + 1]) > size_max
