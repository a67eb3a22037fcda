"""Logs of others, which no rule was written from: the first finding is what the thread came to."""

from __future__ import annotations

import pytest

from tests.diagnosis.cases import Case, held_out
from tests.diagnosis.eval import REQUIRED_SHARE, evaluate

LAST_WORDS = {
    # Of cipher suites that HTTP/2 does not take, etcd 3.3 told nothing but that it ended.
    "etcd-io/etcd#10652": "use of closed network connection",
    # It was not etcd that ended, but the program that etcd is a part of.
    "a note in a public repository (17595665531)": "panic: (*logrus.Entry)",
}
"""Logs that do not tell their cause, and the words with which the process ended."""

SYMPTOMS = {
    # 2.1.0-alpha, of a peer that was still 2.0: who answers with 404 may be anything.
    "etcd-io/etcd#2793": "peer-unreachable",
}
"""Logs that tell a symptom only, and what is made of it."""

NOT_TOLD = {
    # A name that is not found, or a port nobody listens at, of a program that has nothing to do with etcd.
    "grafana/loki#13944",
    "grafana/loki#9646",
    # It waited, and does not say for whom.
    "apache/incubator-seata#3114",
}
"""Logs whose words are the same where they mean something else."""

SPECIAL = {*LAST_WORDS, *SYMPTOMS, *NOT_TOLD}


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [case for case in held_out() if case.name not in SPECIAL], ids=named)
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


@pytest.mark.parametrize("case", [case for case in held_out() if case.name in SYMPTOMS], ids=named)
def test_what_tells_a_symptom_only_is_a_finding_too(case: Case) -> None:
    """What to look at is told, if not the root of it."""
    assert [finding.slug for finding in case.diagnosed().findings] == [SYMPTOMS[case.name]]


def test_what_is_not_told_apart_is_known() -> None:
    """Who teaches the rules one of these takes it off the list."""
    cases = {case.name: case for case in held_out() if case.name in NOT_TOLD}
    assert cases.keys() == NOT_TOLD
    assert not any(case.right(case.diagnosed()) for case in cases.values())


def test_enough_of_them_are_right() -> None:
    """As many as `make eval-diagnose` wants."""
    cases = held_out()
    assert len(cases) >= 390
    assert evaluate(cases)[0] >= REQUIRED_SHARE * len(cases)
