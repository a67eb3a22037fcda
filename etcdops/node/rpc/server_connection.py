"""gRPC on one HTTP/2 connection, without I/O: bytes in, handlers called, bytes out.

The shell (`listener.py`) feeds `receive`, writes what `pull` gives, says whether the socket takes more, and calls
`tick` now and then. Everything happens on the event loop; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable

from etcdops.node.rpc.abuse import Allowance, Keepalive, PingPolicy
from etcdops.node.rpc.calls import ServerCall, StreamServerCall, UnaryServerCall
from etcdops.node.rpc.deadlines import Deadlines
from etcdops.node.rpc.http2 import ErrorCode, Headers, PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.messages import check_encoding, prefix
from etcdops.node.rpc.outbox import Outbox
from etcdops.node.rpc.request_head import (
    HeadMalformed,
    HeadRefused,
    RequestHead,
    parse_head,
    read_timeout,
    split_timeout,
)
from etcdops.node.rpc.responses import OK_TRAILERS, error_trailers, refusal
from etcdops.node.rpc.service import Methods, RpcError, StatusCode, Unary

PULL_BYTES = 256 * 1024
"""How much `pull` gives at a time: enough for one write, little enough that streams take turns."""

_HEADS_MAX = 256  # distinct header lists remembered; a client has a handful
_LAST_STREAM_ID = 2**31 - 1
_KEEPALIVE_PING = b"alive???"
_DRAIN_PING = b"goodbye!"
_INLINE_BYTES_MAX = 8 * 1024  # a bigger answer takes its turn with the other streams


class ServerConnection:
    """One client.

    Args: peer - its address; now - the event loop's time; deadlines - shared by all connections; wake - asks the
        shell to call `pull` soon, used when output arises outside `receive`.
    """

    def __init__(
        self,
        methods: Methods,
        limits: Limits,
        peer: str,
        *,
        now: Callable[[], float],
        deadlines: Deadlines,
        wake: Callable[[], None],
        port_factory: PortFactory,
    ) -> None:
        self.limits = limits
        self.peer = peer
        self.deadlines = deadlines
        self._methods = methods
        self.traffic = methods.traffic
        self._now = now
        self._wake = wake
        self._port = port_factory(self, limits.streams_max)
        self._outbox = Outbox(self._port, limits.stream_mark_bytes, self._on_writable, self._on_sent)
        self._calls: dict[int, ServerCall] = {}
        self._heads: dict[Headers, RequestHead] = {}
        self._incomplete: dict[int, int] = {}  # bytes held for unfinished messages, by stream
        self._incomplete_bytes = 0  # invariant: the sum of the above
        self._last_stream_id = 0
        self._accepted_until = _LAST_STREAM_ID
        self._writable = True
        self._draining = False
        self._broken = False
        started = now()
        self._pings = PingPolicy(limits.keepalive_min_time_s)
        self._keepalive = Keepalive(limits.keepalive_interval_s, limits.keepalive_timeout_s, started)
        self._resets = Allowance(limits.resets_burst, limits.resets_per_s, started)
        self._controls = Allowance(limits.controls_burst, limits.controls_per_s, started)

    # What the shell uses

    @property
    def calls_open(self) -> int:
        """Calls that are not over, unsent answers included."""
        return len(self._calls)

    @property
    def closed(self) -> bool:
        """Nothing more is to be done than to write what `pull` gives and close."""
        return self._broken or self._port.closed or (self._draining and not self._calls and self._said_goodbye)

    @property
    def _said_goodbye(self) -> bool:
        return self._accepted_until != _LAST_STREAM_ID

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        self._keepalive.heard = True
        if not self._broken:
            self._port.receive(data)

    def pull(self) -> bytes:
        """What to write now; empty when there is nothing, or when flow control or the socket holds it back."""
        if self._writable and self._outbox.has_ready:
            self._outbox.pump(PULL_BYTES)
            self._pings.forgiven = True
        return self._port.take()

    def set_writable(self, writable: bool) -> None:
        """Whether the socket takes more. While it does not, answers wait in the outbox."""
        self._writable = writable

    def tick(self, now: float) -> bool:
        """Keep the connection alive. Returns: False when the client is gone and the socket must be aborted."""
        match self._keepalive.tick(now):
            case "ping":
                self._port.ping(_KEEPALIVE_PING)
                self._wake()
            case "dead":
                return False
            case _:
                pass
        return True

    def drain(self) -> None:
        """Begin a graceful end: new calls are sent elsewhere, open ones may finish.

        The first GOAWAY names no limit, because calls may be under way to us; the answer to the ping behind it shows
        that the client has read it, and the second one draws the line. Source: grpc-go http2Server.Drain.
        """
        if self._draining:
            return
        self._draining = True
        self._port.goaway(ErrorCode.NO_ERROR, last_stream_id=_LAST_STREAM_ID, debug=b"graceful_stop")
        self._port.ping(_DRAIN_PING)
        self._wake()

    def lost(self) -> None:
        """The socket is gone: every open call is cancelled."""
        self._broken = True
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()

    def end_calls(self, error: RpcError) -> None:
        """End every open call with `error`: the server stops and has waited long enough."""
        for call in list(self._calls.values()):
            call.refuse(error)

    # What the port calls (Http2Events)

    def on_request(self, stream_id: int, headers: Headers, ended: bool) -> None:
        if stream_id > self._accepted_until or self._broken:
            return
        self._last_stream_id = stream_id
        if len(self._calls) >= self.limits.streams_max or self._outbox.size > self.limits.backlog_bytes_max:
            self._port.reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        try:
            head, timeout_s = self._read_head(headers)
        except HeadRefused as error:
            self._refuse_stream(stream_id, refusal(error.error, error.http_status), ended)
            return
        except HeadMalformed:
            self._port.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        self._open_call(stream_id, head, timeout_s, ended)

    def on_data(self, stream_id: int, data: bytes, flow_bytes: int, ended: bool) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            self._port.release(stream_id, flow_bytes)
            return
        if ended:
            call.client_ended = True
        if data:
            taken = call.feed(data)
            if not taken and isinstance(call, StreamServerCall):
                call.hold(flow_bytes)
                self._port.release_connection(flow_bytes)
                flow_bytes = 0
            if call.buffered_bytes or self._incomplete:
                self._note_incomplete(call)
        if flow_bytes:
            self._port.release(stream_id, flow_bytes)
        if ended and not call.finished:
            call.half_close()

    def on_end(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            call.client_ended = True
            if not call.finished:
                call.half_close()

    def on_reset(self, stream_id: int, code: int) -> None:
        call = self._forget(stream_id)
        self._outbox.drop(stream_id)
        if call is None or call.finished:
            return  # it had its answer: hanging up then is no abuse
        call.cancel()
        if not self._resets.spend(self._now()):
            self._disconnect(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_resets")

    def on_window(self, stream_id: int) -> None:
        self._outbox.unblock(stream_id)

    def on_ping(self) -> None:
        if self._pings.on_ping(self._now(), calls_open=bool(self._calls)):
            self._disconnect(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")

    def on_ping_ack(self, data: bytes) -> None:
        if data == _DRAIN_PING and self._draining and not self._said_goodbye:
            self._accepted_until = self._last_stream_id
            self._port.goaway(ErrorCode.NO_ERROR, last_stream_id=self._last_stream_id)

    def on_control(self) -> None:
        if not self._controls.spend(self._now()):
            self._disconnect(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_control_frames")

    # What calls use

    def respond(self, call: UnaryServerCall, message: bytes) -> None:
        """A unary call's answer."""
        stream_id = call.stream_id
        if stream_id not in self._calls:
            return
        port = self._port
        self.traffic.sent_bytes += len(message)
        framed_bytes = len(message) + 5
        if self._goes_at_once(stream_id, framed_bytes):
            port.respond(stream_id, call.answer_head, prefix(message) + message, OK_TRAILERS)
            self._sent(call)
        else:
            port.send_headers(stream_id, call.answer_head, end=False)
            self._outbox.put(stream_id, prefix(message), message)
            self._outbox.finish(stream_id, OK_TRAILERS)
        self._pings.forgiven = True
        self._wake()

    def send_response_head(self, call: StreamServerCall) -> None:
        """Open the response of a stream."""
        if not call.headers_sent and call.stream_id in self._calls:
            call.headers_sent = True
            self._port.send_headers(call.stream_id, call.answer_head, end=False)
            self._pings.forgiven = True
            self._wake()

    def send(self, call: StreamServerCall, message: bytes) -> bool:
        """One message of a stream. Returns: whether it may send another."""
        stream_id = call.stream_id
        if stream_id not in self._calls:
            return False
        self.send_response_head(call)
        self._wake()
        self._pings.forgiven = True
        self.traffic.sent_bytes += len(message)
        if stream_id not in self._outbox and self._goes_at_once(stream_id, len(message) + 5):
            self._port.send_data(stream_id, prefix(message) + message)
            return True
        return self._outbox.put(stream_id, prefix(message), message)

    def finish(self, call: StreamServerCall) -> None:
        """A stream's end with OK."""
        self.send_response_head(call)
        self._finish_stream(call, OK_TRAILERS)

    def finish_with_error(self, call: ServerCall, error: RpcError) -> None:
        """A call's end with an error; in one frame if nothing was sent yet."""
        if isinstance(call, StreamServerCall) and call.headers_sent:
            self._finish_stream(call, error_trailers(error))
        elif call.stream_id in self._calls:
            self._port.send_headers(call.stream_id, refusal(error, head=call.answer_head), end=True)
            self._pings.forgiven = True
            self._sent(call)
            self._wake()

    def abort(self, call: ServerCall, error: RpcError) -> None:
        """A call's end that waits for nothing: what is queued is dropped, lest a client who never reads hold it."""
        if call.stream_id in self._outbox:
            self._outbox.drop(call.stream_id)
            self._forget(call.stream_id)
            self._port.reset(call.stream_id, ErrorCode.CANCEL)
            self._wake()
        else:
            self.finish_with_error(call, error)

    def release_held(self, stream_id: int, flow_bytes: int) -> None:
        """Bytes that were held back have been taken."""
        self._port.release_stream(stream_id, flow_bytes)
        self._wake()

    # Inside

    def _read_head(self, headers: Headers) -> tuple[RequestHead, float | None]:
        """The head, and the seconds the call may take. Heads are remembered without deadlines, which never repeat."""
        head = self._heads.get(headers)
        if head is not None:
            return head, None
        headers, timeout = split_timeout(headers)
        head = self._heads.get(headers)
        if head is None:
            head = parse_head(headers)
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads[headers] = head
        return head, None if timeout is None else read_timeout(timeout)

    def _open_call(self, stream_id: int, head: RequestHead, timeout_s: float | None, ended: bool) -> None:
        try:
            method = self._methods.find(head.path)
            check_encoding(head.encoding)
            if timeout_s is not None and timeout_s <= 0:
                raise RpcError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        except RpcError as error:
            self._refuse_stream(stream_id, refusal(error, head=head.answer), ended)
            return
        call: ServerCall
        if isinstance(method, Unary):
            call = self._calls[stream_id] = UnaryServerCall(self, stream_id, head, method)
        else:
            call = self._calls[stream_id] = StreamServerCall(self, stream_id, head)
        call.client_ended = ended
        if timeout_s is not None:
            call.set_deadline(self._now(), timeout_s)
        if isinstance(call, StreamServerCall) and not isinstance(method, Unary):
            call.start(method)
        if ended and not call.finished:
            call.half_close()

    def _refuse_stream(self, stream_id: int, headers: Headers, ended: bool) -> None:
        self._port.send_headers(stream_id, headers, end=True)
        if not ended:
            self._port.reset(stream_id, ErrorCode.NO_ERROR)
        self._pings.forgiven = True

    def _goes_at_once(self, stream_id: int, framed_bytes: int) -> bool:
        port = self._port
        return (
            self._writable
            and framed_bytes <= _INLINE_BYTES_MAX
            and port.pending_bytes < PULL_BYTES
            and framed_bytes <= port.sendable(stream_id)
        )

    def _finish_stream(self, call: StreamServerCall, trailers: Headers) -> None:
        if call.stream_id not in self._calls:
            return
        if call.stream_id in self._outbox:
            self._outbox.finish(call.stream_id, trailers)
        else:
            self._port.send_headers(call.stream_id, trailers, end=True)
            self._sent(call)
        self._pings.forgiven = True
        self._wake()

    def _on_sent(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            self._sent(call)

    def _sent(self, call: ServerCall) -> None:
        """A call's last frame is out: free its stream."""
        self._forget(call.stream_id)
        if not call.client_ended:
            self._port.reset(call.stream_id, ErrorCode.NO_ERROR)

    def _on_writable(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if isinstance(call, StreamServerCall):
            call.writable()

    def _forget(self, stream_id: int) -> ServerCall | None:
        if self._incomplete:
            self._incomplete_bytes -= self._incomplete.pop(stream_id, 0)
        return self._calls.pop(stream_id, None)

    def _note_incomplete(self, call: ServerCall) -> None:
        self._incomplete_bytes -= self._incomplete.pop(call.stream_id, 0)
        if call.buffered_bytes and not call.finished:
            self._incomplete[call.stream_id] = call.buffered_bytes
            self._incomplete_bytes += call.buffered_bytes
            if self._incomplete_bytes > self.limits.incomplete_bytes_max:
                message = f"grpc: more than {self.limits.incomplete_bytes_max} bytes of unfinished requests"
                call.refuse(RpcError(StatusCode.RESOURCE_EXHAUSTED, f"{message} on one connection"))

    def _disconnect(self, code: ErrorCode, reason: bytes) -> None:
        """End the connection of a client that harms the server."""
        if not self._broken:
            self._port.goaway(code, last_stream_id=self._last_stream_id, debug=reason)
            self._broken = True
            self._wake()
