"""Members that somebody else runs: a recovery cannot stop them for good, so it is refused before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.errors import ClusterUnsafe
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.occupants import Occupant, occupants_of


@dataclass(frozen=True, slots=True)
class Stranger:
    """A member whose port or data is held by a process that etcdops did not start."""

    member: str
    occupant: Occupant

    def __str__(self) -> str:
        return f"{self.member} is not run by etcdops but by {self.occupant.label}"


def find_strangers(local: LocalCluster) -> tuple[Stranger, ...]:
    """Look at every member that does not run as far as etcdops knows. Changes nothing."""
    return tuple(
        Stranger(member.name, occupant)
        for member in local.members
        if not member.running
        for occupant in occupants_of(member.spec)
    )


def refuse_strangers(strangers: Sequence[Stranger]) -> None:
    """Raises: ClusterUnsafe - there are some. An old member that comes back beside the new ones splits the cluster."""
    if not strangers:
        return
    remedies = dict.fromkeys(f"{stranger.member}: {stranger.occupant.remedy}" for stranger in strangers)
    held = dict.fromkeys(what for stranger in strangers for what in stranger.occupant.holds)
    raise ClusterUnsafe(
        "; ".join(dict.fromkeys(str(stranger) for stranger in strangers)),
        cause=f"{'; '.join(held)}; started again by others, old members would split the recovered cluster",
        hint=f"{'; '.join(remedies)}; then run the same command again. Nothing was changed",
    )
