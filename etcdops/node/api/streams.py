"""Streams that want a leader: when the member has had none for too long, they end, so that clients go elsewhere.

Source: etcd server/etcdserver/api/v3rpc/interceptor.go, newStreamInterceptor and monitorLeader.
"""

from __future__ import annotations

from collections.abc import Callable

from etcdops.ids import NO_MEMBER
from etcdops.node.api.errors import NO_LEADER
from etcdops.node.api.port import ServerPort
from etcdops.node.rpc.service import Metadata, RpcError, StreamCall

MISSED_CHECKS_MAX = 3
"""Checks in a row, one per election timeout, that must find no leader. Reconnecting streams is dear."""


def requires_leader(metadata: Metadata) -> bool:
    """The call's metadata say `hasleader: true`."""
    return metadata.get("hasleader") == "true"


class OpenStreams:
    """Every open stream that requires a leader, and how to end it."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server
        self._streams: dict[StreamCall, Callable[[RpcError], None]] = {}
        self._missed = 0
        self._checking = False

    def opened(self, call: StreamCall, end: Callable[[RpcError], None]) -> None:
        """A stream has begun; `end(error)` finishes it. Only those that require a leader are remembered."""
        if requires_leader(call.metadata):
            self._streams[call] = end
            self._schedule()

    def closed(self, call: StreamCall) -> None:
        self._streams.pop(call, None)

    def _schedule(self) -> None:
        if not self._checking and self._streams:
            self._checking = True
            self._server.call_later(self._server.limits.election_timeout_s, self._check)

    def _check(self) -> None:
        self._checking = False
        self._missed = self._missed + 1 if self._server.leader == NO_MEMBER else 0
        if self._missed >= MISSED_CHECKS_MAX:
            for end in list(self._streams.values()):
                end(NO_LEADER())
            self._missed = 0
        self._schedule()
