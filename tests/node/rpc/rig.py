"""A gRPC server connection with a client made of bytes, no socket and a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from etcdops.clock import ManualClock
from etcdops.node.rpc.deadlines import Deadlines
from etcdops.node.rpc.http2 import PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.server_connection import ServerConnection
from etcdops.node.rpc.service import Methods, RpcError, StatusCode, Stream, StreamCall, Unary, UnaryCall
from tests.fakes.http2_client import Answer, FakeClient, call_headers, message

ECHO = "/test.Service/Echo"
KEEP = "/test.Service/Keep"
FAIL = "/test.Service/Fail"
BREAK = "/test.Service/Break"
CHAT = "/test.Service/Chat"


@dataclass
class Handlers:
    """A small service, and everything that reached it."""

    requests: list[tuple[bytes, UnaryCall]] = field(default_factory=list)
    streams: list[StreamCall] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    error: Exception = field(default_factory=lambda: RpcError(StatusCode.NOT_FOUND, "etcdserver: requested lease"))

    def methods(self) -> Methods:
        return Methods(
            {
                ECHO: Unary(self.echo),
                KEEP: Unary(self.keep),
                FAIL: Unary(self.fail),
                BREAK: Unary(self.break_down),
                CHAT: Stream(self.chat),
            }
        )

    def echo(self, request: bytes, call: UnaryCall) -> None:
        self.requests.append((request, call))
        call.reply(request)

    def keep(self, request: bytes, call: UnaryCall) -> None:
        """Answers only when a test says so."""
        self.requests.append((request, call))
        call.on_cancel = lambda: self.events.append(f"cancel {request.decode()}")

    def fail(self, request: bytes, call: UnaryCall) -> None:
        raise self.error

    def break_down(self, request: bytes, call: UnaryCall) -> None:
        raise ZeroDivisionError("a bug")

    def chat(self, call: StreamCall) -> None:
        number = len(self.streams)
        self.streams.append(call)
        call.on_message = lambda received: self.events.append(f"{number} message {received.decode()}")
        call.on_half_close = lambda: self.events.append(f"{number} half close")
        call.on_cancel = lambda: self.events.append(f"{number} cancel")
        call.on_writable = lambda: self.events.append(f"{number} writable")


class ServerRig:
    """The server side, its handlers, and the client."""

    def __init__(
        self, port_factory: PortFactory, limits: Limits | None = None, settings: dict[int, int] | None = None
    ) -> None:
        self.clock = ManualClock(1_000.0)
        self.handlers = Handlers()
        self.wakes = 0
        self.alarms: list[float] = []
        self.deadlines = Deadlines(self.alarms.append)
        self.server = ServerConnection(
            self.handlers.methods(),
            limits or Limits(),
            "10.0.0.9:4711",
            now=self.clock.monotonic,
            deadlines=self.deadlines,
            wake=self._wake,
            port_factory=port_factory,
        )
        self.client = FakeClient()
        self.feed(self.client.hello(settings))

    def _wake(self) -> None:
        self.wakes += 1

    def feed(self, data: bytes) -> None:
        """Bytes from the client, and everything the server has to say to them."""
        self.server.receive(data)
        self.read()

    def read(self) -> None:
        while data := self.server.pull():
            self.client.read(data)

    def call(self, path: str, payload: bytes = b"", *more: tuple[str, str], end: bool = True) -> Answer:
        """Send a unary request. Returns: what came back, growing while more comes."""
        stream_id, sent = self.client.call(path, payload, *more, end=end)
        self.feed(sent)
        return self.client.answer(stream_id)

    def open(self, path: str = CHAT, *more: tuple[str, str]) -> int:
        """Open a stream."""
        stream_id, sent = self.client.headers(call_headers(path, *more))
        self.feed(sent)
        return stream_id

    def say(self, stream_id: int, *payloads: bytes, end: bool = False) -> None:
        """Messages on a stream, all in one DATA frame."""
        self.feed(self.client.data(stream_id, b"".join(map(message, payloads)), end=end))

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.deadlines.expire(self.clock.monotonic())
        self.read()


Build = Callable[..., ServerRig]
