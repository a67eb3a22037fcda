"""`etcdops node` with small sizes, so that a short run comes by everything its files can go through; and with a mistake
put into it, if asked to: `python -m tests.power.member BUG FLAG...`, BUG may be `none`.
"""

from __future__ import annotations

import sys

from etcdops.node import main as node
from etcdops.node.server import images
from etcdops.node.storage import database, state
from tests.power.bugs import plant

LOG_CHECKPOINT_PAGES = 40
"""The raft log's write-ahead log is written back and starts over: usually after 4,000 pages."""


def main(arguments: list[str]) -> int:
    database._LOG_CHECKPOINT_PAGES = LOG_CHECKPOINT_PAGES  # type: ignore[misc]  # a size, smaller than usual
    images.CHECKPOINT_EVERY_S = 0.4
    images.CUT_PAUSE_S = 0.5
    state.WAL_BYTES_MAX = 100_000
    plant(arguments[0])
    return node.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
