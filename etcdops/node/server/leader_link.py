"""What only the leader can do, asked over the peer port: renew a lease, tell its time, promote a learner.

Both sides are here: what a follower asks, and what this member answers when it leads.
Source: etcd server/lease/leasehttp/http.go; server/etcdserver/v3_server.go (LeaseRenew, LeaseTimeToLive);
server/etcdserver/api/etcdhttp/peer.go (peerMemberPromoteHandler).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp
from google.protobuf.message import DecodeError

from etcdops.ids import LeaseID, MemberID
from etcdops.node.api.errors import (
    LEARNER_NOT_READY,
    LEASE_NOT_FOUND,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    TIMEOUT,
    EtcdError,
)
from etcdops.node.api.port import ServerPort
from etcdops.node.member.member import members_json
from etcdops.node.peer import forward
from etcdops.node.peer.forward import ForwardTimeout, Question, ask_leader
from etcdops.node.peer.port import Answer, PeerRoutes
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import leasepb_pb2 as leasepb

APPLY_TIMEOUT_S = 1.0
"""How long an answer waits until the leader has applied what was committed. Source: leasehttp, applyTimeout."""

_NOT_FOUND, _TIMED_OUT, _REFUSED, _BAD_REQUEST, _FAILED = 404, 408, 412, 400, 500
_PROMOTE_ERRORS = {error.text: error for error in (MEMBER_NOT_FOUND, MEMBER_NOT_LEARNER, LEARNER_NOT_READY)}

Done = Callable[[EtcdError | None], None]


class Local(ServerPort, Protocol):
    """The member this link belongs to."""

    def leader_peer_urls(self) -> tuple[str, ...]: ...


class LeaderLink:
    """Both ends of the questions between a follower and its leader."""

    def __init__(self, server: Local) -> None:
        self._server = server
        self._session: aiohttp.ClientSession | None = None
        self.promote_here: Callable[[MemberID, Done], None] | None = None
        """Promotes with all checks; set once the Cluster service exists."""

    def routes(self) -> PeerRoutes:
        """What the peer port answers."""
        return PeerRoutes(
            leases=self._answer_renew, leases_internal=self._answer_time_to_live, promote=self._answer_promote
        )

    async def close(self) -> None:
        """Let go of the connections to the leader."""
        if self._session is not None:
            await self._session.close()

    # A follower asks.

    async def renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        """Renew `lease` at the leader: `done(ttl_seconds, None)` or `done(0, error)`."""
        answer = await self._ask(forward.LEASE_RENEW, pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
        if answer is None:
            done(0, TIMEOUT)
        elif answer.status == _NOT_FOUND:
            done(0, LEASE_NOT_FOUND)
        else:
            done(pb.LeaseKeepAliveResponse.FromString(answer.body).TTL, None)

    async def time_to_live(self, request: bytes, done: Callable[[bytes, EtcdError | None], None]) -> None:
        """Encoded LeaseTimeToLiveRequest in, LeaseTimeToLiveResponse out."""
        question = leasepb.LeaseInternalRequest(LeaseTimeToLiveRequest=pb.LeaseTimeToLiveRequest.FromString(request))
        answer = await self._ask(forward.LEASE_TIME_TO_LIVE, question.SerializeToString())
        if answer is None:
            done(b"", TIMEOUT)
        elif answer.status == _NOT_FOUND:
            done(b"", LEASE_NOT_FOUND)
        else:
            response = leasepb.LeaseInternalResponse.FromString(answer.body).LeaseTimeToLiveResponse
            done(response.SerializeToString(), None)

    async def promote(self, member: MemberID, metadata: Mapping[str, str | bytes], done: Done) -> None:
        """Have the leader promote `member`; done when it is in force here too, so that the caller reads its own
        write.
        """
        authorization = str(metadata.get("token") or metadata.get("authorization") or "")
        answer = await self._ask(forward.promote(member), b"", authorization)
        if answer is None:
            done(TIMEOUT)
        elif answer.status != 200:
            text = answer.body.decode("utf-8", "replace").strip()
            done(_PROMOTE_ERRORS.get(text, MEMBER_NOT_FOUND if answer.status == _NOT_FOUND else LEARNER_NOT_READY))
        else:
            self._server.linearize(done)

    async def _ask(self, question: Question, body: bytes, authorization: str = "") -> Answer | None:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            return await ask_leader(
                self._session,
                question,
                body,
                self._server.leader_peer_urls,
                timeout_s=self._server.limits.request_timeout_s,
                authorization=authorization,
            )
        except ForwardTimeout:
            return None

    # The leader answers.

    async def _answer_renew(self, body: bytes) -> Answer:
        try:
            request = pb.LeaseKeepAliveRequest.FromString(body)
        except DecodeError:
            return Answer(_BAD_REQUEST, b"error unmarshalling request")
        if (late := await self._caught_up()) is not None:
            return late
        renewed: asyncio.Future[tuple[int, EtcdError | None]] = asyncio.get_running_loop().create_future()
        self._server.lessor.renew(
            LeaseID(request.ID), lambda ttl_s, error: None if renewed.done() else renewed.set_result((ttl_s, error))
        )
        try:
            async with asyncio.timeout(self._server.limits.request_timeout_s):
                ttl_s, error = await renewed
        except TimeoutError:
            return Answer(_TIMED_OUT, TIMEOUT.text.encode())
        if error is not None:
            return Answer(_NOT_FOUND if error is LEASE_NOT_FOUND else _BAD_REQUEST, error.text.encode())
        return Answer(200, pb.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl_s).SerializeToString())

    async def _answer_time_to_live(self, body: bytes) -> Answer:
        try:
            request = leasepb.LeaseInternalRequest.FromString(body).LeaseTimeToLiveRequest
        except DecodeError:
            return Answer(_BAD_REQUEST, b"error unmarshalling request")
        if (late := await self._caught_up()) is not None:
            return late
        lease = self._server.lessor.get(LeaseID(request.ID))
        if lease is None:
            return Answer(_NOT_FOUND, LEASE_NOT_FOUND.text.encode())
        response = pb.LeaseTimeToLiveResponse(
            header=pb.ResponseHeader(),
            ID=request.ID,
            TTL=int(lease.remaining_s(self._server.clock.monotonic())),
            grantedTTL=lease.ttl_s,
            keys=sorted(lease.keys) if request.keys else (),
        )
        return Answer(200, leasepb.LeaseInternalResponse(LeaseTimeToLiveResponse=response).SerializeToString())

    async def _answer_promote(self, member: MemberID, authorization: str) -> Answer:
        if self.promote_here is None:
            return Answer(_FAILED, b"not serving yet")
        ended: asyncio.Future[EtcdError | None] = asyncio.get_running_loop().create_future()
        self.promote_here(member, lambda error: None if ended.done() else ended.set_result(error))
        error = await ended
        if error is None:
            return Answer(200, members_json(self._server.members.members()))
        if error is MEMBER_NOT_FOUND:
            return Answer(_NOT_FOUND, error.text.encode())
        return Answer(_REFUSED if error.text in _PROMOTE_ERRORS else _FAILED, error.text.encode())

    async def _caught_up(self) -> Answer | None:
        """Wait until this member, if it still leads, has applied all that was committed; an answer when it has not."""
        confirmed: asyncio.Future[EtcdError | None] = asyncio.get_running_loop().create_future()
        self._server.linearize(lambda error: None if confirmed.done() else confirmed.set_result(error))
        try:
            async with asyncio.timeout(APPLY_TIMEOUT_S):
                error = await confirmed
        except TimeoutError:
            return Answer(_TIMED_OUT, b"waiting for node to catch up its applied index has timed out")
        return None if error is None else Answer(_TIMED_OUT, error.text.encode())
