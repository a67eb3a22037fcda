"""What a leader knows of one follower, and what is on its way there."""

from __future__ import annotations

import pytest

from etcdops.ids import LogIndex
from etcdops.node.raft.tracker import Inflights, Progress, ProgressState


def progress(match: int, following: int, state: ProgressState, *, window: int = 256, pending: int = 0) -> Progress:
    """A follower in this state."""
    made = Progress(match=LogIndex(match), next=LogIndex(following), inflights=Inflights(window), is_learner=False)
    made.state = state
    made.pending_snapshot = LogIndex(pending)
    return made


@pytest.mark.parametrize(
    ("messages_max", "bytes_max", "sizes", "full_after"),
    [(1, 0, [1], 1), (3, 0, [0, 0, 0], 3), (9, 10, [4, 4, 4], 3), (9, 10, [10], 1), (9, 10, [25], 1)],
)
def test_a_window_is_full_by_messages_or_by_bytes(
    messages_max: int, bytes_max: int, sizes: list[int], full_after: int
) -> None:
    """The message that goes over the bound still fits. Source: etcd-io/raft tracker/inflights_test.go."""
    window = Inflights(messages_max, bytes_max)
    for index, size in enumerate(sizes, 1):
        assert not window.full
        window.add(index, size)
    assert (len(window), window.size_bytes, window.full) == (full_after, sum(sizes), True)
    with pytest.raises(AssertionError, match="full"):
        window.add(99, 1)


def test_a_window_is_freed_up_to_an_index() -> None:
    """Answers to newer messages count for older ones; outdated answers for nothing."""
    window = Inflights(4)
    for index in (3, 5, 8):
        window.add(index, index)
    window.free_to(2)
    assert (len(window), window.size_bytes) == (3, 16)
    window.free_to(6)
    assert (len(window), window.size_bytes) == (1, 8)
    window.add(9, 1)
    window.reset()
    assert (len(window), window.size_bytes, window.full) == (0, 0, False)


@pytest.mark.parametrize(
    ("state", "pending", "following"),
    [
        (ProgressState.REPLICATE, 0, 2),
        (ProgressState.PROBE, 0, 2),
        (ProgressState.SNAPSHOT, 10, 11),
        (ProgressState.SNAPSHOT, 0, 2),
    ],
)
def test_probing_starts_after_the_snapshot_or_after_what_matches(
    state: ProgressState, pending: int, following: int
) -> None:
    """Source: etcd-io/raft tracker/progress_test.go, TestProgressBecomeProbe."""
    seen = progress(1, 5, state, pending=pending)
    seen.become_probe()
    assert (seen.state, seen.match, seen.next, seen.paused) == (ProgressState.PROBE, 1, following, False)


@pytest.mark.parametrize(
    ("state", "match", "following", "rejected", "hint", "counts", "after"),
    [
        # A replicating follower: refusals of what it already has are old news.
        (ProgressState.REPLICATE, 5, 10, 5, 5, False, 10),
        (ProgressState.REPLICATE, 5, 10, 4, 4, False, 10),
        (ProgressState.REPLICATE, 5, 10, 9, 9, True, 6),
        # A probed one: only the refusal of the last probe counts.
        (ProgressState.PROBE, 0, 0, 0, 0, False, 0),
        (ProgressState.PROBE, 0, 10, 5, 5, False, 10),
        (ProgressState.PROBE, 0, 10, 9, 9, True, 9),
        (ProgressState.PROBE, 0, 2, 1, 1, True, 1),
        (ProgressState.PROBE, 0, 1, 0, 0, True, 1),
        (ProgressState.PROBE, 0, 10, 9, 2, True, 3),
        (ProgressState.PROBE, 0, 10, 9, 0, True, 1),
        (ProgressState.PROBE, 4, 10, 9, 0, True, 5),
    ],
)
def test_a_refusal_moves_the_next_entry_back_but_not_below_what_matches(
    state: ProgressState, match: int, following: int, rejected: int, hint: int, counts: bool, after: int
) -> None:
    """Source: etcd-io/raft tracker/progress_test.go, TestProgressMaybeDecr."""
    seen = progress(match, following, state)
    assert seen.maybe_decrease(LogIndex(rejected), LogIndex(hint)) is counts
    assert (seen.match, seen.next) == (match, after)


@pytest.mark.parametrize(
    ("index", "news", "match", "following"), [(2, False, 3, 5), (3, False, 3, 5), (4, True, 4, 5), (7, True, 7, 8)]
)
def test_an_answer_moves_what_matches_up_only(index: int, news: bool, match: int, following: int) -> None:
    """Source: etcd-io/raft tracker/progress_test.go, TestProgressUpdate."""
    seen = progress(3, 5, ProgressState.PROBE)
    seen.flow_paused = True
    assert seen.maybe_update(LogIndex(index)) is news
    assert (seen.match, seen.next, seen.paused) == (match, following, not news)


def test_a_follower_is_told_of_a_commit_that_it_can_use() -> None:
    """Not when it was told already, and not when everything sent to it is committed as far as it knows."""
    seen = progress(3, 6, ProgressState.REPLICATE)
    seen.sent_commit = LogIndex(3)
    assert [seen.can_bump_commit(LogIndex(index)) for index in (2, 3, 4, 9)] == [False, False, True, True]
    seen.sent_commit = LogIndex(5)
    assert not seen.can_bump_commit(LogIndex(9))


def test_a_progress_prints_as_in_etcd() -> None:
    """Source: etcd-io/raft tracker/progress.go, Progress.String."""
    seen = progress(1, 2, ProgressState.SNAPSHOT, window=1, pending=123)
    seen.is_learner = True
    seen.inflights.add(7, 3)
    assert str(seen) == "StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]"
