"""The contract of a Raft log: checks that every implementation of LogStorage passes.

An implementation joins by one more factory in `test_log_storage.py`. What is durable also proves that it still
fulfils its promises after being closed and opened again: `reopened` does that, and a log in memory returns itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.config import NO_LIMIT
from etcdops.node.raft.size import entries_size_bytes
from etcdops.node.raft.storage import Compacted, LogStorage, SnapshotOutOfDate, Unavailable
from etcdops.node.raft.types import ConfState, Entry, EntryType, HardState, Snapshot, SnapshotMetadata


class WritableLog(LogStorage, Protocol):
    """A log with the writes of `MemoryLog`: an adapter gives them to a log whose own writes look different."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries, replacing whatever is at the first one's index and after it."""

    def set_hard_state(self, hard_state: HardState) -> None:
        """What initial_state returns from now on."""

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Start over, empty, after a snapshot that a leader sent."""

    def create_snapshot(self, index: LogIndex, conf_state: ConfState | None, data: bytes) -> Snapshot:
        """Record that the state machine was saved at an index."""

    def compact(self, index: LogIndex) -> None:
        """Drop the entries up to and including an index."""


class Opened(Protocol):
    """One log under test."""

    log: WritableLog

    def reopened(self) -> WritableLog:
        """The same log after closing and opening it; `log` itself when it has no life outside memory."""


Check = Callable[[Opened], None]
CONF_STATE = ConfState(voters=(MemberID(1), MemberID(2), MemberID(3)), learners=(MemberID(4),))


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    """A normal entry; its data names it when none is given."""
    return Entry(Term(term), LogIndex(index), EntryType.NORMAL, data or b"%d/%d" % (term, index))


def entries(*terms: int, first: int = 1) -> list[Entry]:
    """Consecutive entries with these terms."""
    return [entry(first + position, term) for position, term in enumerate(terms)]


def snapshot(index: int, term: int, conf_state: ConfState = CONF_STATE) -> Snapshot:
    """A snapshot without data: what a durable log keeps of one."""
    return Snapshot(SnapshotMetadata(LogIndex(index), Term(term), conf_state))


def shape(log: LogStorage) -> tuple[int, int, list[Entry]]:
    """First index, last index and everything between."""
    first, last = log.first_index(), log.last_index()
    held = log.entries(first, LogIndex(last + 1), size_max_bytes=NO_LIMIT) if last >= first else []
    return first, last, held


def both(opened: Opened) -> Iterable[LogStorage]:
    """The log as it is, and then as it is after opening it again: the first is closed by the time of the second."""
    yield opened.log
    yield opened.reopened()


def a_new_log_is_empty_and_starts_at_index_one(opened: Opened) -> None:
    for log in both(opened):
        assert shape(log) == (1, 0, [])
        assert log.initial_state() == (HardState(), ConfState())
        assert log.term(LogIndex(0)) == 0
        assert log.snapshot() == Snapshot()


def a_new_log_has_no_entry_to_give(opened: Opened) -> None:
    for log in both(opened):
        with pytest.raises(Unavailable):
            log.term(LogIndex(1))
        with pytest.raises(Unavailable):
            log.entries(LogIndex(1), LogIndex(2), size_max_bytes=NO_LIMIT)


def appended_entries_are_read_back_in_order(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 2))
    opened.log.append(entries(2, 3, first=4))
    for log in both(opened):
        assert shape(log) == (1, 5, entries(1, 1, 2, 2, 3))
        assert [log.term(LogIndex(index)) for index in range(6)] == [0, 1, 1, 2, 2, 3]


def every_type_and_any_bytes_survive(opened: Opened) -> None:
    given = [
        Entry(Term(1), LogIndex(1), EntryType.NORMAL, b""),
        Entry(Term(1), LogIndex(2), EntryType.CONF_CHANGE, bytes(range(256))),
        Entry(Term(2**62), LogIndex(3), EntryType.CONF_CHANGE_V2, b""),
    ]
    opened.log.append(given)
    for log in both(opened):
        assert shape(log)[2] == given
        assert [type(found.type) for found in shape(log)[2]] == [EntryType] * 3


def appending_nothing_changes_nothing(opened: Opened) -> None:
    opened.log.append(entries(1))
    opened.log.append([])
    for log in both(opened):
        assert shape(log) == (1, 1, entries(1))


def a_conflicting_suffix_is_replaced(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1, 1))
    opened.log.append(entries(2, first=2))
    for log in both(opened):
        assert shape(log) == (1, 2, entries(1, 2))


def the_whole_log_may_be_replaced(opened: Opened) -> None:
    opened.log.append(entries(1, 1))
    opened.log.append(entries(2, 2, 2))
    for log in both(opened):
        assert shape(log) == (1, 3, entries(2, 2, 2))


def lists_given_out_are_the_callers_own(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    given = opened.log.entries(LogIndex(1), LogIndex(4), size_max_bytes=NO_LIMIT)
    opened.log.append(entries(5, first=2))
    assert given == entries(1, 1, 1)
    given.clear()
    assert shape(opened.log) == (1, 2, [entry(1, 1), entry(2, 5)])


def a_list_handed_in_stays_the_callers(opened: Opened) -> None:
    given = entries(1, 1)
    opened.log.append(given)
    given.clear()
    assert shape(opened.log) == (1, 2, entries(1, 1))


def a_range_is_cut_to_the_size_but_never_to_nothing(opened: Opened) -> None:
    held = [entry(index, 1, b"x" * 100) for index in range(1, 5)]
    opened.log.append(held)
    two = entries_size_bytes(held[:2])
    for log in both(opened):
        for size_max_bytes, count in ((0, 1), (1, 1), (two - 1, 1), (two, 2), (two + 1, 2), (10 * two, 4)):
            found = log.entries(LogIndex(1), LogIndex(5), size_max_bytes=size_max_bytes)
            assert found == held[:count], size_max_bytes


def a_range_may_start_and_end_anywhere_inside(opened: Opened) -> None:
    opened.log.append(entries(1, 2, 3, 4))
    for log in both(opened):
        assert log.entries(LogIndex(2), LogIndex(4), size_max_bytes=NO_LIMIT) == entries(2, 3, first=2)
        assert log.entries(LogIndex(4), LogIndex(5), size_max_bytes=NO_LIMIT) == entries(4, first=4)
        assert log.entries(LogIndex(2), LogIndex(2), size_max_bytes=NO_LIMIT) == []


def what_is_after_the_end_is_unavailable(opened: Opened) -> None:
    opened.log.append(entries(1, 1))
    for log in both(opened):
        with pytest.raises(Unavailable):
            log.term(LogIndex(3))
        with pytest.raises(Unavailable):
            log.entries(LogIndex(1), LogIndex(4), size_max_bytes=NO_LIMIT)


def the_hard_state_is_the_last_one_written(opened: Opened) -> None:
    opened.log.set_hard_state(HardState(Term(1), MemberID(2), LogIndex(0)))
    opened.log.append(entries(2))
    opened.log.set_hard_state(HardState(Term(2**62), MemberID(2**64 - 1), LogIndex(1)))
    for log in both(opened):
        assert log.initial_state() == (HardState(Term(2**62), MemberID(2**64 - 1), LogIndex(1)), ConfState())


def compaction_drops_the_prefix_and_keeps_its_last_term(opened: Opened) -> None:
    opened.log.append(entries(1, 2, 3, 4))
    opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    opened.log.compact(LogIndex(2))
    for log in both(opened):
        assert shape(log) == (3, 4, entries(3, 4, first=3))
        assert log.term(LogIndex(2)) == 2
        with pytest.raises(Compacted):
            log.term(LogIndex(1))
        with pytest.raises(Compacted):
            log.entries(LogIndex(2), LogIndex(4), size_max_bytes=NO_LIMIT)


def the_whole_log_may_be_compacted(opened: Opened) -> None:
    opened.log.append(entries(1, 2))
    opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    opened.log.compact(LogIndex(2))
    for log in both(opened):
        assert shape(log) == (3, 2, [])
        assert log.term(LogIndex(2)) == 2
        with pytest.raises(Unavailable):
            log.term(LogIndex(3))


def a_compacted_log_goes_on_where_it_was(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    opened.log.compact(LogIndex(2))
    opened.log.append(entries(2, 2, first=4))
    for log in both(opened):
        assert shape(log) == (3, 5, entries(1, 2, 2, first=3))


def entries_that_are_compacted_already_are_skipped(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    opened.log.create_snapshot(LogIndex(3), CONF_STATE, b"")
    opened.log.compact(LogIndex(3))
    opened.log.append(entries(1, 1, first=2))
    assert shape(opened.log) == (4, 3, [])
    opened.log.append(entries(1, 1, 2, first=2))
    for log in both(opened):
        assert shape(log) == (4, 4, entries(2, first=4))


def compacting_twice_says_so(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    opened.log.compact(LogIndex(2))
    with pytest.raises(Compacted):
        opened.log.compact(LogIndex(1))
    with pytest.raises(Compacted):
        opened.log.compact(LogIndex(2))


def a_snapshot_takes_the_term_of_its_entry(opened: Opened) -> None:
    opened.log.append(entries(1, 7, 7))
    made = opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    assert made == snapshot(2, 7)
    for log in both(opened):
        assert log.snapshot() == snapshot(2, 7)
        assert log.initial_state()[1] == CONF_STATE


def making_a_snapshot_drops_no_entry(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    assert shape(opened.log) == (1, 3, entries(1, 1, 1))


def an_older_snapshot_is_refused(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    opened.log.create_snapshot(LogIndex(2), CONF_STATE, b"")
    for index in (1, 2):
        with pytest.raises(SnapshotOutOfDate):
            opened.log.create_snapshot(LogIndex(index), CONF_STATE, b"")
        with pytest.raises(SnapshotOutOfDate):
            opened.log.apply_snapshot(snapshot(index, 1))
    for log in both(opened):
        assert log.snapshot() == snapshot(2, 1)


def an_applied_snapshot_empties_the_log(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1))
    opened.log.apply_snapshot(snapshot(10, 4))
    for log in both(opened):
        assert shape(log) == (11, 10, [])
        assert log.term(LogIndex(10)) == 4
        assert log.snapshot() == snapshot(10, 4)
        assert log.initial_state()[1] == CONF_STATE


def an_applied_snapshot_replaces_a_longer_log(opened: Opened) -> None:
    opened.log.append(entries(1, 1, 1, 1))
    opened.log.apply_snapshot(snapshot(2, 3))
    for log in both(opened):
        assert shape(log) == (3, 2, [])
        assert log.term(LogIndex(2)) == 3


def the_log_goes_on_after_an_applied_snapshot(opened: Opened) -> None:
    opened.log.apply_snapshot(snapshot(10, 4))
    opened.log.append(entries(4, 5, first=11))
    opened.log.set_hard_state(HardState(Term(5), MemberID(1), LogIndex(12)))
    for log in both(opened):
        assert shape(log) == (11, 12, entries(4, 5, first=11))
        assert log.initial_state() == (HardState(Term(5), MemberID(1), LogIndex(12)), CONF_STATE)


def a_joint_configuration_survives(opened: Opened) -> None:
    joint = ConfState(
        voters=(MemberID(1), MemberID(2**64 - 1)),
        learners=(MemberID(5),),
        voters_outgoing=(MemberID(1), MemberID(3)),
        learners_next=(MemberID(3),),
        auto_leave=True,
    )
    opened.log.apply_snapshot(snapshot(3, 1, joint))
    for log in both(opened):
        assert log.initial_state()[1] == joint


CHECKS: tuple[Check, ...] = (
    a_new_log_is_empty_and_starts_at_index_one,
    a_new_log_has_no_entry_to_give,
    appended_entries_are_read_back_in_order,
    every_type_and_any_bytes_survive,
    appending_nothing_changes_nothing,
    a_conflicting_suffix_is_replaced,
    the_whole_log_may_be_replaced,
    lists_given_out_are_the_callers_own,
    a_list_handed_in_stays_the_callers,
    a_range_is_cut_to_the_size_but_never_to_nothing,
    a_range_may_start_and_end_anywhere_inside,
    what_is_after_the_end_is_unavailable,
    the_hard_state_is_the_last_one_written,
    compaction_drops_the_prefix_and_keeps_its_last_term,
    the_whole_log_may_be_compacted,
    a_compacted_log_goes_on_where_it_was,
    entries_that_are_compacted_already_are_skipped,
    compacting_twice_says_so,
    a_snapshot_takes_the_term_of_its_entry,
    making_a_snapshot_drops_no_entry,
    an_older_snapshot_is_refused,
    an_applied_snapshot_empties_the_log,
    an_applied_snapshot_replaces_a_longer_log,
    the_log_goes_on_after_an_applied_snapshot,
    a_joint_configuration_survives,
)
