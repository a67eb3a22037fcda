"""Ending leases whose time is over, and noting down how long the others still have: the leader's duty.

Nothing happens here that is not replicated: a revocation is proposed like a client's. Before that the member makes
sure that it still leads: one that was asleep finds every lease overdue, or nearly so. What it proposes is for its own
log: handed to the next leader, as requests of clients are, it would end leases which that one has given new time.
Source: etcd server/lease/lessor.go, runLoop; server/etcdserver/server.go, revokeExpiredLeases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from etcdops.ids import LeaseID
from etcdops.node.api.errors import EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_LEASE_CHECKPOINT, FIELD_LEASE_REVOKE
from etcdops.node.lease.lessor import REVOKES_PER_SECOND_MAX, Lessor
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto.wire import varint_field

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
_REVOKES_PER_TICK = int(REVOKES_PER_SECOND_MAX * INTERVAL_S)
_LEASE_ID = 1


class LeaseOwner(Protocol):
    """The member: ServerPort has all of it."""

    lessor: Lessor
    metrics: NodeMetrics

    @property
    def is_leader(self) -> bool: ...
    def propose(
        self, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False
    ) -> None: ...
    def linearize(self, done: Callable[[EtcdError | None], None]) -> None: ...


class LeaseExpiry:
    """Called every `INTERVAL_S` by whoever keeps time."""

    def __init__(self, owner: LeaseOwner) -> None:
        self._owner = owner

    def tick(self) -> None:
        """Propose what is due. Does nothing on a member that is not the primary."""
        lessor = self._owner.lessor
        if not lessor.is_primary:
            return
        expired = lessor.expired(_REVOKES_PER_TICK)
        if expired:
            self._owner.linearize(lambda error: self._revoke(expired, error))
        due = lessor.due_checkpoints()
        if due:
            self._owner.linearize(lambda error: self._checkpoint(due, error))

    def _revoke(self, expired: list[LeaseID], error: EtcdError | None) -> None:
        if error is not None or not self._owner.is_leader:
            log.warning("Ignore the lease revoking request because current member isn't a leader")
            return
        lessor = self._owner.lessor
        for lease in expired:
            if not lessor.has_ended(lease):
                # Meanwhile another leader came and went: this one then gave every lease new time.
                continue
            revoke = varint_field(_LEASE_ID, lease)
            self._owner.propose(FIELD_LEASE_REVOKE, revoke, self._revoked(lease), as_leader=True)

    def _checkpoint(self, due: list[LeaseID], error: EtcdError | None) -> None:
        if error is not None or not self._owner.is_leader:
            # Renewals that another leader has seen meanwhile are unknown here.
            log.warning("Ignore the checkpoint request because current member isn't a leader")
            return
        checkpoints = self._owner.lessor.begin_checkpoints(due)
        if not checkpoints:
            return
        request = pb.LeaseCheckpointRequest(
            checkpoints=[pb.LeaseCheckpoint(ID=lease, remaining_TTL=left_s) for lease, left_s in checkpoints]
        )
        self._owner.propose(FIELD_LEASE_CHECKPOINT, request.SerializeToString(), _ignore, as_leader=True)

    def _revoked(self, lease: LeaseID) -> Callable[[Outcome], None]:
        def done(outcome: Outcome) -> None:
            if outcome.error is None:
                self._owner.metrics.leases_expired += 1
            else:
                log.warning(
                    "failed to revoke lease",
                    extra=fields(lease_id=format(lease & 0xFFFF_FFFF_FFFF_FFFF, "016x"), error=outcome.error.text),
                )

        return done


def _ignore(outcome: Outcome) -> None:
    """A lost checkpoint comes again after the next interval."""
