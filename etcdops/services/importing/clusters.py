"""Which evidence is of the same cluster, and who the members of a cluster are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.errors import UsageError
from etcdops.services.importing.evidence import Evidence, address_of


@dataclass(frozen=True, slots=True)
class LiveMember:
    """A member as the cluster itself lists it."""

    id: str
    name: str
    """Empty: it was added and never started."""
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False
    version: str = ""
    """Empty: it did not answer."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """What a running cluster says of itself."""

    cluster_id: str
    members: tuple[LiveMember, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemberFound:
    """A member of a cluster, and what is known of it."""

    name: str
    peer_urls: tuple[str, ...]
    evidence: Evidence | None = None
    """None: only others speak of it."""
    live: LiveMember | None = None

    @property
    def address(self) -> str:
        """Raises: UsageError - its peer URL is none."""
        host = self.evidence.host if self.evidence is not None else None
        return host.address if host is not None else address_of(self.peer_urls[0])


def grouped(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Evidence of the same cluster together, in the order in which it was found.

    The cluster's ID decides where it is known; else members belong together that have the same token and name each
    other, or each other's peers.
    """
    groups: list[list[Evidence]] = []
    for one in evidence:
        same = [group for group in groups if any(_together(one, other) for other in group)]
        merged = [member for group in same for member in group]
        groups = [group for group in groups if group not in same]
        groups.append([*merged, one])
    order = {id(one): number for number, one in enumerate(evidence)}
    groups = [sorted(group, key=lambda one: order[id(one)]) for group in groups]
    return sorted(groups, key=lambda group: order[id(group[0])])


def _together(one: Evidence, other: Evidence) -> bool:
    if one.cluster_id and other.cluster_id:
        return one.cluster_id == other.cluster_id
    if one.token != other.token:
        return False
    return bool(_peers(one) & _peers(other))


def _peers(one: Evidence) -> set[str]:
    return {*one.peer_urls, *(url for urls in one.initial_cluster.values() for url in urls)}


def members_of(evidence: Sequence[Evidence], live: Live | None, notes: list[str]) -> list[MemberFound]:
    """The members of one cluster. The running cluster knows best; else configurations are believed, and `notes` say so.

    Raises: UsageError - the evidence contradicts itself.
    """
    if live is not None:
        return _of_live(evidence, live, notes)
    listed: dict[str, tuple[str, ...]] = {}
    for one in evidence:
        if one.initial_cluster and one.name not in one.initial_cluster:
            raise UsageError(
                f"{one.source}: the member is called {one.name}, and initial-cluster names"
                f" {', '.join(one.initial_cluster)}",
                hint="give all files that the member is started with; etcd refuses this",
            )
        listed |= one.initial_cluster or {one.name: one.peer_urls}
    own = {one.name: one for one in evidence}
    if len(own) < len(evidence):
        twice = next(one for one in evidence if own[one.name] is not one)
        raise UsageError(
            f"{twice.source} and {own[twice.name].source} are both the member {twice.name} of one cluster",
            hint="leave one of them out: one is perhaps left over from before",
        )
    if not any(one.initial_cluster for one in evidence):
        notes.append("initial-cluster is not set: other members, if there are any, are missing")
    else:
        notes.append(
            "the members are those of initial-cluster, which is as old as the cluster: compare with etcdctl member list"
        )
    return [
        MemberFound(name, own[name].peer_urls if name in own else urls, own.get(name)) for name, urls in listed.items()
    ]


def _of_live(evidence: Sequence[Evidence], live: Live, notes: list[str]) -> list[MemberFound]:
    found: list[MemberFound] = []
    used: list[Evidence] = []
    for number, member in enumerate(live.members, 1):
        name = member.name or f"member-{number}"
        if not member.name:
            notes.append(f"{name} ({', '.join(member.peer_urls)}) was added to the cluster and never started")
        if member.is_learner:
            notes.append(f"{name} is a learner")
        if member.error:
            notes.append(f"{name} does not answer: {member.error}")
        own = next((one for one in evidence if {*one.peer_urls} & {*member.peer_urls}), None)
        own = own or next((one for one in evidence if one.name == member.name), None)
        used += [own] if own is not None else []
        found.append(MemberFound(name, member.peer_urls, own, member))
    notes += [
        f"{one.source} is no member of this cluster: it calls itself {one.name} at {', '.join(one.peer_urls)}"
        for one in evidence
        if one not in used
    ]
    return found
