"""What a member's process and its etcdctl tell: CPU, memory, sizes, revision, leader."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.bench.put_load import KEY, PATH, VALUE_BYTES, call
from tests.fakes.http2_client import message
from tests.support.real_etcd import RealCluster, RealMember, poll_until

FILL_TIMEOUT_S = 3600.0
LEADER_TIMEOUT_S = 30.0
OPS_A_TXN = 50
"""Sequential puts in one request when a store is filled: 14 KB, so that they fit into one HTTP/2 frame."""

_TXN = "/etcdserverpb.KV/Txn"
_CTL_TIMEOUT_S = 600.0


def cpu_s(member: RealMember) -> float:
    """User and system time of the process so far."""
    words = Path(f"/proc/{member.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(member: RealMember) -> int:
    """VmRSS: with the pages of files it has mapped, as everybody who looks at it with ps or top sees it."""
    for line in Path(f"/proc/{member.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("a process without memory")


def status(cluster: RealCluster, member: RealMember) -> dict[str, object]:
    """`etcdctl endpoint status` of one member."""
    answers = json.loads(cluster.ctl("endpoint", "status", "--write-out=json", timeout_s=_CTL_TIMEOUT_S))
    found = next(answer["Status"] for answer in answers if answer["Endpoint"] == member.url)
    assert isinstance(found, dict)
    return found


def database_bytes(cluster: RealCluster, member: RealMember) -> int:
    size = status(cluster, member)["dbSize"]
    assert isinstance(size, int)
    return size


def revision(cluster: RealCluster, member: RealMember) -> int:
    header = status(cluster, member)["header"]
    assert isinstance(header, dict)
    return int(header["revision"])


def leader(cluster: RealCluster) -> RealMember:
    """The member that leads, or will within seconds. Raises: AssertionError - nobody does."""
    found: list[RealMember] = []

    def search() -> bool:
        found.extend(member for member in cluster.members if _leads(status(cluster, member)))
        return bool(found)

    poll_until(search, LEADER_TIMEOUT_S, "the members have no leader")
    return found[0]


def _leads(answer: dict[str, object]) -> bool:
    header = answer["header"]
    assert isinstance(header, dict)
    return bool(answer.get("leader") == header["member_id"])


def fill(member: RealMember, first: int, end: int) -> float:
    """Put the bench's keys with numbers in [first, end), many in one transaction. Returns: keys a second."""
    source = os.urandom(VALUE_BYTES)
    one = pb.RequestOp(request_put=pb.PutRequest(key=KEY % 0, value=source)).SerializeToString()
    # A request with one operation starts with the field's tag and the length; the rest repeats.
    template = pb.TxnRequest(success=[pb.RequestOp.FromString(one)]).SerializeToString()
    before, after = template.split(KEY % 0, 1)
    numbers = iter(range(first, end))

    def next_txn() -> bytes:
        return message(b"".join(before + KEY % number + after for number in itertools.islice(numbers, OPS_A_TXN)))

    txns = -(-(end - first) // OPS_A_TXN)
    load = call([member.url], _TXN, next_txn, connections=16, in_flight=2, calls=txns, timeout_s=FILL_TIMEOUT_S)
    return (end - first) / load.took_s


def fill_singly(member: RealMember, first: int, end: int) -> float:
    """The same with one put for each key, by 500 clients. Returns: puts a second."""
    request = pb.PutRequest(key=KEY % 0, value=os.urandom(VALUE_BYTES)).SerializeToString()
    before, after = message(request).split(KEY % 0, 1)
    numbers = iter(range(first, end))
    load = call(
        [member.url],
        PATH,
        lambda: before + KEY % next(numbers) + after,
        connections=50,
        in_flight=10,
        calls=end - first,
        timeout_s=FILL_TIMEOUT_S,
    )
    return load.rate


def start_timed(member: RealMember, timeout_s: float) -> float:
    """Start a member. Returns: seconds until it serves clients."""
    started = time.perf_counter()
    member.start_nowait()
    member.wait_ready(timeout_s)
    return time.perf_counter() - started


def save_snapshot(cluster: RealCluster, path: Path) -> tuple[int, float]:
    """`etcdctl snapshot save` of a cluster of one. Returns: the file's size and the seconds it took."""
    started = time.perf_counter()
    cluster.ctl("snapshot", "save", str(path), timeout_s=_CTL_TIMEOUT_S)
    took_s = time.perf_counter() - started
    size = path.stat().st_size
    path.unlink()
    return size, took_s


def grant_leases(cluster: RealCluster, count: int, ttl_s: int) -> list[int]:
    """IDs of new leases."""
    found = []
    for _ in range(count):
        # "lease 694d... granted with TTL(600s)"
        text = cluster.ctl("lease", "grant", str(ttl_s))
        found.append(int(text.split()[1], 16))
    return found
