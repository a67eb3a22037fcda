"""What one member says of itself or has done to itself: status, alarms, hashes, defragmentation, snapshots."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import BinaryIO

import grpc

from etcdops.client import methods
from etcdops.client.caller import Caller
from etcdops.client.channels import Connection
from etcdops.client.failures import Failure, refusal_error
from etcdops.client.retry import Action, decide
from etcdops.client.view import HashKV, MemberStatus
from etcdops.errors import EtcdopsError, SnapshotCorrupt, Unreachable
from etcdops.ids import LogIndex, MemberID, Revision, Term
from etcdops.proto import etcdserverpb_pb2 as pb

HASH_BYTES = hashlib.sha256().digest_size
CHUNK_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a snapshot has come. `total_bytes` is what the member announced with the last chunk."""

    received_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ReceivedSnapshot:
    """A snapshot that arrived complete: its hash was checked. `size_bytes` counts the hash at its end."""

    endpoint: str
    size_bytes: int
    sha256: str
    version: str
    """Storage version as the member says (3.6 and newer), "" otherwise."""


class Maintenance:
    """The Maintenance service. `endpoint` names the member that is meant; errors as `Caller.unary`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def status(self, endpoint: str, *, timeout: float | None = None) -> pb.StatusResponse:
        """What the member behind `endpoint` says about itself; works without quorum."""
        return await self._caller.unary(methods.STATUS, pb.StatusRequest(), timeout=timeout, endpoint=endpoint)

    async def alarms(self, *, timeout: float | None = None, endpoint: str | None = None) -> pb.AlarmResponse:
        """All alarms of the cluster. Takes a quorum."""
        request = pb.AlarmRequest(action=pb.AlarmRequest.GET)
        return await self._caller.unary(methods.ALARM_GET, request, timeout=timeout, endpoint=endpoint)

    async def disarm(
        self, member: MemberID, alarm: pb.AlarmType.ValueType, *, timeout: float | None = None
    ) -> pb.AlarmResponse:
        """Take back one alarm; it comes again when its cause is still there."""
        request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=member, alarm=alarm)
        return await self._caller.unary(methods.ALARM_SET, request, timeout=timeout)

    async def hash_kv(
        self, endpoint: str, *, revision: Revision | int = 0, timeout: float | None = None
    ) -> pb.HashKVResponse:
        """The hash of the member's keys up to `revision` (0 = its newest). Raises: Compacted, or Refused if too new."""
        request = pb.HashKVRequest(revision=revision)
        return await self._caller.unary(methods.HASH_KV, request, timeout=timeout, endpoint=endpoint)

    async def hash(self, endpoint: str, *, timeout: float | None = None) -> pb.HashResponse:
        """The hash of the member's whole backend; members rarely agree on it, unlike on `hash_kv`."""
        return await self._caller.unary(methods.HASH, pb.HashRequest(), timeout=timeout, endpoint=endpoint)

    async def defragment(self, endpoint: str, *, timeout: float = 120.0) -> pb.DefragmentResponse:
        """Rewrite the member's file without its holes. The member answers nothing else meanwhile."""
        request = pb.DefragmentRequest()
        return await self._caller.unary(methods.DEFRAGMENT, request, timeout=timeout, endpoint=endpoint)

    async def move_leader(
        self, target: MemberID, *, endpoint: str, timeout: float | None = None
    ) -> pb.MoveLeaderResponse:
        """Hand leadership to `target`; `endpoint` must be the leader's. Raises: Refused ("not leader")."""
        request = pb.MoveLeaderRequest(targetID=target)
        return await self._caller.unary(methods.MOVE_LEADER, request, timeout=timeout, endpoint=endpoint)

    async def downgrade(
        self, action: pb.DowngradeRequest.DowngradeAction.ValueType, version: str, *, timeout: float | None = None
    ) -> pb.DowngradeResponse:
        """Validate, enable or cancel a downgrade to `version` ("3.5"); 3.5 and newer."""
        request = pb.DowngradeRequest(action=action, version=version)
        return await self._caller.unary(methods.DOWNGRADE, request, timeout=timeout)

    async def snapshot(
        self,
        file: BinaryIO,
        *,
        endpoint: str | None = None,
        progress: Callable[[SnapshotProgress], None] | None = None,
        chunk_timeout: float = CHUNK_TIMEOUT_S,
    ) -> ReceivedSnapshot:
        """Write one member's snapshot, with the SHA-256 at its end, to `file` as it arrives.

        A snapshot of any size may take its time, but the stream may not stall: `chunk_timeout` is the longest wait for
        the next piece. On any error `file` holds a useless part; nothing is retried, because the file is the caller's.

        Raises: Unreachable - no member, or the stream broke or stalled; SnapshotCorrupt - the hash does not fit.
        """
        connection, metadata = await self._caller.open_stream(
            methods.SNAPSHOT, timeout=self._caller.settings.command_timeout_s, endpoint=endpoint
        )
        received = _Receiver(file)
        version = ""
        async for piece in _pieces(connection, await connection.open(), metadata, chunk_timeout, received):
            received.take(piece.blob)
            version = piece.version or version
            if progress is not None:
                progress(SnapshotProgress(received.size_bytes, received.size_bytes + piece.remaining_bytes))
        return ReceivedSnapshot(connection.endpoint.url, received.size_bytes, received.checked(connection), version)


class _Receiver:
    """Takes a snapshot's bytes: the last 32 are the hash of all before them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._tail = b""
        self.size_bytes = 0

    def take(self, blob: bytes) -> None:
        self._file.write(blob)
        self.size_bytes += len(blob)
        held = self._tail + blob
        self._hash.update(held[:-HASH_BYTES])
        self._tail = held[-HASH_BYTES:]

    def checked(self, connection: Connection) -> str:
        """The hash as hex. Raises: SnapshotCorrupt."""
        if len(self._tail) < HASH_BYTES or self._hash.digest() != self._tail:
            raise SnapshotCorrupt(
                f"the snapshot from {connection.endpoint.url} does not match the hash at its end",
                cause=f"{self.size_bytes} bytes arrived",
                hint="take it again, from another member if this repeats",
            )
        return self._tail.hex()


async def _pieces(
    connection: Connection,
    channel: grpc.aio.Channel,
    metadata: tuple[tuple[str, str], ...],
    chunk_timeout_s: float,
    received: _Receiver,
) -> AsyncIterator[pb.SnapshotResponse]:
    method = methods.SNAPSHOT
    call = channel.unary_stream(
        method.path, request_serializer=pb.SnapshotRequest.SerializeToString, response_deserializer=method.parse
    )(pb.SnapshotRequest(), metadata=metadata)
    try:
        while True:
            async with asyncio.timeout(chunk_timeout_s):
                piece = await call.read()
            if not isinstance(piece, pb.SnapshotResponse):
                return  # grpc.aio's end-of-stream mark; a stream that failed raises instead
            yield piece
    except TimeoutError as error:
        stalled = connection.failure("DEADLINE_EXCEEDED", f"nothing more within {chunk_timeout_s:g} s")
        raise _broken(stalled, received) from error
    except grpc.aio.AioRpcError as error:
        raise _broken(connection.failure(error.code().name, error.details() or ""), received) from error
    finally:
        call.cancel()


def _broken(failure: Failure, received: _Receiver) -> EtcdopsError:
    if decide(methods.SNAPSHOT.effect, failure.code, failure.text) in (Action.REFUSED, Action.REFRESH):
        return refusal_error(failure, methods.SNAPSHOT.name)
    return Unreachable(
        f"the snapshot from {failure.endpoint} broke off after {received.size_bytes} bytes",
        cause=failure.reason,
        hint="take it again; --endpoints chooses another member",
    )


def to_member_status(answer: pb.StatusResponse) -> MemberStatus:
    """The answer as our own value."""
    return MemberStatus(
        version=answer.version,
        db_size_bytes=answer.dbSize,
        db_size_in_use_bytes=answer.dbSizeInUse,
        db_quota_bytes=answer.dbSizeQuota,
        leader=MemberID(answer.leader),
        raft_term=Term(answer.raftTerm),
        raft_index=LogIndex(answer.raftIndex),
        raft_applied_index=LogIndex(answer.raftAppliedIndex),
        revision=Revision(answer.header.revision),
        errors=tuple(answer.errors),
        is_learner=answer.isLearner,
    )


def to_hash_kv(answer: pb.HashKVResponse, revision: Revision) -> HashKV:
    """The answer as our own value. Before 3.6 members do not repeat the revision, so the one asked for is taken."""
    return HashKV(answer.hash, Revision(answer.compact_revision), Revision(answer.hash_revision or revision))
