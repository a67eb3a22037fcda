"""A gRPC server that says whatever a test wants an etcd member to say, method by method."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb

CLUSTER = 0xC1
MEMBER = 0xA1


@dataclass(frozen=True)
class Fail:
    """Answer with this gRPC status."""

    code: grpc.StatusCode
    text: str


class Hang:
    """Never answer."""


Behaviour = Message | Fail | Hang | Callable[[Any], "Message | Fail | Hang"]
StreamScript = Callable[["Stream"], Awaitable[None]]


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str]


class Stream:
    """One bidirectional stream, from the member's side."""

    def __init__(self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.requests = requests
        self.context = context

    async def receive(self) -> Any:
        return await anext(self.requests)

    async def send(self, message: Message) -> None:
        await self.context.write(message)

    async def fail(self, code: grpc.StatusCode, text: str) -> None:
        await self.context.abort(code, text)

    async def hang(self) -> None:
        await asyncio.Event().wait()


@dataclass
class FakeEtcd:
    """One member. `answers[method]` is a queue of behaviours; the last one stays. Unscripted methods fail the caller.

    `async with FakeEtcd() as member: member.on("KV/Put", Fail(...), pb.PutResponse())`
    """

    cluster_id: int = CLUSTER
    member_id: int = MEMBER
    received: list[Received] = field(default_factory=list)
    answers: dict[str, list[Behaviour]] = field(default_factory=lambda: defaultdict(list))
    streams: dict[str, list[StreamScript]] = field(default_factory=lambda: defaultdict(list))
    port: int = 0
    socket_path: str = ""
    """Listen on this socket file instead of a port."""
    _server: grpc.aio.Server | None = None

    @property
    def url(self) -> str:
        return f"unix:{self.socket_path}" if self.socket_path else f"http://127.0.0.1:{self.port}"

    @property
    def header(self) -> pb.ResponseHeader:
        return pb.ResponseHeader(cluster_id=self.cluster_id, member_id=self.member_id, revision=1, raft_term=2)

    def on(self, method: str, *behaviours: Behaviour) -> None:
        """Say what happens to this method's next requests, e.g. "KV/Put"."""
        self.answers[method] = list(behaviours)

    def on_stream(self, method: str, *scripts: StreamScript) -> None:
        """Say what happens on this method's next streams, one script each."""
        self.streams[method] = list(scripts)

    def requests(self, method: str) -> list[Any]:
        return [received.request for received in self.received if received.method == method]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; a member that was stopped comes back on its old port."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Router(self),))
        address = f"unix:{self.socket_path}" if self.socket_path else f"127.0.0.1:{self.port}"
        self.port = self._server.add_insecure_port(address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def _behaviour(self, method: str) -> Behaviour:
        queue = self.answers[method]
        if not queue:
            return Fail(grpc.StatusCode.UNIMPLEMENTED, f"the test scripted no answer for {method}")
        return queue.pop(0) if len(queue) > 1 else queue[0]

    async def unary(self, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        self.received.append(Received(method, request, metadata))
        behaviour = self._behaviour(method)
        if not isinstance(behaviour, Message | Fail | Hang):
            behaviour = behaviour(request)
        if isinstance(behaviour, Hang):
            await asyncio.Event().wait()
        if isinstance(behaviour, Fail):
            await context.abort(behaviour.code, behaviour.text)
        assert isinstance(behaviour, Message)
        return behaviour

    async def stream(
        self, method: str, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        queue = self.streams[method]
        if not queue:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test scripted no stream for {method}")
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        self.received.append(Received(method, None, metadata))
        await queue.pop(0)(Stream(requests, context))


class _Router(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, fake: FakeEtcd) -> None:
        self._fake = fake

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        service, _, name = handler_call_details.method.rpartition("/")
        method = f"{service.removeprefix('/etcdserverpb.')}/{name}"
        descriptor = pb.DESCRIPTOR.services_by_name[service.removeprefix("/etcdserverpb.")].methods_by_name[name]
        request_class = getattr(pb, descriptor.input_type.name)
        fake = self._fake
        if not descriptor.server_streaming:

            async def unary(request: Any, context: Any) -> Message:
                return await fake.unary(method, request, context)

            return grpc.unary_unary_rpc_method_handler(unary, request_class.FromString, _serialize)

        async def stream(requests: Any, context: Any) -> None:
            await fake.stream(method, requests, context)

        if descriptor.client_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, request_class.FromString, _serialize)
        return grpc.unary_stream_rpc_method_handler(stream, request_class.FromString, _serialize)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
