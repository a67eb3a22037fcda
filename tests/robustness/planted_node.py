"""The node with a mistake inside: `python -m tests.robustness.planted_node MISTAKE FLAGS...`.

The mistakes are the simulation's (tests/sim/bugs.py), and `acknowledged-at-once` of this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from etcdops.node.main import main
from etcdops.node.raft.types import Entry, HardState
from etcdops.node.server.log_writer import ThreadedLogWriter
from tests.sim.bugs import BUGS, Change, planted


def _acknowledged_at_once() -> list[Change]:
    """What goes to the disk is said to be there at once, and goes a second later."""
    append = ThreadedLogWriter.append

    def early(
        writer: ThreadedLogWriter, hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]
    ) -> None:
        loop = writer._thread._loop
        loop.call_later(1.0, lambda: append(writer, hard_state, entries, lambda: None))
        loop.call_soon(done)

    return [(ThreadedLogWriter, "append", early)]


BUGS["acknowledged-at-once"] = _acknowledged_at_once

if __name__ == "__main__":
    mistake, *flags = sys.argv[1:]
    with planted(mistake):
        raise SystemExit(main(flags))
