"""How a handler answers: response headers, and the one call it has to finish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from etcdops.node.api.errors import EtcdError
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.api.undecodable import unreadable_request
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import delimited, number_field
from etcdops.node.rpc.service import Metadata, RpcError, UnaryCall
from etcdops.proto.wire import varint_field

M = TypeVar("M", bound=Message)

_HEADER_TAG = b"\x0a"
_REVISION_TAG = b"\x18"
_CLUSTER_ID, _MEMBER_ID, _RAFT_TERM = 1, 2, 4


class Headers:
    """Encoded ResponseHeader fields, put in front of a response's other fields."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server
        self._identity = varint_field(_CLUSTER_ID, server.cluster_id) + varint_field(_MEMBER_ID, server.member_id)
        self._term = -1
        self._term_field = b""
        self._last = (-1, -1)  # revision and term
        self._last_encoded = b""

    def __call__(self, revision: int = 0) -> bytes:
        """The header with this member's identity and term now; revision 0 is filled with the store's."""
        # Reads between two writes, and all watchers of one change, get the same header.
        server = self._server
        wanted = (revision or server.state.mvcc.revision, server.term)
        if wanted != self._last:
            self._last_encoded = self._encode(number_field(_REVISION_TAG, wanted[0]))
            self._last = wanted
        return self._last_encoded

    def without_revision(self) -> bytes:
        """As membership calls answer."""
        return self._encode(b"")

    def _encode(self, revision_field: bytes) -> bytes:
        term = self._server.term
        if term != self._term:
            self._term = term
            self._term_field = varint_field(_RAFT_TERM, term) if term else b""
        return delimited(_HEADER_TAG, self._identity + revision_field + self._term_field)


class Answer:
    """The answer to one unary call. Exactly one of its methods is called, once; `outcome` is made to be a callback."""

    __slots__ = ("_call", "_headers", "_stats")

    def __init__(self, call: UnaryCall, headers: Headers, stats: RpcStats) -> None:
        self._call = call
        self._headers = headers
        self._stats = stats

    @property
    def metadata(self) -> Metadata:
        return self._call.metadata

    def when_cancelled(self, forget: Callable[[], None]) -> None:
        """Call `forget` when the client gives up before it is answered."""
        self._call.on_cancel = forget

    def outcome(self, outcome: Outcome) -> None:
        """Answer with what applying the request came to."""
        error = outcome.error
        if error is not None:
            self.fail(error)
        else:
            self._stats.ok += 1
            self._call.reply(self._headers(outcome.revision) + outcome.body)

    def ok(self, body: bytes = b"", revision: int = 0) -> None:
        """Answer with the encoded fields of a response after its header."""
        self._stats.ok += 1
        self._call.reply(self._headers(revision) + body)

    def raw(self, message: bytes) -> None:
        """Answer with a whole response: one without a header, or with a header of its own."""
        self._stats.ok += 1
        self._call.reply(message)

    def fail(self, error: EtcdError) -> None:
        self.fail_as(error())

    def fail_as(self, error: RpcError) -> None:
        """Answer with an error that is none of etcd's table."""
        self._stats.count_failed(error.code)
        self._call.fail(error)


Handler = Callable[[bytes, Answer], None]
"""Handles one unary call. Raising RpcError is the same as failing the call with it."""


def decode(message_type: type[M], message: bytes) -> M:
    """Raises: RpcError - the bytes are no such message, and why."""
    try:
        return message_type.FromString(message)
    except DecodeError as error:
        raise unreadable_request(message_type, message) from error
