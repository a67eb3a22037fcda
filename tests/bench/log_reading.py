"""How long `etcdops diagnose` reads a big log, beside `grep` on the same file, and with how much memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from etcdops.diagnosis.parts import helpers_at_most
from etcdops.errors import ExitCode
from tests.diagnosis.busy_log import write_busy_log

PATTERN = '"level":"warn"'
"""What the issue that set the target looks for."""


class Taken(NamedTuple):
    """Wall-clock seconds, and the most memory all its processes held together."""

    seconds: float
    resident_bytes: int


def make_log(folder: Path, size: int) -> Path:
    """A log of that many bytes, as a busy member writes it; read once, so that it is in the page cache."""
    path = folder / "busy.log"
    write_busy_log(path, size)
    with path.open("rb") as file:
        while file.read(1 << 22):
            pass
    return path


def grep(path: Path) -> Taken:
    return _taken(["grep", "-c", "-F", PATTERN, str(path)], processes=1, expected=0)


def diagnose(path: Path) -> Taken:
    """The whole command, its start included; it finds trouble in such a log."""
    command = [sys.executable, "-m", "etcdops", "diagnose", "--json", str(path)]
    return _taken(command, processes=1 + helpers_at_most(), expected=ExitCode.UNHEALTHY)


_STOPWATCH = """
import resource, subprocess, sys, time
started = time.monotonic()
status = subprocess.call(sys.argv[2:], stdout=open(sys.argv[1], "wb"))
print(status, time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command in a small process: what is measured of a child includes what its parent held when it began."""


def _taken(command: list[str], *, processes: int, expected: int) -> Taken:
    # Not to /dev/null: grep would stop at its first match.
    with tempfile.NamedTemporaryFile() as output:
        told = subprocess.run(
            [sys.executable, "-c", _STOPWATCH, output.name, *command], check=True, capture_output=True, text=True
        ).stdout.split()
    assert int(told[0]) == expected, f"{command} ended with {told[0]}"
    # The kernel tells the most that one of a process and its children held.
    return Taken(float(told[1]), processes * int(told[2]) * 1024)
