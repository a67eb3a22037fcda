"""Who reaches whom: every host tries every member, and how it fails tells why.

Refused: the host is there and nobody listens. No answer: something drops packets, or the host is off. Cut: a rule or a
proxy resets it. One host that reaches nobody is itself the one that is cut off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import Observation, Outcome, PeerPath

_CODES = {
    Outcome.REFUSED: "E601",
    Outcome.TIMEOUT: "E602",
    Outcome.RESET: "E603",
    Outcome.UNREACHABLE: "E604",
    Outcome.NAME: "E605",
    Outcome.TLS: "E606",
    Outcome.NOT_ETCD: "E607",
    Outcome.WRONG_MEMBER: "E608",
}
_SAYS = {
    Outcome.REFUSED: "nobody listens there",
    Outcome.TIMEOUT: "no answer",
    Outcome.RESET: "the connection is cut",
    Outcome.UNREACHABLE: "there is no way there",
    Outcome.NAME: "the name cannot be resolved",
    Outcome.TLS: "TLS fails",
    Outcome.NOT_ETCD: "another program answers",
    Outcome.WRONG_MEMBER: "another member answers",
}
_NEXT = {
    Outcome.REFUSED: "start it, or correct its listen URLs: on its host `ss -lntp | grep etcd`",
    Outcome.TIMEOUT: "let its ports through the firewalls both ways (nft list ruleset, security groups), check that its"
    " host is up",
    Outcome.RESET: "look for a rule that rejects, a proxy or load balancer between them",
    Outcome.UNREACHABLE: "check routes and interfaces: ip route get ADDRESS on the host that asks",
    Outcome.NAME: "correct DNS or /etc/hosts on the host that asks, or use addresses",
    Outcome.TLS: "compare scheme, authority and names: etcdops explain E606",
    Outcome.NOT_ETCD: "correct the port: something else listens there",
    Outcome.WRONG_MEMBER: "correct the URL or DNS: the address belongs to somebody else",
}
_CLOSED = (Outcome.UNREACHABLE, Outcome.RESET)
"""Said by somebody, at once; silence towards oneself may be a process that hangs."""


def isolated_hosts(observation: Observation) -> Iterator[Finding]:
    """A host that reaches no other host's member, while others reach each other."""
    for host, paths in _isolated(observation).items():
        evidence = tuple(_line(path) for path in paths)
        if all(path.outcome is Outcome.TLS for path in paths):
            members = [member.name for member in observation.wanted_on(host)]
            yield Finding(
                "E606",
                members[0] if len(members) == 1 else host,
                f"{host} reaches the members on other hosts, but no TLS connection comes about: {paths[0].reason}",
                f"look at the certificate and authorities of the member on {host}: they are what its ways share",
                evidence=evidence,
            )
        else:
            yield Finding(
                "E609",
                host,
                f"{host} reaches no member on another host",
                f"check its interfaces, routes and outgoing rules: ssh {host} ip route;"
                f" ssh {host} sudo nft list ruleset",
                evidence=evidence,
            )


def _isolated(observation: Observation) -> dict[str, list[PeerPath]]:
    """Such hosts, and what became of their ways."""
    by_host: defaultdict[str, list[PeerPath]] = defaultdict(list)
    for path in _between_hosts(observation):
        by_host[path.from_host].append(path)
    if not any(path.outcome is Outcome.OK for paths in by_host.values() for path in paths):
        return {}
    return {
        host: paths
        for host, paths in sorted(by_host.items())
        if len({path.to_member for path in paths}) > 1 and all(path.outcome is not Outcome.OK for path in paths)
    }


def broken_paths(observation: Observation) -> Iterator[Finding]:
    """One finding for each member and way to fail, with all who fail."""
    failed: defaultdict[tuple[str, str, Outcome], list[PeerPath]] = defaultdict(list)
    tried: defaultdict[tuple[str, str], list[PeerPath]] = defaultdict(list)
    alone = _isolated(observation)
    for path in observation.paths or ():
        if path.from_host in alone:
            continue  # said of that host
        tried[path.to_member, path.purpose].append(path)
        if path.outcome is not Outcome.OK:
            failed[path.to_member, path.purpose, path.outcome].append(path)
    for (member, purpose, outcome), paths in sorted(failed.items()):
        all_fail = len(paths) == len(tried[member, purpose])
        who = "nobody" if all_fail and len(paths) > 1 else _from(paths)
        reaches = "reaches" if who == "nobody" or len(paths) == 1 else "reach"
        how = f"{who} {reaches}" if who == "nobody" else f"{who} {'does' if len(paths) == 1 else 'do'} not reach"
        reason = f" ({paths[0].reason})" if paths[0].reason and outcome is not Outcome.REFUSED else ""
        closed = outcome in _CLOSED and _own_host(observation, member) in {path.from_host for path in paths}
        yield Finding(
            _CODES[outcome],
            member,
            f"{how} {member} at {paths[0].url}: {_SAYS[outcome]}{reason}",
            _closed(_own_host(observation, member)) if closed else _NEXT[outcome],
            evidence=tuple(_line(path) for path in paths),
        )


def _own_host(observation: Observation, member: str) -> str:
    return next((one.host.name for one in observation.placed if one.name == member), "")


def _closed(host: str) -> str:
    """What a host does not let through to itself, no network between hosts has stopped."""
    return f"a rule on {host} itself stops it, its own way to itself too: ssh {host} sudo nft list ruleset"


def _between_hosts(observation: Observation) -> Iterator[PeerPath]:
    host_of = {member.name: member.host.name for member in observation.placed}
    for path in observation.paths or ():
        if path.from_host and path.purpose == "peer" and host_of.get(path.to_member) != path.from_host:
            yield path


def _from(paths: Sequence[PeerPath]) -> str:
    return ", ".join(dict.fromkeys(path.from_host or "this machine" for path in paths))


def _line(path: PeerPath) -> str:
    said = path.reason or path.outcome.value
    return f"{path.from_host or 'here'} -> {path.to_member} {path.url} ({path.purpose}): {said}"


CHECKS = (isolated_hosts, broken_paths)
