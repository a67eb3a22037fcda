"""Whole clusters in simulated worlds. `python -m tests.sim` runs more of them; README.md says how to read a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import folders
from tests.sim.plan import draw_plan
from tests.sim.run import run_seed
from tests.sim.shrink import shrink

SEEDS = 100
CHUNK = 10
FINGERPRINTED = range(7, 13)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_promise_is_kept_in_every_simulated_world(first: int) -> None:
    """Goal: agreement, durability, linearizability, leases, watches and progress under any faults (issue 3)."""
    for seed in range(first, first + CHUNK):
        verdict = run_seed(seed, short=True)
        assert not verdict.failure, f"{verdict.failure}: python -m tests.sim --seed {seed} --short"


@pytest.mark.slow
def test_who_cannot_start_on_a_full_disk_starts_when_there_is_room() -> None:
    """Goal: as with etcd, a full disk is a reason not to start, and no reason not to start later."""
    seed = 10612131  # a member loses its power, and its disk is full when it comes back
    assert run_seed(seed, short=True).failure == ""


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes_in_every_process() -> None:
    """Goal: a failure can be looked at again. Hashes of bytes and texts differ between these processes, and so do the
    seeds that they ran before."""
    expected = {seed: run_seed(seed, short=True).fingerprint for seed in reversed(FINGERPRINTED)}
    for hash_seed in ("1", "2"):
        found = subprocess.run(
            [
                *(sys.executable, "-m", "tests.sim", "--short", "--fingerprints"),
                *("--seeds", f"{FINGERPRINTED.start}..{FINGERPRINTED.stop}"),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        lines = [line.split() for line in found.splitlines() if line.startswith("seed ")]
        assert {int(seed): fingerprint for _, seed, _, fingerprint in lines} == expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000002, 1000005])
def test_a_run_is_the_same_wherever_its_files_are_and_whatever_its_process_is_called(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: as above. A loss of power tears the lock with the process ID in it; a refusal to start names a file.

    Both processes are alive: what belongs to a dead one is removed by others that begin.
    """
    fingerprints = set()
    for process, prefix in ((1, "etcdops-sim-"), (os.getpid(), "etcdops-sim-long-name-")):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        monkeypatch.setattr(folders, "_PREFIX", prefix)
        fingerprints.add(run_seed(seed, short=True).fingerprint)
    assert len(fingerprints) == 1


def test_a_fault_left_out_does_not_change_what_others_draw() -> None:
    """Goal: a failing plan can be made shorter."""
    options, faults = draw_plan(11)
    assert draw_plan(11) == (options, faults)
    assert [fault.number for fault in faults] == list(range(len(faults)))


@pytest.mark.slow
def test_shrinking_keeps_the_faults_that_a_failure_needs() -> None:
    """Goal: what is left still breaks the same promise, and nothing of it can be left out."""
    from tests.sim.bugs import planted

    with planted("acknowledged-before-fsync"):
        failed = next(
            verdict for seed in range(30) if (verdict := run_seed(seed, short=True)).failure and len(verdict.faults) > 2
        )
        needed = shrink(failed, lambda line: None, short=True)
        assert len(needed) < len(failed.faults)
        assert len(needed) <= 2, "an fsync that is missing needs a loss of power, and no more"
        assert run_seed(failed.seed, short=True, only=needed).promise == failed.promise


def test_what_a_killed_run_left_is_removed_by_the_next_process(tmp_path: Path) -> None:
    """Goal: killed runs do not fill the memory; those that go on keep their files."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    orphan, mine = tmp_path / f"etcdops-sim-{ended.pid}-x", tmp_path / f"etcdops-sim-{os.getpid()}-x"
    for folder in (orphan, mine):
        (folder / "m0").mkdir(parents=True)
    folders._remove_orphans(tmp_path)
    assert not orphan.exists()
    assert mine.exists()
