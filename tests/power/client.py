"""A client that asks one thing after the other and can tell later when each answer left the member.

It counts its own HTTP/2 streams, so that a recording of what the member sent says which answer was in which bytes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.http2_client import FakeClient
from tests.power.recording import Event, Sent

Answer = TypeVar("Answer", bound=Message)

_TIMEOUT_S = 20.0
_DATA = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was answered. `port` and `stream` find its answer in a recording."""

    port: int
    stream: int
    request: Message
    answer: Message


@dataclass
class Client:
    """One connection. Each call waits for its answer and is added to `calls`."""

    target: int
    """The member's client port."""

    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._frames = FakeClient()
        self._socket = socket.create_connection(("127.0.0.1", self.target), timeout=_TIMEOUT_S)
        self._port = int(self._socket.getsockname()[1])
        self._socket.sendall(self._frames.hello())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, path: str, request: Message, kind: type[Answer]) -> Answer:
        """Raises: AssertionError - refused, hung up or silent."""
        stream, sent = self._frames.call(path, request.SerializeToString())
        self._socket.sendall(sent)
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._frames.answer(stream).ended:
            data = self._socket.recv(1 << 16)
            assert data, f"{path}: the member hung up"
            assert time.monotonic() < deadline, f"{path}: no answer"
            self._frames.read(data)
            self._renew_window(len(data), stream)
        found = self._frames.answer(stream)
        assert found.status[0] == 0, f"{path}: {found.status}"
        answer = kind.FromString(found.messages[0])
        self.calls.append(Call(self._port, stream, request, answer))
        return answer

    def _renew_window(self, taken: int, stream: int) -> None:
        self._socket.sendall(self._frames.window_update(0, taken) + self._frames.window_update(stream, taken))

    # Requests.

    def put(self, key: bytes, value: bytes, lease: int = 0) -> pb.PutResponse:
        return self.call("/etcdserverpb.KV/Put", pb.PutRequest(key=key, value=value, lease=lease), pb.PutResponse)

    def delete(self, key: bytes, range_end: bytes = b"") -> pb.DeleteRangeResponse:
        request = pb.DeleteRangeRequest(key=key, range_end=range_end)
        return self.call("/etcdserverpb.KV/DeleteRange", request, pb.DeleteRangeResponse)

    def txn(self, puts: dict[bytes, bytes], deletes: Iterable[bytes] = ()) -> pb.TxnResponse:
        operations = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)) for key, value in puts.items()]
        operations += [pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key)) for key in deletes]
        return self.call("/etcdserverpb.KV/Txn", pb.TxnRequest(success=operations), pb.TxnResponse)

    def compact(self, revision: int) -> pb.CompactionResponse:
        request = pb.CompactionRequest(revision=revision, physical=True)
        return self.call("/etcdserverpb.KV/Compact", request, pb.CompactionResponse)

    def grant(self, ttl_s: int) -> int:
        return self.call("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=ttl_s), pb.LeaseGrantResponse).ID

    def revoke(self, lease: int) -> pb.LeaseRevokeResponse:
        return self.call("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), pb.LeaseRevokeResponse)

    def defragment(self) -> None:
        self.call("/etcdserverpb.Maintenance/Defragment", pb.DefragmentRequest(), pb.DefragmentResponse)

    def status(self) -> pb.StatusResponse:
        return self.call("/etcdserverpb.Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)

    def add_learner(self, peer_url: str) -> int:
        request = pb.MemberAddRequest(peerURLs=[peer_url], isLearner=True)
        return self.call("/etcdserverpb.Cluster/MemberAdd", request, pb.MemberAddResponse).member.ID

    def remove_member(self, number: int) -> None:
        self.call("/etcdserverpb.Cluster/MemberRemove", pb.MemberRemoveRequest(ID=number), pb.MemberRemoveResponse)


def answered(events: Iterable[Event], port: int) -> dict[tuple[int, int], int]:
    """When answers left a member.

    Args: port is the member's client port.
    Returns: by the client's port and the stream, the number of the event that sent the first part of its message.
    """
    unread: dict[int, bytes] = {}
    found: dict[tuple[int, int], int] = {}
    for number, event in enumerate(events):
        if not isinstance(event, Sent) or event.local != port:
            continue
        data = unread.get(event.remote, b"") + event.data
        while len(data) >= 9 and len(data) >= 9 + (length := int.from_bytes(data[:3], "big")):
            stream = int.from_bytes(data[5:9], "big") & 0x7FFF_FFFF
            if data[3] == _DATA:
                found.setdefault((event.remote, stream), number)
            data = data[9 + length :]
        unread[event.remote] = data
    return found
