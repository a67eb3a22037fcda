"""Logs of others, which no rule was written from: the first finding is what the thread came to."""

from __future__ import annotations

import pytest

from tests.diagnosis.cases import Case, held_out
from tests.diagnosis.eval import REQUIRED_SHARE, evaluate

LAST_WORDS = {
    # Of cipher suites that HTTP/2 does not take, etcd 3.3 told nothing but that it ended.
    "etcd-io/etcd#10652": "use of closed network connection",
}
"""Logs that do not tell their cause, and the words with which the process ended."""


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [case for case in held_out() if case.name not in LAST_WORDS], ids=named)
def test_first_finding_of_a_log_of_others(case: Case) -> None:
    """heldout/README.md."""
    diagnosis = case.diagnosed()
    assert case.right(diagnosis), [finding.slug for finding in diagnosis.findings]


@pytest.mark.parametrize("case", [case for case in held_out() if case.name in LAST_WORDS], ids=named)
def test_what_is_not_known_for_what_it_is_is_shown_at_least(case: Case) -> None:
    """The last words of a process that ended are never lost."""
    diagnosis = case.diagnosed()
    assert not diagnosis.healthy
    assert LAST_WORDS[case.name] in diagnosis.unexplained[0].text


def test_enough_of_them_are_right() -> None:
    """As many as `make eval-diagnose` wants."""
    cases = held_out()
    assert len(cases) >= 260
    assert evaluate(cases)[0] >= REQUIRED_SHARE * len(cases)
