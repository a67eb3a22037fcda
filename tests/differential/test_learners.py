"""A learner that runs: what it answers, and its promotion."""

from __future__ import annotations

import grpc
import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.client import Client, rendered
from tests.differential.conftest import Start
from tests.differential.requests import get, put
from tests.differential.statements import REFUSALS
from tests.support.ports import free_ports
from tests.support.real_etcd import RealMember, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow]


def join_as_learner(server: Server) -> tuple[RealMember, int]:
    """A second process of the same kind, added and started; and its ID."""
    (first,) = server.cluster.members
    client_port, peer_port = free_ports(2)
    second = RealMember(
        first.binaries, "m2", first.folder, client_port, peer_port, flags=["--initial-cluster-state=existing"]
    )
    added = server.client.add_member(second.peer_url, learner=True)
    second.initial_cluster = f"{first.initial_cluster},m2={second.peer_url}"
    server.cluster.members.append(second)  # ended together with the server
    second.start()
    return second, added.member.ID


def snapshot_refusal(client: Client) -> str:
    """ "OK" where a snapshot is given."""
    try:
        client.snapshot()
    except grpc.RpcError as error:
        return rendered(error)
    return "OK"


@executes("X17", "E46", "R24", "S08", "M29", "M22", "M24", "M34", "M26")
def test_a_learner_answers_little_until_it_is_promoted(fresh: Start) -> None:
    """Status, serializable reads and snapshots; then everything, as a voter."""
    server = fresh()
    server.client.put(put(b"k", b"1"))
    process, member = join_as_learner(server)
    learner = Client(process.url)
    try:
        server.check("X17", learner.status().isLearner, True)
        read = pb.RangeRequest(key=b"k", serializable=True)
        poll_until(lambda: learner.range(read).count == 1, 10, "the learner does not catch up")
        server.check("R24", learner.range(read).kvs[0].value, b"1")
        for path, request in (
            ("KV/Range", get(b"k")),
            ("KV/Put", put(b"k")),
            ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60)),
            ("Maintenance/Alarm", pb.AlarmRequest()),
            ("Auth/UserList", pb.AuthUserListRequest()),
        ):
            server.check("X17", learner.refusal(path, request), REFUSALS["E46"])
        server.check("S08.learner", snapshot_refusal(learner), "OK")
        move = pb.MoveLeaderRequest(targetID=member)
        server.check("M29", server.client.refusal("Maintenance/MoveLeader", move), REFUSALS["E44"])
        promote = pb.MemberPromoteRequest(ID=member)

        def promoted() -> bool:
            return server.client.refusal("Cluster/MemberPromote", promote) == "OK"

        poll_until(promoted, 15, "it is not promoted")
        poll_until(lambda: not learner.status().isLearner, 10, "it does not hear of its promotion")
        server.check("M22", learner.put(put(b"k", b"2")).header.member_id, member)
        server.check("M24", learner.refusal("Cluster/MemberPromote", promote), REFUSALS["E30"])
        names = {one.name for one in learner.members().members}
        server.check("M34", names, {"m1", "m2"})
    finally:
        learner.close()
