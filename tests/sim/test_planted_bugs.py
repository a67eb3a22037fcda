"""The simulator is tested too: mistakes that real stores have had are put into the code, and must be found."""

from __future__ import annotations

import pytest

from tests.sim.bugs import BUGS, planted
from tests.sim.run import run_seed

FOUND = {
    "acknowledged-before-fsync": (0, 5),
    "acknowledged-before-written": (0, 10),
    "compaction-too-far": (0, 10),
    "cut-before-checkpoint": (0, 10),
    "deposed-leader-expires": (13, 40),
    "ids-reused": (0, 5),
    "index-apart-from-data": (0, 10),
    "leases-never-end": (0, 5),
    "leases-not-extended": (34, 100),
    "progress-ahead-of-events": (0, 5),
    "proposed-again": (0, 5),
    "read-without-read-index": (0, 10),
    "snapshot-of-another-moment": (14, 50),
    "vote-not-saved": (0, 5),
    "votes-twice": (14, 50),
    "watch-after-snapshot": (42, 100),
    "watch-event-lost": (0, 10),
    "watch-event-twice": (0, 5),
}
"""Mistake -> seeds [first, last) of short runs, one of which finds it. The first one is near the one that does, so that
the test is short; from seed 0 on it takes at most as many seeds as the last one says.
"""

FOUND_LONG = {"leases-not-recovered": (9, 60), "read-index-without-quorum": (349, 450), "read-joins-round": (3, 30)}
"""The same in long runs."""

RARE = frozenset({"commit-of-older-terms"})
"""Needs a coincidence that is seldom (Raft figure 8); tests/node/raft/chaos.py, on the core alone, is closer to it. Try
`python -m tests.sim --seeds 1000 --plant NAME`.
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_planted_mistake_is_found(name: str) -> None:
    """Source: reliability notes on how etcd tests itself, target S-5: every known mistake is caught."""
    assert _is_found(name, range(*FOUND[name]), short=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FOUND_LONG))
def test_a_planted_mistake_is_found_in_long_runs(name: str) -> None:
    """Source: as above."""
    assert _is_found(name, range(*FOUND_LONG[name]), short=False)


def _is_found(name: str, seeds: range, *, short: bool) -> bool:
    with planted(name):
        return any(run_seed(seed, short=short).failure for seed in seeds)


def test_every_planted_mistake_is_looked_for() -> None:
    assert sorted([*FOUND, *FOUND_LONG, *RARE]) == sorted(BUGS)
