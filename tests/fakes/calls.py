"""gRPC calls without a network: requests go straight to the services' handlers, answers are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from google.protobuf.message import Message

from etcdops.node.api.services import EtcdServices
from etcdops.node.rpc.service import Methods, RpcError, Stream, Unary
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.single_member import SingleMember

M = TypeVar("M", bound=Message)


class FakeUnaryCall:
    """Implements `UnaryCall`."""

    def __init__(self, metadata: Mapping[str, str | bytes] | None = None) -> None:
        self.metadata: Mapping[str, str | bytes] = metadata or {}
        self.peer = "test:1"
        self.cancelled = False
        self.deadline: float | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.answer: bytes | None = None
        self.error: RpcError | None = None

    def reply(self, message: bytes) -> None:
        assert (self.answer, self.error) == (None, None), "answered twice"
        self.answer = message

    def fail(self, error: RpcError) -> None:
        assert (self.answer, self.error) == (None, None), "answered twice"
        self.error = error


class FakeStreamCall(Generic[M]):
    """Implements `StreamCall`. `room` messages are accepted before `send` says that it is enough."""

    def __init__(
        self, response_type: type[M], *, metadata: Mapping[str, str | bytes] | None = None, room: int = 1_000_000
    ) -> None:
        self._response_type = response_type
        self.metadata: Mapping[str, str | bytes] = metadata or {}
        self.peer = "test:1"
        self.cancelled = False
        self.deadline: float | None = None
        self.on_message: Callable[[bytes], None] | None = None
        self.on_half_close: Callable[[], None] | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.room = room
        self.sent: list[bytes] = []
        self.ended = False
        self.error: RpcError | None = None
        self.paused = False

    def send(self, message: bytes) -> bool:
        assert not self.ended, "sent after the end"
        self.sent.append(message)
        self.room -= 1
        return self.room > 0

    def send_headers(self) -> None:
        pass

    def end(self, error: RpcError | None = None) -> None:
        self.ended = True
        self.error = error

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def take(self) -> list[M]:
        """What was sent since the last time, decoded."""
        sent, self.sent = self.sent, []
        return [self._response_type.FromString(message) for message in sent]

    def give_room(self, messages: int = 1_000_000) -> None:
        """The client has read."""
        self.room = messages
        if self.on_writable is not None:
            self.on_writable()

    def cancel(self) -> None:
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()


class Api:
    """A client of a `SingleMember` in the same thread. Unary calls return decoded answers or raise RpcError."""

    def __init__(self, server: SingleMember) -> None:
        self.server = server
        self.services = EtcdServices(server)
        self.methods: Methods = self.services.methods()

    def call(
        self,
        path: str,
        request: Message | bytes,
        response_type: type[M],
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> M:
        call = FakeUnaryCall(metadata)
        method = self.methods.find(path)
        assert isinstance(method, Unary)
        try:
            method.handler(request if isinstance(request, bytes) else request.SerializeToString(), call)
        except RpcError as error:
            call.fail(error)
        self.server.settle()
        if call.error is not None:
            raise call.error
        assert call.answer is not None, f"{path} was not answered"
        return response_type.FromString(call.answer)

    def stream(
        self,
        path: str,
        response_type: type[M],
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        room: int = 1_000_000,
    ) -> FakeStreamCall[M]:
        method = self.methods.find(path)
        assert isinstance(method, Stream)
        call = FakeStreamCall(response_type, metadata=metadata, room=room)
        method.handler(call)
        return call

    # The calls tests make most.

    def put(self, key: bytes, value: bytes = b"", **options: object) -> pb.PutResponse:
        request = pb.PutRequest(key=key, value=value, **options)  # type: ignore[arg-type]  # PutRequest's own fields
        return self.call("/etcdserverpb.KV/Put", request, pb.PutResponse)

    def range(self, key: bytes, range_end: bytes = b"", **options: object) -> pb.RangeResponse:
        request = pb.RangeRequest(key=key, range_end=range_end, **options)  # type: ignore[arg-type]  # its own fields
        return self.call("/etcdserverpb.KV/Range", request, pb.RangeResponse)

    def delete(self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> pb.DeleteRangeResponse:
        request = pb.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)
        return self.call("/etcdserverpb.KV/DeleteRange", request, pb.DeleteRangeResponse)

    def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        return self.call("/etcdserverpb.KV/Txn", request, pb.TxnResponse)

    def compact(self, revision: int, *, physical: bool = False) -> pb.CompactionResponse:
        request = pb.CompactionRequest(revision=revision, physical=physical)
        return self.call("/etcdserverpb.KV/Compact", request, pb.CompactionResponse)

    def grant(self, ttl: int = 60, lease: int = 0) -> pb.LeaseGrantResponse:
        return self.call(
            "/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=ttl, ID=lease), pb.LeaseGrantResponse
        )

    def revoke(self, lease: int) -> pb.LeaseRevokeResponse:
        return self.call("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), pb.LeaseRevokeResponse)

    def time_to_live(self, lease: int, *, keys: bool = False) -> pb.LeaseTimeToLiveResponse:
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        return self.call("/etcdserverpb.Lease/LeaseTimeToLive", request, pb.LeaseTimeToLiveResponse)

    def hash_kv(self, revision: int = 0) -> pb.HashKVResponse:
        request = pb.HashKVRequest(revision=revision)
        return self.call("/etcdserverpb.Maintenance/HashKV", request, pb.HashKVResponse)

    def status(self) -> pb.StatusResponse:
        return self.call("/etcdserverpb.Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)

    def alarm(self, action: int, member: int = 0, alarm: int = 0) -> pb.AlarmResponse:
        request = pb.AlarmRequest(memberID=member)
        request.action = action  # type: ignore[assignment]  # open enums: tests use unknown numbers too
        request.alarm = alarm  # type: ignore[assignment]
        return self.call("/etcdserverpb.Maintenance/Alarm", request, pb.AlarmResponse)


class WatchClient:
    """One watch stream of an `Api`."""

    def __init__(self, api: Api, *, metadata: Mapping[str, str | bytes] | None = None, room: int = 1_000_000) -> None:
        self._api = api
        self.call = api.stream("/etcdserverpb.Watch/Watch", pb.WatchResponse, metadata=metadata, room=room)

    def say(self, request: pb.WatchRequest) -> None:
        assert self.call.on_message is not None
        self.call.on_message(request.SerializeToString())

    def create(self, key: bytes, range_end: bytes = b"", **options: object) -> None:
        create = pb.WatchCreateRequest(key=key, range_end=range_end, **options)  # type: ignore[arg-type]  # its own fields
        self.say(pb.WatchRequest(create_request=create))

    def cancel(self, watch_id: int) -> None:
        self.say(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    def progress(self) -> None:
        self.say(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    def take(self) -> list[pb.WatchResponse]:
        """Everything that has arrived once the member has nothing more to do."""
        self._api.server.settle()
        return self.call.take()
