"""Safety is arithmetic: tables of voters before and after, with the verdict a careful operator would give."""

from __future__ import annotations

import pytest

from etcdops.client.quorum import Quorum
from etcdops.playbooks import safety


@pytest.mark.parametrize(
    ("voters", "present", "allowed"),
    [
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
        (3, 2, False),
        (3, 1, True),
        (4, 4, True),
        (4, 3, False),
        (5, 3, False),
        (5, 4, True),
    ],
)
def test_stopping_a_voter_is_allowed_while_a_quorum_is_left(voters: int, present: int, allowed: bool) -> None:
    """Goal: floor(n/2)+1 counted on voters; where the quorum is gone already, stopping harms nothing."""
    verdict = safety.judge_stop(Quorum(voters, present), voter=True, answering=True)
    assert verdict.allowed is allowed
    assert allowed or (verdict.code and verdict.reason and verdict.instead)


def test_stopping_a_learner_or_a_dead_member_is_always_allowed() -> None:
    """Goal: neither counts for the quorum."""
    assert safety.judge_stop(Quorum(3, 2), voter=False, answering=True).allowed
    assert safety.judge_stop(Quorum(3, 2), voter=True, answering=False).allowed


@pytest.mark.parametrize(
    ("voters", "present", "answering", "code"),
    [
        (3, 2, False, ""),  # the dead one first: 2 of 2 are left
        (3, 2, True, "quorum-lost"),  # a living one: 1 of 2 would be left
        (3, 3, True, ""),
        (3, 1, False, "no-quorum"),
        (5, 3, True, "quorum-lost"),
        (5, 3, False, ""),
        (2, 2, True, "last-member"),
        (2, 1, False, "no-quorum"),
    ],
)
def test_removing_a_voter(voters: int, present: int, answering: bool, code: str) -> None:
    """Goal: remove the dead before the living, never the second to last by accident."""
    verdict = safety.judge_removal(Quorum(voters, present), voter=True, answering=answering)
    assert (verdict.allowed, verdict.code) == (not code, code)


def test_the_risk_of_a_single_voter_can_be_accepted_but_not_the_loss_of_the_quorum() -> None:
    """Goal: a flag overrides a risk, no flag overrides arithmetic."""
    assert safety.judge_removal(Quorum(2, 2), voter=True, answering=True, accept_risk=True).allowed
    assert not safety.judge_removal(Quorum(3, 2), voter=True, answering=True, accept_risk=True).allowed


@pytest.mark.parametrize(
    ("voters", "present", "learner", "allowed"),
    [
        (1, 1, True, True),
        (1, 1, False, False),
        (3, 3, True, True),
        (3, 3, False, True),
        (3, 2, True, True),
        (3, 2, False, False),
        (3, 1, True, False),
    ],
)
def test_adding_a_member(voters: int, present: int, learner: bool, allowed: bool) -> None:
    """Goal: learner always, a voter only when everybody is well: it counts before it runs."""
    assert safety.judge_addition(Quorum(voters, present), learner=learner).allowed is allowed


def test_promoting_needs_a_quorum() -> None:
    """Goal: the promoted learner is present, so only the quorum before counts."""
    assert safety.judge_promotion(Quorum(1, 1)).allowed
    assert not safety.judge_promotion(Quorum(3, 1)).allowed


@pytest.mark.parametrize(
    ("voters", "present", "proven", "allowed"),
    [
        (3, 1, False, True),
        (3, 1, True, False),  # hidden members: the proof counts more than what we can see
        (3, 2, None, False),
        (3, 2, False, True),  # enough answer, yet no read goes through the quorum
        (0, 0, None, True),  # nobody answers at all
        (1, 0, False, True),
    ],
)
def test_recovery_is_for_clusters_that_do_not_work(
    voters: int, present: int, proven: bool | None, allowed: bool
) -> None:
    """Goal: what works is never thrown away for an older state."""
    verdict = safety.judge_recovery(Quorum(voters, present), proven=proven)
    assert verdict.allowed is allowed


def test_the_tolerance_table_is_the_one_in_every_book() -> None:
    """Goal: 3 tolerate 1, 4 still 1, 5 tolerate 2. Source: etcd website, faq, failure tolerance."""
    assert safety.tolerance_table(7) == [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2), (6, 4, 2), (7, 4, 3)]
