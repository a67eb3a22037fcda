"""Loss of power at every moment: a sample of what `make power` goes through as a whole, and mistakes that it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.power.recording import find_strace
from tests.power.replay import replay
from tests.power.scenario import play

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_strace() is None, reason="no strace here: apt-get install strace"),
]


LONG = pytest.mark.exhaustive


@pytest.mark.parametrize(
    "name",
    [
        "first-start",
        "writes",
        pytest.param("maintenance", marks=LONG),
        pytest.param("membership", marks=LONG),
        "forced",
        "lagging",
    ],
)
def test_no_loss_of_power_takes_what_was_promised(tmp_path: Path, name: str) -> None:
    """D-2: from every state a member starts, holds what it acknowledged, takes writes, and starts again."""
    processes = 1 if name in ("writes", "forced") else 0
    result = replay(play(name, tmp_path / "run"), cuts_max=30, states_max=25, processes=processes)
    assert result.started == 25
    assert not result.failures, "\n".join(str(failure) for failure in result.failures)


@pytest.mark.parametrize(
    ("bug", "name"),
    [
        ("raft-log-not-synced", "first-start"),
        ("folder-not-synced", "first-start"),
        pytest.param("new-files-not-synced", "first-start", marks=LONG),
        pytest.param("log-cut-without-checkpoint", "writes", marks=LONG),
        pytest.param("image-not-synced", "lagging", marks=LONG),
    ],
)
def test_an_fsync_that_is_left_out_is_found(tmp_path: Path, bug: str, name: str) -> None:
    """The replay above can fail."""
    result = replay(play(name, tmp_path / "run", bug=bug), cuts_max=80, states_max=90, stop_at_failure=True)
    assert result.failures
