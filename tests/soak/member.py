"""`etcdops node`, which also tells what is inside: `python tests/soak/member.py STATS LEAK FLAG...`.

Every half second STATS gets the number of tasks on the loop and of blocks on Python's heap. SIGUSR2 writes how many
objects of each type there are to STATS with `.types` behind it: to find out what a leak consists of. LEAK, when it is
not `none`, plants one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from etcdops.ids import Revision
from etcdops.node import main as node
from etcdops.node.apply.outcome import Outcome
from etcdops.node.server.server import Server
from etcdops.node.watch.hub import WatchHub
from etcdops.node.watch.watcher import Watcher

EVERY_S = 0.5

_leaked: list[object] = []


def main(arguments: list[str]) -> int:
    stats, leak, flags = Path(arguments[0]), arguments[1], arguments[2:]
    loops: list[asyncio.AbstractEventLoop] = []
    factory = node._loop_factory() or asyncio.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        loops.append(factory())
        return loops[0]

    node._loop_factory = lambda: remembered  # the loop is asked for its tasks
    if leak != "none":
        LEAKS[leak]()
    signal.signal(signal.SIGUSR2, lambda *_: _write_types(stats.with_name(stats.name + ".types")))
    threading.Thread(target=_tell, args=(stats, loops), name="soak-stats", daemon=True).start()
    return node.main(flags)


def _tell(stats: Path, loops: list[asyncio.AbstractEventLoop]) -> None:
    part = stats.with_name(stats.name + ".part")
    while True:
        tasks = len(asyncio.all_tasks(loops[0])) if loops else 0
        part.write_text(json.dumps({"tasks": tasks, "blocks": sys.getallocatedblocks()}))
        part.replace(stats)
        time.sleep(EVERY_S)


def _write_types(path: Path) -> None:
    gc.collect()
    counted = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    path.write_text(json.dumps(counted.most_common(300), indent=1))


# Leaks, to see that they are found.


def _memory() -> None:
    """Every proposal leaves 100 kB behind."""
    propose = Server.propose

    def leaking(
        server: Server, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False
    ) -> None:
        _leaked.append(bytearray(100_000))
        propose(server, field, request, done, as_leader=as_leader)

    Server.propose = leaking  # type: ignore[method-assign,assignment]  # the leak


def _files() -> None:
    """Every proposal forgets to close a file."""
    propose = Server.propose

    def leaking(
        server: Server, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False
    ) -> None:
        if len(_leaked) < 500:  # below the usual limit of open files: it is to be seen before it hurts
            _leaked.append(os.open("/dev/null", os.O_RDONLY))
        propose(server, field, request, done, as_leader=as_leader)

    Server.propose = leaking  # type: ignore[method-assign,assignment]  # the leak


def _tasks() -> None:
    """Every watch leaves a task that never ends."""
    add = WatchHub.add

    def leaking(hub: WatchHub, watcher: Watcher, start_revision: Revision) -> None:
        _leaked.append(asyncio.ensure_future(asyncio.Event().wait()))
        add(hub, watcher, start_revision)

    WatchHub.add = leaking  # type: ignore[method-assign,assignment]  # the leak


LEAKS: dict[str, Callable[[], None]] = {"memory": _memory, "files": _files, "tasks": _tasks}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
