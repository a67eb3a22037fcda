"""What can be tested: the node, real etcd, the node with a mistake in it. Differences between them are data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.node_members import NODE
from tests.support.real_etcd import CACHE, EtcdBinaries, find_etcd

ENGINES = ("node", "etcd-3.5", "etcd-3.4")
_COMMON = ("--experimental-watch-progress-notify-interval=200ms", "--experimental-compaction-batch-limit=100")


@dataclass(frozen=True)
class Engine:
    """One kind of member."""

    name: str
    binaries: EtcdBinaries
    flags: tuple[str, ...]
    has_catch_up_flag: bool = True
    """Whether it can be told to keep few log entries for members that are behind."""

    asks_progress: bool = True
    """Whether clients ask for progress: not where the answer is known to come ahead of events [15220]."""

    clock_steps: bool = False
    """Whether its wall clock can be stepped, for it alone: it is no Go program, and libfaketime is there."""

    def with_clock(self, file: Path) -> Engine:
        """Its clock is as `file` says, see FAKETIME_TIMESTAMP_FILE of libfaketime; without the library, as it was."""
        library = find_faketime()
        if not self.clock_steps or library is None:
            return self
        environment = (
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={file}",
            "FAKETIME_CACHE_DURATION=1",
            # What measures time is not stepped: no machine does that.
            "DONT_FAKE_MONOTONIC=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        return replace(self, binaries=replace(self.binaries, program=("env", *environment, *self.binaries.program)))


def find_engine(name: str) -> Engine | None:
    """By its name; None where its binary is missing.

    Raises: ValueError - there is no such engine.
    """
    if name == "node":
        return Engine(name, NODE, _COMMON, clock_steps=find_faketime() is not None)
    if name.startswith("node+"):
        program = (sys.executable, "-m", "tests.robustness.planted_node", name.removeprefix("node+"))
        return Engine(name, replace(NODE, program=program), _COMMON)
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}: there are {', '.join(ENGINES)} and node+MISTAKE")
    binaries = find_etcd(name.removeprefix("etcd-"))
    if binaries is None:
        return None
    old = name == "etcd-3.4"
    return Engine(name, binaries, _COMMON, has_catch_up_flag=not old, asks_progress=not old)


def find_faketime() -> Path | None:
    """libfaketime, of the system or as `.ci/fetch-faketime` put it into the cache."""
    name = "libfaketimeMT.so.1"
    for folder in (CACHE.parent / "faketime", *Path("/usr/lib").glob("*/faketime")):
        if (folder / name).exists():
            return folder / name
    return None
