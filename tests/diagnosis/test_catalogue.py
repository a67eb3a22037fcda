"""Catalogue, rules, roots and actions fit together, in both languages."""

from __future__ import annotations

import pytest

from etcdops.diagnosis.actions import actions, steps
from etcdops.diagnosis.causes import LANGUAGES, Cause, catalogue, find_cause
from etcdops.diagnosis.roots import ELSEWHERE, EXPLAINS
from etcdops.diagnosis.rules import RULES
from etcdops.errors import UsageError

DEDUCED = {
    "benign",
    "leader-election",
    "duplicate-cloned-member",
    "advertise-loopback",
    "restore-misplaced",
}
"""Causes that no single line names; `judge.py` and `duplicates.py` find them."""


def test_there_are_93_causes() -> None:
    """Every slug that a diagnosis may name."""
    assert len(catalogue()) == 93


@pytest.mark.parametrize("cause", catalogue().values(), ids=lambda cause: cause.slug)
def test_a_page_is_whole_in_both_languages(cause: Cause) -> None:
    """Title, cause, checks, remedy, links; Chinese is Chinese."""
    for language in LANGUAGES:
        assert cause.title[language]
        assert cause.cause[language]
        assert cause.check[language]
    assert not cause.cause["zh"].isascii()
    assert cause.cause["en"].isascii()
    assert steps(cause, "en")
    assert all(link.startswith("https://") for link in cause.links)


def test_every_action_is_used_and_every_used_action_exists() -> None:
    """A remedy nobody names is dead, one that is missing breaks a report."""
    used = {name for cause in catalogue().values() for name in cause.fix}
    assert used == set(actions())


def test_every_rule_speaks_for_a_cause_or_a_fact() -> None:
    """And every cause has a rule, or is deduced."""
    signs = {rule.sign for rule in RULES}
    assert {sign for sign in signs if not sign.startswith("+")} <= set(catalogue())
    assert set(catalogue()) - signs == DEDUCED


def test_rules_are_sound() -> None:
    """Words to look for, and no word that excludes itself."""
    for rule in RULES:
        assert rule.any
        assert 0.0 < rule.confidence <= 1.0
        assert all(isinstance(words, tuple) for words in (rule.any, rule.all, rule.none))
        assert not set(rule.any) & set(rule.none)


def test_roots_name_causes_and_have_no_cycle() -> None:
    """What explains a symptom is never explained by it."""
    known = set(catalogue())
    for edges in (EXPLAINS, ELSEWHERE):
        assert set(edges) <= known
        assert {symptom for symptoms in edges.values() for symptom in symptoms} <= known
    done: set[str] = set()

    def walk(slug: str, above: tuple[str, ...]) -> None:
        assert slug not in above, " > ".join([*above, slug])
        if slug not in done:
            for symptom in sorted(EXPLAINS.get(slug, ())):
                walk(symptom, (*above, slug))
            done.add(slug)

    for cause in EXPLAINS:
        walk(cause, ())


def test_an_unknown_code_names_its_neighbours() -> None:
    """A typing error is answered."""
    with pytest.raises(UsageError) as caught:
        find_cause("quota-exceded")
    assert "quota-exceeded" in caught.value.hint
