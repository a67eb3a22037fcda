"""What a run does, drawn from its seed before anything is started."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.robustness.engines import Engine
from tests.robustness.faults import OF_MANY, OF_ONE, Planned, clock_step, full_disk, slow_links


@dataclass(frozen=True)
class Options:
    """Of one run."""

    seed: int
    seconds: float
    """Of load and faults."""
    size: int
    flags: tuple[str, ...]
    faults: tuple[Planned, ...]
    own_disks: bool
    namespaces: bool = False
    """Whether the kernel cuts links, not proxies."""
    clients: int = 24
    leasers: int = 4
    watchers: int = 10
    witnesses: int = 4
    processes: int = 2
    think_s: float = 0.03

    def for_history(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "faults": [str(fault) for fault in self.faults]}


def draw_options(
    seed: int,
    engine: Engine,
    *,
    seconds: float,
    own_disks: bool,
    namespaces: bool = False,
    size: int | None = None,
    kinds: Sequence[str] | None = None,
) -> Options:
    """Args: kinds are the faults to draw from; by default all that this engine can have. size: of the cluster."""
    draw = random.Random(f"robustness/{seed}")
    drawn = draw.choice((3, 3, 3, 3, 3, 1, 5))
    size = size or drawn
    flags = [f"--snapshot-count={draw.choice((50, 200, 1000))}"]
    catch_up = draw.choice((10, 100, 5000))
    if engine.has_catch_up_flag:
        flags.append(f"--experimental-snapshot-catchup-entries={catch_up}")
    if kinds is None:
        kinds = [fault.__name__.replace("_", "-") for fault in (OF_MANY if size > 1 else OF_ONE)]
        left_out = [clock_step] * (not engine.clock_steps) + [slow_links] * namespaces
        kinds = [kind for kind in kinds if kind not in {fault.__name__.replace("_", "-") for fault in left_out}]
    faults: list[Planned] = []
    at = draw.uniform(1.0, 3.0)
    while at < seconds - 3.0:
        faults.append(Planned(at, draw.choice(kinds), len(faults)))
        at += draw.choice((draw.uniform(0.2, 2.0), draw.uniform(2.0, 7.0)))
    has_full_disk = any(fault.kind == full_disk.__name__.replace("_", "-") for fault in faults)
    return Options(
        seed,
        seconds,
        size,
        tuple(flags),
        tuple(faults),
        own_disks and has_full_disk,
        namespaces,
        clients=draw.choice((12, 24, 40)),
        think_s=draw.choice((0.01, 0.03, 0.1)),
    )
