"""Asking two servers the same and comparing what they say, apart from who and when they are."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import grpc
from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.node.api.random_requests import Request

_TIMEOUT_S = 20.0
_UNKNOWN_IN_35 = ("hash_revision",)
"""Fields the node fills although etcd 3.5 does not have them."""


class Target:
    """One server, by gRPC."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])

    def close(self) -> None:
        self._channel.close()

    def ask(self, request: Request) -> str:
        """The normalised answer or error, as text."""
        answer = self.answer(request)
        return answer if isinstance(answer, str) else str(normalised(answer))

    def answer(self, request: Request) -> Message | str:
        """The answer as it came, or the error as text."""
        path, message, response_type = request
        call = self._channel.unary_unary(
            path,
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=response_type.FromString,
        )
        try:
            found: Message = call(message, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return found

    def watch(self) -> WatchStream:
        return WatchStream(self._channel)


class WatchStream:
    """A watch stream whose responses are collected in the background."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        call = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        self._call = call(self._sent())
        self._received: list[pb.WatchResponse] = []
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _sent(self) -> Iterator[pb.WatchRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _receive(self) -> None:
        try:
            for response in self._call:
                with self._arrived:
                    self._received.append(response)
                    self._arrived.notify_all()
        except grpc.RpcError:
            pass  # the stream was cancelled by `close`

    def say(self, request: pb.WatchRequest) -> None:
        self._requests.put(request)

    def create(self, request: pb.WatchCreateRequest) -> None:
        """Create a watch and wait until the server has said so: what happens afterwards is seen by it."""
        with self._arrived:
            before = sum(one.created for one in self._received)
        self.say(pb.WatchRequest(create_request=request))
        with self._arrived:
            created = self._arrived.wait_for(lambda: sum(one.created for one in self._received) > before, _TIMEOUT_S)
        assert created, "the watch was not answered"

    def wait_progress(self, revision: int, timeout_s: float = _TIMEOUT_S) -> list[pb.WatchResponse]:
        """Ask for progress until the server says that all watchers have seen `revision`; everything received."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            self.say(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
            with self._arrived:
                self._arrived.wait(0.05)
                if any(one.watch_id == -1 and one.header.revision >= revision for one in self._received):
                    return list(self._received)
        raise AssertionError(f"no progress to revision {revision}; last: {self._received[-3:]}")

    def received(self) -> list[pb.WatchResponse]:
        """Everything that has come so far."""
        with self._arrived:
            return list(self._received)

    def wait_event(self, watch_id: int, timeout_s: float = _TIMEOUT_S) -> None:
        """Until that watcher was told an event."""
        self._wait(lambda one: one.watch_id == watch_id and bool(one.events), timeout_s)

    def wait_canceled(self, watch_id: int, timeout_s: float = _TIMEOUT_S) -> None:
        self._wait(lambda one: one.watch_id == watch_id and one.canceled, timeout_s)

    def _wait(self, wanted: Callable[[pb.WatchResponse], bool], timeout_s: float) -> None:
        with self._arrived:
            came = self._arrived.wait_for(lambda: any(map(wanted, self._received)), timeout_s)
            assert came, f"it did not come in {timeout_s} s; last: {self._received[-3:]}"

    def wait_quiet(self, quiet_s: float = 0.5) -> list[str]:
        """Everything received once nothing has come for a while, normalised; for what ends without a last word."""
        with self._arrived:
            while self._arrived.wait(quiet_s):
                pass
            return [str(normalised(one)) for one in self._received]

    def close(self) -> None:
        self._call.cancel()  # type: ignore[no-untyped-call]  # grpcio has no types of its own
        self._requests.put(None)
        self._thread.join(_TIMEOUT_S)


def normalised(answer: Message) -> Message:
    """Without what two servers differ in: identities, terms, times, order of a lease's keys."""
    header = getattr(answer, "header", None)
    if isinstance(header, pb.ResponseHeader):
        header.cluster_id = header.member_id = header.raft_term = 0
    if isinstance(answer, pb.LeaseTimeToLiveResponse):
        answer.TTL = min(answer.TTL, 0)
        keys = sorted(answer.keys)
        del answer.keys[:]
        answer.keys.extend(keys)
    for name in _UNKNOWN_IN_35:
        if name in answer.DESCRIPTOR.fields_by_name:
            answer.ClearField(name)
    return answer


def events_by_watch(responses: list[pb.WatchResponse]) -> dict[int, list[str]]:
    """The events of each watcher in order, whatever messages they came in; cancellations with their reasons."""
    seen: dict[int, list[str]] = {}
    for response in responses:
        if response.watch_id == -1 and not response.canceled:
            continue
        lines = seen.setdefault(response.watch_id, [])
        lines += [str(event) for event in response.events]
        if response.canceled:
            lines.append(f"canceled {response.compact_revision} {response.cancel_reason}")
    return seen
