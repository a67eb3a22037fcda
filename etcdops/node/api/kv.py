"""The KV service: Range, Put, DeleteRange, Txn, Compact.

A read waits for ReadIndex unless it is serializable; a write goes through the log as the bytes it came in. Checks come
in etcd's order: quota, the request itself, its size (in the driver), and the rest when it is applied.
Source: etcd server/etcdserver/v3_server.go; api/v3rpc/key.go, quota.go.
"""

from __future__ import annotations

from functools import partial

from etcdops.node.api.answer import Answer, Handler, decode
from etcdops.node.api.checks import check_put, check_range, check_txn
from etcdops.node.api.errors import (
    COMPACTED,
    EMPTY_KEY,
    FUTURE_REVISION,
    NOT_SUPPORTED_FOR_LEARNER,
    RANGE_STREAM_UNIMPLEMENTED,
    EtcdError,
)
from etcdops.node.api.long_ranges import answer_long, is_long
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.api.quota import QuotaGuard
from etcdops.node.apply import txn, wire
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.quota import put_cost, txn_cost
from etcdops.node.apply.ranges import one_key_outcome, range_outcome
from etcdops.node.rpc.service import StreamCall
from etcdops.node.storage.errors import Compacted, FutureRevision
from etcdops.proto import etcdserverpb_pb2 as pb

_SERIALIZABLE = b"\x38\x01"
"""Field 7 of a RangeRequest, set."""


class KVService:
    """Handlers of etcdserverpb.KV."""

    def __init__(self, server: ServerPort, quota: QuotaGuard) -> None:
        self._server = server
        self._quota = quota
        self._propose = server.propose

    def handlers(self) -> dict[str, Handler]:
        return {
            "/etcdserverpb.KV/Range": self.range,
            "/etcdserverpb.KV/Put": self.put,
            "/etcdserverpb.KV/DeleteRange": self.delete_range,
            "/etcdserverpb.KV/Txn": self.txn,
            "/etcdserverpb.KV/Compact": self.compact,
        }

    def range(self, message: bytes, answer: Answer) -> None:
        server = self._server
        size = len(message)
        if 2 < size < 0x82 and message[0] == 0x0A:
            # Most reads are of one key: field 1 fills the message, or all of it but the flag at its end.
            if message[1] == size - 2 and not server.is_learner:
                server.linearize(partial(self._answer_one_key, message[2:], answer))
                return
            if 0 < message[1] == size - 4 and message.endswith(_SERIALIZABLE):
                self._answer_one_key(message[2:-2], answer, None)
                return
        request = decode(pb.RangeRequest, message)
        if server.is_learner and not request.serializable:
            answer.fail(NOT_SUPPORTED_FOR_LEARNER)
        elif (error := check_range(request)) is not None:
            answer.fail(error)
        elif request.serializable:
            self._answer_range(request, answer, None)
        else:
            server.linearize(partial(self._answer_range, request, answer))

    def _answer_one_key(self, key: bytes, answer: Answer, error: EtcdError | None) -> None:
        if error is not None:
            answer.fail(error)
            return
        self._server.metrics.ranges += 1
        answer.outcome(one_key_outcome(self._server.state.mvcc, key))

    def _answer_range(self, request: pb.RangeRequest, answer: Answer, error: EtcdError | None) -> None:
        if error is not None:
            answer.fail(error)
            return
        self._server.metrics.ranges += 1
        if is_long(self._server, request):
            answer_long(self._server, request, answer)
            return
        try:
            outcome = range_outcome(self._server.state.mvcc, request)
        except Compacted:
            answer.fail(COMPACTED)
        except FutureRevision:
            answer.fail(FUTURE_REVISION)
        else:
            answer.outcome(outcome)

    def put(self, message: bytes, answer: Answer) -> None:
        put: wire.PutFields | pb.PutRequest
        try:
            put = wire.scan_put(message)
        except wire.Malformed:
            put = decode(pb.PutRequest, message)
        if not self._quota.allows(put_cost(put.key, put.value), answer):
            return
        error = check_put(put)
        if error is not None:
            answer.fail(error)
        else:
            self._propose(wire.FIELD_PUT, message, answer.outcome)

    def delete_range(self, message: bytes, answer: Answer) -> None:
        if not decode(pb.DeleteRangeRequest, message).key:
            answer.fail(EMPTY_KEY)
        else:
            self._propose(wire.FIELD_DELETE_RANGE, message, answer.outcome)

    def txn(self, message: bytes, answer: Answer) -> None:
        request = decode(pb.TxnRequest, message)
        if not self._quota.allows(txn_cost(request), answer):
            return
        error = check_txn(request, self._server.limits.max_txn_ops)
        if error is not None:
            answer.fail(error)
        elif not txn.is_read_only(request):
            self._propose(wire.FIELD_TXN, message, answer.outcome)
        elif txn.is_serializable(request):
            self._answer_txn(request, answer, None)
        else:
            self._server.linearize(partial(self._answer_txn, request, answer))

    def _answer_txn(self, request: pb.TxnRequest, answer: Answer, error: EtcdError | None) -> None:
        if error is not None:
            answer.fail(error)
            return
        mvcc = self._server.state.mvcc
        branch = txn.decide(mvcc, request)
        error = txn.check(mvcc, branch, self._server.lessor)
        if error is not None:
            answer.fail(error)
        else:
            answer.outcome(Outcome(txn.run(mvcc, None, branch, []), mvcc.revision))

    def compact(self, message: bytes, answer: Answer) -> None:
        request = decode(pb.CompactionRequest, message)
        self._propose(wire.FIELD_COMPACTION, message, partial(self._answer_compact, request.physical, answer))

    def _answer_compact(self, physical: bool, answer: Answer, outcome: Outcome) -> None:
        if outcome.error is not None:
            answer.fail(outcome.error)
        elif physical:
            self._server.applier.compactor.when_done(answer.ok)
        else:
            answer.ok()


def range_stream(call: StreamCall, stats: RpcStats) -> None:
    """etcd 3.7's way to read a large range; a member that speaks as 3.5 does not know it."""
    stats.count_failed(RANGE_STREAM_UNIMPLEMENTED.code)
    call.end(RANGE_STREAM_UNIMPLEMENTED())
