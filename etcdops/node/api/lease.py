"""The Lease service. What changes leases goes through the log; what is about time is asked of the leader.

Source: etcd server/etcdserver/v3_server.go, LeaseGrant to LeaseLeases; api/v3rpc/lease.go.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from google.protobuf.message import DecodeError

from etcdops.ids import LeaseID
from etcdops.node.api.answer import Answer, Handler, Headers, decode
from etcdops.node.api.errors import (
    LEADER_CHANGED,
    LEASE_NOT_FOUND,
    NOT_PRIMARY,
    EtcdError,
)
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.api.quota import QuotaGuard
from etcdops.node.api.streams import OpenStreams
from etcdops.node.api.undecodable import unreadable_message
from etcdops.node.apply import wire
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.quota import LEASE_BYTES
from etcdops.node.lease.lease import FOREVER
from etcdops.node.lease.lessor import NO_LEASE, minimum_ttl_s
from etcdops.node.rpc.service import RpcError, StreamCall
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto.wire import varint_field

_ID, _TTL, _GRANTED_TTL = 2, 3, 4
_KEYS_TAG = b"\x2a"
_LEASES_TAG = b"\x12"
_LEASE_STATUS_ID = 1

RENEWALS_MAX = 1024
"""Renewals under way in one stream, above which its requests wait."""


class LeaseService:
    """Handlers of etcdserverpb.Lease, and the leader's half that other members ask for over the peer port."""

    def __init__(self, server: ServerPort, headers: Headers, quota: QuotaGuard, streams: OpenStreams) -> None:
        self._server = server
        self._headers = headers
        self._quota = quota
        self._streams = streams

    def handlers(self) -> dict[str, Handler]:
        return {
            "/etcdserverpb.Lease/LeaseGrant": self.grant,
            "/etcdserverpb.Lease/LeaseRevoke": self.revoke,
            "/etcdserverpb.Lease/LeaseTimeToLive": self.time_to_live,
            "/etcdserverpb.Lease/LeaseLeases": self.leases,
        }

    def grant(self, message: bytes, answer: Answer) -> None:
        if not self._quota.allows(LEASE_BYTES, answer):
            return
        request = decode(pb.LeaseGrantRequest, message)
        if request.ID == NO_LEASE:
            request.ID = self._server.request_ids.next_lease()
        # Raised here and not when applied: members may differ in their election timeouts.
        request.TTL = max(request.TTL, minimum_ttl_s(self._server.limits.election_timeout_s))
        self._server.propose(wire.FIELD_LEASE_GRANT, request.SerializeToString(), answer.outcome)

    def revoke(self, message: bytes, answer: Answer) -> None:
        decode(pb.LeaseRevokeRequest, message)
        self._server.propose(wire.FIELD_LEASE_REVOKE, message, answer.outcome)

    def leases(self, message: bytes, answer: Answer) -> None:
        decode(pb.LeaseLeasesRequest, message)
        statuses = (varint_field(_LEASE_STATUS_ID, lease.id) for lease in self._server.lessor.leases())
        answer.ok(wire.repeated(_LEASES_TAG, statuses))

    def time_to_live(self, message: bytes, answer: Answer) -> None:
        request = decode(pb.LeaseTimeToLiveRequest, message)
        done = partial(self._answer_time_to_live, LeaseID(request.ID), answer)
        if self._server.is_leader:
            self.local_time_to_live(request, done)
        else:
            self._server.forward_lease_time_to_live(message, done)

    def local_time_to_live(
        self, request: pb.LeaseTimeToLiveRequest, done: Callable[[bytes, EtcdError | None], None]
    ) -> None:
        """The leader's answer: an encoded LeaseTimeToLiveResponse minus its header; LEASE_NOT_FOUND, LEADER_CHANGED."""
        self._server.linearize(partial(self._local_time_to_live, request, done))

    def _local_time_to_live(
        self,
        request: pb.LeaseTimeToLiveRequest,
        done: Callable[[bytes, EtcdError | None], None],
        error: EtcdError | None,
    ) -> None:
        lease = self._server.lessor.get(LeaseID(request.ID))
        if error is not None:
            done(b"", error)
        elif lease is None:
            done(b"", LEASE_NOT_FOUND)
        elif lease.expires_at == FOREVER:
            done(b"", LEADER_CHANGED)
        else:
            remaining_s = int(lease.remaining_s(self._server.clock.monotonic()))
            keys = sorted(lease.keys) if request.keys else []
            body = (
                varint_field(_ID, lease.id) + varint_field(_TTL, remaining_s) + varint_field(_GRANTED_TTL, lease.ttl_s)
            )
            done(body + wire.repeated(_KEYS_TAG, keys), None)

    def _answer_time_to_live(self, lease: LeaseID, answer: Answer, body: bytes, error: EtcdError | None) -> None:
        if error is LEASE_NOT_FOUND:
            answer.ok(varint_field(_ID, lease) + varint_field(_TTL, -1))
        elif error is not None:
            answer.fail(error)
        else:
            answer.ok(body)

    def keep_alive(self, call: StreamCall, stats: RpcStats) -> None:
        KeepAliveSession(self._server, self._headers, self, self._streams, call, stats)

    def renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        """Renew here if we lead, else at the leader: done(granted TTL in seconds, None), LEASE_NOT_FOUND, NOT_PRIMARY
        (we thought we led), TIMEOUT.
        """
        if self._server.is_leader:
            self.local_renew(lease, done)
        else:
            self._server.forward_lease_renew(lease, done)

    def local_renew(self, lease: LeaseID, done: Callable[[int, EtcdError | None], None]) -> None:
        """The leader's half. It confirms that it still leads, because a deposed leader's renewal would be a lie."""
        self._server.linearize(partial(self._renew_confirmed, lease, done))

    def _renew_confirmed(
        self, lease: LeaseID, done: Callable[[int, EtcdError | None], None], error: EtcdError | None
    ) -> None:
        lessor = self._server.lessor
        if error is not None or not self._server.is_leader:
            done(0, NOT_PRIMARY)
            return
        found = lessor.get(lease)
        if found is None or not found.may_be_shortened:
            lessor.renew(lease, partial(self._renewed, done))
            return
        # A checkpoint would shorten the renewed lease at the next leader: replicate first that it is void.
        # One that was proposed and is not applied yet is in the log before this.
        void = pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=lease, remaining_TTL=0)])
        self._server.propose(
            wire.FIELD_LEASE_CHECKPOINT,
            void.SerializeToString(),
            partial(self._checkpoints_void, lease, found.checkpoints_begun, done),
        )

    def _checkpoints_void(
        self, lease: LeaseID, count: int, done: Callable[[int, EtcdError | None], None], outcome: Outcome
    ) -> None:
        if outcome.error is not None:
            done(0, outcome.error)
            return
        self._server.lessor.checkpoints_are_void(lease, count)
        # Another one may have been begun meanwhile.
        self._renew_confirmed(lease, done, None)

    def _renewed(self, done: Callable[[int, EtcdError | None], None], ttl_s: int, error: EtcdError | None) -> None:
        if error is None:
            self._server.metrics.leases_renewed += 1
        done(ttl_s, error)


class KeepAliveSession:
    """One LeaseKeepAlive stream. Renewals run side by side, so one that waits for a revocation holds up no other."""

    def __init__(
        self,
        server: ServerPort,
        headers: Headers,
        service: LeaseService,
        streams: OpenStreams,
        call: StreamCall,
        stats: RpcStats,
    ) -> None:
        self._headers = headers
        self._service = service
        self._streams = streams
        self._call = call
        self._stats = stats
        self._pending = 0
        self._half_closed = False
        self._open = True
        self._writable = True
        call.on_message = self._on_message
        call.on_half_close = self._on_half_close
        call.on_cancel = self._on_cancel
        call.on_writable = self._on_writable
        streams.opened(call, self.end)

    def _on_message(self, message: bytes) -> None:
        self._stats.received += 1
        try:
            lease = LeaseID(pb.LeaseKeepAliveRequest.FromString(message).ID)
        except DecodeError:
            self.end(unreadable_message(pb.LeaseKeepAliveRequest, message))
            return
        self._pending += 1
        if self._pending >= RENEWALS_MAX:
            self._call.pause()
        # The header is of before the renewal: its revision is never above one at which the lease was revoked.
        self._service.renew(lease, partial(self._renewed, lease, self._headers()))

    def _renewed(self, lease: LeaseID, header: bytes, ttl_s: int, error: EtcdError | None) -> None:
        self._pending -= 1
        if not self._open:
            return
        if error is not None and error is not LEASE_NOT_FOUND:
            self.end(error())
            return
        self._stats.sent += 1
        ttl = varint_field(_TTL, ttl_s) if error is None else b""
        self._writable = self._call.send(header + varint_field(_ID, lease) + ttl)
        if not self._writable:
            self._call.pause()
        elif self._pending == RENEWALS_MAX // 2:
            self._call.resume()
        self._end_if_done()

    def _on_writable(self) -> None:
        self._writable = True
        if self._pending < RENEWALS_MAX:
            self._call.resume()

    def _on_half_close(self) -> None:
        self._half_closed = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._half_closed and self._pending == 0 and self._open:
            self._close()
            self._stats.ok += 1
            self._call.end()

    def _on_cancel(self) -> None:
        self._close()
        self._stats.count_failed(1)

    def end(self, error: RpcError) -> None:
        """Finish the stream with an error: the client must try another member."""
        if self._open:
            self._close()
            self._stats.count_failed(error.code)
            self._call.end(error)

    def _close(self) -> None:
        self._open = False
        self._streams.closed(self._call)
