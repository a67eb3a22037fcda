"""What the leader does about leases by the clock, and only as long as it leads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etcdops.clock import ManualClock
from etcdops.ids import LeaseID
from etcdops.node.api.errors import LEADER_CHANGED, EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_LEASE_CHECKPOINT, FIELD_LEASE_REVOKE
from etcdops.node.lease.expiry import LeaseExpiry
from etcdops.node.lease.lessor import CHECKPOINT_INTERVAL_S, Lessor
from tests.node.lease.test_lessor import Table


class Owner:
    """A member that finds out whether it still leads when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lessor = Lessor(Table(), self.clock)
        self.metrics = NodeMetrics()
        self.is_leader = True
        self.asked: list[Callable[[EtcdError | None], None]] = []
        self.proposed: list[int] = []
        self.lessor.promote(0.0)
        self.lessor.grant(LeaseID(1), 400)

    def propose(self, field: int, request: bytes, done: Callable[[Outcome], None], *, as_leader: bool = False) -> None:
        assert as_leader, "the next leader has given all leases new time"
        self.proposed.append(field)

    def linearize(self, done: Callable[[EtcdError | None], None]) -> None:
        self.asked.append(done)


@pytest.mark.parametrize(
    ("asleep_s", "field"), [(CHECKPOINT_INTERVAL_S, FIELD_LEASE_CHECKPOINT), (401.0, FIELD_LEASE_REVOKE)]
)
def test_a_member_that_slept_asks_first_whether_it_still_leads(asleep_s: float, field: int) -> None:
    """Others may have renewed the lease elsewhere: neither its end nor its checkpoint may come from an old leader.

    Source: etcd server/etcdserver/server.go, ensureLeadership.
    """
    for error in (LEADER_CHANGED, None):
        owner = Owner()
        owner.clock.advance(asleep_s)
        LeaseExpiry(owner).tick()
        assert owner.proposed == []
        (answer,) = owner.asked
        answer(error)
        assert owner.proposed == ([] if error else [field])


def test_a_lease_that_got_new_time_meanwhile_is_not_revoked() -> None:
    """Between the look at the clock and the answer another leader came and went: clients were told that it lives."""
    owner = Owner()
    owner.clock.advance(401.0)
    LeaseExpiry(owner).tick()
    (answer,) = owner.asked
    owner.lessor.demote()
    owner.lessor.promote(1.0)
    answer(None)
    assert owner.proposed == []
