"""Unique numbers for proposals, and for leases whose client did not choose one."""

from __future__ import annotations

from etcdops.clock import Clock
from etcdops.ids import LeaseID, MemberID

_TIME_BITS = 40
_COUNT_BITS = 8
_SUFFIX_MASK = (1 << (_TIME_BITS + _COUNT_BITS)) - 1


class RequestIDs:
    """64-bit numbers that differ between members and between lives of one member.

    Layout, high to low: 16 bits of the member ID, 40 bits of milliseconds, 8 bits of count. Starting from the clock
    keeps a restarted member from reusing a number unless it made more than 256 per millisecond since.
    Source: etcd pkg/idutil/id.go, Generator.
    """

    def __init__(self, member: MemberID, clock: Clock) -> None:
        self._prefix = (member & 0xFFFF) << (_TIME_BITS + _COUNT_BITS)
        self._suffix = (int(clock.wall() * 1000) << _COUNT_BITS) & _SUFFIX_MASK

    def next(self) -> int:
        """A number never given before, 1 to 2**64 - 1."""
        self._suffix = (self._suffix + 1) & _SUFFIX_MASK
        return (self._prefix | self._suffix) or self.next()

    def next_lease(self) -> LeaseID:
        """A positive 63-bit number. Source: etcd server/etcdserver/v3_server.go, EtcdServer.LeaseGrant."""
        return LeaseID(self.next() & 0x7FFF_FFFF_FFFF_FFFF) or self.next_lease()
