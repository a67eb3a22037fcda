"""Random lives of a real etcd and a node, side by side: equal answers, revisions, hashes and watch streams.

`make test` runs few of them, always the same; `make differential` as many as are asked for. See README.md.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.differential.conftest import binaries_of
from tests.differential.stateful import COUNTED, Lives
from tests.support.node_nursery import Nursery

EXAMPLES = int(os.environ.get("ETCDOPS_DIFFERENTIAL_LIVES", "0"))
"""How many lives; 0: a few that are always the same ones."""

_STEPS = 40
_FEW = 3


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600 if not EXAMPLES else 60 * EXAMPLES + 600)
@pytest.mark.parametrize("beside", [pytest.param("etcd-3.4", marks=pytest.mark.exhaustive), "etcd-3.5"])
def test_an_etcd_and_a_node_lead_the_same_life(beside: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Issue 3, Differential: random request sequences, stateful; the script that parts them is printed short."""
    binaries_of(beside)  # skips where there is none
    COUNTED.clear()
    nursery = Nursery()
    machine = type("LivesBeside", (Lives,), {"kind": beside, "nursery": nursery})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES or _FEW,
                stateful_step_count=2 * _STEPS if EXAMPLES else _STEPS,
                derandomize=not EXAMPLES,
                database=None,
                deadline=None,
                print_blob=False,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        nursery.close()
    requests = sum(count for path, count in COUNTED.items() if path.startswith("/"))
    with capsys.disabled():
        if EXAMPLES:
            print(f"\n{beside}: {requests} requests compared, {COUNTED['watch']} watches, {COUNTED['events']} lines")
    assert requests > 10 * (EXAMPLES or _FEW)
