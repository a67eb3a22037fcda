"""A client that never tries again: one call is one request to one member, so its outcome means what it says."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc

from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb

_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.max_receive_message_length", -1),
)


class RawClient:
    """Calls to one member. Every call raises grpc.RpcError when it fails or takes longer than `timeout_s`."""

    def __init__(self, url: str) -> None:
        self._channel = grpc.insecure_channel(url.removeprefix("http://"), options=_OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def put(self, key: str, value: str, timeout_s: float = 5.0) -> int:
        """The revision of the write."""
        call = self._channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=pb.PutRequest.SerializeToString,
            response_deserializer=pb.PutResponse.FromString,
        )
        answer = call(pb.PutRequest(key=key.encode(), value=value.encode()), timeout=timeout_s)
        return int(answer.header.revision)

    def txn(self, puts: dict[str, str], timeout_s: float = 30.0) -> int:
        """All of them in one transaction; its revision."""
        operations = [
            pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value.encode()))
            for key, value in puts.items()
        ]
        call = self._channel.unary_unary(
            "/etcdserverpb.KV/Txn",
            request_serializer=pb.TxnRequest.SerializeToString,
            response_deserializer=pb.TxnResponse.FromString,
        )
        return int(call(pb.TxnRequest(success=operations), timeout=timeout_s).header.revision)

    def get(
        self, key: str, *, serializable: bool = False, timeout_s: float = 5.0
    ) -> tuple[int, mvccpb.KeyValue | None]:
        """The revision of the store at the read, and what the key holds."""
        answer = self._range(pb.RangeRequest(key=key.encode(), serializable=serializable), timeout_s)
        return answer.header.revision, answer.kvs[0] if answer.kvs else None

    def all(self, *, serializable: bool = False, timeout_s: float = 30.0) -> dict[str, mvccpb.KeyValue]:
        """Every key."""
        request = pb.RangeRequest(key=b"\0", range_end=b"\0", serializable=serializable)
        return {found.key.decode(): found for found in self._range(request, timeout_s).kvs}

    def _range(self, request: pb.RangeRequest, timeout_s: float) -> pb.RangeResponse:
        call = self._channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        answer: pb.RangeResponse = call(request, timeout=timeout_s)
        return answer

    def compact(self, revision: int, timeout_s: float = 30.0) -> None:
        """Forget what is older, and wait until that is done."""
        call = self._channel.unary_unary(
            "/etcdserverpb.KV/Compact",
            request_serializer=pb.CompactionRequest.SerializeToString,
            response_deserializer=pb.CompactionResponse.FromString,
        )
        call(pb.CompactionRequest(revision=revision, physical=True), timeout=timeout_s)

    def status(self, timeout_s: float = 5.0) -> pb.StatusResponse:
        call = self._channel.unary_unary(
            "/etcdserverpb.Maintenance/Status",
            request_serializer=pb.StatusRequest.SerializeToString,
            response_deserializer=pb.StatusResponse.FromString,
        )
        answer: pb.StatusResponse = call(pb.StatusRequest(), timeout=timeout_s)
        return answer

    def hash_kv(self, revision: int = 0, timeout_s: float = 30.0) -> int:
        call = self._channel.unary_unary(
            "/etcdserverpb.Maintenance/HashKV",
            request_serializer=pb.HashKVRequest.SerializeToString,
            response_deserializer=pb.HashKVResponse.FromString,
        )
        return int(call(pb.HashKVRequest(revision=revision), timeout=timeout_s).hash)

    def member_remove(self, member: int, timeout_s: float = 10.0) -> None:
        call = self._channel.unary_unary(
            "/etcdserverpb.Cluster/MemberRemove",
            request_serializer=pb.MemberRemoveRequest.SerializeToString,
            response_deserializer=pb.MemberRemoveResponse.FromString,
        )
        call(pb.MemberRemoveRequest(ID=member), timeout=timeout_s)

    def member_add(self, peer_url: str, timeout_s: float = 10.0) -> int:
        """Add a voter; its ID."""
        call = self._channel.unary_unary(
            "/etcdserverpb.Cluster/MemberAdd",
            request_serializer=pb.MemberAddRequest.SerializeToString,
            response_deserializer=pb.MemberAddResponse.FromString,
        )
        return int(call(pb.MemberAddRequest(peerURLs=[peer_url]), timeout=timeout_s).member.ID)

    def snapshot_bytes(self, timeout_s: float = 60.0) -> int:
        """Take a snapshot, count its bytes, throw it away."""
        call = self._channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=pb.SnapshotRequest.SerializeToString,
            response_deserializer=pb.SnapshotResponse.FromString,
        )
        return sum(len(part.blob) for part in call(pb.SnapshotRequest(), timeout=timeout_s))
