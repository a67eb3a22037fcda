"""The node as a process whose wall clock can be stepped, with a mistake inside if wanted.

    python -m tests.robustness.node_process CLOCK [--mistake NAME] FLAGS...

CLOCK is a file with one double, the seconds by which the wall clock is ahead. What measures time is not stepped: no
machine does that. libfaketime is not used: in a Python process it breaks timed waits (clock_nanosleep gives EINVAL).
Mistakes are the simulation's (tests/sim/bugs.py), and those of this file.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcdops.node.raft.types import Entry, HardState
    from tests.sim.bugs import Change

OFFSET = struct.Struct("<d")


def _step_wall_clock(path: Path) -> None:
    """From now on the wall clock is as `path` says; to be called before anything has taken hold of `time.time`."""
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    real = time.time
    time.time = lambda: real() + OFFSET.unpack_from(offset)[0]


def _acknowledged_at_once() -> list[Change]:
    """What goes to the disk is said to be there at once, and goes a second later."""
    from etcdops.node.server.log_writer import ThreadedLogWriter

    append = ThreadedLogWriter.append

    def early(
        writer: ThreadedLogWriter, hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]
    ) -> None:
        loop = writer._thread._loop
        loop.call_later(1.0, lambda: append(writer, hard_state, entries, lambda: None))
        loop.call_soon(done)

    return [(ThreadedLogWriter, "append", early)]


def _main(clock: Path, flags: list[str]) -> int:
    _step_wall_clock(clock)
    from etcdops.node.main import main

    mistake = nullcontext()
    if flags[:1] == ["--mistake"]:
        from tests.sim.bugs import BUGS, planted

        BUGS["acknowledged-at-once"] = _acknowledged_at_once
        mistake, flags = planted(flags[1]), flags[2:]  # type: ignore[assignment]  # both are contexts of nothing
    with mistake:
        return main(flags)


if __name__ == "__main__":
    raise SystemExit(_main(Path(sys.argv[1]), sys.argv[2:]))
