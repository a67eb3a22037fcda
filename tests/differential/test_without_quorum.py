"""A member that has lost its quorum: the other voter was added and never started."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.conftest import start_server
from tests.differential.requests import get, put, txn
from tests.differential.statements import REFUSALS
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow]

HAS_LEADER = [("hasleader", "true")]
KEY = b"written before"


@pytest.fixture(scope="module")
def lonely(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start_server(kind, tmp_path_factory.mktemp(f"{kind}-lonely"))
    started.client.put(put(KEY, b"1"))
    started.client.grant(600, 7)
    started.client.add_member("http://127.0.0.1:9")
    poll_until(lambda: started.client.status().leader == 0, 15, "it still has a leader")
    yield started
    started.close()


@executes("M07", "S04")
def test_a_second_voter_is_added_to_one(lonely: Server) -> None:
    """The only time that fewer than a quorum of the new size have started; then there is no leader."""
    status = lonely.client.status()
    lonely.check("M07", len(lonely.client.members(linearizable=False).members), 2)
    lonely.check("S04", (status.leader, list(status.errors)), (0, ["etcdserver: no leader"]))


@executes("R24", "T25", "L13", "S08", "M26", "C17")
def test_what_needs_no_quorum(lonely: Server) -> None:
    """Serializable reads, lists of leases and members, hashes, snapshots."""
    read = pb.RangeRequest(key=KEY, serializable=True)
    lonely.check("R24", lonely.client.range(read).kvs[0].value, b"1")
    lonely.check("T25", lonely.client.txn(txn(read)).responses[0].response_range.count, 1)
    lonely.check("L13", [lease.ID for lease in lonely.client.leases().leases], [7])
    lonely.check("S08", lonely.client.snapshot()[-1].remaining_bytes, 0)
    lonely.check("C17", lonely.client.hash_kv().header.revision, 2)
    request = pb.MemberListRequest(linearizable=False)
    lonely.check("M26", lonely.client.refusal("Cluster/MemberList", request), "OK")


@executes("X08", "E52")
def test_whoever_asks_for_a_leader_hears_at_once_that_there_is_none(lonely: Server) -> None:
    """Even of what would be answered without."""
    read = pb.RangeRequest(key=KEY, serializable=True)
    refusal = lonely.client.refusal("KV/Range", read, metadata=HAS_LEADER, timeout_s=5)
    lonely.check("X08", refusal, REFUSALS["E52"])


@executes("X09", "W35", "L18", "E52")
@pytest.mark.parametrize("statement", ["W35", "L18"])
def test_streams_that_ask_for_a_leader_end(lonely: Server, statement: str) -> None:
    """At once, or when it has been missing for three election timeouts."""
    client = lonely.client
    with client.watch(HAS_LEADER) if statement == "W35" else client.keep_alive(HAS_LEADER) as stream:
        lonely.check(statement, stream.ending(), REFUSALS["E52"])


@executes("R27", "X15", "E55")
def test_what_needs_a_quorum_times_out(lonely: Server) -> None:
    """Asked at the same time, as each takes the request's time: 5 s and two election timeouts."""
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(lonely.client.refusal, "KV/Range", get(KEY))
        write = pool.submit(lonely.client.refusal, "KV/Put", put(KEY))
        lonely.check("R27", read.result(), REFUSALS["E55"])
        lonely.check("X15", write.result(), REFUSALS["E55"])


@executes("G03")
def test_probes_of_a_member_without_quorum(lonely: Server) -> None:
    """Alive, and well by what it can say alone."""
    lonely.check("G03.serializable", lonely.client.get("/health?serializable=true")[0], 200)
