"""Carries out the faults of a plan. Every one ends by itself after its time; the end of the run heals the rest."""

from __future__ import annotations

import asyncio
import random

from tests.sim import machine_faults, network_faults, operations
from tests.sim.cluster import SimCluster
from tests.sim.hands import Hands
from tests.sim.plan import Fault

KINDS = {**machine_faults.KINDS, **network_faults.KINDS, **operations.KINDS}
NO_ROOM = "no room for "
"""How a fault is counted that met a cluster to which it could not be done."""


class Faults:
    """Those of one run."""

    def __init__(self, cluster: SimCluster, plan: list[Fault]) -> None:
        self._cluster = cluster
        self._plan = plan
        self._hands = Hands(cluster)
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Begin each fault at its time; `tasks` are those under way."""
        loop = self._cluster.loop
        for fault in self._plan:
            await asyncio.sleep(max(0.0, fault.at - loop.time()))
            self._cluster.trace("fault", fault.line())
            self.tasks.append(self._cluster.spawn(self._one(fault)))

    async def _one(self, fault: Fault) -> None:
        draw = random.Random(f"{self._cluster.seed}/fault/{fault.number}")
        happened = await KINDS[fault.kind](self._hands, fault, draw)
        self._cluster.counts[fault.kind if happened else NO_ROOM + fault.kind] += 1
