"""The lessor: which leases exist, what hangs on them, and, on the leader, when each one ends.

What is replicated (grant, revoke, checkpoint, attachments) is called by the applier and gives the same result on every
member. What is not (expiry, renewal) happens on the primary only, which is the raft leader: `promote` and `demote`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable

from etcdops.clock import Clock
from etcdops.ids import LeaseID
from etcdops.node.api.errors import LEASE_EXISTS, LEASE_NOT_FOUND, LEASE_TTL_TOO_LARGE, NOT_PRIMARY, EtcdError
from etcdops.node.lease.lease import FOREVER, Lease
from etcdops.node.storage.tables import LeaseTable, StoredLease

NO_LEASE = LeaseID(0)
TTL_S_MAX = 9_000_000_000
"""Larger ones overflow Go's nanoseconds. Source: etcd server/lease/lessor.go, MaxLeaseTTL."""

REVOKES_PER_SECOND_MAX = 1000
CHECKPOINT_INTERVAL_S = 300.0
CHECKPOINT_BATCH_MAX = 1000
EXPIRED_RETRY_S = 3.0
"""A lease found expired is looked at again after this time, in case its revocation got lost."""

RenewDone = Callable[[int, EtcdError | None], None]


def minimum_ttl_s(election_timeout_s: float) -> int:
    """The smallest TTL granted: a leader change must not take longer than a lease lives.

    Source: etcd server/etcdserver/server.go, NewServer (minTTL).
    """
    return math.ceil(3 * election_timeout_s / 2)


class Lessor:
    """All leases of one member."""

    def __init__(self, table: LeaseTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._leases: dict[LeaseID, Lease] = {}
        self._lease_of: dict[bytes, LeaseID] = {}
        self._primary = False
        # Heaps of (time, lease ID). An entry whose lease is gone or was moved is dropped when it comes up.
        self._expiries: list[tuple[float, LeaseID]] = []
        self._checkpoints: list[tuple[float, LeaseID]] = []
        self._checkpoint_scheduled: set[LeaseID] = set()  # Invariant: exactly the leases in `_checkpoints`, once each.
        self._waiting_for_end: dict[LeaseID, list[RenewDone]] = {}

    def recover(self, table: LeaseTable, attachments: Iterable[tuple[bytes, LeaseID]]) -> None:
        """Start over from the stored leases and the current (key, lease) pairs.

        After opening the store and after installing a snapshot. A primary stays one, with full TTLs.
        """
        self._table = table
        leases = table.all()
        self._leases = {stored.id: Lease(stored.id, stored.ttl, stored.remaining_ttl) for stored in leases}
        self._lease_of = {}
        for key, lease in attachments:
            self.attach(key, lease)
        self._fail_waiting(NOT_PRIMARY)
        if self._primary:
            self.promote(0.0)

    # What every member does alike, called by the applier.

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: object) -> bool:
        return lease in self._leases

    def get(self, lease: LeaseID) -> Lease | None:
        return self._leases.get(lease)

    def leases(self) -> list[Lease]:
        """All of them, soonest to end first (by ID where that is equal, as on a follower)."""
        return sorted(self._leases.values(), key=lambda lease: (lease.expires_at, lease.id))

    def grant(self, lease: LeaseID, ttl_s: int) -> EtcdError | None:
        """Create a lease. Nothing changes on an error.

        A TTL below 1 s becomes 1 s; the API has raised it to `minimum_ttl_s` before proposing, so that members
        with different election timeouts store the same.
        """
        if lease == NO_LEASE:
            return LEASE_NOT_FOUND
        if ttl_s > TTL_S_MAX:
            return LEASE_TTL_TOO_LARGE
        if lease in self._leases:
            return LEASE_EXISTS
        granted = self._leases[lease] = Lease(lease, max(ttl_s, 1))
        self._table.put(StoredLease(lease, granted.ttl_s, 0))
        if self._primary:
            self._refresh(granted, 0.0)
            self._schedule_checkpoint(granted)
        return None

    def revoke(self, lease: LeaseID) -> None:
        """Forget a lease that exists; the caller deletes its keys in the same transaction."""
        revoked = self._leases.pop(lease)
        self._table.delete(lease)
        for key in revoked.keys:
            self._lease_of.pop(key, None)
        for done in self._waiting_for_end.pop(lease, ()):
            done(0, LEASE_NOT_FOUND)

    def checkpoint(self, lease: LeaseID, remaining_ttl_s: int) -> None:
        """Remember how long a lease has left; an unknown one is ignored. It counts from the next `promote` on."""
        found = self._leases.get(lease)
        if found is None:
            return
        found.remaining_ttl_s = remaining_ttl_s
        self._table.put(StoredLease(lease, found.ttl_s, remaining_ttl_s))
        if self._primary:
            self._schedule_checkpoint(found)

    def attach(self, key: bytes, lease: LeaseID) -> None:
        """Tie `key` to `lease`, taking it from the one it had. NO_LEASE just unties it; so does an unknown lease."""
        previous = self._lease_of.get(key, NO_LEASE)
        if previous == lease:
            return
        if previous != NO_LEASE:
            self.detach(key)
        found = self._leases.get(lease)
        if found is not None:
            found.keys.add(key)
            self._lease_of[key] = lease

    def detach(self, key: bytes) -> None:
        """`key` was deleted or has no lease any more."""
        lease = self._leases.get(self._lease_of.pop(key, NO_LEASE))
        if lease is not None:
            lease.keys.discard(key)

    @property
    def has_attachments(self) -> bool:
        """False lets the applier skip `detach` altogether."""
        return bool(self._lease_of)

    def lease_of(self, key: bytes) -> LeaseID:
        return self._lease_of.get(key, NO_LEASE)

    # What only the primary does.

    @property
    def is_primary(self) -> bool:
        return self._primary

    def promote(self, extend_s: float) -> None:
        """This member became leader: every lease starts anew with what it had left plus `extend_s`.

        `extend_s` is an election timeout: nobody could renew while there was no leader. When more leases would end
        within one second than may be revoked in it, the later ones are put off.
        Source: etcd server/lease/lessor.go, lessor.Promote.
        """
        self._primary = True
        self._clear_schedules()
        for lease in self._leases.values():
            # Those of earlier leaders are applied before anybody can renew here: that asks for a read first.
            lease.checkpoints_begun = lease.checkpoints_void = 0
            self._refresh(lease, extend_s)
            self._schedule_checkpoint(lease)
        if len(self._leases) >= REVOKES_PER_SECOND_MAX:
            self._spread(extend_s)

    def _spread(self, extend_s: float) -> None:
        now = self._clock.monotonic()
        expires_per_second = 3 * REVOKES_PER_SECOND_MAX // 4
        ordered = self.leases()
        base = ordered[0].remaining_s(now)
        window_end = base + 1.0
        expires = 0
        for lease in ordered:
            remaining = lease.remaining_s(now)
            if remaining > window_end:
                base, window_end, expires = remaining, remaining + 1.0, 1
                continue
            expires += 1
            if expires <= expires_per_second:
                continue
            # A lease n seconds past the base is put off by only as much as it lacks.
            delay = expires / expires_per_second - (remaining - base)
            window_end = base + delay
            self._refresh(lease, delay + extend_s)

    def demote(self) -> None:
        """This member leads no more: its clock no longer ends any lease, and waiting renewals must go elsewhere."""
        self._primary = False
        self._clear_schedules()
        for lease in self._leases.values():
            lease.expires_at = FOREVER
        self._fail_waiting(NOT_PRIMARY)

    def _clear_schedules(self) -> None:
        self._expiries.clear()
        self._checkpoints.clear()
        self._checkpoint_scheduled.clear()

    def _fail_waiting(self, error: EtcdError) -> None:
        waiting, self._waiting_for_end = self._waiting_for_end, {}
        for callbacks in waiting.values():
            for done in callbacks:
                done(0, error)

    def renew(self, lease: LeaseID, done: RenewDone) -> None:
        """Give a lease its full life again: `done(ttl_s, None)`.

        A lease that ended but is not yet revoked cannot be renewed: `done` waits for its revocation.
        The caller has made sure that this member still leads, and has had a checkpoint of 0 applied before this
        when the lease `may_be_shortened` (a checkpoint would otherwise outlive this renewal at the next leader).
        Errors: LEASE_NOT_FOUND; NOT_PRIMARY.
        """
        if not self._primary:
            done(0, NOT_PRIMARY)
            return
        found = self._leases.get(lease)
        if found is None:
            done(0, LEASE_NOT_FOUND)
        elif found.expires_at <= self._clock.monotonic():
            self._waiting_for_end.setdefault(lease, []).append(done)
        else:
            self._refresh(found, 0.0)
            done(found.ttl_s, None)

    def _refresh(self, lease: Lease, extend_s: float) -> None:
        lease.expires_at = self._clock.monotonic() + lease.next_ttl_s + extend_s
        heapq.heappush(self._expiries, (lease.expires_at, lease.id))
        if len(self._expiries) > 64 + 4 * len(self._leases):
            # Renewals leave stale entries behind; rebuilding now and then keeps the heap near the leases' number.
            self._expiries = [(one.expires_at, one.id) for one in self._leases.values()]
            heapq.heapify(self._expiries)

    def _schedule_checkpoint(self, lease: Lease) -> None:
        if lease.next_ttl_s > CHECKPOINT_INTERVAL_S and lease.id not in self._checkpoint_scheduled:
            self._checkpoint_scheduled.add(lease.id)
            heapq.heappush(self._checkpoints, (self._clock.monotonic() + CHECKPOINT_INTERVAL_S, lease.id))

    def expired(self, count_max: int) -> list[LeaseID]:
        """Leases to revoke now, at most `count_max`. One is named again if it still exists 3 s later."""
        now = self._clock.monotonic()
        found: dict[LeaseID, None] = {}
        while self._expiries and len(found) < count_max and self._expiries[0][0] <= now:
            _, lease_id = heapq.heappop(self._expiries)
            lease = self._leases.get(lease_id)
            if lease is None or lease.expires_at > now or lease_id in found:
                continue
            found[lease_id] = None
            heapq.heappush(self._expiries, (now + EXPIRED_RETRY_S, lease_id))
        return list(found)

    def has_ended(self, lease: LeaseID) -> bool:
        """Its time is over, and it is still there to be revoked."""
        found = self._leases.get(lease)
        return found is not None and found.expires_at <= self._clock.monotonic()

    def due_checkpoints(self, count_max: int = CHECKPOINT_BATCH_MAX) -> list[LeaseID]:
        """Leases of which it is time to replicate what is left, so that the next leader does not start from the full
        TTL."""
        now = self._clock.monotonic()
        found: list[LeaseID] = []
        while self._checkpoints and len(found) < count_max and self._checkpoints[0][0] <= now:
            _, lease_id = heapq.heappop(self._checkpoints)
            self._checkpoint_scheduled.discard(lease_id)
            lease = self._leases.get(lease_id)
            if lease is None or lease.expires_at <= now:
                continue
            self._schedule_checkpoint(lease)
            found.append(lease_id)
        return found

    def begin_checkpoints(self, leases: Iterable[LeaseID]) -> list[tuple[LeaseID, int]]:
        """(lease, whole seconds left) of those that run, to be proposed at once: a renewal from here on voids it.

        etcd notices a checkpoint only when it is applied: one that was proposed before a renewal and is applied after
        it shortens the lease at the next leader.
        """
        now = self._clock.monotonic()
        begun: list[tuple[LeaseID, int]] = []
        for lease_id in leases:
            lease = self._leases.get(lease_id)
            if lease is None or lease.expires_at <= now:
                continue
            remaining_s = math.ceil(lease.remaining_s(now))
            if remaining_s < lease.ttl_s:
                lease.checkpoints_begun += 1
                begun.append((lease_id, remaining_s))
        return begun

    def checkpoints_are_void(self, lease: LeaseID, count: int) -> None:
        """A checkpoint of 0 was applied that was proposed when so many had been begun."""
        found = self._leases.get(lease)
        if found is not None:
            found.checkpoints_void = max(found.checkpoints_void, count)
