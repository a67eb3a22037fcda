"""What other members ask of this one besides raft: the leader's half of lease calls and promotions, and hashes.

Source: etcd server/lease/leasehttp/http.go; etcdhttp/peer.go, peerMemberPromoteHandler; etcdserver/corrupt.go.
"""

from __future__ import annotations

import asyncio
import json

from google.protobuf.message import DecodeError

from etcdops.ids import LeaseID, MemberID
from etcdops.node.api.cluster import ClusterService
from etcdops.node.api.errors import (
    LEARNER_NOT_READY,
    LEASE_NOT_FOUND,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    EtcdError,
)
from etcdops.node.api.lease import LeaseService
from etcdops.node.api.port import ServerPort
from etcdops.node.api.store_errors import store_error
from etcdops.node.member.member import members_json
from etcdops.node.peer.port import Answer, PeerRoutes
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.hash_kv import HashKV
from etcdops.node.storage.reader import StateReader
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import leasepb_pb2 as leasepb

_LEASE_NOT_FOUND_TEXT = b"lease not found"
_BAD_BODY = Answer(400, b"error unmarshalling request")

_PROMOTION_REFUSALS: dict[EtcdError, Answer] = {
    MEMBER_NOT_FOUND: Answer(404, b"membership: ID not found"),
    MEMBER_NOT_LEARNER: Answer(412, b"membership: can only promote a learner member"),
    LEARNER_NOT_READY: Answer(412, LEARNER_NOT_READY.text.encode()),
}
"""Status and text by which the asking member knows the error."""


class PeerQuestions:
    """Answers to the questions of PeerRoutes."""

    def __init__(self, server: ServerPort, leases: LeaseService, cluster: ClusterService) -> None:
        self._server = server
        self._leases = leases
        self._cluster = cluster

    def routes(self) -> PeerRoutes:
        return PeerRoutes(
            leases=self.renew,
            leases_internal=self.time_to_live,
            promote=self.promote,
            hash_kv=self.hash_kv,
            downgrade_enabled=self.downgrade_enabled,
        )

    async def renew(self, body: bytes) -> Answer:
        try:
            lease = LeaseID(pb.LeaseKeepAliveRequest.FromString(body).ID)
        except DecodeError:
            return _BAD_BODY
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(ttl_s: int, error: EtcdError | None) -> None:
            if error is None:
                found = Answer(200, pb.LeaseKeepAliveResponse(ID=lease, TTL=ttl_s).SerializeToString())
            else:
                found = _lease_refusal(error)
            _resolve(answered, found)

        self._leases.local_renew(lease, done)
        return await answered

    async def time_to_live(self, body: bytes) -> Answer:
        try:
            request = leasepb.LeaseInternalRequest.FromString(body).LeaseTimeToLiveRequest
        except DecodeError:
            return _BAD_BODY
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(encoded: bytes, error: EtcdError | None) -> None:
            if error is None:
                response = leasepb.LeaseInternalResponse()
                response.LeaseTimeToLiveResponse.ParseFromString(encoded)
                found = Answer(200, response.SerializeToString())
            else:
                found = _lease_refusal(error)
            _resolve(answered, found)

        self._leases.local_time_to_live(request, done)
        return await answered

    async def promote(self, member: MemberID, authorization: str) -> Answer:
        """`authorization` is the caller's token; without users there is nothing to compare it with."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(error: EtcdError | None) -> None:
            if error is None:
                found = Answer(200, members_json(self._server.members.members()))
            else:
                found = _PROMOTION_REFUSALS.get(error) or Answer(500, error.text.encode())
            _resolve(answered, found)

        if self._server.is_leader:
            self._cluster.local_promote(member, done)
        else:
            return Answer(500, b"etcdserver: not leader")
        return await answered

    async def hash_kv(self, body: bytes) -> Answer:
        try:
            revision = int(json.loads(body).get("revision", 0))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return _BAD_BODY
        state = self._server.state
        found = state.mvcc.stored_hash(revision)
        if found is not None:
            return self._hash_answer(found)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(found: HashKV | None, error: BaseException | None) -> None:
            refusal = Answer(400, store_error(error).text.removeprefix("etcdserver: ").encode())
            _resolve(answered, refusal if found is None else self._hash_answer(found))

        try:
            state.commit()
        except StorageFailed as error:
            return Answer(500, str(error).encode())
        path = state.path

        def work() -> HashKV:
            with StateReader(path) as reader:
                return reader.hash_kv(revision)

        self._server.run_in_background(work, done)
        return await answered

    def _hash_answer(self, found: HashKV) -> Answer:
        header = {
            "cluster_id": self._server.cluster_id,
            "member_id": self._server.member_id,
            "revision": self._server.state.mvcc.revision,
            "raft_term": self._server.term,
        }
        shown = {"header": header, "hash": found.hash, "compact_revision": found.compact_revision}
        return Answer(200, json.dumps(shown, separators=(",", ":")).encode() + b"\n")

    async def downgrade_enabled(self) -> Answer:
        return Answer(200, b"true" if self._server.applier.downgrade_target else b"false")


def _lease_refusal(error: EtcdError) -> Answer:
    return Answer(404, _LEASE_NOT_FOUND_TEXT) if error is LEASE_NOT_FOUND else Answer(400, error.text.encode())


def _resolve(answered: asyncio.Future[Answer], answer: Answer) -> None:
    """The asking member may be gone already."""
    if not answered.done():
        answered.set_result(answer)
