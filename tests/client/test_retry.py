"""The retry table: every row is used, and no write is repeated unless it certainly did nothing."""

from __future__ import annotations

import grpc
import pytest

from etcdops.client import methods, retry
from etcdops.client.methods import Effect, Method
from etcdops.client.retry import RULES, Action, decide, find_rule
from etcdops.proto import etcdserverpb_pb2 as pb

CODES = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
AMBIGUOUS = ("CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN")

# (code, text, what a read does, what a write does), from etcd's rpctypes/error.go and what gRPC says.
CASES = [
    ("UNAVAILABLE", "failed to connect to all addresses; last error: Connection refused", "retry", "retry"),
    ("UNAVAILABLE", "errors resolving h:2379: Domain name not found", "retry", "retry"),
    ("UNAVAILABLE", "no connection within 2 s", "retry", "retry"),
    ("UNAUTHENTICATED", "etcdserver: invalid auth token", "refresh", "refresh"),
    ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", "refresh", "refresh"),
    ("INVALID_ARGUMENT", "etcdserver: user name is empty", "refresh", "refresh"),
    ("UNKNOWN", "raft proposal dropped", "retry", "retry"),
    ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", "retry", "retry"),
    ("UNKNOWN", "etcdserver: too many requests", "retry", "retry"),
    ("UNAVAILABLE", "etcdserver: rpc not supported for learner", "retry", "retry"),
    ("FAILED_PRECONDITION", "etcdserver: not capable", "retry", "retry"),
    ("UNAVAILABLE", "etcdserver: no leader", "retry", "retry"),
    ("UNAVAILABLE", "etcdserver: unhealthy cluster", "refused", "refused"),
    ("UNAVAILABLE", "etcdserver: leader changed", "retry", "unknown"),
    ("UNAVAILABLE", "etcdserver: request timed out", "retry", "unknown"),
    ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure", "retry", "unknown"),
    ("UNAVAILABLE", "etcdserver: server stopped", "retry", "unknown"),
    ("UNAVAILABLE", "Socket closed", "retry", "unknown"),
    ("UNAVAILABLE", "keepalive watchdog timeout", "retry", "unknown"),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", "retry", "unknown"),
    ("CANCELLED", "context canceled", "retry", "unknown"),
    ("UNKNOWN", "Stream removed", "retry", "unknown"),
    ("INTERNAL", "Received RST_STREAM with error code 2", "retry", "unknown"),
    ("UNKNOWN", "etcdserver: re-configuration failed due to not enough started members", "refused", "refused"),
    ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", "refused", "refused"),
    ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", "refused", "refused"),
    ("PERMISSION_DENIED", "etcdserver: permission denied", "refused", "refused"),
    ("UNKNOWN", "auth: permission denied", "refused", "refused"),
    ("FAILED_PRECONDITION", "etcdserver: not leader", "refused", "refused"),
    ("DATA_LOSS", "etcdserver: corrupt cluster", "refused", "refused"),
    ("UNIMPLEMENTED", "unknown service etcdserverpb.KV", "refused", "refused"),
]


@pytest.mark.parametrize(("code", "text", "read", "write"), CASES)
def test_what_is_done_about_each_failure(code: str, text: str, read: str, write: str) -> None:
    assert decide(Effect.READ, code, text).value == read
    assert decide(Effect.IDEMPOTENT, code, text).value == read
    assert decide(Effect.WRITE, code, text).value == write


def test_every_row_of_the_table_is_used() -> None:
    """A row nothing reaches is hidden by one above it."""
    used = {id(find_rule(code, text)) for code, text, _, _ in CASES}
    assert [rule.why for rule in RULES if id(rule) not in used] == []


@pytest.mark.parametrize("code", CODES)
def test_a_write_with_an_unknown_text_is_never_repeated(code: str) -> None:
    """Whatever a future etcd or a proxy says: ambiguous codes are unknown, the others refusals."""
    expected = Action.UNKNOWN if code in AMBIGUOUS else Action.REFUSED
    assert decide(Effect.WRITE, code, "something new") is expected


def test_every_rpc_of_the_api_has_a_method_with_its_effect() -> None:
    """An RPC without a row could not be retried rightly. `RangeStream` is of no released version."""
    known = {value.path for value in vars(methods).values() if isinstance(value, Method)}
    in_proto = {
        f"/etcdserverpb.{service.name}/{rpc.name}"
        for service in pb.DESCRIPTOR.services_by_name.values()
        for rpc in service.methods
    }
    assert in_proto - known == {"/etcdserverpb.KV/RangeStream"}
    assert known - in_proto == set()


def test_methods_that_change_a_revision_or_membership_are_writes() -> None:
    writes = (methods.PUT, methods.DELETE_RANGE, methods.TXN, methods.COMPACT, methods.LEASE_GRANT)
    changes = (methods.MEMBER_ADD, methods.MEMBER_REMOVE, methods.MEMBER_PROMOTE, methods.MOVE_LEADER)
    assert {method.effect for method in (*writes, *changes)} == {Effect.WRITE}


def test_waiting_grows_and_stays_bounded() -> None:
    waits = [retry.backoff_s(rounds) for rounds in range(1, 40)]
    assert waits[0] == retry.BACKOFF_FIRST_S
    assert waits == sorted(waits)
    assert waits[-1] == retry.BACKOFF_MAX_S
