"""What is found does not depend on how the lines of members come together, nor on where their clocks stand."""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta, timezone

import pytest

from etcdops.diagnosis.collect import Collector
from etcdops.diagnosis.diagnose import conclude, diagnose_lines
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.frame import parse_line
from tests.diagnosis.cases import Case, made

_CLOCK = re.compile(r'"ts":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z"')


def come_together(logs: dict[str, list[str]], turns: list[str]) -> Diagnosis:
    """Lines of each log in their order, taken from whichever log's turn it is."""
    collector = Collector()
    for name in logs:
        collector.source(name)
    left = {name: iter(enumerate(lines, 1)) for name, lines in logs.items()}
    for name in turns:
        number, line = next(left[name])
        collector.add(parse_line(line, name, number))
    return conclude(collector)


@pytest.mark.parametrize("seed", range(6))
def test_how_members_interleave_changes_nothing(seed: int) -> None:
    """As when several are followed at once: equal to one read after the other, down to evidence and times."""
    dice = random.Random(seed)
    cases = dice.sample([case for case in made() if not case.benign], k=4)
    logs = {f"m{number}": case.text.splitlines() for number, case in enumerate(cases)}
    turns = [name for name, lines in logs.items() for _ in lines]
    one_by_one = come_together(logs, turns)
    assert one_by_one.findings
    dice.shuffle(turns)
    assert come_together(logs, turns) == one_by_one


def zap_cases() -> list[Case]:
    return [case for case in made() if _CLOCK.search(case.text) and not case.benign]


@pytest.mark.slow
@pytest.mark.parametrize("hours", [8, -7])
def test_a_whole_log_in_another_zone_is_the_same_log(hours: int) -> None:
    """Zap writes its host's zone; what was found, and when, stays."""

    def moved(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=timezone(timedelta(0)))
        local = moment.astimezone(timezone(timedelta(hours=hours)))
        return f'"ts":"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03d}{local:%z}"'

    assert len(zap_cases()) > 20
    for case in zap_cases():
        there = diagnose_lines(_CLOCK.sub(moved, case.text).splitlines())
        here = diagnose_lines(case.text.splitlines())
        assert [(f.slug, f.first, f.last) for f in there.findings] == [(f.slug, f.first, f.last) for f in here.findings]


@pytest.mark.slow
def test_a_log_that_was_cut_loses_only_what_was_cut() -> None:
    """The property above can fail: without the lines that tell, the cause is gone."""
    cut = [
        case for case in zap_cases() if diagnose_lines(case.text.splitlines()[:1]).findings != case.diagnosed().findings
    ]
    assert cut
