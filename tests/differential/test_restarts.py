"""What is there after SIGKILL and a restart (K, and what others say about it)."""

from __future__ import annotations

import stat

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import executes
from tests.differential.conftest import Start
from tests.differential.requests import delete, get, put
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]

ALARM = (5, pb.NOSPACE)


@executes("P16", "K01", "K02", "K03", "K05", "V06", "V07", "L25", "N10", "M31", "I06", "H04", "K09", "K13", "M15")
def test_everything_survives(fresh: Start) -> None:
    """Keys, revisions, the compaction, leases with their keys, alarms, removed members, IDs, hashes; the initial
    cluster it is started with again says something else by then."""
    server = fresh()
    client, (process,) = server.client, server.cluster.members
    client.grant(600, 7)
    client.put(put(b"leased", lease=7))
    for number in range(5):
        client.put(put(b"k", b"%d" % number))
    last = client.delete(delete(b"k")).header.revision
    client.compact(last)
    gone = client.add_member("http://127.0.0.1:9", learner=True).member.ID
    client.remove_member(gone)
    client.alarm(pb.AlarmRequest.ACTIVATE, *ALARM)
    before = (client.hash_kv().hash, client.members().header.cluster_id, client.status().header.member_id)
    term = client.status().raftTerm
    process.kill()
    process.initial_cluster = f"other=http://127.0.0.1:9,{process.initial_cluster}"
    process.start()
    after = (client.hash_kv().hash, client.members().header.cluster_id, client.status().header.member_id)
    server.check("K02", after, before)
    server.check("V07", client.revision(), last)
    server.check("V07", client.refusal("KV/Range", get(b"k", revision=last - 1)), REFUSALS["E19"])
    found = client.time_to_live(7)
    server.check("L25", (found.grantedTTL, list(found.keys)), (600, [b"leased"]))
    server.check("N10", [(one.memberID, one.alarm) for one in client.alarm().alarms], [ALARM])
    again = client.refusal("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=gone))
    server.check("M31", again, REFUSALS["E25"])
    client.alarm(pb.AlarmRequest.DEACTIVATE, *ALARM)
    server.check("V06", client.put(put(b"k")).header.revision, last + 1)
    server.check("P16", client.range(get(b"leased")).count, 1)
    server.check("K03", client.status().raftTerm > term, True)
    server.check("K13", stat.S_IMODE(process.data_dir.stat().st_mode), 0o700)
