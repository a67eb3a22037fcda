"""What a follower asks the leader over the peer port, and what its clients hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from etcdops.ids import LeaseID, MemberID
from etcdops.node.api.errors import (
    LEARNER_NOT_READY,
    LEASE_NOT_FOUND,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    TIMEOUT,
    EtcdError,
)
from etcdops.node.api.port import Limits
from etcdops.node.peer.port import Answer, PeerRoutes
from etcdops.node.server.leader_link import LeaderLink, Local
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import leasepb_pb2 as leasepb
from tests.node.peer.support import ALICE, running

_TIMEOUT_S = 0.3


class _Follower:
    """As much of a member as its link looks at."""

    def __init__(self, leader_url: str) -> None:
        self.limits = Limits(request_timeout_s=_TIMEOUT_S)
        self.urls: tuple[str, ...] = (leader_url,)
        self.linearized = 0

    def leader_peer_urls(self) -> tuple[str, ...]:
        return self.urls

    def linearize(self, done: Callable[[EtcdError | None], None]) -> None:
        self.linearized += 1
        done(None)


class _Leader:
    """Answers with what the test puts in; keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = Answer(200, b"")
        self.asked: list[object] = []

    async def leases(self, body: bytes) -> Answer:
        self.asked.append(body)
        return self.answer

    async def promote(self, member: MemberID, authorization: str) -> Answer:
        self.asked.append((member, authorization))
        return self.answer


class _Rig:
    def __init__(self, leader: _Leader, follower: _Follower) -> None:
        self.leader = leader
        self.follower = follower
        self.link = LeaderLink(cast(Local, follower))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[_Rig]:
    leader = _Leader()
    routes = PeerRoutes(leases=leader.leases, leases_internal=leader.leases, promote=leader.promote)
    async with running(tmp_path, ALICE, routes=routes) as node:
        made = _Rig(leader, _Follower(node.url))
        yield made
        await made.link.close()


async def _one(
    ask: Callable[[Callable[[object, EtcdError | None], None]], Awaitable[None]],
) -> tuple[object, EtcdError | None]:
    """The only answer of a question."""
    answers: list[tuple[object, EtcdError | None]] = []
    await ask(lambda value, error: answers.append((value, error)))
    (answer,) = answers
    return answer


async def test_a_renewal_brings_the_ttl_that_the_leader_gave(rig: _Rig) -> None:
    """Asked with the lease's ID."""
    rig.leader.answer = Answer(200, pb.LeaseKeepAliveResponse(ID=7, TTL=33).SerializeToString())
    assert await _one(lambda done: rig.link.renew(LeaseID(7), done)) == (33, None)
    assert rig.leader.asked == [pb.LeaseKeepAliveRequest(ID=7).SerializeToString()]


async def test_a_time_to_live_is_the_leaders(rig: _Rig) -> None:
    """Packed into the internal messages of the peer port, and out of them again."""
    response = pb.LeaseTimeToLiveResponse(ID=7, TTL=20, grantedTTL=30, keys=[b"k"])
    rig.leader.answer = Answer(200, leasepb.LeaseInternalResponse(LeaseTimeToLiveResponse=response).SerializeToString())
    request = pb.LeaseTimeToLiveRequest(ID=7, keys=True)
    found = await _one(lambda done: rig.link.time_to_live(request.SerializeToString(), done))
    assert found == (response.SerializeToString(), None)
    (asked,) = rig.leader.asked
    assert isinstance(asked, bytes)
    assert leasepb.LeaseInternalRequest.FromString(asked).LeaseTimeToLiveRequest == request


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, b"lease not found"), LEASE_NOT_FOUND),
        (Answer(200, b"\xff\xff\xff"), TIMEOUT),
        (Answer(503, b"not now"), TIMEOUT),
    ],
    ids=["no-such-lease", "unreadable", "never-final"],
)
async def test_every_question_about_a_lease_is_answered(rig: _Rig, answer: Answer, error: EtcdError) -> None:
    """Within the request's time, whatever the leader says."""
    rig.leader.answer = answer
    assert await _one(lambda done: rig.link.renew(LeaseID(7), done)) == (0, error)
    request = pb.LeaseTimeToLiveRequest(ID=7).SerializeToString()
    assert await _one(lambda done: rig.link.time_to_live(request, done)) == (b"", error)


async def test_without_a_leader_the_time_runs_out(rig: _Rig) -> None:
    """Nobody is asked."""
    rig.follower.urls = ()
    assert await _one(lambda done: rig.link.renew(LeaseID(7), done)) == (0, TIMEOUT)
    assert rig.leader.asked == []


async def test_a_promotion_is_answered_once_it_is_in_force_here(rig: _Rig) -> None:
    """The caller's token goes with it; then the follower catches up."""
    rig.leader.answer = Answer(200, b"[]")
    answers: list[EtcdError | None] = []
    await rig.link.promote(MemberID(7), {"token": "abc"}, answers.append)
    assert (answers, rig.follower.linearized) == ([None], 1)
    assert rig.leader.asked == [(7, "abc")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, b"membership: ID not found"), MEMBER_NOT_FOUND),
        (Answer(412, b"membership: can only promote a learner member"), MEMBER_NOT_LEARNER),
        (Answer(412, LEARNER_NOT_READY.text.encode()), LEARNER_NOT_READY),
        (Answer(412, b"anything else"), LEARNER_NOT_READY),
        (Answer(500, b"later"), TIMEOUT),
    ],
)
async def test_a_refused_promotion_keeps_its_reason(rig: _Rig, answer: Answer, error: EtcdError) -> None:
    """The client hears what it would have heard from the leader."""
    rig.leader.answer = answer
    answers: list[EtcdError | None] = []
    await rig.link.promote(MemberID(7), {}, answers.append)
    assert (answers, rig.follower.linearized) == ([error], 0)
