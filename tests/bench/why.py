"""Why a figure is what it is: the node once more under Python's profiler, with the load of that figure.

Only the event loop's thread is profiled; it is where the node's time goes. The profiler makes calls dearer, so shares
say more than seconds.
"""

from __future__ import annotations

import pstats
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.bench import members
from tests.bench.figures import Row
from tests.bench.put_load import put
from tests.bench.read_load import read
from tests.bench.run import FLAGS, TIMEOUT_S, Bench
from tests.support.real_etcd import RealCluster, RealMember, find_etcd, new_cluster, node_with

_FUNCTIONS = 12
_KEYS = 200_000
_CALLS = 8_000


def profile(bench: Bench, row: Row) -> list[str]:
    """Lines: which functions took the loop's time, most expensive first. Empty for a figure that is no time."""
    load = _load(row)
    if load is None:
        return []
    binaries = find_etcd(bench.minor)
    assert binaries is not None
    with tempfile.TemporaryDirectory(prefix="why-", dir=bench.folder) as folder:
        found = Path(folder) / "profile"
        node = node_with(binaries)
        cluster = new_cluster(node, Path(folder) / "node", flags=FLAGS)
        member = cluster.members[0]
        try:
            cluster.start()
            members.fill(members.leader(cluster), 0, _KEYS)
            cluster.stop()
            member.binaries = replace(
                node, program=(sys.executable, "-m", "cProfile", "-o", str(found), "-m", "etcdops", "node")
            )
            cluster.start()
            load(cluster, members.leader(cluster))
            member.stop()
        finally:
            cluster.kill()
        return _top(pstats.Stats(str(found)))


def _load(row: Row) -> Callable[[RealCluster, RealMember], object] | None:
    """What drives the member for a row, by the words of its name."""

    def puts(_: RealCluster, member: RealMember) -> object:
        return put([member.url], connections=10, in_flight=10, puts=_CALLS, seed=0, timeout_s=TIMEOUT_S, keys=_KEYS)

    def reads(_: RealCluster, member: RealMember) -> object:
        serializable = "serializable" in row.name
        return read(member.url, serializable=serializable, reads=_CALLS, timeout_s=TIMEOUT_S, h2load=None)

    def snapshot(cluster: RealCluster, member: RealMember) -> object:
        return members.save_snapshot(cluster, Path(tempfile.mkdtemp(dir=member.folder)) / "image.db")

    for word, load in (("snapshot", snapshot), ("read", reads), ("put", puts)):
        if word in row.name:
            return load
    return None


def _top(stats: pstats.Stats) -> list[str]:
    """The functions with most time of their own. The loop's own, most of it waiting, is left out."""
    rows = []
    for (file, line, name), (_, calls, own_s, _, _) in stats.stats.items():  # type: ignore[attr-defined]  # not in typeshed
        where = f"{Path(file).name}:{line} {name}" if line else name
        rows.append((own_s, calls, where))
    rows = [row for row in rows if not row[2].startswith("runners.py")]
    whole = sum(own_s for own_s, _, _ in rows)
    rows.sort(reverse=True)
    return [f"{own_s / whole:6.1%} {calls:>9,} calls  {where}" for own_s, calls, where in rows[:_FUNCTIONS]]
