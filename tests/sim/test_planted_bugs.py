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
    "deposed-leader-expires": (10, 40),
    "ids-reused": (0, 5),
    "index-apart-from-data": (0, 10),
    "leases-never-end": (0, 5),
    "leases-not-extended": (18, 50),
    "proposed-again": (0, 5),
    "read-without-read-index": (0, 10),
    "snapshot-of-another-moment": (14, 50),
    "vote-not-saved": (0, 5),
    "votes-twice": (14, 50),
    "watch-after-snapshot": (18, 50),
    "watch-event-lost": (0, 10),
    "watch-event-twice": (0, 5),
}
"""Mistake -> seeds [first, last) of short runs, one of which finds it. The first one is near the one that does, so that
the test is short; from seed 0 on it takes at most as many seeds as the last one says.
"""

RARE = frozenset({"commit-of-older-terms", "leases-not-recovered", "read-index-without-quorum", "read-joins-round"})
"""They need a coincidence that short runs seldom have: `python -m tests.sim --seeds 0..1000 --plant NAME`."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_planted_mistake_is_found(name: str) -> None:
    """Source: reliability notes on how etcd tests itself, target S-5: every known mistake is caught."""
    with planted(name):
        for seed in range(*FOUND[name]):
            if run_seed(seed, short=True).failure:
                return
    pytest.fail(f"{name} was not found by seeds {FOUND[name]}")


def test_every_planted_mistake_is_looked_for() -> None:
    assert sorted([*FOUND, *RARE]) == sorted(BUGS)
