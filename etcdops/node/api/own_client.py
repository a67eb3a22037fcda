"""The member as a client of itself: what the lock and election services ask of the others.

etcd serves locks and elections with its own client library on top of its own API; so every check, quota and header is
that of the call a client would have made. Errors come out without their codes, as from etcd, because a client's error
is no status of the server's.
Source: etcd server/etcdserver/api/v3client/v3client.go; client/v3/concurrency.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message

from etcdops.ids import Revision
from etcdops.node.api.answer import Answer, Handler, Headers
from etcdops.node.api.errors import COMPACTED
from etcdops.node.api.flows import Done, Failed, GiveUp, Step
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.rpc.service import Metadata, RpcError, StatusCode
from etcdops.node.storage.reading import Event
from etcdops.node.watch.watcher import Watcher
from etcdops.proto import etcdserverpb_pb2 as pb

M = TypeVar("M", bound=Message)

SESSION_TTL_S = 60
"""Of a lease made for a caller who has none. Source: etcd client/v3/concurrency/session.go, defaultSessionTTL."""


class OwnClient:
    """Calls as steps of a flow."""

    def __init__(self, server: ServerPort, headers: Headers, handlers: Mapping[str, Handler]) -> None:
        self._server = server
        self._headers = headers
        self._handlers = handlers

    def txn(self, request: pb.TxnRequest) -> Step[pb.TxnResponse]:
        return self._call("/etcdserverpb.KV/Txn", request, pb.TxnResponse)

    def range(self, request: pb.RangeRequest) -> Step[pb.RangeResponse]:
        return self._call("/etcdserverpb.KV/Range", request, pb.RangeResponse)

    def delete(self, key: bytes) -> Step[pb.DeleteRangeResponse]:
        return self._call("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest(key=key), pb.DeleteRangeResponse)

    def grant(self) -> Step[pb.LeaseGrantResponse]:
        request = pb.LeaseGrantRequest(TTL=SESSION_TTL_S)
        return self._call("/etcdserverpb.Lease/LeaseGrant", request, pb.LeaseGrantResponse)

    def forget(self, step: Step[Message]) -> None:
        """Ask without waiting: for what has to be tidied up when nobody is there any more to be told."""
        step.start(lambda _: None, lambda _: None)

    def follow(self, key: bytes, end: bytes, since: int) -> Following:
        """The changes of a key or range from a revision on."""
        return Following(self._server, key, end, Revision(since))

    def header(self, revision: int) -> pb.ResponseHeader:
        """Of a message of one's own."""
        return pb.DeleteRangeResponse.FromString(self._headers(revision)).header

    def _call(self, path: str, request: Message, answer_type: type[M]) -> Step[M]:
        return Step(partial(self._start, path, request, answer_type))

    def _start(self, path: str, request: Message, answer_type: type[M], done: Done[M], failed: Failed) -> GiveUp:
        call = _OwnCall(lambda answer: done(answer_type.FromString(answer)), failed)
        try:
            self._handlers[path](request.SerializeToString(), Answer(call, self._headers, RpcStats("unary")))
        except RpcError as error:
            call.fail(error)
        return _let_go


def _let_go() -> None:
    """What was asked of the member is done all the same; its answer finds nobody."""


class _OwnCall:
    """Implements UnaryCall."""

    def __init__(self, replied: Callable[[bytes], None], failed: Failed) -> None:
        self._replied = replied
        self._failed = failed
        self.metadata: Metadata = {}
        self.peer = ""
        self.cancelled = False
        self.deadline: float | None = None
        self.on_cancel: Callable[[], None] | None = None

    def reply(self, message: bytes) -> None:
        self._replied(message)

    def fail(self, error: RpcError) -> None:
        self._failed(RpcError(StatusCode.UNKNOWN, error.message))


class Following:
    """Events of a watcher of one's own, one after the other: `await following.next()`. Close it when done.

    Nothing piles up: while events wait to be taken the hub keeps its watcher's place in the store.
    """

    def __init__(self, server: ServerPort, key: bytes, end: bytes, since: Revision) -> None:
        self._hub = server.hub
        self._call_soon = server.call_soon
        self._events: deque[tuple[Revision, Event]] = deque()
        self._waiting: tuple[Done[tuple[Revision, Event]], Failed] | None = None
        self._compacted = False
        self._watcher = Watcher(self, 0, key, end)
        self._hub.add(self._watcher, since)

    def next(self) -> Step[tuple[Revision, Event]]:
        """The next change, and the revision up to which all were told. Raises: RpcError - its history is gone."""
        return Step(self._wait)

    def close(self) -> None:
        self._waiting = None
        self._events.clear()
        self._hub.remove(self._watcher)

    def _wait(self, done: Done[tuple[Revision, Event]], failed: Failed) -> GiveUp:
        self._waiting = done, failed
        # In a turn of its own, like everything that comes from the hub: a flow must not run inside of a delivery.
        if self._events or self._compacted:
            self._call_soon(self._hand_on)
        return self.close

    def _hand_on(self) -> None:
        if self._waiting is None or not (self._events or self._compacted):
            return
        (done, failed), self._waiting = self._waiting, None
        if self._events:
            found = self._events.popleft()
            if not self._events:
                self._hub.stream_writable()
            done(found)
        else:
            failed(COMPACTED())

    # WatchStream

    @property
    def writable(self) -> bool:
        return not self._events

    def deliver(self, watcher: Watcher, revision: Revision, events: Sequence[Event]) -> None:
        self._events.extend((revision, event) for event in events)
        self._call_soon(self._hand_on)

    def compacted(self, watcher: Watcher, compact_revision: Revision) -> None:
        self._compacted = True
        self._call_soon(self._hand_on)
