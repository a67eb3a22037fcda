"""What can be tested: the node, real etcd, the node with a mistake in it. Differences between them are data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.node_members import NODE
from tests.support.real_etcd import EtcdBinaries, find_etcd

ENGINES = ("node", "etcd-3.5", "etcd-3.4")
FLAGS = ("--experimental-watch-progress-notify-interval=200ms", "--experimental-compaction-batch-limit=100")
WHY_NO_CLOCK = "libfaketime cannot reach a Go program, and the machine's clock is not the test's"


@dataclass(frozen=True)
class Engine:
    """One kind of member."""

    name: str
    etcd: EtcdBinaries
    has_catch_up_flag: bool = True
    """Whether it can be told to keep few log entries for members that are behind."""

    asks_progress: bool = True
    """Whether clients ask for progress: not where the answer is known to come ahead of events [15220]."""

    clock_steps: bool = False
    """Whether its wall clock can be stepped, for it alone."""

    mistake: str = ""
    """What was planted into the node."""

    def binaries(self, clock: Path) -> EtcdBinaries:
        """How to start it. Args: clock is the file that says how far its wall clock is ahead."""
        if not self.clock_steps:
            return self.etcd
        mistake = ("--mistake", self.mistake) if self.mistake else ()
        program = (sys.executable, "-m", "tests.robustness.node_process", str(clock), *mistake)
        return replace(self.etcd, program=program)


def find_engine(name: str) -> Engine | None:
    """By its name; None where its binary is missing.

    Raises: ValueError - there is no such engine.
    """
    if name == "node" or name.startswith("node+"):
        return Engine(name, NODE, clock_steps=True, mistake=name.partition("+")[2])
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}: there are {', '.join(ENGINES)} and node+MISTAKE")
    etcd = find_etcd(name.removeprefix("etcd-"))
    if etcd is None:
        return None
    old = name == "etcd-3.4"
    return Engine(name, etcd, has_catch_up_flag=not old, asks_progress=not old)
