"""Real processes with a mistake inside are found out: the whole way from the member's code to the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness.test_real import engine_named, planned, play

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]

SEEDS = 3
"""Each is tried until the mistake shows."""


@pytest.mark.parametrize(
    ("mistake", "faults", "promises"),
    [
        ("read-without-read-index", ("black-hole", "pause", "black-hole"), {"linearizability", "registers"}),
        # The member notices by itself that its log is shorter than its store, and refuses to start; or clients do.
        pytest.param(
            "acknowledged-at-once",
            ("kill-all", "kill-all", "kill-all"),
            {"processes", "linearizability", "durability"},
            marks=pytest.mark.exhaustive,
        ),
        pytest.param("watch-event-twice", ("kill-leader", "pause", "kill"), {"watch"}, marks=pytest.mark.exhaustive),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_member_with_a_mistake_is_found_out(
    mistake: str, faults: tuple[str, ...], promises: set[str], tmp_path: Path
) -> None:
    """The mistakes are the simulation's (tests/sim/bugs.py), in processes of their own."""
    engine = engine_named(f"node+{mistake}")
    found: list[str] = []
    for seed in range(SEEDS):
        steps = planned(*((1.0 + 2.5 * number, kind) for number, kind in enumerate(faults)))
        verdict = play(engine, tmp_path / str(seed), steps, seconds=9.0, seed=seed)
        found = verdict.promises
        if promises & set(found):
            return
        assert not found, verdict.broken
    pytest.fail(f"{mistake} was not found in {SEEDS} runs")
