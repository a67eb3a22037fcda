"""Every live check: what must find it, the near miss that must not, and that no code was forgotten."""

from __future__ import annotations

import pytest

from etcdops.diagnosis.actions import actions
from etcdops.diagnosis.causes import LANGUAGES, catalogue
from etcdops.doctor.codes import codes
from etcdops.doctor.examine import examine
from etcdops.doctor.observation import Observation
from tests.doctor.cases import CASES, FINE, Case
from tests.doctor.observations import asked, everything_found
from tests.doctor.test_cluster_checks import VIEW_CODES

IDS = [f"{case.code}-{number}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_must_be_found_is_found(case: Case) -> None:
    """By its code, about the right one, with a next step."""
    found = [one for one in everything_found(case.found) if one.code == case.code]
    assert [one.subject for one in found] == [case.subject]
    told = found[0].told()
    assert case.says in told.summary
    assert told.next_step
    assert not told.summary.endswith(".")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_near_miss_is_not_found(case: Case) -> None:
    assert case.code not in {one.code for one in everything_found(case.missed)}


def test_a_cluster_that_is_well_on_its_hosts_has_nothing_to_do() -> None:
    assert everything_found(FINE) == []
    assert examine(FINE).healthy


@pytest.mark.parametrize("observation", [Observation(), asked(view=None)], ids=["nothing", "no view"])
def test_checks_without_their_input_say_nothing(observation: Observation) -> None:
    """Unknown is no fault."""
    assert everything_found(observation) == []


def test_every_code_has_a_case() -> None:
    """Goal: a check without a test, or a page without a check, is noticed."""
    assert {case.code for case in CASES} | VIEW_CODES == set(codes())


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_page_says_what_it_means_and_what_to_do_in_both_languages(code: str) -> None:
    """Itself, or by the page of the cause it proves."""
    page = codes()[code]
    for language in LANGUAGES:
        assert page.title[language]
        cause = catalogue().get(page.slug)
        assert page.cause[language] or cause is not None
        assert page.fix[language] or (cause is not None and all(name in actions() for name in cause.fix))
    assert not page.slug or page.slug in catalogue()
    assert code[0] == {"info": "I", "warning": "W"}.get(page.severity.word, "E")
