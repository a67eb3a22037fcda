"""Runs on this checkout: one folder each under `.cache/hosts/runs/`, locked by its keeper for as long as that lives.

The lock is the only sign of life that is trusted: the kernel lets go of it however the keeper ends. A folder that
nobody holds belongs to a run whose keeper was killed; sweeping removes what the kernel did not.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.hosts.base import CACHE, ROOT, prune
from tests.hosts.keeper import CGROUPS, cgroup_name, mount, remove_cgroups

RUNS: Final = CACHE / "runs"
_ABANDONED_AFTER_S: Final = 600.0


@dataclass(frozen=True)
class RunState:
    """What a run's `state.json` says, for `make hosts-down` and for people."""

    keeper_pid: int
    operator_address: str
    link: str
    hosts: dict[str, str]
    """Name -> address."""
    detached: bool
    """Whether it was started by `make hosts` and lives until `make hosts-down`."""


def new_run() -> tuple[Path, int]:
    """A new run's folder, and the file descriptor that locks it: hand it to the keeper, then close it."""
    RUNS.mkdir(parents=True, exist_ok=True)
    name = secrets.token_hex(4)
    # Locked before it has its name: a sweep that comes between would take it for a dead run.
    unborn = RUNS / f".{name}"
    unborn.mkdir(mode=0o755)
    lock = os.open(unborn / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return unborn.rename(RUNS / name), lock


def write_state(folder: Path, state: RunState) -> None:
    new = folder / "state.json.new"
    new.write_text(json.dumps(asdict(state), indent=1) + "\n")
    new.rename(folder / "state.json")


def read_state(folder: Path) -> RunState | None:
    """None while the run is being started, or when it is gone."""
    try:
        fields = json.loads((folder / "state.json").read_text())
    except FileNotFoundError:
        return None
    return RunState(**fields)


def run_folders() -> list[Path]:
    """Folders of all runs of this checkout, alive or dead, oldest first."""
    if not RUNS.is_dir():
        return []
    return sorted((f for f in RUNS.iterdir() if not f.name.startswith(".")), key=lambda f: (f.stat().st_mtime, f.name))


def is_alive(folder: Path) -> bool:
    """Whether a keeper holds that run's lock."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def sweep() -> list[str]:
    """Remove what dead runs left: processes in their cgroups, the cgroups, their folders. Returns the runs' names."""
    known = run_folders()
    dead = [folder for folder in known if not is_alive(folder)]
    for folder in dead:
        # The cgroup tree need not be mounted on this machine: it is, for a moment, in a namespace of our own.
        sweeper = ["unshare", "--mount", sys.executable, "-m", "tests.hosts.runs", os.fspath(folder)]
        subprocess.run(sweeper, cwd=ROOT, check=True, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
    if RUNS.is_dir():
        for unborn in RUNS.glob(".*"):
            with suppress(FileNotFoundError):
                if time.time() - unborn.stat().st_mtime > _ABANDONED_AFTER_S:
                    shutil.rmtree(unborn, ignore_errors=True)
    if dead == known:
        prune()
    return [folder.name for folder in dead]


def _sweep_cgroup(folder: Path) -> None:
    mount("-t", "tmpfs", "tmpfs", CGROUPS.parent)
    CGROUPS.mkdir()
    mount("-t", "cgroup2", "cgroup2", CGROUPS)
    remove_cgroups(CGROUPS / cgroup_name(folder))


if __name__ == "__main__":
    _sweep_cgroup(Path(sys.argv[1]))
