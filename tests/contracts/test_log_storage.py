"""Every Raft log passes the checks of log_storage.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.node.raft.memory_log import MemoryLog
from tests.contracts.log_storage import CHECKS, Check, Opened, WritableLog


class OpenedMemoryLog:
    """A log in memory."""

    def __init__(self, _folder: Path) -> None:
        self.log: WritableLog = MemoryLog()

    def reopened(self) -> WritableLog:
        """Memory has nothing to open again."""
        return self.log


# One factory for each implementation; it gets an empty folder.
IMPLEMENTATIONS: dict[str, Callable[[Path], Opened]] = {
    "memory": OpenedMemoryLog,
}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    return IMPLEMENTATIONS[request.param](tmp_path)


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_log(check: Check, opened: Opened) -> None:
    """Source: etcd-io/raft storage.go, Storage and MemoryStorage."""
    check(opened)
