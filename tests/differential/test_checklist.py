"""Every statement is executed here, or listed with the place where it is tested, or with the reason why it is not."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path

import tests.differential as package
from tests.differential.checklist import EXECUTED
from tests.differential.conftest import KINDS
from tests.differential.differences import DIFFERENCES, NOT_RUN
from tests.differential.elsewhere import ELSEWHERE, Verdict
from tests.differential.statements import STATEMENTS

ROOT = Path(__file__).parents[2]


def executed() -> set[str]:
    for module in pkgutil.iter_modules(package.__path__, "tests.differential."):
        importlib.import_module(module.name)
    return set(EXECUTED)


def test_the_checklist_is_whole() -> None:
    """Numbered without a gap, but for what was put in between."""
    assert len(STATEMENTS) == 469
    sections = Counter(number[0] for number in STATEMENTS if not number.endswith("b"))
    for section, count in sections.items():
        assert f"{section}{count:02}" in STATEMENTS


def test_every_statement_is_executed_or_listed() -> None:
    """And listed only when it is not executed: the table must not grow old."""
    here, listed = executed(), set(ELSEWHERE)
    assert sorted(set(STATEMENTS) - here - listed) == []
    assert sorted(listed & here) == []
    assert sorted(listed - set(STATEMENTS)) == []


def test_named_tests_exist() -> None:
    """What proves a statement is a test of this project, by its name."""
    named = {name for found in ELSEWHERE.values() for name in found.tests}
    missing = []
    for name in sorted(named):
        path, _, test = name.partition("::")
        if not re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE):
            missing.append(name)
    assert named
    assert missing == []


def test_what_is_proved_names_its_tests_and_the_rest_says_why() -> None:
    """Nothing is proved by nothing, and what is not fulfilled is said to be."""
    for statement, found in ELSEWHERE.items():
        assert found.reason, statement
        assert bool(found.tests) or found.verdict is not Verdict.PROVED, statement
    counted = Counter(found.verdict for found in ELSEWHERE.values())
    assert counted == {Verdict.NOT_FULFILLED: 83, Verdict.PROVED: 25, Verdict.NOT_OURS: 3}, "tell README.md too"


def test_differences_are_about_statements_that_are_executed() -> None:
    """Of servers that are asked."""
    here = executed()
    for statement, kind in [*DIFFERENCES, *NOT_RUN]:
        assert statement.split(".")[0] in here, statement
        assert kind in KINDS
