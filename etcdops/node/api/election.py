"""The Election service: one leader among clients, its word to all, for clients that cannot elect by themselves.

Source: etcd server/etcdserver/api/v3election/election.go; client/v3/concurrency/election.go.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError

from etcdops.node.api.answer import Answer, Handler, decode
from etcdops.node.api.errors import ELECTION_NO_LEADER, ELECTION_NOT_LEADER, LEADER_KEY_MISSING
from etcdops.node.api.flows import Flow, GiveUp, Step
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.own_client import OwnClient
from etcdops.node.api.undecodable import unreadable_message
from etcdops.node.api.waiting_line import created_at, end_of, key_of, oldest, prefix_of, session_lease, wait_turn
from etcdops.node.rpc.service import RpcError, StatusCode, StreamCall
from etcdops.node.storage.reading import EventType
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from etcdops.proto import v3electionpb_pb2 as electionpb


class ElectionService:
    """Handlers of v3electionpb.Election."""

    def __init__(self, client: OwnClient) -> None:
        self._client = client

    def handlers(self) -> dict[str, Handler]:
        return {
            "/v3electionpb.Election/Campaign": self.campaign,
            "/v3electionpb.Election/Proclaim": self.proclaim,
            "/v3electionpb.Election/Leader": self.leader,
            "/v3electionpb.Election/Resign": self.resign,
        }

    def campaign(self, message: bytes, answer: Answer) -> None:
        flow = Flow(self._campaign(decode(electionpb.CampaignRequest, message), answer), answer.fail_as)
        answer.when_cancelled(flow.cancel)

    def proclaim(self, message: bytes, answer: Answer) -> None:
        request = decode(electionpb.ProclaimRequest, message)
        if not request.HasField("leader"):
            answer.fail(LEADER_KEY_MISSING)
        else:
            Flow(self._proclaim(request, answer), answer.fail_as)

    def leader(self, message: bytes, answer: Answer) -> None:
        Flow(self._leader(decode(electionpb.LeaderRequest, message).name, answer), answer.fail_as)

    def resign(self, message: bytes, answer: Answer) -> None:
        request = decode(electionpb.ResignRequest, message)
        if not request.HasField("leader"):
            answer.fail(LEADER_KEY_MISSING)
        else:
            Flow(self._resign(request.leader, answer), answer.fail_as)

    def observe(self, call: StreamCall, stats: RpcStats) -> None:
        _Observation(self._client, call, stats)

    async def _campaign(self, request: electionpb.CampaignRequest, answer: Answer) -> None:
        client = self._client
        lease = await session_lease(client, request.lease)
        prefix = prefix_of(request.name)
        key = key_of(prefix, lease)
        entered = await client.txn(
            pb.TxnRequest(
                compare=[created_at(key, 0)],
                success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=request.value, lease=lease))],
                failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
            )
        )
        leader = electionpb.LeaderKey(name=request.name, key=key, rev=entered.header.revision, lease=lease)
        try:
            if not entered.succeeded:
                own = entered.responses[0].response_range.kvs[0]
                leader.rev = own.create_revision
                if own.value != request.value:
                    await self._say(leader, request.value, lease)
            await wait_turn(client, prefix, leader.rev)
        except BaseException:
            client.forget(client.txn(_leaving(leader)))
            raise
        answer.raw(electionpb.CampaignResponse(header=entered.header, leader=leader).SerializeToString())

    async def _proclaim(self, request: electionpb.ProclaimRequest, answer: Answer) -> None:
        lease = await session_lease(self._client, request.leader.lease)
        header = await self._say(request.leader, request.value, lease)
        answer.raw(electionpb.ProclaimResponse(header=header).SerializeToString())

    async def _say(self, leader: electionpb.LeaderKey, value: bytes, lease: int) -> pb.ResponseHeader:
        put = pb.PutRequest(key=leader.key, value=value, lease=lease)
        said = await self._client.txn(
            pb.TxnRequest(compare=[created_at(leader.key, leader.rev)], success=[pb.RequestOp(request_put=put)])
        )
        if not said.succeeded:
            raise ELECTION_NOT_LEADER()
        return said.header

    async def _leader(self, name: bytes, answer: Answer) -> None:
        found = await self._client.range(oldest(prefix_of(name)))
        if not found.kvs:
            raise ELECTION_NO_LEADER()
        answer.raw(electionpb.LeaderResponse(header=found.header, kv=found.kvs[0]).SerializeToString())

    async def _resign(self, leader: electionpb.LeaderKey, answer: Answer) -> None:
        await session_lease(self._client, leader.lease)
        left = await self._client.txn(_leaving(leader))
        answer.raw(electionpb.ResignResponse(header=left.header).SerializeToString())


def _leaving(leader: electionpb.LeaderKey) -> pb.TxnRequest:
    """Whoever's key is another's by now has left already."""
    delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=leader.key))
    return pb.TxnRequest(compare=[created_at(leader.key, leader.rev)], success=[delete])


class _Observation:
    """One Observe stream: the leader of now, every value it says, then the next leader."""

    def __init__(self, client: OwnClient, call: StreamCall, stats: RpcStats) -> None:
        self._client = client
        self._call = call
        self._stats = stats
        self._flow: Flow | None = None
        self._resume: Callable[[None], None] | None = None
        call.on_message = self._on_request
        call.on_cancel = self._on_cancel
        call.on_writable = self._on_writable

    def _on_request(self, message: bytes) -> None:
        self._call.on_message = None
        self._stats.received += 1
        try:
            name = electionpb.LeaderRequest.FromString(message).name
        except DecodeError:
            self._end(unreadable_message(electionpb.LeaderRequest, message))
            return
        self._flow = Flow(self._observe(prefix_of(name)), self._end)

    async def _observe(self, prefix: bytes) -> None:
        while True:
            found = await self._client.range(oldest(prefix))
            if found.kvs:
                leader, revision = found.kvs[0], found.header.revision
            else:
                leader, revision = await self._first_of(prefix, found.header.revision)
            await self._tell(leader, revision)
            await self._tell_until_gone(leader.key, revision + 1)

    async def _first_of(self, prefix: bytes, revision: int) -> tuple[mvccpb.KeyValue, int]:
        """The next key that is put, while there is none."""
        following = self._client.follow(prefix, end_of(prefix), revision + 1)
        try:
            while True:
                _, event = await following.next()
                if event.type is EventType.PUT:
                    return mvccpb.KeyValue.FromString(event.kv), event.revision
        finally:
            following.close()

    async def _tell_until_gone(self, key: bytes, revision: int) -> None:
        following = self._client.follow(key, b"", revision)
        try:
            while True:
                told, event = await following.next()
                if event.type is EventType.DELETE:
                    return
                await self._tell(mvccpb.KeyValue.FromString(event.kv), told)
        finally:
            following.close()

    async def _tell(self, leader: mvccpb.KeyValue, revision: int) -> None:
        self._stats.sent += 1
        message = electionpb.LeaderResponse(header=self._client.header(revision), kv=leader)
        if not self._call.send(message.SerializeToString()):
            await Step(self._wait_writable)

    def _wait_writable(self, done: Callable[[None], None], failed: Callable[[RpcError], None]) -> GiveUp:
        self._resume = done
        return self._forget_waiting

    def _forget_waiting(self) -> None:
        self._resume = None

    def _on_writable(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            resume(None)

    def _end(self, error: RpcError) -> None:
        self._stats.count_failed(error.code)
        self._call.end(error)

    def _on_cancel(self) -> None:
        self._stats.count_failed(StatusCode.CANCELED)
        if self._flow is not None:
            self._flow.cancel()
