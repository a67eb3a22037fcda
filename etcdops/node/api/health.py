"""The health service of gRPC: what load balancers and probes ask a server that is up. It says so as long as it is.

`/health` and `/readyz` say more: see `http.py`. The messages have one field each, so they are written by hand.
Source: grpc doc/health-checking.md; grpc-go health/server.go; etcd server/etcdserver/api/v3rpc/grpc.go.
"""

from __future__ import annotations

from etcdops.node.api.answer import Answer, Handler
from etcdops.node.api.errors import MALFORMED_REQUEST, UNKNOWN_HEALTH_SERVICE
from etcdops.node.api.metrics import RpcStats
from etcdops.node.apply import wire
from etcdops.node.rpc.service import StatusCode, StreamCall
from etcdops.proto.wire import varint_field

_SERVICE, _STATUS = 1, 1
_SERVING, _SERVICE_UNKNOWN = 1, 3


def handlers() -> dict[str, Handler]:
    """Of grpc.health.v1.Health, those with one answer."""
    return {"/grpc.health.v1.Health/Check": _check}


def watch(call: StreamCall, stats: RpcStats) -> None:
    """Says the status once; it does not change as long as the stream is open."""

    def on_message(message: bytes) -> None:
        call.on_message = None
        stats.received += 1
        try:
            known = _service_of(message) == b""
        except wire.Malformed:
            stats.count_failed(MALFORMED_REQUEST.code)
            call.end(MALFORMED_REQUEST())
            return
        stats.sent += 1
        call.send(varint_field(_STATUS, _SERVING if known else _SERVICE_UNKNOWN))

    call.on_message = on_message
    call.on_cancel = lambda: stats.count_failed(StatusCode.CANCELED)


def _check(message: bytes, answer: Answer) -> None:
    try:
        service = _service_of(message)
    except wire.Malformed:
        answer.fail(MALFORMED_REQUEST)
        return
    if service:
        answer.fail(UNKNOWN_HEALTH_SERVICE)
    else:
        answer.raw(varint_field(_STATUS, _SERVING))


def _service_of(message: bytes) -> bytes:
    """The service asked about: "" is the server as a whole, the only one etcd knows. Raises: Malformed."""
    named = [value for number, _, value in wire.fields(message) if number == _SERVICE and isinstance(value, bytes)]
    return named[-1] if named else b""
