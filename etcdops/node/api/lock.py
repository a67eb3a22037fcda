"""The Lock service: mutual exclusion for clients that cannot take a lock by themselves.

Source: etcd server/etcdserver/api/v3lock/lock.go; client/v3/concurrency/mutex.go.
"""

from __future__ import annotations

from etcdops.node.api.answer import Answer, Handler, decode
from etcdops.node.api.errors import SESSION_EXPIRED
from etcdops.node.api.flows import Flow
from etcdops.node.api.own_client import OwnClient
from etcdops.node.api.waiting_line import created_at, key_of, oldest, prefix_of, session_lease, wait_turn
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import v3lockpb_pb2 as lockpb


class LockService:
    """Handlers of v3lockpb.Lock."""

    def __init__(self, client: OwnClient) -> None:
        self._client = client

    def handlers(self) -> dict[str, Handler]:
        return {"/v3lockpb.Lock/Lock": self.lock, "/v3lockpb.Lock/Unlock": self.unlock}

    def lock(self, message: bytes, answer: Answer) -> None:
        flow = Flow(self._lock(decode(lockpb.LockRequest, message), answer), answer.fail_as)
        answer.when_cancelled(flow.cancel)

    def unlock(self, message: bytes, answer: Answer) -> None:
        Flow(self._unlock(decode(lockpb.UnlockRequest, message).key, answer), answer.fail_as)

    async def _lock(self, request: lockpb.LockRequest, answer: Answer) -> None:
        client = self._client
        lease = await session_lease(client, request.lease)
        prefix = prefix_of(request.name)
        key = key_of(prefix, lease)
        found = pb.RequestOp(request_range=oldest(prefix))
        taken = await client.txn(
            pb.TxnRequest(
                compare=[created_at(key, 0)],
                success=[pb.RequestOp(request_put=pb.PutRequest(key=key, lease=lease)), found],
                failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key)), found],
            )
        )
        revision = taken.header.revision
        if not taken.succeeded:
            revision = taken.responses[0].response_range.kvs[0].create_revision
        header = taken.header
        if taken.responses[1].response_range.kvs[0].create_revision != revision:
            header = await self._wait(prefix, key, revision)
        answer.raw(lockpb.LockResponse(header=header, key=key).SerializeToString())

    async def _wait(self, prefix: bytes, key: bytes, revision: int) -> pb.ResponseHeader:
        """Until it is ours. Whoever gives up, or cannot go on, gives the place in line up too."""
        client = self._client
        try:
            await wait_turn(client, prefix, revision)
            own = await client.range(pb.RangeRequest(key=key))
        except BaseException:
            client.forget(client.delete(key))
            raise
        if not own.kvs:
            raise SESSION_EXPIRED()
        return own.header

    async def _unlock(self, key: bytes, answer: Answer) -> None:
        deleted = await self._client.delete(key)
        answer.raw(lockpb.UnlockResponse(header=deleted.header).SerializeToString())
