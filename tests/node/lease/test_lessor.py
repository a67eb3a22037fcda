"""The lessor by itself: heaps, primaries, checkpoints (L17-L23)."""

from __future__ import annotations

import random

import pytest

from etcdops.clock import ManualClock
from etcdops.ids import LeaseID
from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.node.lease.lease import FOREVER
from etcdops.node.lease.lessor import CHECKPOINT_INTERVAL_S, REVOKES_PER_SECOND_MAX, Lessor, minimum_ttl_s
from etcdops.node.storage.tables import LeaseTable, StoredLease


class Table(LeaseTable):
    """Rows in a dict."""

    def __init__(self) -> None:  # no file behind it
        self.rows: dict[LeaseID, StoredLease] = {}

    def put(self, lease: StoredLease) -> None:
        self.rows[lease.id] = lease

    def delete(self, lease_id: LeaseID) -> None:
        self.rows.pop(lease_id, None)

    def all(self) -> list[StoredLease]:
        return [self.rows[number] for number in sorted(self.rows)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def lessor(table: Table, clock: ManualClock) -> Lessor:
    made = Lessor(table, clock)
    made.promote(0.0)
    return made


def granted(lessor: Lessor, number: int, ttl_s: int) -> LeaseID:
    assert lessor.grant(LeaseID(number), ttl_s) is None
    return LeaseID(number)


def renewed(lessor: Lessor, lease: LeaseID) -> list[tuple[int, EtcdError | None]]:
    answers: list[tuple[int, EtcdError | None]] = []
    lessor.renew(lease, lambda ttl_s, error: answers.append((ttl_s, error)))
    return answers


@pytest.mark.parametrize(("election_timeout_s", "ttl_s"), [(1.0, 2), (0.5, 1), (2.0, 3), (50.0, 75)])
def test_the_smallest_ttl_outlives_an_election(election_timeout_s: float, ttl_s: int) -> None:
    """L05."""
    assert minimum_ttl_s(election_timeout_s) == ttl_s


def test_grants_are_stored_and_refused_by_rule(lessor: Lessor, table: Table) -> None:
    """L01-L04; ID 0 is never a lease."""
    granted(lessor, 1, 60)
    assert lessor.grant(LeaseID(1), 60) == errors.LEASE_EXISTS
    assert lessor.grant(LeaseID(0), 60) == errors.LEASE_NOT_FOUND
    assert lessor.grant(LeaseID(2), 9_000_000_001) == errors.LEASE_TTL_TOO_LARGE
    granted(lessor, 3, -5)
    assert table.all() == [StoredLease(LeaseID(1), 60, 0), StoredLease(LeaseID(3), 1, 0)]


def test_keys_hang_on_one_lease_at_most(lessor: Lessor) -> None:
    """P09, P10: also when it does not exist."""
    one, two = granted(lessor, 1, 60), granted(lessor, 2, 60)
    assert not lessor.has_attachments
    lessor.attach(b"a", one)
    lessor.attach(b"a", two)
    lessor.attach(b"a", two)
    held = [lessor.get(lease) for lease in (one, two)]
    assert [lease.keys for lease in held if lease] == [set(), {b"a"}]
    lessor.attach(b"a", LeaseID(99))
    assert lessor.lease_of(b"a") == 0
    lessor.attach(b"b", one)
    lessor.revoke(one)
    assert not lessor.has_attachments
    lessor.detach(b"b")


def test_only_a_primary_ends_and_renews(lessor: Lessor, clock: ManualClock) -> None:
    """L16, L22."""
    lease = granted(lessor, 1, 10)
    lessor.demote()
    clock.advance(1000)
    assert lessor.expired(10) == []
    assert renewed(lessor, lease) == [(0, errors.NOT_PRIMARY)]
    late = granted(lessor, 2, 10)
    assert {one.expires_at for one in lessor.leases()} == {FOREVER}
    lessor.promote(5.0)
    clock.advance(14.9)
    assert lessor.expired(10) == []
    clock.advance(0.1)
    assert lessor.expired(10) == [lease, late]


def test_an_expired_lease_is_named_again_after_a_while(lessor: Lessor, clock: ManualClock) -> None:
    """Its revocation may have been lost with a leader."""
    lease = granted(lessor, 1, 10)
    clock.advance(10)
    assert lessor.expired(10) == [lease]
    assert lessor.expired(10) == []
    clock.advance(3)
    assert lessor.expired(10) == [lease]
    lessor.revoke(lease)
    clock.advance(3)
    assert lessor.expired(10) == []


def test_renewals_wait_for_the_end_of_an_expired_lease(lessor: Lessor, clock: ManualClock) -> None:
    """L17: or for somebody else to become primary."""
    one, two = granted(lessor, 1, 10), granted(lessor, 2, 10)
    clock.advance(10)
    first, second = renewed(lessor, one), renewed(lessor, two)
    assert (first, second) == ([], [])
    lessor.revoke(one)
    assert first == [(0, errors.LEASE_NOT_FOUND)]
    lessor.demote()
    assert second == [(0, errors.NOT_PRIMARY)]


def test_the_number_of_revocations_is_limited(lessor: Lessor, clock: ManualClock) -> None:
    """L21: the rest comes next time."""
    for number in range(1, 31):
        granted(lessor, number, 10)
    clock.advance(10)
    found = lessor.expired(20)
    assert len(found) == 20
    assert len(lessor.expired(20)) == 10


def test_many_leases_are_spread_after_a_leader_change(lessor: Lessor, clock: ManualClock) -> None:
    """L19: fewer end in a second than may be revoked in one."""
    for number in range(1, 4 * REVOKES_PER_SECOND_MAX):
        granted(lessor, number, 60)
    lessor.promote(0.0)
    clock.advance(60)
    peaks = []
    for _ in range(10):
        peaks.append(len(lessor.expired(1_000_000)))
        clock.advance(1)
    assert sum(peaks) >= 4 * REVOKES_PER_SECOND_MAX - 1
    assert max(peaks[:3]) <= REVOKES_PER_SECOND_MAX
    assert all(one.expires_at >= clock.monotonic() - 10 for one in lessor.leases())


def checkpoints(lessor: Lessor) -> list[tuple[LeaseID, int]]:
    return lessor.begin_checkpoints(lessor.due_checkpoints())


def test_long_leases_are_checkpointed(lessor: Lessor, clock: ManualClock, table: Table) -> None:
    """L20: every five minutes while they are not renewed, and that is what the next leader counts from."""
    long, short = granted(lessor, 1, 1000), granted(lessor, 2, 200)
    assert lessor.due_checkpoints() == []
    clock.advance(CHECKPOINT_INTERVAL_S)
    assert checkpoints(lessor) == [(long, 700)]
    lessor.checkpoint(long, 700)
    lessor.checkpoint(LeaseID(99), 7)
    assert table.rows[long] == StoredLease(long, 1000, 700)
    clock.advance(CHECKPOINT_INTERVAL_S)
    assert checkpoints(lessor) == [(long, 400)]
    lessor.demote()
    lessor.promote(1.0)
    expiries = {one.id: one.expires_at - clock.monotonic() for one in lessor.leases()}
    assert expiries == {long: 701, short: 201}


def test_a_lost_checkpoint_is_made_again(lessor: Lessor, clock: ManualClock) -> None:
    """Nothing depends on one proposal arriving."""
    long = granted(lessor, 1, 10_000)
    for number in range(1, 4):
        clock.advance(CHECKPOINT_INTERVAL_S)
        assert checkpoints(lessor) == [(long, 10_000 - number * 300)]


def test_what_was_renewed_or_ended_meanwhile_is_not_checkpointed(lessor: Lessor, clock: ManualClock) -> None:
    """Between the look at the clock and the proposal the member asks whether it still leads."""
    renewed_one, ended, gone = granted(lessor, 1, 1000), granted(lessor, 2, 301), granted(lessor, 3, 1000)
    clock.advance(CHECKPOINT_INTERVAL_S)
    due = lessor.due_checkpoints()
    assert due == [renewed_one, ended, gone]
    clock.advance(1)
    assert renewed(lessor, renewed_one) == [(1000, None)]
    lessor.revoke(gone)
    assert lessor.begin_checkpoints(due) == []


def test_a_checkpoint_under_way_counts_until_it_is_void(lessor: Lessor, clock: ManualClock) -> None:
    """One that was begun later is not void, and a new leader knows of none: it has applied all of the old one's."""
    long = granted(lessor, 1, 10_000)
    held = lessor.get(long)
    assert held is not None
    for number in (1, 2):
        clock.advance(CHECKPOINT_INTERVAL_S)
        checkpoints(lessor)
        assert (held.checkpoints_begun, held.may_be_shortened) == (number, True)
    lessor.checkpoints_are_void(long, 1)
    assert held.may_be_shortened
    lessor.checkpoints_are_void(long, 2)
    assert not held.may_be_shortened
    clock.advance(CHECKPOINT_INTERVAL_S)
    checkpoints(lessor)
    lessor.demote()
    lessor.promote(1.0)
    assert not held.may_be_shortened


def test_renewing_for_ever_takes_no_memory(lessor: Lessor, clock: ManualClock) -> None:
    """A keep-alive every few seconds for months."""
    lease = granted(lessor, 1, 1000)
    for _ in range(5000):
        clock.advance(10)
        assert renewed(lessor, lease) == [(1000, None)]
        checkpoints(lessor)
    assert len(lessor._expiries) < 100
    assert len(lessor._checkpoints) == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_lease_is_named_before_its_time_and_all_are_soon_after(seed: int) -> None:
    """L23, L24: against a model that knows every lease's end."""
    draw = random.Random(seed)
    clock = ManualClock()
    lessor = Lessor(Table(), clock)
    lessor.promote(0.0)
    ends: dict[LeaseID, float] = {}
    for number in range(1, 2000):
        clock.advance(draw.random())
        match draw.randrange(4):
            case 0:
                ttl_s = draw.randrange(1, 30)
                ends[granted(lessor, number, ttl_s)] = clock.monotonic() + ttl_s
            case 1 if ends:
                lease = draw.choice(list(ends))
                answers = renewed(lessor, lease)
                if answers:
                    ends[lease] = clock.monotonic() + answers[0][0]
            case 2 if ends:
                revoked = draw.choice(list(ends))
                lessor.revoke(revoked)
                del ends[revoked]
            case _:
                for lease in lessor.expired(1000):
                    assert ends.pop(lease) <= clock.monotonic()
                    lessor.revoke(lease)
                assert all(end > clock.monotonic() for end in ends.values())


def test_recovering_starts_from_what_is_stored(table: Table, clock: ManualClock) -> None:
    """L25: leases, attachments, and renewals that waited for the old state."""
    table.put(StoredLease(LeaseID(1), 60, 0))
    table.put(StoredLease(LeaseID(2), 600, 50))
    lessor = Lessor(table, clock)
    lessor.promote(0.0)
    lessor.recover(table, [(b"a", LeaseID(1)), (b"b", LeaseID(2)), (b"c", LeaseID(9))])
    assert {one.id: (one.keys, one.expires_at - clock.monotonic()) for one in lessor.leases()} == {
        1: ({b"a"}, 60),
        2: ({b"b"}, 50),
    }
