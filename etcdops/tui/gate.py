"""The one gate every write of the console passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from etcdops.errors import EtcdopsError
from etcdops.ids import LeaseID, Revision
from etcdops.tui.feed import NO_LEASE


class ReadOnly(EtcdopsError):
    """Refused: the console is in read-only mode. Nothing was sent."""

    code = "read-only"


class WriteFeed(Protocol):
    """The writing half of `feed.ClusterFeed`."""

    async def put(self, key: bytes, value: bytes, *, expected: Revision, lease: LeaseID) -> Revision | None: ...

    async def delete(self, key: bytes, *, expected: Revision) -> Revision | None: ...


@dataclass
class WriteGate:
    """Lets writes through, or refuses them with the reason.

    `locked_by` names the flag or variable that makes read-only mode last as long as the console; "" = it was
    chosen with a key and can be left with one.
    """

    feed: WriteFeed
    read_only: bool = False
    locked_by: str = ""

    def check(self) -> None:
        """Raises: ReadOnly - changes are refused, and what would allow them."""
        if self.locked_by:
            raise ReadOnly("read-only mode: nothing is written", hint=f"start without {self.locked_by} to write")
        if self.read_only:
            raise ReadOnly("read-only mode: nothing is written", hint="R allows changes again")

    async def put(self, key: bytes, value: bytes, *, expected: Revision, lease: LeaseID = NO_LEASE) -> Revision | None:
        """As `ClusterFeed.put`, if the gate is open."""
        self.check()
        return await self.feed.put(key, value, expected=expected, lease=lease)

    async def delete(self, key: bytes, *, expected: Revision) -> Revision | None:
        """As `ClusterFeed.delete`, if the gate is open."""
        self.check()
        return await self.feed.delete(key, expected=expected)
