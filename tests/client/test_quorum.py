"""Quorum arithmetic against a count done by hand."""

from __future__ import annotations

from itertools import combinations

import pytest

from etcdops.client.quorum import Quorum, quorum_of


@pytest.mark.parametrize("voters", range(1, 10))
def test_two_quorums_of_the_same_voters_always_meet(voters: int) -> None:
    """The property a quorum exists for (Raft §5.2), and it is the smallest number that has it."""
    everyone = range(voters)
    needed = quorum_of(voters)
    meets = all(set(a) & set(b) for a in combinations(everyone, needed) for b in combinations(everyone, needed))
    smaller_meets = all(
        set(a) & set(b) for a in combinations(everyone, needed - 1) for b in combinations(everyone, needed - 1)
    )
    assert meets
    assert not smaller_meets


@pytest.mark.parametrize(
    ("voters", "present", "holds", "tolerates", "missing"),
    [
        (0, 0, False, 0, 0),
        (1, 1, True, 0, 0),
        (2, 2, True, 0, 0),
        (2, 1, False, 0, 1),
        (3, 3, True, 1, 0),
        (3, 2, True, 0, 0),
        (3, 1, False, 0, 1),
        (4, 3, True, 0, 0),
        (5, 5, True, 2, 0),
        (5, 1, False, 0, 2),
    ],
)
def test_what_a_cluster_can_still_lose(voters: int, present: int, holds: bool, tolerates: int, missing: int) -> None:
    quorum = Quorum(voters, present)
    assert (quorum.holds, quorum.tolerates, quorum.missing) == (holds, tolerates, missing)


def test_removing_the_dead_member_before_adding_keeps_the_margin() -> None:
    """dr-traps 8: with one of three down, adding first needs 3 of 4; removing first leaves 2 of 2."""
    broken = Quorum(3, 2)
    assert broken.after(voters=+1).tolerates == 0
    assert broken.after(voters=+1).needed == 3
    assert not broken.after(voters=+1).holds
    assert broken.after(voters=-1).holds


@pytest.mark.parametrize(
    ("quorum", "words"),
    [
        (Quorum(3, 1), "1 of 3 voters answers"),
        (Quorum(3, 2), "2 of 3 voters answer"),
        (Quorum(1, 0), "0 of 1 voter answer"),
    ],
)
def test_the_count_reads_as_a_sentence(quorum: Quorum, words: str) -> None:
    assert str(quorum) == words
