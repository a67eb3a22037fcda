"""The node's /metrics beside a real etcd's, after the same life: the same families, types, labels and bounds.

Dashboards and alerts are written for etcd; a family that is missing or of another type is a panel without data.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from tests.conftest import MakeCluster
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealCluster, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

ABSENT = {
    r"go_.*": "there is no Go runtime",
    r"etcd_server_go_version": "there is no Go runtime",
    r"promhttp_.*": "Go's Prometheus client counts its own page",
    r"process_network_.*": "of newer Go clients only: it counts the whole machine",
    r"process_virtual_memory_max_bytes": "of Go's client only",
    r"etcd_grpc_proxy_.*": "etcd has its proxy in the same program, where it is always 0",
    r"etcd_debugging_store_.*": "the v2 store, which the node does not have",
    r"etcd_debugging_disk_backend_commit_.*": "phases inside a commit of bbolt",
    r"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds": "the index is the database itself",
    r"etcd_debugging_snap_save_marshalling_duration_seconds": "a snapshot is recorded as one row",
    r"etcd_disk_wal_write_duration_seconds": "SQLite writes and syncs in one step: it is all in wal_fsync_duration",
}
"""What etcd has and the node does not, and why."""

TRAFFIC_ONLY = {
    "etcd_network_disconnected_peers_total",
    "etcd_network_peer_round_trip_time_seconds",
    "etcd_network_peer_received_failures_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_network_server_stream_failures_total",
    "etcd_network_snapshot_receive_failures",
    "etcd_network_snapshot_receive_inflights_total",
    "etcd_network_snapshot_receive_success",
    "etcd_network_snapshot_receive_total_duration_seconds",
    "etcd_network_snapshot_send_failures",
    "etcd_network_snapshot_send_inflights_total",
    "etcd_network_snapshot_send_success",
    "etcd_network_snapshot_send_total_duration_seconds",
    "etcd_server_learner_promote_failures",
}
"""etcd shows these once something of the kind has happened: the page of a quiet cluster lacks them."""


@dataclass
class Family:
    """What a dashboard relies on."""

    kind: str
    labels: set[tuple[str, ...]] = field(default_factory=set)
    bounds: set[str] = field(default_factory=set)


def _page(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _families(pages: Sequence[str]) -> dict[str, Family]:
    found: dict[str, Family] = {}
    for line in "\n".join(pages).splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found.setdefault(name, Family(kind))
        elif line and not line.startswith("#"):
            sample = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? \S+", line)
            assert sample, line
            family = found.get(sample[1]) or found[re.sub(r"_(bucket|sum|count)$", "", sample[1])]
            labels = dict(re.findall(r'(\w+)="([^"]*)"', sample[2] or ""))
            if family.kind == "histogram" and "le" in labels:
                family.bounds.add(labels.pop("le"))
            family.labels.add(tuple(sorted(labels)))
    return found


def _live(cluster: RealCluster) -> None:
    """A bit of everything that is counted, against a cluster that has just started."""
    for number in range(5):
        cluster.ctl("put", f"key{number}", "value")
    cluster.ctl("get", "key", "--prefix")
    lease = cluster.ctl("lease", "grant", "300").split()[1]
    cluster.ctl("lease", "revoke", lease)
    cluster.ctl("del", "key0")
    cluster.ctl("compaction", "4")
    cluster.ctl("defrag")
    with RawClient(cluster.members[0].url) as client:
        client.snapshot_bytes()
        client.hash_kv()


def _compare(etcd: dict[str, Family], node: dict[str, Family], names: Iterable[str]) -> None:
    for name in sorted(names):
        assert node[name].kind == etcd[name].kind, name
        assert node[name].bounds == etcd[name].bounds, name
        assert node[name].labels == etcd[name].labels, name


def _life(cluster: RealCluster) -> dict[str, Family]:
    _live(cluster)
    return _families([_page(member.url) for member in cluster.members])


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_the_node_counts_what_etcd_counts(real_etcd: MakeCluster, node_cluster: MakeCluster, size: int) -> None:
    """Whatever is missing is in ABSENT, with the reason; and what is there means the same."""
    etcd, node = _life(real_etcd(size=size)), _life(node_cluster(size=size))
    expected = {name for name in etcd if not any(re.fullmatch(pattern, name) for pattern in ABSENT)}
    assert expected - node.keys() == set()
    assert node.keys() - etcd.keys() <= TRAFFIC_ONLY
    _compare(etcd, node, expected)
    assert all(any(re.fullmatch(pattern, name) for name in etcd) for pattern in ABSENT), "ABSENT names what etcd has"


@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_images_between_members_are_counted_at_both_ends(real_etcd: MakeCluster, node_cluster: MakeCluster) -> None:
    """A member that was away for long gets the whole database."""
    flags = ("--snapshot-count=20", "--experimental-snapshot-catchup-entries=5")
    etcd = _families(_send_an_image(real_etcd(size=3, flags=flags)))
    pages = _send_an_image(node_cluster(size=3, flags=flags))
    _compare(
        etcd, _families(pages), [name for name in etcd if name.startswith(("etcd_network_snapshot_", "etcd_snap_"))]
    )
    for family, label in COUNTED_ONCE.items():
        assert any(re.search(rf"^{family}{label} [1-9]", page, re.MULTILINE) for page in pages), family


COUNTED_ONCE = {
    "etcd_network_snapshot_send_success": r'\{To="\w+"\}',
    "etcd_network_snapshot_send_total_duration_seconds_count": r'\{To="\w+"\}',
    "etcd_network_snapshot_receive_success": r'\{From="\w+"\}',
    "etcd_network_snapshot_receive_total_duration_seconds_count": r'\{From="\w+"\}',
    "etcd_snap_db_save_total_duration_seconds_count": "",
    "etcd_snap_db_fsync_duration_seconds_count": "",
    "etcd_snap_fsync_duration_seconds_count": "",
}


def _send_an_image(cluster: RealCluster) -> list[str]:
    with RawClient(cluster.members[0].url) as client:
        leader = client.status().leader
    away = next(member for member in cluster.members if _id(member.url) != leader)
    away.kill()
    others = [member for member in cluster.members if member is not away]
    with RawClient(others[0].url) as client:
        for number in range(100):
            client.put(f"key{number}", "value")
    poll_until(lambda: all(b"compacted Raft logs" in member.log.read_bytes() for member in others), 30.0)
    away.start()
    poll_until(lambda: bool(re.search(r"snapshot_receive_success\S+ [1-9]", _page(away.url))), 30.0)
    return [_page(member.url) for member in cluster.members]


def _id(url: str) -> int:
    with RawClient(url) as client:
        return client.status().header.member_id
