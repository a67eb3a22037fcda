"""Which faults does a failing seed need? Leave one out after the other, and keep it out while the promise still breaks.

Each fault has a random source of its own and the plan stays as it is, so what remains replays with `--only`.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.run import Verdict, run_seed

TRIES_MAX = 60


def shrink(failed: Verdict, progress: Callable[[str], None], *, short: bool = False) -> list[int]:
    """The numbers of the faults that are needed. The same promise must break, at whatever time."""
    needed = [fault.number for fault in failed.faults]
    tries = 0
    for chunk in _chunk_sizes(len(needed)):
        position = 0
        while position < len(needed) and tries < TRIES_MAX:
            candidate = needed[:position] + needed[position + chunk :]
            tries += 1
            verdict = run_seed(failed.seed, short=short, only=candidate)
            if verdict.promise == failed.promise:
                needed = candidate
                progress(f"  still broken with {len(needed)} faults: {verdict.failure}")
            else:
                position += chunk
    return needed


def _chunk_sizes(count: int) -> list[int]:
    sizes = []
    while count > 1:
        count = (count + 1) // 2
        sizes.append(count)
    return sizes if sizes and sizes[-1] == 1 else [*sizes, 1]
