"""How the cluster is made up, by its own member list: how many, named how, dialled where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from etcdops.client.view import MemberView
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import CLUSTER, Finding, finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.urls import CLIENT_PORT, PEER_PORT, host_of, is_loopback, is_wildcard, port_of, scheme_of
from etcdops.doctor.words import Value, say
from etcdops.ids import format_id

VOTERS_MAX = 7
"""Source: etcd's FAQ, "What is maximum cluster size?": no hard limit, but no more than seven nodes."""


def too_many_voters(observation: Observation) -> Iterator[Finding]:
    view = observation.view
    if view is None or not view.members_known or len(view.voters) <= VOTERS_MAX:
        return
    yield finding("W207", CLUSTER, voters=len(view.voters), needed=view.quorum.needed, blocked=unsafe_reason(view))


def duplicate_names(observation: Observation) -> Iterator[Finding]:
    """etcd does not forbid it in a member list; a start with that list then fails."""
    view = observation.view
    names = Counter(member.name for member in view.members if member.name and member.id) if view is not None else {}
    for name, count in sorted(names.items()):
        if view is None or count < 2:
            continue
        twins = [member for member in view.members if member.name == name]
        yield finding(
            "E208",
            name,
            count=count,
            places=tuple(_where(twin) for twin in twins),
            evidence=[
                say("seen.named", id=format_id(twin.id or 0), name=name, peer_urls=_where(twin)) for twin in twins
            ],
        )


def advertised_addresses(observation: Observation) -> Iterator[Finding]:
    """Addresses that others cannot dial."""
    view = observation.view
    if view is None or not view.members_known:
        return
    hosts = {host_of(url) for member in view.members for url in member.peer_urls if not is_loopback(url)}
    for member in view.members:
        for purpose, urls in (("peers", member.peer_urls), ("clients", member.client_urls)):
            wild = tuple(url for url in urls if is_wildcard(url))
            loop = tuple(url for url in urls if is_loopback(url))
            if wild:
                yield finding("E210", member.label, purpose, urls=wild, id=format_id(member.id or 0))
            elif loop and hosts and len(loop) == len(urls):
                yield finding("E209", member.label, purpose, urls=loop, id=format_id(member.id or 0))


def swapped_ports(observation: Observation) -> Iterator[Finding]:
    """2379 for peers and 2380 for clients works, until somebody follows etcd's manual."""
    view = observation.view
    for member in view.members if view is not None else ():
        peers, clients = {port_of(url) for url in member.peer_urls}, {port_of(url) for url in member.client_urls}
        if CLIENT_PORT in peers and PEER_PORT not in peers:
            yield finding(
                "W211",
                member.label,
                "both" if PEER_PORT in clients else "",
                client_port=CLIENT_PORT,
                peer_port=PEER_PORT,
                evidence=[say("seen.urls", peer_urls=_list(member.peer_urls), client_urls=_list(member.client_urls))],
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
            evidence = [
                say("member.listed", what=scheme, members=tuple(names)) for scheme, names in sorted(schemes.items())
            ]
            yield finding("W212", CLUSTER, purpose, evidence=evidence)


def single_host(observation: Observation) -> Iterator[Finding]:
    view = observation.view
    if view is None or not view.members_known or len(view.voters) < 2:
        return
    hosts = {host_of(url) for member in view.voters for url in member.peer_urls}
    if observation.placed:
        hosts = {member.host.name for member in observation.placed}
    if len(hosts) == 1:
        yield finding("I213", CLUSTER, voters=len(view.voters), host=hosts.pop())


def _where(member: MemberView) -> str:
    return ", ".join(member.peer_urls) or member.endpoint


def _list(urls: tuple[str, ...]) -> Value:
    return urls or say("none.found")


CHECKS = (too_many_voters, duplicate_names, advertised_addresses, swapped_ports, mixed_schemes, single_host)
