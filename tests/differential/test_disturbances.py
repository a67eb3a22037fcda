"""Members that are killed, stopped and go on, while they are asked (E, K, M, R, C)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.client import Client
from tests.differential.conftest import Start
from tests.differential.requests import get, put
from tests.differential.statements import REFUSALS
from tests.differential.test_learners import join_as_learner
from tests.support.real_etcd import RealMember, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]


class Roles:
    """Who leads a cluster of three, now."""

    def __init__(self, server: Server) -> None:
        self.server = server
        poll_until(self._agreed, 30, "no leader")
        leading = next(number for number, client in enumerate(server.clients) if _leads(client))
        others = [number for number in range(len(server.clients)) if number != leading]
        self.leader, self.first, self.second = (server.clients[number] for number in (leading, *others))
        self.lost = self.leader.status().leader
        self.leading, self.of_first, self.of_second = (server.cluster.members[number] for number in (leading, *others))

    def _agreed(self) -> bool:
        leaders = {client.status().leader for client in self.server.clients}
        return len(leaders) == 1 and 0 not in leaders


def _leads(client: Client) -> bool:
    status = client.status()
    return status.leader == status.header.member_id


def steady(server: Server) -> Roles:
    """All three connected for so long that a change of members is thought safe."""
    roles = Roles(server)
    add = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)
    poll_until(lambda: roles.leader.refusal("Cluster/MemberAdd", add) == "OK", 30, "they do not stay connected")
    (learner,) = (member.ID for member in roles.leader.members().members if member.isLearner)
    roles.leader.remove_member(learner)
    return roles


@executes("E59", "M08", "M09", "M12", "M13")
def test_changes_that_a_dead_member_makes_dangerous_are_refused(fresh: Start) -> None:
    """With one of three dead nobody is added, nobody alive is removed, and the dead one may be."""
    server = fresh(size=3)
    roles = steady(server)
    dead = roles.second.status().header.member_id
    alive = roles.first.status().header.member_id
    roles.of_second.kill()
    for learner, statement in ((False, "M08"), (True, "M09")):
        add = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=learner)
        asked = roles.leader
        poll_until(lambda: asked.refusal("Cluster/MemberAdd", add) != "OK", 10)  # noqa: B023
        server.check(statement, roles.leader.refusal("Cluster/MemberAdd", add), REFUSALS["E59"])
    remove = pb.MemberRemoveRequest(ID=alive)
    server.check("M13", roles.leader.refusal("Cluster/MemberRemove", remove), REFUSALS["E59"])
    server.check("M13", roles.leader.refusal("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=dead)), "OK")
    server.check("M12", len(roles.leader.members().members), 2)


@executes("E27", "M04")
def test_the_same_member_within_one_second_is_the_same(server: Server) -> None:
    """Its ID is made of its URLs and the time in seconds; a moment later only its URLs are there already."""
    add = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)
    said: set[str] = set()
    for _ in range(50):
        while time.time() % 1 > 0.2:
            time.sleep(0.01)  # near the beginning of a second, so that both may be in it
        added = server.client.add_member(*add.peerURLs, learner=True)
        said.add(server.client.refusal("Cluster/MemberAdd", add))
        server.client.remove_member(added.member.ID)
        if REFUSALS["E27"] in said:
            break
        time.sleep(0.9)
    server.check("E27", REFUSALS["E27"] in said, True)
    server.check("M04", said <= {REFUSALS["E27"], REFUSALS["E28"]}, True)


@contextmanager
def paused(member: RealMember) -> Iterator[None]:
    member.pause()
    try:
        yield
    finally:
        member.resume()


@executes("E53", "R26", "E56", "X16", "R28")
def test_a_leader_that_stands_still_is_replaced(fresh: Start) -> None:
    """Reads under way hear of it, writes under way may be lost; and when it goes on it knows nothing old."""
    server = fresh(size=3)
    writes: set[str] = set()
    for attempt in range(4):
        number = b"%d" % attempt
        roles = Roles(server)
        roles.leader.put(put(b"k", number))
        writes |= stand_still(server, roles, number + b"!")
        if REFUSALS["E56"] in writes:
            break  # else the election came too long after the last write that was lost
    server.check("E56", sorted(writes & {REFUSALS["E56"]}), [REFUSALS["E56"]])


def stand_still(server: Server, roles: Roles, newest: bytes) -> set[str]:
    """Stop the leader until there is another. Returns: what became of the writes meanwhile."""
    reads: list[str] = []
    writes: list[str] = []
    threads: list[threading.Thread] = []

    def ask(answers: list[str], path: str, request: pb.RangeRequest | pb.PutRequest) -> None:
        """From now on, as long as it takes."""
        thread = threading.Thread(target=lambda: answers.append(roles.first.refusal(path, request)))
        thread.start()
        threads.append(thread)

    with paused(roles.leading):
        ask(reads, "KV/Range", get(b"k"))
        while not replaced(roles):
            # One of them comes so shortly before the election that it is blamed on the leader before.
            ask(writes, "KV/Put", put(b"lost"))
            time.sleep(0.2)
        poll_until(lambda: roles.first.refusal("KV/Put", put(b"k", newest)) == "OK", 30, "no new leader")
        for thread in threads:
            thread.join()
    server.check("E53", reads, [REFUSALS["E53"]])
    poll_until(lambda: reads_newest(roles.leader, newest), 30, "it does not follow")
    return set(writes)


def replaced(roles: Roles) -> bool:
    """Another member leads, as the first follower sees it."""
    return roles.first.status().leader not in (0, roles.lost)


def reads_newest(client: Client, newest: bytes) -> bool:
    """Whether a read is answered; if it is, then with what was written last."""
    try:
        (found,) = client.range(get(b"k")).kvs
    except grpc.RpcError as refused:
        if refused.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    assert found.value == newest, "R28: a leader of before reads what is old"
    return True


@executes("M30")
def test_a_learner_promoted_while_it_stands_still_counts(fresh: Start) -> None:
    """It was in sync, so it may be promoted; from then on two are needed, and one is not enough."""
    server = fresh()
    server.client.put(put(b"k", b"1"))
    process, member = join_as_learner(server)
    learner = Client(process.url)
    try:
        read = pb.RangeRequest(key=b"k", serializable=True)
        poll_until(lambda: learner.range(read).count == 1, 20, "the learner does not catch up")
        promote = pb.MemberPromoteRequest(ID=member)
        with paused(process):
            poll_until(lambda: server.client.refusal("Cluster/MemberPromote", promote) != REFUSALS["E31"], 20)
            alone = server.client.refusal("KV/Put", put(b"k", b"2"), timeout_s=3.0)
        server.check("M30", alone.partition(":")[0], "DEADLINE_EXCEEDED")
        poll_until(lambda: learner.refusal("KV/Put", put(b"k", b"3")) == "OK", 30, "two do not go on")
        poll_until(lambda: not learner.status().isLearner, 10)
    finally:
        learner.close()


@executes("C09")
def test_a_compaction_survives_a_kill_in_its_middle(fresh: Start) -> None:
    """The hash of everything is of what the compaction leaves, done or not."""
    server = fresh()
    for number in range(60):
        ops = [pb.RequestOp(request_put=put(b"k%03d" % key, b"%d" % number)) for key in range(100)]
        server.client.txn(pb.TxnRequest(success=ops))
    revision = server.client.revision()
    server.client.compact(revision - 1, physical=False)
    before = server.client.hash_kv(revision)
    member = server.cluster.members[0]
    member.kill()
    member.start()
    poll_until(lambda: server.client.refusal("KV/Range", get(b"k")) == "OK", 20, "it does not serve")
    after = server.client.hash_kv(revision)
    server.check("C09", (after.hash, after.compact_revision), (before.hash, revision - 1))
    server.check("C09", server.client.refusal("KV/Range", get(b"k000", revision=revision - 2)), REFUSALS["E19"])
