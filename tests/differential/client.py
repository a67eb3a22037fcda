"""One server as a stranger sees it: plain gRPC with etcd's messages, and HTTP. Nothing is tried twice."""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb

TIMEOUT_S = 20.0
QUIET_S = 0.4
"""How long nothing has to come before "nothing comes" is believed; etcd looks after watchers behind every 100 ms."""

Answer = TypeVar("Answer", bound=Message)
Metadata = Sequence[tuple[str, str]]

_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
)


def rendered(error: grpc.RpcError) -> str:
    """`CODE: text`, as the tables write refusals."""
    return f"{error.code().name}: {error.details()}"


class Client:
    """Calls to one member; they raise grpc.RpcError."""

    def __init__(self, url: str) -> None:
        self.address = url.removeprefix("http://")
        self.channel = grpc.insecure_channel(self.address, options=_OPTIONS)

    def close(self) -> None:
        self.channel.close()

    def call(
        self,
        path: str,
        request: Message | bytes,
        answer: type[Answer],
        *,
        metadata: Metadata = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """`path` without the package: "KV/Range". Bytes are sent as they are."""
        call = self.channel.unary_unary(
            f"/etcdserverpb.{path}",
            request_serializer=lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        received: Answer = call(request, metadata=tuple(metadata), timeout=timeout_s)
        return received

    def refusal(
        self, path: str, request: Message | bytes, *, metadata: Metadata = (), timeout_s: float = TIMEOUT_S
    ) -> str:
        """`CODE: text` of a call that fails, "OK" of one that does not."""
        try:
            self.call(path, request, pb.CompactionResponse, metadata=metadata, timeout_s=timeout_s)
        except grpc.RpcError as error:
            return rendered(error)
        return "OK"

    def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        return self.call("KV/Range", request, pb.RangeResponse)

    def put(self, request: pb.PutRequest) -> pb.PutResponse:
        return self.call("KV/Put", request, pb.PutResponse)

    def delete(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        return self.call("KV/DeleteRange", request, pb.DeleteRangeResponse)

    def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        return self.call("KV/Txn", request, pb.TxnResponse)

    def compact(self, revision: int, *, physical: bool = True) -> pb.CompactionResponse:
        request = pb.CompactionRequest(revision=revision, physical=physical)
        return self.call("KV/Compact", request, pb.CompactionResponse)

    def grant(self, ttl: int = 600, lease: int = 0) -> pb.LeaseGrantResponse:
        return self.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=ttl, ID=lease), pb.LeaseGrantResponse)

    def revoke(self, lease: int) -> pb.LeaseRevokeResponse:
        return self.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), pb.LeaseRevokeResponse)

    def time_to_live(self, lease: int, *, keys: bool = True) -> pb.LeaseTimeToLiveResponse:
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        return self.call("Lease/LeaseTimeToLive", request, pb.LeaseTimeToLiveResponse)

    def leases(self) -> pb.LeaseLeasesResponse:
        return self.call("Lease/LeaseLeases", pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse)

    def status(self) -> pb.StatusResponse:
        return self.call("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)

    def hash_kv(self, revision: int = 0) -> pb.HashKVResponse:
        return self.call("Maintenance/HashKV", pb.HashKVRequest(revision=revision), pb.HashKVResponse)

    def alarm(self, action: int = 0, member: int = 0, kind: int = 0) -> pb.AlarmResponse:
        request = pb.AlarmRequest(action=action, memberID=member, alarm=kind)  # type: ignore[arg-type]  # numbers
        return self.call("Maintenance/Alarm", request, pb.AlarmResponse)

    def members(self, *, linearizable: bool = True) -> pb.MemberListResponse:
        return self.call("Cluster/MemberList", pb.MemberListRequest(linearizable=linearizable), pb.MemberListResponse)

    def add_member(self, *urls: str, learner: bool = False) -> pb.MemberAddResponse:
        request = pb.MemberAddRequest(peerURLs=urls, isLearner=learner)
        return self.call("Cluster/MemberAdd", request, pb.MemberAddResponse)

    def remove_member(self, member: int) -> pb.MemberRemoveResponse:
        return self.call("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=member), pb.MemberRemoveResponse)

    def snapshot(self) -> list[pb.SnapshotResponse]:
        call = self.channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=pb.SnapshotRequest.SerializeToString,
            response_deserializer=pb.SnapshotResponse.FromString,
        )
        return list(call(pb.SnapshotRequest(), timeout=TIMEOUT_S))

    def revision(self) -> int:
        """The store's current one."""
        return self.range(pb.RangeRequest(key=b"\xff")).header.revision

    def watch(self, metadata: Metadata = ()) -> Stream[pb.WatchRequest, pb.WatchResponse]:
        return Stream(self.channel, "Watch/Watch", pb.WatchResponse, metadata)

    def keep_alive(self, metadata: Metadata = ()) -> Stream[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]:
        return Stream(self.channel, "Lease/LeaseKeepAlive", pb.LeaseKeepAliveResponse, metadata)

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """HTTP/1.1: status and body."""
        response, body = self._page(path, method, headers)
        return response.status, body

    def headers(self, path: str, method: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """HTTP/1.1: the headers of the answer."""
        return dict(self._page(path, method, headers)[0].getheaders())

    def _page(self, path: str, method: str, headers: Mapping[str, str] | None) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()


Sent = TypeVar("Sent", bound=Message)


class Stream(Generic[Sent, Answer]):
    """A stream in both directions; use it in a `with`. What comes is collected in the background."""

    def __init__(self, channel: grpc.Channel, path: str, answer: type[Answer], metadata: Metadata) -> None:
        self._requests: queue.Queue[Sent | None] = queue.Queue()
        self._received: queue.Queue[Answer | grpc.RpcError | None] = queue.Queue()
        call = channel.stream_stream(
            f"/etcdserverpb.{path}",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        self._call = call(self._sent(), metadata=tuple(metadata))
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def __enter__(self) -> Stream[Sent, Answer]:
        return self

    def __exit__(self, *_: object) -> None:
        self._call.cancel()  # type: ignore[no-untyped-call]  # grpcio has no types of its own
        self._requests.put(None)
        self._thread.join(TIMEOUT_S)

    def _sent(self) -> Iterator[Sent]:
        while (request := self._requests.get()) is not None:
            yield request

    def _receive(self) -> None:
        try:
            for response in self._call:
                self._received.put(response)
            self._received.put(None)
        except grpc.RpcError as error:
            self._received.put(error)

    def send(self, request: Sent) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        """Say that nothing more will be asked."""
        self._requests.put(None)

    def next(self, timeout_s: float = TIMEOUT_S) -> Answer:
        """The next message; fails when none comes in time, raises grpc.RpcError when the stream ends with one."""
        try:
            received = self._received.get(timeout=timeout_s)
        except queue.Empty:
            raise AssertionError(f"nothing came for {timeout_s} s") from None
        assert received is not None, "the stream was ended"
        if isinstance(received, grpc.RpcError):
            raise received
        return received

    def ask(self, request: Sent, timeout_s: float = TIMEOUT_S) -> Answer:
        self.send(request)
        return self.next(timeout_s)

    def more(self, quiet_s: float = QUIET_S) -> list[Answer]:
        """Everything that comes until nothing has come for a while."""
        found: list[Answer] = []
        while True:
            try:
                received = self._received.get(timeout=quiet_s)
            except queue.Empty:
                return found
            assert received is not None, "the stream was ended"
            if isinstance(received, grpc.RpcError):
                raise received
            found.append(received)

    def ending(self, timeout_s: float = TIMEOUT_S) -> str:
        """How the stream ends, whatever comes before: `CODE: text`, or "OK"."""
        ends = time.monotonic() + timeout_s
        while (left := ends - time.monotonic()) > 0:
            try:
                received = self._received.get(timeout=left)
            except queue.Empty:
                break
            if received is None:
                return "OK"
            if isinstance(received, grpc.RpcError):
                return rendered(received)
        raise AssertionError(f"the stream does not end in {timeout_s} s")
