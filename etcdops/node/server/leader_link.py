"""What only the leader can do, asked over the peer port: renew a lease, tell its time, promote a learner.

The leader's half is node/api/peer_routes.py.
Source: etcd server/etcdserver/v3_server.go (LeaseRenew, LeaseTimeToLive); server/etcdserver/cluster_util.go
(promoteMemberHTTP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

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
from etcdops.node.peer import forward
from etcdops.node.peer.dialer import Dialer
from etcdops.node.peer.forward import ForwardTimeout, Question, ask_leader
from etcdops.node.peer.port import Answer
from etcdops.node.tls.client import ClientTls
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import leasepb_pb2 as leasepb

_NOT_FOUND = 404
_PROMOTION_REFUSALS = {
    "membership: ID not found": MEMBER_NOT_FOUND,
    "membership: can only promote a learner member": MEMBER_NOT_LEARNER,
    LEARNER_NOT_READY.text: LEARNER_NOT_READY,
}

Done = Callable[[EtcdError | None], None]


class Local(ServerPort, Protocol):
    """The member this link belongs to."""

    def leader_peer_urls(self) -> tuple[str, ...]: ...


class LeaderLink:
    """Asks the leader on behalf of this follower, whoever leads by the time of the answer.

    An answer that cannot be read counts as none: every caller hears of its request.
    """

    def __init__(self, server: Local, tls: ClientTls | None = None) -> None:
        self._server = server
        self._tls = tls
        self._dialer: Dialer | None = None

    async def close(self) -> None:
        """Let go of the connections to the leader."""
        if self._dialer is not None:
            await self._dialer.close()

    # A follower asks.

    async def renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        """Renew `lease` at the leader: `done(ttl_seconds, None)` or `done(0, error)`."""
        answer = await self._ask(forward.LEASE_RENEW, pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
        if answer is None:
            done(0, TIMEOUT)
        elif answer.status == _NOT_FOUND:
            done(0, LEASE_NOT_FOUND)
        else:
            try:
                response = pb.LeaseKeepAliveResponse.FromString(answer.body)
            except DecodeError:
                done(0, TIMEOUT)
            else:
                done(response.TTL, None)

    async def time_to_live(self, request: bytes, done: Callable[[bytes, EtcdError | None], None]) -> None:
        """Encoded LeaseTimeToLiveRequest in, LeaseTimeToLiveResponse out."""
        question = leasepb.LeaseInternalRequest(LeaseTimeToLiveRequest=pb.LeaseTimeToLiveRequest.FromString(request))
        answer = await self._ask(forward.LEASE_TIME_TO_LIVE, question.SerializeToString())
        if answer is None:
            done(b"", TIMEOUT)
        elif answer.status == _NOT_FOUND:
            done(b"", LEASE_NOT_FOUND)
        else:
            try:
                response = leasepb.LeaseInternalResponse.FromString(answer.body)
            except DecodeError:
                done(b"", TIMEOUT)
            else:
                done(response.LeaseTimeToLiveResponse.SerializeToString(), None)

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
            done(_PROMOTION_REFUSALS.get(text, MEMBER_NOT_FOUND if answer.status == _NOT_FOUND else LEARNER_NOT_READY))
        else:
            self._server.linearize(done)

    async def _ask(self, question: Question, body: bytes, authorization: str = "") -> Answer | None:
        if self._dialer is None:
            self._dialer = Dialer(self._tls)
        try:
            return await ask_leader(
                self._dialer,
                question,
                body,
                self._server.leader_peer_urls,
                timeout_s=self._server.limits.request_timeout_s,
                authorization=authorization,
            )
        except ForwardTimeout:
            return None
