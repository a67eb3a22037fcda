"""Clusters of real processes under faults: the node, and real etcd with the same code, which must pass too.

`make robustness` runs longer ones. A failure prints the command that judges its history again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.robustness.check import Verdict
from tests.robustness.command import OUTPUT
from tests.robustness.engines import ENGINES, Engine, find_engine
from tests.robustness.faults import Planned
from tests.robustness.holder import why_no_namespaces
from tests.robustness.known import known_bug
from tests.robustness.plan import Options
from tests.robustness.record import HISTORY
from tests.robustness.run import run

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]

SHORT_LOG = ("--snapshot-count=100",)
CALLS_MIN = 30
"""A run with less says nothing. Usually there are thousands; a busy machine is no broken promise."""


def engine_named(name: str) -> Engine:
    """Skips, or fails where real etcd must be there."""
    engine = find_engine(name)
    if engine is None:
        reason = f"no {name} in .cache/etcd: `make etcd` fetches it"
        if os.environ.get("ETCDOPS_REQUIRE_ETCD"):
            pytest.fail(reason)
        pytest.skip(reason)
    return engine


def planned(*faults: tuple[float, str]) -> tuple[Planned, ...]:
    return tuple(Planned(after_s, kind, number) for number, (after_s, kind) in enumerate(faults))


def play(
    engine: Engine,
    folder: Path,
    faults: tuple[Planned, ...],
    *,
    seconds: float = 12.0,
    size: int = 3,
    seed: int = 1,
    flags: Sequence[str] = SHORT_LOG,
    own_disks: bool = False,
) -> Verdict:
    """One short run; what is broken is saved."""
    if engine.has_catch_up_flag:
        flags = (*flags, "--experimental-snapshot-catchup-entries=20")
    options = Options(
        seed,
        seconds,
        size,
        tuple(flags),
        faults,
        own_disks,
        clients=12,
        leasers=3,
        watchers=6,
        witnesses=3,
        processes=1,
    )
    verdict = run(engine, options, folder)
    print(f"{engine.name}: {verdict}")
    if verdict.broken:
        kept = OUTPUT / f"test-{engine.name}-{folder.name}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for path in (*folder.glob("*.log"), folder / HISTORY):
            shutil.copy(path, kept)
        print(f"python -m tests.robustness check {kept / HISTORY}")
        known = [known_bug(engine, promise, [fault.kind for fault in faults]) for promise in verdict.promises]
        if all(known):
            pytest.xfail(f"etcd {engine.etcd.version}: {', '.join(known)}")
    return verdict


def expect_kept(verdict: Verdict) -> None:
    """Every promise was kept, and there was something to keep."""
    assert not verdict.broken, "\n".join(verdict.broken)
    assert verdict.calls - verdict.unknown > CALLS_MIN, verdict
    assert verdict.revisions > 10
    assert verdict.events > 10


def engines(*usual: str) -> list[object]:
    """All of them; those that are not `usual` only in `make exhaustive`."""
    return [name if name in usual else pytest.param(name, marks=pytest.mark.exhaustive) for name in ENGINES]


@pytest.mark.parametrize("name", engines("node", "etcd-3.5"))
def test_kills_and_pauses_break_no_promise(name: str, tmp_path: Path) -> None:
    """SIGKILL of the leader and of all, SIGSTOP of the leader, a restart storm; with short logs (K01, D-1, D-4)."""
    faults = planned((1.0, "kill-leader"), (4.0, "pause-leader"), (7.0, "storm"), (9.0, "kill-all"))
    expect_kept(play(engine_named(name), tmp_path, faults))


@pytest.mark.parametrize("name", engines("node"))
def test_partitions_break_no_promise(name: str, tmp_path: Path) -> None:
    """The leader alone, one-way links, no two members with the same view, links that come and go."""
    faults = planned((1.0, "isolate"), (3.5, "black-hole"), (5.5, "half-cut"), (8.0, "no-ring"), (9.0, "flapping"))
    expect_kept(play(engine_named(name), tmp_path, faults, seed=2))


@pytest.mark.parametrize("name", ["node", pytest.param("etcd-3.5", marks=pytest.mark.exhaustive)])
def test_a_full_disk_breaks_no_promise(name: str, tmp_path: Path) -> None:
    """A tmpfs in a namespace of its own; a member may end, and comes back when there is room (D-3)."""
    reason = why_no_namespaces()
    if reason:
        pytest.skip(f"a disk that can be filled: {reason}")
    faults = planned((1.0, "full-disk"), (5.0, "full-disk"))
    expect_kept(play(engine_named(name), tmp_path, faults, seconds=9.0, seed=3, own_disks=True))


@pytest.mark.exhaustive
def test_a_disk_that_refuses_writes_breaks_no_promise(tmp_path: Path) -> None:
    """A limit on file sizes, which takes no root: every write behind the first kilobytes fails, fsync or not."""
    faults = planned((1.0, "full-disk"), (5.0, "full-disk"))
    expect_kept(play(engine_named("node"), tmp_path, faults, seconds=9.0, seed=4))


def test_clock_steps_break_no_promise(tmp_path: Path) -> None:
    """Wall clocks jump by up to a minute, forth and back: leases are not ended early, nor kept for ever (D-5).

    Of the node alone: no program can be shown another clock that, as etcd does, asks the kernel without the C library.
    """
    faults = planned((1.0, "clock-step"), (3.0, "clock-step"), (5.0, "kill-leader"), (7.0, "clock-step"))
    expect_kept(play(engine_named("node"), tmp_path, faults, seconds=10.0, seed=5))


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [1, 5])
def test_one_member_and_five_keep_their_promises(size: int, tmp_path: Path) -> None:
    """One has nobody who remembers for it [14370]; five can lose two."""
    faults = planned((1.0, "kill"), (3.0, "pause"), (4.0, "defragment"), (6.0, "kill"))
    expect_kept(play(engine_named("node"), tmp_path, faults, seconds=9.0, size=size, seed=6))
