"""The labelled logs: the first finding is the cause, with the line that proves it; a normal day has no finding."""

from __future__ import annotations

import pytest

from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.diagnosis.finding import Severity
from tests.diagnosis.cases import Case, answer, made, posted
from tests.diagnosis.eval import evaluate
from tests.diagnosis.frames import FRAMES


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", posted(), ids=named)
def test_first_finding_of_a_posted_log(case: Case) -> None:
    """samples/README.md; the line that the label rests on is among the evidence of some finding."""
    diagnosis = case.diagnosed()
    assert case.right(diagnosis), [finding.slug for finding in diagnosis.findings]
    shown = [line.text for finding in diagnosis.findings for line in finding.evidence]
    if not case.benign and answer(diagnosis) == case.category:
        assert any(case.evidence in text for text in shown)


@pytest.mark.parametrize("case", made(), ids=named)
def test_first_finding_of_lines_after_etcds_formats(case: Case) -> None:
    """samples/made.toml: every cause, in the words of several releases."""
    diagnosis = case.diagnosed()
    assert case.right(diagnosis), [finding.slug for finding in diagnosis.findings]


def test_every_cause_has_a_case() -> None:
    """But for those that no line of a single log can tell."""
    from etcdops.diagnosis.causes import catalogue

    told = {case.category for case in [*posted(), *made()]}
    assert set(catalogue()) - told == {"duplicate-cloned-member", "restore-misplaced"}


@pytest.mark.slow
@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_frames_change_nothing(frame: str) -> None:
    """The same lines behind any prefix have the same first finding."""
    wrong = []
    # Each frame has a third of them, and not the same one.
    for case in made()[list(FRAMES).index(frame) % 3 :: 3]:
        wrapped = [FRAMES[frame](line) for line in case.text.splitlines() if line]
        found = answer(diagnose_lines(wrapped))
        # What systemd and kubelet say comes by the journal alone.
        if found != answer(case.diagnosed()) and not case.text.startswith(("Mar 0", "3月")):
            wrong.append((case.name, found))
    assert wrong == []


@pytest.mark.parametrize("case", [case for case in posted() if case.benign], ids=named)
def test_a_normal_day_is_no_finding(case: Case) -> None:
    """Nothing of severity warning or above."""
    assert all(finding.severity is Severity.INFO for finding in case.diagnosed().findings)


def test_evaluation_counts_confusions() -> None:
    """A wrong label is seen: the numbers of `make eval-diagnose` can fall."""
    case = next(case for case in made() if case.category == "disk-full")
    wrong = Case("x", case.text, "clock-drift", (), False, "")
    right, confused = evaluate([case, wrong])
    assert right == 1
    assert confused == {("clock-drift", "disk-full"): 1}
