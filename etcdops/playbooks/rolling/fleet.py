"""What a rolling change does to a cluster's members: the port between its steps and the hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from etcdops.client.view import ClusterView, MemberView
from etcdops.ids import MemberID
from etcdops.playbooks.plan import Result
from etcdops.snapshot.facts import SnapshotFacts


class Fleet(Protocol):
    """The members of one cluster, by their names.

    Raises, all methods: EtcdopsError, naming member, host and what to do.
    """

    async def look(self, *, hashes: bool = False) -> ClusterView:
        """Ask every member, through the quorum too."""

    async def move_leader(self, leader: MemberView, to: MemberID) -> None: ...

    async def unwritten(self, member: str) -> list[str]:
        """What on the member's host is not as it is wanted: paths, programs. Changes nothing."""

    async def lacks_program(self, member: str) -> bool:
        """Whether the program it shall run has to be brought to its host first."""

    async def bring_program(self, member: str) -> None:
        """Put the program beside the one that runs, which stays the one that starts. Safe to repeat."""

    async def write(self, member: str) -> list[str]:
        """Make its host as wanted, stopping and starting nothing; what it runs stays as it is. Safe to repeat."""

    async def outdated(self, member: str) -> list[str]:
        """What only a restart brings about, as the running process itself shows: flags, version, trust. Empty: none."""

    async def restart(self, member: str) -> None:
        """Stop it in order and start it; stopped already: start it. Returns when its manager calls it running."""

    async def cluster_version(self) -> str:
        """What the cluster as a whole runs as, such as `3.5.0`; empty: nobody says."""

    async def save(self, path: Path) -> Result:
        """A verified snapshot into a file that is not there yet."""

    async def stored(self, path: Path) -> SnapshotFacts:
        """What a snapshot, saved before, says beside its keys."""

    async def check_v2store(self, member: str) -> str:
        """Whether 3.6 can read the member's store: empty when it can, else why not."""
