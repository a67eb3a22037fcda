"""Who the processes and data directories on the hosts really are, held against the member list.

The IDs in a data directory decide what its member is, whatever flags say: a process with another cluster's ID is a
stranger to the peers it dials, one with a removed member's ID is turned away, and two with one ID fight over a vote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etcdops.client.view import ClusterView, MemberView
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation
from etcdops.doctor.urls import initial_cluster, same_urls, split_urls
from etcdops.ids import ClusterID, MemberID, format_id
from etcdops.inventory.model import Manager
from etcdops.services.port import State


class Identity(NamedTuple):
    """An etcd on a host whose data could be read."""

    host: HostObservation
    on_host: MemberOnHost
    path: str
    member_id: MemberID
    cluster_id: ClusterID

    @property
    def runs(self) -> bool:
        return self.on_host.found.state in (State.RUNNING, State.STARTING)

    @property
    def shown(self) -> str:
        state = "runs" if self.runs else f"is {self.on_host.found.state.value}"
        return (
            f"{self.host.host}: {self.on_host.name} {state} on {self.path}: member {format_id(self.member_id)}"
            f" of cluster {format_id(self.cluster_id)}"
        )


def identities(observation: Observation) -> Iterator[Identity]:
    for host, on_host in observation.on_hosts:
        data = on_host.data
        if data is not None and data.member_id is not None and data.cluster_id is not None:
            yield Identity(host, on_host, on_host.flag("data-dir") or data.path, data.member_id, data.cluster_id)


def _listed(view: ClusterView) -> str:
    return f"the member list: cluster {format_id(view.cluster_id or 0)}, " + ", ".join(
        f"{member.label} {format_id(member.id or 0)}" for member in view.members
    )


def _known(observation: Observation) -> ClusterView | None:
    """The view, when it can say who belongs to the cluster."""
    view = observation.view
    return view if view is not None and view.members_known and view.cluster_id is not None else None


def strangers(observation: Observation) -> Iterator[Finding]:
    """A process of another cluster that dials this one's members or stands in the place of one."""
    view = _known(observation)
    if view is None:
        return
    for identity in identities(observation):
        if identity.cluster_id == view.cluster_id or not _meddles(observation, view, identity):
            continue
        place, name = identity.host.host, identity.on_host.name
        wanted = observation.wanted_as(place, identity.on_host)
        aside = _aside(identity, "stray")
        yield Finding(
            "E401",
            place,
            f"{name} on {place} has data of another cluster, {format_id(identity.cluster_id)}:"
            " its peers drop all it says",
            f"{_stop(identity)}; {aside}" + ("; then let it join anew, as a learner" if wanted is not None else ""),
            detail="The cluster ID is written into a data directory when its cluster is made, and never changes."
            " Data of an old cluster, of a restored one or of a second bootstrap can never join this one.",
            evidence=(identity.shown, _listed(view)),
        )


def _meddles(observation: Observation, view: ClusterView, identity: Identity) -> bool:
    """Whether it has to do with this cluster at all: hosts may well keep members of several."""
    on_host = identity.on_host
    if observation.wanted_as(identity.host.host, on_host) is not None:
        return True
    ours = {url for member in view.members for url in (*member.peer_urls, *member.client_urls)}
    theirs = {url for urls in initial_cluster(on_host.flag("initial-cluster")).values() for url in urls}
    for flag in ("initial-advertise-peer-urls", "advertise-client-urls"):
        theirs.update(split_urls(on_host.flag(flag)))
    return bool(ours & theirs)


def _stop(identity: Identity) -> str:
    keeper, name, host = identity.on_host.found.keeper, identity.on_host.found.name, identity.host.host
    if keeper is Manager.SYSTEMD:
        return f"ssh {host} sudo systemctl disable --now {name}"
    if keeper in (Manager.DOCKER, Manager.PODMAN):
        return f"ssh {host} sudo {keeper} stop {name}"
    return (
        f"stop it on {host} (process {identity.on_host.found.pid})" if identity.runs else f"leave it stopped on {host}"
    )


def _aside(identity: Identity, why: str) -> str:
    return f"ssh {identity.host.host} sudo mv {identity.path} {identity.path}.{why}"


def clones(observation: Observation) -> Iterator[Finding]:
    """One member's data in two places: a cloned machine, a copied directory, a volume mounted twice."""
    places: dict[tuple[ClusterID, MemberID], list[Identity]] = {}
    for identity in identities(observation):
        places.setdefault((identity.cluster_id, identity.member_id), []).append(identity)
    for (_, number), found in sorted(places.items()):
        places_of_it = {(one.host.host, one.on_host.data.path if one.on_host.data else one.path) for one in found}
        if len(places_of_it) < 2 or not any(one.runs for one in found):
            continue
        if not any(_ours(observation, one) for one in found):
            continue
        running = [one for one in found if one.runs]
        copies = _copies(observation, found)
        yield Finding(
            "E402",
            copies[0].host.host if copies else running[-1].host.host,
            f"{_hosts(found)} have data of the same member, {format_id(number)}"
            + (": they fight over one vote" if len(running) > 1 else ""),
            "; ".join(f"{_stop(one)}; {_aside(one, 'copy')}; then let it join as a new member" for one in copies)
            if copies
            else "stop all copies; keep the one at the member's own address; move the others' data aside and let them"
            " join as new members",
            detail="Two processes with one identity vote twice and lose what they acknowledged: stop them before"
            " anything else.",
            evidence=tuple(one.shown for one in found),
        )


def _copies(observation: Observation, found: Sequence[Identity]) -> list[Identity]:
    """Those that are not where the inventory puts the member of that name; none when nobody can tell."""
    view = _known(observation)
    member = view.member(found[0].member_id) if view is not None else None
    homes = {wanted.host.name for wanted in observation.placed if member is not None and wanted.name == member.name}
    copies = [one for one in found if one.host.host not in homes]
    return copies if len(copies) < len(found) else []


def _ours(observation: Observation, identity: Identity) -> bool:
    """Whether it is this cluster's affair."""
    view = observation.view
    if view is not None and view.cluster_id is not None:
        return identity.cluster_id == view.cluster_id
    return not observation.placed or observation.wanted_as(identity.host.host, identity.on_host) is not None


def _hosts(found: Sequence[Identity]) -> str:
    return " and ".join(sorted({one.host.host for one in found}))


def removed_members(observation: Observation) -> Iterator[Finding]:
    """Data of a member that the cluster removed: it may never come back with it."""
    view = _known(observation)
    if view is None:
        return
    for identity in identities(observation):
        if identity.cluster_id != view.cluster_id or view.member(identity.member_id) is not None:
            continue
        place, name = identity.host.host, identity.on_host.name
        summary = (
            f"{name} on {place} has data of member {format_id(identity.member_id)}, which was removed from the cluster"
        )
        yield Finding(
            "E403",
            place,
            summary + ("; it still runs" if identity.runs else ""),
            f"{_stop(identity)}; {_aside(identity, 'removed')}; to bring it back:"
            f" etcdctl member add {name} --learner --peer-urls=URL, then start it with state existing",
            evidence=(identity.shown, _listed(view)),
        )


def swapped_data(observation: Observation) -> Iterator[Finding]:
    """A member's data in another member's place."""
    view = _known(observation)
    if view is None or not observation.placed:
        return
    for identity in identities(observation):
        member = view.member(identity.member_id) if identity.cluster_id == view.cluster_id else None
        here = {wanted.name for wanted in observation.wanted_on(identity.host.host)}
        everywhere = {wanted.name for wanted in observation.placed}
        if member is None or not here or member.name in here or member.name not in everywhere:
            continue
        yield Finding(
            "E404",
            identity.host.host,
            f"{identity.host.host} has data of {member.label}, but the inventory puts {', '.join(sorted(here))} there",
            f"{_stop(identity)}; find out which host {member.label} belongs to before anything starts again",
            evidence=(identity.shown, _listed(view)),
            blocked=unsafe_reason(view),
        )


def other_names(observation: Observation) -> Iterator[Finding]:
    """`--name` and the member list disagree; who it is, its data says."""
    for identity, member in _members(observation):
        name = identity.on_host.flag("name")
        if name is not None and member.started and name != member.name:
            yield Finding(
                "W405",
                member.label,
                f"{member.label} on {identity.host.host} is started with --name {name}",
                f"set --name {member.name} in its settings, or accept the new name: it is published at the next start",
                evidence=(identity.shown, f"the member list calls {format_id(identity.member_id)} {member.name}"),
            )


def other_peer_urls(observation: Observation) -> Iterator[Finding]:
    """The flag counts at the first start only; the member list is what peers dial."""
    for identity, member in _members(observation):
        flagged = split_urls(identity.on_host.flag("initial-advertise-peer-urls"))
        if flagged and not same_urls(flagged, member.peer_urls):
            yield Finding(
                "W406",
                member.label,
                f"peers dial {member.label} at {', '.join(member.peer_urls)}, its settings say {', '.join(flagged)}",
                f"if it moved: etcdctl member update {format_id(identity.member_id)} --peer-urls={','.join(flagged)};"
                " else correct --initial-advertise-peer-urls",
                evidence=(identity.shown,),
            )


def _members(observation: Observation) -> Iterator[tuple[Identity, MemberView]]:
    """What on the hosts is a member of this cluster."""
    view = _known(observation)
    for identity in identities(observation) if view is not None else ():
        member = (
            view.member(identity.member_id) if view is not None and identity.cluster_id == view.cluster_id else None
        )
        if member is not None:
            yield identity, member


def shared_data(observation: Observation) -> Iterator[Finding]:
    """Two services with one data directory: the second waits for the lock for ever."""
    for host in observation.hosts.values():
        by_path: dict[str, list[MemberOnHost]] = {}
        for on_host in host.members:
            path = on_host.data.path if on_host.data is not None else on_host.flag("data-dir")
            if path:
                by_path.setdefault(path, []).append(on_host)
        for path, found in sorted(by_path.items()):
            ours = not observation.placed or any(observation.wanted_as(host.host, one) for one in found)
            if ours and sum(one.found.state in (State.RUNNING, State.STARTING) for one in found) > 1:
                names = " and ".join(f"{one.found.keeper or 'process'} {one.found.name}" for one in found)
                yield Finding(
                    "E407",
                    host.host,
                    f"{names} on {host.host} use the same data directory, {path}",
                    "stop the one that nobody wants, and give the other its directory back",
                    evidence=tuple(f"{host.host}: {one.found.name}, process {one.found.pid}" for one in found),
                )


def lost_data(observation: Observation) -> Iterator[Finding]:
    """A member of the list whose directory is empty: etcd refuses to start it anew under the old identity."""
    view = _known(observation)
    for host, on_host, name in observation.ours if view is not None else ():
        member = next((one for one in view.members if one.started and one.name == name), None) if view else None
        if member is None or member.answered or on_host.data is None or not on_host.data.is_vacant:
            continue
        assert view is not None
        number = format_id(member.id or 0)
        yield Finding(
            "E408",
            member.label,
            f"the data of {member.label} is gone: {on_host.data.path} on {host.host} is empty",
            f"etcdctl member remove {number}; etcdctl member add {member.name} --learner"
            f" --peer-urls={','.join(member.peer_urls)}; start it with --initial-cluster-state existing; promote it",
            detail="With state new it would be refused (the cluster knows this member as started), and with the old"
            " identity it could forget what it acknowledged.",
            evidence=(f"{host.host}: {on_host.data.path} is empty", _listed(view)),
            blocked="" if view.has_quorum else "the cluster has no quorum; bring it back first",
        )


CHECKS = (
    strangers,
    clones,
    removed_members,
    swapped_data,
    other_names,
    other_peer_urls,
    shared_data,
    lost_data,
)
