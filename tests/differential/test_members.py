"""Membership (M) and identities (I) of one member with learners that never start: they do not count."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.conftest import Start
from tests.differential.requests import put
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]


@contextmanager
def learner(server: Server, *urls: str) -> Iterator[pb.MemberAddResponse]:
    added = server.client.add_member(*urls, learner=True)
    try:
        yield added
    finally:
        server.client.refusal("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=added.member.ID))


def first_id(data: bytes) -> int:
    return int(struct.unpack(">Q", hashlib.sha1(data).digest()[:8])[0])


@executes("I01", "I03", "I05", "H06", "M26", "M27", "M34")
@pytest.mark.parametrize("linearizable", [True, False])
def test_the_list(server: Server, linearizable: bool) -> None:
    """IDs are hashes of URLs and token; a started member has its name; the header tells no revision."""
    listed = server.client.members(linearizable=linearizable)
    process = server.cluster.members[0]
    (member,) = listed.members
    server.check("I01", member.ID, first_id(f"{process.peer_url}etcd-cluster".encode()))
    server.check("I03", listed.header.cluster_id, first_id(struct.pack(">Q", member.ID)))
    server.check("M34", member.name, process.name)
    server.check("M27", (list(member.peerURLs), list(member.clientURLs)), ([process.peer_url], [process.url]))
    server.check("M26", member.isLearner, False)
    server.check("H06", listed.header.revision, 0)
    _, page = server.client.get("/metrics")
    server.check("I05", f'server_id="{member.ID:x}"' in page, True)


@executes("M02", "M05", "M06", "M14", "M15", "I02", "I06", "E25", "E32", "H06", "M29", "E44")
def test_learners_come_and_go(server: Server, prefix: bytes) -> None:
    """One at a time, under any scheme; never again the same ID. The cluster's ID stays."""
    client, gone = server.client, []
    cluster = client.members().header.cluster_id
    for urls in (["http://a:1"], ["https://b:2", "http://a:1"], ["unix://localhost:9"]):
        with learner(server, *urls) as added:
            member = added.member
            server.check("M06", (member.name, list(member.clientURLs), member.isLearner), ("", [], True))
            server.check("M02", sorted(member.peerURLs), sorted(urls))
            server.check("M06", {one.ID for one in added.members} - {member.ID}, {added.header.member_id})
            server.check("H06", added.header.revision, 0)
            request = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:19"], isLearner=True)
            server.check("M05", client.refusal("Cluster/MemberAdd", request), REFUSALS["E32"])
            move = pb.MoveLeaderRequest(targetID=member.ID)
            server.check("M29", client.refusal("Maintenance/MoveLeader", move), REFUSALS["E44"])
            server.check("M29", client.put(put(prefix)).header.member_id, added.header.member_id)
            server.check("M14", member.ID in {one.ID for one in client.remove_member(member.ID).members}, False)
        again = client.refusal("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=member.ID))
        server.check("M15", again, REFUSALS["E25"])
        gone.append(member.ID)
    server.check("I02", len(set(gone)), 3)
    server.check("I06", client.members().header.cluster_id, cluster)


@executes("M03", "M04", "M20", "E28", "M23", "E31", "M22", "E30", "M11", "E29", "Q01", "M19", "M21", "E09")
def test_what_is_refused(fresh: Start) -> None:
    """URLs in use, promotions of voters and of learners that are behind, and removing the last."""
    server, url = fresh(), "http://127.0.0.1:29"
    client, me = server.client, server.client.members().members[0]
    taken = pb.MemberAddRequest(peerURLs=me.peerURLs, isLearner=True)
    server.check("M03", client.refusal("Cluster/MemberAdd", taken), REFUSALS["E28"])
    promote = pb.MemberPromoteRequest(ID=me.ID)
    server.check("M22", client.refusal("Cluster/MemberPromote", promote), REFUSALS["E30"])
    remove = client.refusal("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=me.ID))
    server.check("M11", remove, REFUSALS["E29"])
    server.check("Q01", remove.partition(":")[0], "UNKNOWN")
    with learner(server, url) as added:
        request = pb.MemberAddRequest(peerURLs=[url], isLearner=True)
        refusal = client.refusal("Cluster/MemberAdd", request)  # the first error within a second, then the other
        server.check("M04", refusal, refusal if refusal == REFUSALS["E27"] else REFUSALS["E28"])
        promote = pb.MemberPromoteRequest(ID=added.member.ID)
        server.check("M23", client.refusal("Cluster/MemberPromote", promote), REFUSALS["E31"])
        update = pb.MemberUpdateRequest(ID=added.member.ID, peerURLs=me.peerURLs)
        server.check("M20", client.refusal("Cluster/MemberUpdate", update), REFUSALS["E28"])
        update = pb.MemberUpdateRequest(ID=added.member.ID, peerURLs=["http://127.0.0.1:19"])
        server.check("M19", client.refusal("Cluster/MemberUpdate", update), "OK")
        changed = next(one for one in client.members().members if one.ID == added.member.ID)
        server.check("M19", list(changed.peerURLs), ["http://127.0.0.1:19"])
        server.check("M19.learner", changed.isLearner, True)
        if changed.isLearner:  # a voter that never starts would be the end of the quorum
            nonsense = pb.MemberUpdateRequest(ID=added.member.ID, peerURLs=["junk"])
            server.check("M21", client.refusal("Cluster/MemberUpdate", nonsense), REFUSALS["E09"])


@executes("I04")
def test_known_ids(fresh: Start) -> None:
    """Of the three members of etcd's manual, as hashes: what servers print is compared in the other tests."""
    ids = sorted(first_id(f"http://127.0.0.1:{n}2380etcd-cluster-1".encode()) for n in (1, 2, 3))
    assert [f"{one:x}" for one in ids] == ["8211f1d0f64f3269", "91bc3c398fb3c146", "fd422379fda50e48"]
    assert f"{first_id(struct.pack('>3Q', *ids)):x}" == "ef37ad9dc622a7c4"
    server = fresh(token="etcd-cluster-1")
    process = server.cluster.members[0]
    expected = first_id(f"{process.peer_url}etcd-cluster-1".encode())
    server.check("I04", server.client.members().members[0].ID, expected)
