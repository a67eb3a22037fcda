"""The soak's verdict, and a soak of 20 seconds that can fail."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.judging import MEASURES, Measure, judge
from tests.soak.report import save, sparkline, table
from tests.soak.run import Plan, soak

_BY_NAME = {measure.name: measure for measure in MEASURES}
_MIB = 1024.0 * 1024.0

SHORT = Plan(
    seconds=20.0,
    members=1,
    clients=8,
    calls_a_second=60.0,
    keys=100,
    sample_every_s=0.4,
    defragment_every_s=9.0,
    flags=(
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1s",
        "--snapshot-count=100",
        "--experimental-snapshot-catchup-entries=50",
    ),
)


def _growth(measure: Measure, values: list[float]) -> bool:
    found = judge(measure, [float(at) for at in range(len(values))], values)
    assert found is not None
    return not found.flat


def test_noise_peaks_and_the_warm_up_are_not_growth_and_a_slow_leak_is() -> None:
    """A robust fit: what allocators and caches do every day raises no alarm, half a percent a minute does."""
    draw = random.Random(1)
    rss = _BY_NAME["rss_bytes"]
    noise = [100 * _MIB + draw.gauss(0, 2 * _MIB) for _ in range(400)]
    assert not _growth(rss, noise)
    assert not _growth(rss, [one + (60 * _MIB if number % 50 == 7 else 0) for number, one in enumerate(noise)])
    assert not _growth(rss, [one - max(0, 100 - number) * 0.5 * _MIB for number, one in enumerate(noise)])
    assert not _growth(rss, [one + (number % 60) * 0.3 * _MIB for number, one in enumerate(noise)]), "teeth of a saw"
    big_teeth = [one + (number % 67) * 0.6 * _MIB for number, one in enumerate(noise)]
    assert not _growth(rss, big_teeth), "also those that do not fit the parts"
    assert _growth(rss, [one + number * 0.06 * _MIB for number, one in enumerate(big_teeth)])
    assert _growth(rss, [one + number * 0.04 * _MIB for number, one in enumerate(noise)])
    assert _growth(_BY_NAME["fds"], [40.0 + number // 20 for number in range(400)])
    assert judge(rss, [0.0, 1.0], [1.0, 9.0]) is None, "two samples are no series"


def test_a_sparkline_begins_at_zero() -> None:
    """Flat looks flat, however much the scale would like to zoom in."""
    assert sparkline([100.0, 101.0, 99.0, 100.0]) == "████"
    assert sparkline([0.0, 50.0, 100.0]) == "▁▅█"


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_member_under_clients_that_come_and_go_stays_as_small_as_it_is(tmp_path: Path) -> None:
    """Twenty seconds: too short for slow leaks, which `make soak` is for; a leak for each call shows."""
    outcome = soak(None, tmp_path, SHORT)
    report = "\n".join(table(outcome))
    assert outcome.calls["Put"] > 50, report
    assert outcome.calls["vanished"] > 0, report
    assert outcome.events, "it was defragmented"
    assert len(outcome.findings()) == len(MEASURES), report
    # In so short a time what a process keeps of its first peaks still counts; hours are for `make soak`.
    assert not [one for _, one in outcome.leaks if one.measure.name != "rss_bytes" or one.growth > 16 << 20], report
    save(outcome, tmp_path / "soak.json")
    assert (tmp_path / "soak.json").stat().st_size > 1000


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("leak", "measure"),
    [
        ("memory", "rss_bytes"),
        pytest.param("files", "fds", marks=pytest.mark.exhaustive),
        pytest.param("tasks", "tasks", marks=pytest.mark.exhaustive),
    ],
    ids=["memory", "files", "tasks"],
)
def test_a_planted_leak_is_found(tmp_path: Path, leak: str, measure: str) -> None:
    """The soak above can fail."""
    outcome = soak(None, tmp_path, replace(SHORT, seconds=13.0, leak=leak))
    assert measure in {finding.measure.name for _, finding in outcome.leaks}, "\n".join(table(outcome))
