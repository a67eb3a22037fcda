"""How the cluster is made up, by its own member list: how many, named how, dialled where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from etcdops.client.view import MemberView
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import CLUSTER, Finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.urls import CLIENT_PORT, PEER_PORT, host_of, is_loopback, is_wildcard, port_of, scheme_of
from etcdops.ids import format_id

VOTERS_MAX = 7
"""Source: etcd's FAQ, "What is maximum cluster size?": no hard limit, but no more than seven nodes."""


def too_many_voters(observation: Observation) -> Iterator[Finding]:
    view = observation.view
    if view is None or not view.members_known or len(view.voters) <= VOTERS_MAX:
        return
    yield Finding(
        "W207",
        CLUSTER,
        f"{len(view.voters)} voters: every write waits for {view.quorum.needed} of them",
        "remove voters one at a time down to five or seven: etcdctl member remove ID",
        blocked=unsafe_reason(view),
    )


def duplicate_names(observation: Observation) -> Iterator[Finding]:
    """etcd does not forbid it in a member list; a start with that list then fails."""
    view = observation.view
    names = Counter(member.name for member in view.members if member.name and member.id) if view is not None else {}
    for name, count in sorted(names.items()):
        if view is None or count < 2:
            continue
        twins = [member for member in view.members if member.name == name]
        yield Finding(
            "E208",
            name,
            f"{count} members are called {name}",
            f"give all but one another --name and restart them: {', '.join(_where(twin) for twin in twins)}",
            evidence=tuple(f"member {format_id(twin.id or 0)}: name {name}, peer {_where(twin)}" for twin in twins),
        )


def advertised_addresses(observation: Observation) -> Iterator[Finding]:
    """Addresses that others cannot dial."""
    view = observation.view
    if view is None or not view.members_known:
        return
    hosts = {host_of(url) for member in view.members for url in member.peer_urls if not is_loopback(url)}
    for member in view.members:
        for purpose, urls in (("peers", member.peer_urls), ("clients", member.client_urls)):
            flag = "--initial-advertise-peer-urls" if purpose == "peers" else "--advertise-client-urls"
            wild = [url for url in urls if is_wildcard(url)]
            loop = [url for url in urls if is_loopback(url)]
            if wild:
                yield Finding(
                    "E210",
                    member.label,
                    f"{member.label} tells its {purpose} to dial {', '.join(wild)}, which is every address and none",
                    _readvertise(member, purpose, flag),
                )
            elif loop and hosts and len(loop) == len(urls):
                yield Finding(
                    "E209",
                    member.label,
                    f"{member.label} tells its {purpose} to dial {', '.join(loop)}: only its own host can",
                    _readvertise(member, purpose, flag),
                )


def _readvertise(member: MemberView, purpose: str, flag: str) -> str:
    if purpose == "clients":
        return f"set {flag} to an address of {member.label}'s host that clients reach, and restart it"
    number = format_id(member.id or 0)
    return f"etcdctl member update {number} --peer-urls=URL with an address the others reach; correct {flag} too"


def swapped_ports(observation: Observation) -> Iterator[Finding]:
    """2379 for peers and 2380 for clients works, until somebody follows etcd's manual."""
    view = observation.view
    for member in view.members if view is not None else ():
        peers, clients = {port_of(url) for url in member.peer_urls}, {port_of(url) for url in member.client_urls}
        if CLIENT_PORT in peers and PEER_PORT not in peers:
            yield Finding(
                "W211",
                member.label,
                f"{member.label} takes its peers on {CLIENT_PORT}, the port for clients"
                + (f", and clients on {PEER_PORT}" if PEER_PORT in clients else ""),
                "swap the ports in --listen-*-urls and in what is advertised; etcdctl member update first",
                evidence=(f"peer URLs {_list(member.peer_urls)}; client URLs {_list(member.client_urls)}",),
            )


def mixed_schemes(observation: Observation) -> Iterator[Finding]:
    view = observation.view
    if view is None or not view.members_known:
        return
    for purpose in ("peer", "client"):
        schemes: dict[str, list[str]] = {}
        for member in view.members:
            urls = member.peer_urls if purpose == "peer" else member.client_urls
            for scheme in sorted({scheme_of(url) for url in urls} - {""}):
                schemes.setdefault(scheme, []).append(member.label)
        if len(schemes) > 1:
            said = "; ".join(f"{scheme}: {', '.join(names)}" for scheme, names in sorted(schemes.items()))
            yield Finding(
                "W212",
                CLUSTER,
                f"{purpose} URLs mix http and https",
                f"finish the change to TLS: etcdops rollout plan, or one member at a time, so that all {purpose} URLs"
                " say https",
                evidence=(said,),
            )


def single_host(observation: Observation) -> Iterator[Finding]:
    view = observation.view
    if view is None or not view.members_known or len(view.voters) < 2:
        return
    hosts = {host_of(url) for member in view.voters for url in member.peer_urls}
    if observation.placed:
        hosts = {member.host.name for member in observation.placed}
    if len(hosts) == 1:
        yield Finding(
            "I213",
            CLUSTER,
            f"all {len(view.voters)} voters run on one host, {hosts.pop()}: its failure is the cluster's",
            "for more than a trial, give every voter a host of its own",
        )


def _where(member: MemberView) -> str:
    return ", ".join(member.peer_urls) or member.endpoint


def _list(urls: tuple[str, ...]) -> str:
    return ", ".join(urls) or "none"


CHECKS = (too_many_voters, duplicate_names, advertised_addresses, swapped_ports, mixed_schemes, single_host)
