"""An observation of a cluster, and what its hosts add to it: they themselves, the ways between them, certificates."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from etcdops.doctor.gather.certificates import gather_certificates
from etcdops.doctor.gather.hosts import observe_hosts
from etcdops.doctor.gather.paths import try_paths, ways_to
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation, SeenCertificate, Unseen
from etcdops.doctor.words import say
from etcdops.ids import ClusterID
from etcdops.inventory.model import Cluster, Inventory, place
from etcdops.remote.pool import Open


async def with_hosts(
    observation: Observation,
    connect: Open,
    inventory: Inventory,
    cluster: Cluster,
    *,
    probe: bool = False,
) -> Observation:
    """The same, with the hosts of the cluster, and those of the inventory that keep no member of any.

    A host that once kept a member may still run it. One host that fails hides no other: it is among `unseen`.
    Args: connect - shares its sessions; probe - measure disks by writing a file for a moment.
    """
    placed = tuple(place(inventory, cluster, member) for member in cluster.members)
    own = tuple(dict.fromkeys(member.host for member in cluster.members))
    looked = await observe_hosts(connect, (*own, *spare_hosts(inventory)), placed, probe=probe)
    hosts = {name: host for name, host in looked.items() if name in own or not host.error}
    cluster_id = observation.view.cluster_id if observation.view is not None else None
    seen = dataclasses.replace(observation, cluster=cluster, placed=placed, hosts=hosts)
    ours = without_others(seen)
    paths, certificates = await asyncio.gather(
        try_paths(
            connect,
            {name: ours[name] for name in own},
            ways_to(observation.view, placed),
            cluster_id=cluster_id or most_common_cluster(ours),
        ),
        gather_certificates(connect, ours, observation.view),
    )
    return dataclasses.replace(
        seen,
        paths=paths,
        certificates=merged(certificates, observation.certificates or ()),
        unseen=(*observation.unseen, *unseen_hosts(hosts)),
    )


def without_others(observation: Observation) -> dict[str, HostObservation]:
    """The hosts with this cluster's members alone: whose certificates expire on another one's is not asked here."""
    kept: dict[str, list[MemberOnHost]] = {}
    for host, on_host, _ in observation.ours:
        kept.setdefault(host.host, []).append(on_host)
    return {
        name: dataclasses.replace(host, members=tuple(kept.get(name, ()))) for name, host in observation.hosts.items()
    }


def merged(on_hosts: Sequence[SeenCertificate], on_endpoints: Sequence[SeenCertificate]) -> tuple[SeenCertificate, ...]:
    """Each certificate of a member once: what clients think of the one on its port is said where its file is."""
    left = list(on_endpoints)
    found = []
    for seen in on_hosts:
        same = next((one for one in left if _is_same(one, seen)), None)
        if same is not None:
            left.remove(same)
            hosts = tuple(dict.fromkeys((*seen.hosts, *same.hosts)))
            seen = dataclasses.replace(
                seen, hosts=hosts, trusted=same.trusted if seen.trusted is None else seen.trusted
            )
        found.append(seen)
    return (*found, *left)


def _is_same(one: SeenCertificate, other: SeenCertificate) -> bool:
    if one.facts is None or other.facts is None:
        return False
    return (one.member, one.use, one.facts.fingerprint) == (other.member, other.use, other.facts.fingerprint)


def spare_hosts(inventory: Inventory) -> tuple[str, ...]:
    """Those that keep no member of any cluster."""
    used = {member.host for cluster in inventory.clusters.values() for member in cluster.members}
    return tuple(name for name in inventory.hosts if name not in used)


def unseen_hosts(hosts: Mapping[str, HostObservation]) -> tuple[Unseen, ...]:
    return tuple(
        Unseen(say("unseen.host", host=name), host.error, say("unseen.host-next", host=name), name)
        for name, host in hosts.items()
        if host.error
    )


def most_common_cluster(hosts: Mapping[str, HostObservation]) -> ClusterID | None:
    """Whose data most members on the hosts have. None: nobody's could be read, or two are as common."""
    known = [member.data.cluster_id for host in hosts.values() for member in host.members if member.data is not None]
    ranked = Counter(one for one in known if one is not None).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]
