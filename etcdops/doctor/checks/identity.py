"""Who the processes and data directories on the hosts really are, held against the member list.

The IDs in a data directory decide what its member is, whatever flags say: a process with another cluster's ID is a
stranger to the peers it dials, one with a removed member's ID is turned away, and two with one ID fight over a vote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etcdops.client.view import ClusterView, MemberView
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import Finding, finding
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation
from etcdops.doctor.urls import initial_cluster, same_urls, split_urls
from etcdops.doctor.words import Said, Value, say
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
    def shown(self) -> Said:
        state = self.on_host.found.state.value
        return say(
            "seen.identity",
            host=self.host.host,
            name=self.on_host.name,
            state=say("state.runs") if self.runs else say("state.is", state=say(f"state.{state}")),
            path=self.path,
            member=format_id(self.member_id),
            cluster=format_id(self.cluster_id),
        )


def identities(observation: Observation) -> Iterator[Identity]:
    for host, on_host in observation.on_hosts:
        data = on_host.data
        if data is not None and data.member_id is not None and data.cluster_id is not None:
            path = data.path if on_host.has_volume else on_host.flag("data-dir") or data.path
            yield Identity(host, on_host, path, data.member_id, data.cluster_id)


def _listed(view: ClusterView) -> Said:
    members = tuple(f"{member.label} {format_id(member.id or 0)}" for member in view.members)
    return say("seen.member-list", cluster=format_id(view.cluster_id or 0), members=members)


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
        place = identity.host.host
        wanted = observation.wanted_as(place, identity.on_host) is not None
        yield finding(
            "E401",
            place,
            "wanted" if wanted else "",
            name=identity.on_host.name,
            cluster=format_id(identity.cluster_id),
            stop=_stop(identity),
            path=identity.path,
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


def _stop(identity: Identity) -> Value:
    keeper, name, host = identity.on_host.found.keeper, identity.on_host.found.name, identity.host.host
    if keeper is Manager.SYSTEMD:
        return f"ssh {host} sudo systemctl disable --now {name}"
    if keeper in (Manager.DOCKER, Manager.PODMAN):
        return f"ssh {host} sudo {keeper} stop {name}"
    if identity.runs:
        return say("mend.stop", host=host, pid=identity.on_host.found.pid or 0)
    return say("mend.leave", host=host)


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
        fight = len(running) > 1
        odd = copies[0] if copies else running[-1]
        yield finding(
            "E402",
            odd.host.host,
            ("copy-fight" if fight else "copy") if copies else ("fight" if fight else ""),
            hosts=_hosts(found),
            member=format_id(number),
            stop=_stop(odd),
            path=odd.path,
            evidence=[one.shown for one in found],
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


def _hosts(found: Sequence[Identity]) -> tuple[str, ...]:
    return tuple(sorted({one.host.host for one in found}))


def removed_members(observation: Observation) -> Iterator[Finding]:
    """Data of a member that the cluster removed: it may never come back with it."""
    view = _known(observation)
    if view is None:
        return
    for identity in identities(observation):
        if identity.cluster_id != view.cluster_id or view.member(identity.member_id) is not None:
            continue
        yield finding(
            "E403",
            identity.host.host,
            "runs" if identity.runs else "",
            name=identity.on_host.name,
            member=format_id(identity.member_id),
            stop=_stop(identity),
            path=identity.path,
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
        yield finding(
            "E404",
            identity.host.host,
            member=member.label,
            wanted=tuple(sorted(here)),
            stop=_stop(identity),
            evidence=(identity.shown, _listed(view)),
            blocked=unsafe_reason(view),
        )


def other_names(observation: Observation) -> Iterator[Finding]:
    """`--name` and the member list disagree; who it is, its data says."""
    for identity, member in _members(observation):
        name = identity.on_host.flag("name")
        if name is not None and member.started and name != member.name:
            called = say("seen.called", member=format_id(identity.member_id), name=member.name)
            evidence = (identity.shown, called)
            yield finding(
                "W405", member.label, host=identity.host.host, name=name, listed=member.name, evidence=evidence
            )


def other_peer_urls(observation: Observation) -> Iterator[Finding]:
    """The flag counts at the first start only; the member list is what peers dial."""
    for identity, member in _members(observation):
        flagged = split_urls(identity.on_host.flag("initial-advertise-peer-urls"))
        if flagged and not same_urls(flagged, member.peer_urls):
            yield finding(
                "W406",
                member.label,
                peer_urls=member.peer_urls,
                flagged=flagged,
                id=format_id(identity.member_id),
                new_urls=",".join(flagged),
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
                users = tuple(f"{one.found.keeper or 'process'} {one.found.name}" for one in found)
                evidence = [
                    say("seen.service", host=host.host, service=one.found.name, pid=one.found.pid or 0) for one in found
                ]
                yield finding("E407", host.host, users=users, path=path, evidence=evidence)


def lost_data(observation: Observation) -> Iterator[Finding]:
    """A member of the list whose directory is empty: etcd refuses to start it anew under the old identity."""
    view = _known(observation)
    for host, on_host, name in observation.ours if view is not None else ():
        member = next((one for one in view.members if one.started and one.name == name), None) if view else None
        if member is None or member.answered or on_host.data is None or not on_host.data.is_vacant:
            continue
        assert view is not None
        yield finding(
            "E408",
            member.label,
            path=on_host.data.path,
            host=host.host,
            id=format_id(member.id or 0),
            peer_urls=",".join(member.peer_urls),
            evidence=(say("seen.empty", host=host.host, path=on_host.data.path), _listed(view)),
            blocked=None if view.has_quorum else say("wait.quorum"),
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
