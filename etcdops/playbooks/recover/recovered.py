"""The cluster a recovery leads to, wherever its members run: what has to be proved of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from etcdops.client.settings import ConnectionSettings
from etcdops.ids import ClusterID, MemberID, cluster_id, member_id

SAFE_NOW = (
    "reading logs and copying files; old data is kept, beside the data directories. Do not start members by hand: some"
    " may hold the old state and others the new"
)
"""While a recovery is half way."""


@dataclass(frozen=True, slots=True)
class RecoveredMember:
    """A member as the others, and clients, are to know it."""

    name: str
    client_url: str
    """Where we ask it."""
    peer_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """Everything a check needs to know; all of it comes from the plan, but how to log in."""

    members: tuple[RecoveredMember, ...]
    token: str
    """The new one."""
    settings: ConnectionSettings
    """How to reach the members; may carry a user."""
    snapshot: Path
    snapshot_revision: int
    revision: int
    """What the recovered cluster starts at."""
    marked: bool
    """Its engine writes a mark at the raised revision, as etcd does."""

    @property
    def expected_members(self) -> dict[MemberID, tuple[str, str]]:
        """The member list it must have: ID -> (name, peer URLs)."""
        return {
            member_id(member.peer_urls, self.token): (member.name, ",".join(sorted(member.peer_urls)))
            for member in self.members
        }

    @property
    def expected_cluster_id(self) -> ClusterID:
        return cluster_id(self.expected_members)


class Processes(Protocol):
    """The members' processes, as whoever started them sees them."""

    async def ended(self, name: str) -> bool:
        """Whether a member ended by itself, so that waiting for it is no use."""

    async def last_said(self, name: str) -> tuple[str, str]:
        """The end of its log, and where to read all of it."""
