"""The bundled node as real processes, where no real etcd and no etcdctl is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.real_etcd import EtcdBinaries, RealCluster, Tls, new_cluster

NODE = EtcdBinaries("node", Path("etcd"), Path("etcdctl"), None, program=(sys.executable, "-m", "etcdops", "node"))


def node_members(
    folder: Path, *, size: int = 1, flags: Sequence[str] = (), prefix: str = "m", tls: Tls | None = None
) -> RealCluster:
    """A cluster of the bundled node that is not started yet."""
    return new_cluster(NODE, folder, size=size, flags=flags, prefix=prefix, tls=tls)
