"""The two kinds of call as handlers see them; `server_connection.py` drives them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

from etcdops.node.rpc.http2 import Headers
from etcdops.node.rpc.messages import MessageReader
from etcdops.node.rpc.request_head import RequestHead
from etcdops.node.rpc.service import Metadata, RpcError, StatusCode, Stream, Unary
from etcdops.node.zap_log import fields

if TYPE_CHECKING:
    from etcdops.node.rpc.server_connection import ServerConnection

_P = ParamSpec("_P")

_logger = logging.getLogger(__name__)

DEADLINE_EXCEEDED = RpcError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
"""Source: etcd-semantics Q03; Go's context.DeadlineExceeded."""


class ServerCall:
    """What both kinds share: where the call belongs, how it ended, and the bytes that arrive for it."""

    __slots__ = (
        "_bucket",
        "_connection",
        "_finished",
        "_head",
        "_reader",
        "cancelled",
        "client_ended",
        "deadline",
        "on_cancel",
        "stream_id",
    )

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead) -> None:
        self._connection = connection
        self._head = head
        self._reader = MessageReader(connection.limits.receive_bytes_max, head.encoding)
        self._finished = False  # the server has said its last word
        self._bucket = 0
        self.stream_id = stream_id
        self.cancelled = False
        self.client_ended = False
        self.deadline: float | None = None
        self.on_cancel: Callable[[], None] | None = None

    @property
    def metadata(self) -> Metadata:
        return self._head.metadata

    @property
    def peer(self) -> str:
        return self._connection.peer

    @property
    def path(self) -> str:
        """The method, for logs."""
        return self._head.path

    @property
    def answer_head(self) -> Headers:
        """How the answer begins."""
        return self._head.answer

    @property
    def finished(self) -> bool:
        """Whether no answer is taken any more."""
        return self._finished

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for an unfinished message."""
        return self._reader.buffered_bytes

    def set_deadline(self, now: float, timeout_s: float) -> None:
        """End the call `timeout_s` from now."""
        self.deadline = now + timeout_s
        self._bucket = self._connection.deadlines.add(self.deadline, self)

    def feed(self, data: bytes) -> bool:
        """Bytes from the client. Returns: whether the client may send as many more at once."""
        raise NotImplementedError

    def half_close(self) -> None:
        """The client has sent everything."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The client is gone or gave up: tell the handler, answer nothing."""
        if self._finished:
            return
        self.cancelled = True
        self._finish()
        self._run(self.on_cancel)

    def expire(self) -> None:
        """The deadline has passed: tell the handler and the client."""
        if self._finished:
            return
        self.cancelled = True
        self._finish()
        self._connection.abort(self, DEADLINE_EXCEEDED)
        self._run(self.on_cancel)

    def refuse(self, error: RpcError) -> None:
        """End the call from the server's side: a limit or the protocol was broken."""
        if self._finished:
            return
        self.cancelled = True
        self._finish()
        self._connection.abort(self, error)
        self._run(self.on_cancel)

    def _finish(self) -> None:
        self._finished = True
        if self._bucket:
            self._connection.deadlines.drop(self._bucket, self)

    def _run(self, handler: Callable[_P, None] | None, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Run a handler's code, if there is any; its failure is this call's alone."""
        if handler is None:
            return
        try:
            handler(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other calls go on
            self._handler_failed(error)

    def _handler_failed(self, error: Exception) -> None:
        if isinstance(error, RpcError):
            status = error
        else:
            _logger.error("handler of a call failed", exc_info=error, extra=fields(method=self.path))
            status = RpcError(StatusCode.UNKNOWN, f"{type(error).__name__} in the handler of {self.path}")
        if not self._finished:
            self._finish()
            self._connection.finish_with_error(self, status)


class UnaryServerCall(ServerCall):
    """A UnaryCall. The handler runs as soon as the first message is complete."""

    __slots__ = ("_method", "_started")

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead, method: Unary) -> None:
        super().__init__(connection, stream_id, head)
        self._method = method
        self._started = False

    def feed(self, data: bytes) -> bool:
        if self._started or self._finished:
            return True  # grpc-go too reads over what follows the one message
        try:
            messages = self._reader.feed(data)
        except RpcError as error:
            self.refuse(error)
            return True
        if messages:
            self._started = True
            self._connection.traffic.received_bytes += len(messages[0])
            self._run(self._method.handler, messages[0], self)
        return True

    def half_close(self) -> None:
        if not self._started:
            # Go's words, which are no status: so it has no code. Source: grpc-go server.go, Server.processUnaryRPC.
            word = "unexpected EOF" if self._reader.buffered_bytes else "EOF"
            self.refuse(RpcError(StatusCode.UNKNOWN, word))

    def reply(self, message: bytes) -> None:
        if not self._finished:
            self._finish()
            self._connection.respond(self, message)

    def fail(self, error: RpcError) -> None:
        if not self._finished:
            self._finish()
            self._connection.finish_with_error(self, error)


class StreamServerCall(ServerCall):
    """A StreamCall."""

    __slots__ = (
        "_half_closed",
        "_held",
        "_inbox",
        "_paused",
        "_unreleased",
        "headers_sent",
        "on_half_close",
        "on_message",
        "on_writable",
    )

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead) -> None:
        super().__init__(connection, stream_id, head)
        self._inbox: deque[bytes] = deque()  # messages of one DATA frame that were not delivered yet
        self._held: deque[bytes] = deque()  # raw, so that gzip cannot blow it up; bound: one stream window
        self._paused = False
        self._half_closed = False
        self._unreleased = 0
        self.headers_sent = False
        self.on_message: Callable[[bytes], None] | None = None
        self.on_half_close: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    def start(self, method: Stream) -> None:
        """Hand the call to its handler."""
        self._run(method.handler, self)

    def feed(self, data: bytes) -> bool:
        if self._finished:
            return True
        if self._paused:
            self._held.append(data)
            return False
        self._take(data)
        return True

    def hold(self, flow_bytes: int) -> None:
        """Bytes that arrived while the call takes nothing: given back to the client by `resume`."""
        self._unreleased += flow_bytes

    def half_close(self) -> None:
        self._half_closed = True
        self._deliver()

    def _take(self, data: bytes) -> None:
        try:
            messages = self._reader.feed(data)
        except RpcError as error:
            self.refuse(error)
            return
        for message in messages:
            self._connection.traffic.received_bytes += len(message)
        self._inbox.extend(messages)
        self._deliver()

    def _deliver(self) -> None:
        while self._inbox and not self._paused and not self._finished:
            self._run(self.on_message, self._inbox.popleft())
        if self._paused or self._finished or self._held or not self._half_closed:
            return
        self._half_closed = False
        if self._reader.buffered_bytes:
            self.refuse(RpcError(StatusCode.INTERNAL, "unexpected EOF"))
        else:
            self._run(self.on_half_close)

    def writable(self) -> None:
        """What was queued has mostly been sent."""
        if not self._finished:
            self._run(self.on_writable)

    def send(self, message: bytes) -> bool:
        return not self._finished and self._connection.send(self, message)

    def send_headers(self) -> None:
        if not self._finished:
            self._connection.send_response_head(self)

    def end(self, error: RpcError | None = None) -> None:
        if self._finished:
            return
        self._finish()
        self._inbox.clear()
        self._held.clear()
        if error is None:
            self._connection.finish(self)
        else:
            self._connection.finish_with_error(self, error)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._deliver()
        while self._held and not self._paused and not self._finished:
            self._take(self._held.popleft())
        if self._held or self._paused:
            return
        self._deliver()
        if self._unreleased:
            released, self._unreleased = self._unreleased, 0
            self._connection.release_held(self.stream_id, released)
