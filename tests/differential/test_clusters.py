"""Three members: what followers do, and moving the leadership."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.client import Client
from tests.differential.conftest import start_server
from tests.differential.requests import end_of, get, put
from tests.differential.statements import REFUSALS
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow]


@dataclass(frozen=True)
class Three:
    """A cluster of three by the roles of its members."""

    server: Server

    @property
    def leader(self) -> Client:
        return next(client for client in self.server.clients if _leads(client))

    @property
    def follower(self) -> Client:
        return next(client for client in self.server.clients if not _leads(client))


def _leads(client: Client) -> bool:
    status = client.status()
    return status.leader == status.header.member_id


@pytest.fixture(scope="module")
def three(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    started = start_server(kind, tmp_path_factory.mktemp(f"{kind}-three"), size=3)
    yield Three(started)
    started.close()


@executes("H01", "I03", "M27", "C23")
def test_members_agree(three: Three, prefix: bytes) -> None:
    """On the cluster, its members and the content, each under its own name."""
    server = three.server
    for number, client in enumerate(server.clients):
        client.put(put(prefix + b"%d" % number))
    lists = [client.members() for client in server.clients]
    ids = sorted(member.ID for member in lists[0].members)
    server.check("H01", sorted(listed.header.member_id for listed in lists), ids)
    cluster = struct.unpack(">Q", hashlib.sha1(struct.pack(">3Q", *ids)).digest()[:8])[0]
    server.check("I03", {listed.header.cluster_id for listed in lists}, {cluster})
    server.check("M27", {len(listed.members) for listed in lists}, {3})
    revision = max(client.revision() for client in server.clients)
    server.check("C23", len({client.hash_kv(revision).hash for client in server.clients}), 1)


@executes("R25", "W38", "W19")
def test_followers_read_what_was_just_written(three: Three, prefix: bytes) -> None:
    """Linearizable reads on a follower see every write acknowledged by the leader; its watch sees each once."""
    with three.follower.watch() as watch:
        create = pb.WatchCreateRequest(key=prefix, range_end=end_of(prefix))
        watch.ask(pb.WatchRequest(create_request=create))
        revisions = []
        for number in range(10):
            revisions.append(three.leader.put(put(prefix + b"k", b"%d" % number)).header.revision)
            three.server.check("R25", three.follower.range(get(prefix + b"k")).kvs[0].value, b"%d" % number)
        seen: list[int] = []
        while len(seen) < len(revisions):
            seen += [event.kv.mod_revision for event in watch.next().events]
    three.server.check("W38", seen, revisions)


@executes("L12", "L16", "L11")
def test_leases_on_followers(three: Three, prefix: bytes) -> None:
    """What only the leader knows is asked there."""
    lease = three.follower.grant(600).ID
    three.leader.put(put(prefix, lease=lease))
    found = three.follower.time_to_live(lease)
    three.server.check("L12", (found.grantedTTL, found.TTL > 590, list(found.keys)), (600, True, [prefix]))
    with three.follower.keep_alive() as stream:
        three.server.check("L16", stream.ask(pb.LeaseKeepAliveRequest(ID=lease)).TTL, 600)
        three.server.check("L16", stream.ask(pb.LeaseKeepAliveRequest(ID=404)).TTL, 0)


@executes("S11", "S12", "S13", "S14", "E43", "E44", "H07", "V06")
def test_moving_the_leadership(three: Three, prefix: bytes) -> None:
    """Only the leader gives it away, to a member; what was written stays, and the revision goes on."""
    server, leader, target = three.server, three.leader, three.follower
    revision = leader.put(put(prefix)).header.revision
    member = target.status().header.member_id
    move = pb.MoveLeaderRequest(targetID=member)
    server.check("S11", target.refusal("Maintenance/MoveLeader", move), REFUSALS["E43"])
    unknown = pb.MoveLeaderRequest(targetID=404)
    server.check("S12", leader.refusal("Maintenance/MoveLeader", unknown), REFUSALS["E44"])
    own = pb.MoveLeaderRequest(targetID=leader.status().header.member_id)
    server.check("S13", leader.refusal("Maintenance/MoveLeader", own), "OK")
    server.check("S14", leader.refusal("Maintenance/MoveLeader", move), "OK")
    poll_until(lambda: {client.status().leader for client in server.clients} == {member}, 10)
    server.check("V06", target.put(put(prefix)).header.revision, revision + 1)


@executes("M24", "E30")
def test_membership_on_followers(three: Three) -> None:
    """Promotions are forwarded to the leader, with its answer."""
    voter = three.leader.status().header.member_id
    refusal = three.follower.refusal("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=voter))
    three.server.check("M24", refusal, REFUSALS["E30"])
