"""Three members of etcd and three of the node, asked the same by their roles: leader, first and second follower.

Requests go to any of the three; members are killed, started, promoted, removed and made leaders meanwhile. Answers are
compared word for word, but for what names a server.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server
from tests.differential.client import Client
from tests.differential.conftest import KINDS, binaries_of, start_server
from tests.differential.spoken import spoken
from tests.differential.stateful_differences import VERSIONS
from tests.node.api.comparing import Target, normalised
from tests.node.api.random_requests import RandomRequests, Request
from tests.support.ports import free_ports
from tests.support.real_etcd import RealMember, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

FLAGS = ("--heartbeat-interval=200", "--election-timeout=2000")
"""Patient enough for six processes on two cores: no election but those that are wanted."""

LEADER, FIRST, SECOND, LEARNER, GONE = 24095, 24096, 24097, 7844, 404
"""Members by role; in requests and in answers."""

_ROLES = (LEADER, FIRST, SECOND)
_STEADY_S = 60.0
_REQUESTS = 150


@dataclass
class Trio:
    """One of the two clusters."""

    server: Server
    targets: dict[int, Target] = field(default_factory=dict)
    ids: dict[int, int] = field(default_factory=dict)
    members: dict[int, RealMember] = field(default_factory=dict)

    def look(self) -> None:
        """Find out who leads; followers keep the order of their names."""
        running = [member for member in self.server.cluster.members if member.process is not None]
        poll_until(lambda: self._leader(running) is not None, _STEADY_S, "the members do not agree on a leader")
        leader = self._leader(running)
        for target in self.targets.values():
            target.close()
        self.targets.clear()
        followers = iter((FIRST, SECOND))
        for member in running:
            with _client(member) as client:
                own = client.status().header.member_id
            role = LEADER if own == leader else next(followers)
            self.targets[role] = Target(member.url.removeprefix("http://"))
            self.ids[role] = own
            self.members[role] = member

    def _leader(self, running: list[RealMember]) -> int | None:
        """Whom all of them follow, if they do."""
        named = set()
        for member in running:
            try:
                with _client(member) as client:
                    named.add(client.status().leader)
                    client.range(pb.RangeRequest(key=b"x"))
            except grpc.RpcError:
                return None
        return named.pop() if len(named) == 1 and 0 not in named else None

    def ask(self, role: int, request: Request) -> str:
        path, message, answer_type = request
        sent = type(message).FromString(message.SerializeToString())
        if path.startswith(("/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/")):
            for name in ("ID", "targetID", "memberID"):
                if hasattr(sent, name):
                    setattr(sent, name, self.ids.get(getattr(sent, name), getattr(sent, name)))
        answer = self.targets[role].answer((path, sent, answer_type))
        if isinstance(answer, str):
            return answer
        if isinstance(answer, pb.MemberAddResponse):
            self.ids[LEARNER] = answer.member.ID
        names = {number: name for name, number in self.ids.items()}
        if hasattr(answer, "members"):
            for member in [*answer.members, *([answer.member] if isinstance(answer, pb.MemberAddResponse) else [])]:
                member.ID = names.get(member.ID, member.ID)
                del member.peerURLs[:], member.clientURLs[:]
                member.name = "named" if member.name else ""
            answer.members.sort(key=lambda member: member.ID)
        if isinstance(answer, pb.StatusResponse):
            answer = pb.StatusResponse(leader=names[answer.leader], isLearner=answer.isLearner, errors=answer.errors)
        return str(normalised(answer))


class _client:  # noqa: N801  # a context manager that reads as a function
    def __init__(self, member: RealMember) -> None:
        self._client = Client(member.url)

    def __enter__(self) -> Client:
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()


class Two:
    """Both clusters."""

    def __init__(self, etcd: Trio, node: Trio) -> None:
        self.both = (etcd, node)
        self.kind = etcd.server.name
        self.compared = 0
        self._said: list[str] = []

    def look(self) -> None:
        for trio in self.both:
            trio.look()

    def ask(self, role: int, name: str, message: Message, *, expect: str | None = None) -> str:
        """Ask the members of that role; they say the same, and what is expected if anything is."""
        answer_type = getattr(pb, type(message).__name__.replace("Request", "Response"))
        return self.say(role, (f"/etcdserverpb.{name}", message, answer_type), expect)

    def say(self, role: int, request: Request, expect: str | None = None) -> str:
        self._said.append(f"to {role}: {spoken(request[0], request[1])}")
        theirs, ours = (trio.ask(role, request) for trio in self.both)
        self.compared += 1
        last = "\n".join(self._said[-20:])
        known = any(known.explains(request[0], theirs, ours) for known in VERSIONS[self.kind])
        assert ours == theirs or known, f"after\n{last}\n--- {self.kind}\n{theirs}\n--- node\n{ours}"
        if expect is not None:
            assert expect in ours, f"after\n{last}\n{ours}"
        return ours

    def each(self, change: Callable[[Trio], None]) -> None:
        for trio in self.both:
            change(trio)


@pytest.fixture(params=[kind for kind in KINDS if kind != "node"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    kind = str(request.param)
    binaries_of(kind)
    trios: list[Trio] = []
    try:
        for name in (kind, "node"):
            trios.append(Trio(start_server(name, tmp_path / name, size=3, flags=FLAGS)))
        made = Two(*trios)
        made.look()
        yield made
    finally:
        for trio in trios:
            for target in trio.targets.values():
                target.close()
            trio.server.close()


def _put(key: bytes, value: bytes = b"", lease: int = 0) -> pb.PutRequest:
    return pb.PutRequest(key=key, value=value, lease=lease, prev_kv=True)


def test_any_member_answers_as_one(two: Two) -> None:
    """Random requests, each to a member drawn anew: what one has acknowledged the others show, if they are asked to."""
    requests = RandomRequests(7)
    draw = random.Random(7)
    for _ in range(_REQUESTS):
        request = requests.next()
        if isinstance(request[1], pb.HashKVRequest):
            continue  # of one member's own store, which may be a moment behind
        _ask_for_the_newest(request[1])
        if isinstance(request[1], pb.CompactionRequest):
            request[1].physical = True
        answer = two.say(draw.choice(_ROLES), request)
        if "  revision: " in answer:
            requests.revision = max(requests.revision, int(answer.partition("  revision: ")[2].split()[0]))
    hashes = pb.HashKVRequest(revision=requests.revision)
    for role in _ROLES:
        two.ask(role, "KV/Range", pb.RangeRequest(key=b"x"))
        two.ask(role, "Maintenance/HashKV", hashes)


def _ask_for_the_newest(request: Message) -> None:
    """Serializable reads may be old, on one side and not on the other."""
    if isinstance(request, pb.RangeRequest):
        request.serializable = False
    elif isinstance(request, pb.TxnRequest):
        for op in [*request.success, *request.failure]:
            if op.HasField("request_txn"):
                _ask_for_the_newest(op.request_txn)
            elif op.HasField("request_range"):
                _ask_for_the_newest(op.request_range)


def test_members_by_role(two: Two) -> None:
    """Leases, learners and leadership asked of those who must ask the leader themselves."""
    for role in _ROLES:
        two.ask(role, "Cluster/MemberList", pb.MemberListRequest(linearizable=True))
        two.ask(role, "Cluster/MemberList", pb.MemberListRequest(linearizable=False))
        two.ask(role, "Maintenance/Status", pb.StatusRequest())
    two.ask(FIRST, "Lease/LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=86_400))
    two.ask(SECOND, "KV/Put", _put(b"leased", lease=7))
    for role in _ROLES:
        two.ask(role, "Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=7, keys=True), expect="leased")
        two.ask(role, "Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=404, keys=True))
        two.ask(role, "Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=404), expect="NOT_FOUND")
    two.ask(SECOND, "Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=7))
    two.ask(FIRST, "KV/Range", pb.RangeRequest(key=b"leased"))
    for role in _ROLES:
        two.ask(role, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=GONE))
        two.ask(role, "Cluster/MemberPromote", pb.MemberPromoteRequest(ID=FIRST))
        two.ask(role, "Cluster/MemberPromote", pb.MemberPromoteRequest(ID=GONE))
        two.ask(role, "Cluster/MemberRemove", pb.MemberRemoveRequest(ID=GONE))
    two.ask(FIRST, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=FIRST), expect="not leader")
    two.ask(LEADER, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=LEADER))
    two.ask(LEADER, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=SECOND))
    two.look()
    two.ask(FIRST, "KV/Put", _put(b"after", b"the move"))
    two.ask(SECOND, "KV/Range", pb.RangeRequest(key=b"after"), expect="the move")


def test_a_learner_becomes_a_voter_through_a_follower(two: Two) -> None:
    """Added, refused while it is not there, promoted once it is; then removed."""
    joining: list[tuple[Trio, RealMember]] = []
    for trio in two.both:
        first = trio.server.cluster.members[0]
        client_port, peer_port = free_ports(2)
        flags = [*FLAGS, "--initial-cluster-state=existing"]
        learner = RealMember(first.binaries, "m4", first.folder, client_port, peer_port, flags=flags)
        learner.initial_cluster = f"{first.initial_cluster},m4={learner.peer_url}"
        joining.append((trio, learner))
    added: dict[str, str] = {}
    for trio, learner in joining:
        add = pb.MemberAddRequest(peerURLs=[learner.peer_url], isLearner=True)

        def joined() -> bool:
            """Members must know each other for five seconds before one may join."""
            answer = trio.ask(FIRST, ("/etcdserverpb.Cluster/MemberAdd", add, pb.MemberAddResponse))  # noqa: B023
            added[trio.server.name] = answer  # noqa: B023
            return "unhealthy" not in answer

        poll_until(joined, 30.0, "the members do not stay connected")
    assert len(set(added.values())) == 1, added
    two.ask(SECOND, "Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:9"], isLearner=True))
    for role in _ROLES:
        two.ask(role, "Cluster/MemberPromote", pb.MemberPromoteRequest(ID=LEARNER), expect="in sync with leader")
        two.ask(role, "Cluster/MemberList", pb.MemberListRequest(linearizable=True))
    two.ask(LEADER, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=LEARNER), expect="bad leader transferee")
    for trio, learner in joining:
        trio.server.cluster.members.append(learner)  # ended together with the others
        learner.start()
        request = ("/etcdserverpb.Cluster/MemberPromote", pb.MemberPromoteRequest(ID=LEARNER), pb.MemberPromoteResponse)
        poll_until(lambda: "in sync" not in trio.ask(FIRST, request), 30.0, "it is not promoted")  # noqa: B023
    two.ask(SECOND, "Cluster/MemberPromote", pb.MemberPromoteRequest(ID=LEARNER), expect="only promote a learner")
    two.ask(FIRST, "Cluster/MemberList", pb.MemberListRequest(linearizable=True))
    two.ask(FIRST, "Cluster/MemberRemove", pb.MemberRemoveRequest(ID=LEARNER))
    two.ask(SECOND, "Cluster/MemberRemove", pb.MemberRemoveRequest(ID=LEARNER), expect="member not found")


def test_members_are_killed_and_come_back(two: Two) -> None:
    """A follower, the leader, then all of them: nothing acknowledged is lost, and all say the same again."""
    for number in range(5):
        two.ask(LEADER, "KV/Put", _put(b"k%d" % number, b"1"))
    two.each(lambda trio: trio.members[FIRST].kill())
    for number in range(5):
        two.ask(SECOND, "KV/Put", _put(b"k%d" % number, b"2"))
    two.ask(LEADER, "KV/Compact", pb.CompactionRequest(revision=5, physical=True))
    two.each(lambda trio: trio.members[FIRST].start())
    two.look()
    _all_alike(two, b"2")
    two.each(lambda trio: trio.members[LEADER].kill())
    two.each(Trio.look)
    for number in range(5):
        two.ask(FIRST, "KV/Put", _put(b"k%d" % number, b"3"))
    for trio in two.both:
        next(member for member in trio.server.cluster.members if member.process is None or _ended(member)).start()
    two.look()
    _all_alike(two, b"3")
    for trio in two.both:
        trio.server.cluster.kill()
        trio.server.cluster.start()
    two.look()
    _all_alike(two, b"3")


def _ended(member: RealMember) -> bool:
    return member.process is not None and member.process.poll() is not None


def _all_alike(two: Two, value: bytes) -> None:
    """Every member, by linearizable reads, then by its own hash."""
    answer = ""
    for role in _ROLES:
        answer = two.ask(role, "KV/Range", pb.RangeRequest(key=b"k", range_end=b"l"), expect=value.decode())
    revision = int(answer.partition("  revision: ")[2].split()[0])
    for role in _ROLES:
        two.ask(role, "Maintenance/HashKV", pb.HashKVRequest(revision=revision))


def test_without_a_quorum(two: Two) -> None:
    """The one that is left serves what it has, to those who ask for no more, and says why to the others."""
    two.ask(LEADER, "KV/Put", _put(b"kept", b"1"))
    for role in _ROLES:
        two.ask(role, "KV/Range", pb.RangeRequest(key=b"kept"), expect="kept")
    for trio in two.both:
        trio.members[LEADER].kill()
        trio.members[SECOND].kill()
    for trio in two.both:
        poll_until(lambda: _leaderless(trio), 30.0, "it still follows")  # noqa: B023
    two.ask(FIRST, "KV/Range", pb.RangeRequest(key=b"kept", serializable=True), expect="kept")
    two.ask(FIRST, "KV/Range", pb.RangeRequest(key=b"kept"), expect="UNAVAILABLE: etcdserver: request timed out")
    two.ask(FIRST, "Cluster/MemberList", pb.MemberListRequest(linearizable=False))
    two.ask(FIRST, "Lease/LeaseLeases", pb.LeaseLeasesRequest())
    two.ask(FIRST, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=FIRST))
    two.ask(FIRST, "Maintenance/HashKV", pb.HashKVRequest())


def _leaderless(trio: Trio) -> bool:
    with _client(trio.members[FIRST]) as client:
        return client.status().leader == 0
