"""Who reaches whom: every host tries every member, and how it fails tells why.

Refused: the host is there and nobody listens. No answer: something drops packets, or the host is off. Cut: a rule or a
proxy resets it. One host that reaches nobody is itself the one that is cut off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from etcdops.doctor.finding import Finding, finding
from etcdops.doctor.observation import Observation, Outcome, PeerPath
from etcdops.doctor.words import Said, Value, say

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
_CLOSED = (Outcome.UNREACHABLE, Outcome.RESET)
"""Said by somebody, at once; silence towards oneself may be a process that hangs."""


def isolated_hosts(observation: Observation) -> Iterator[Finding]:
    """A host that reaches no other host's member, while others reach each other."""
    for host, paths in _isolated(observation).items():
        evidence = [_line(path) for path in paths]
        if all(path.outcome is Outcome.TLS for path in paths):
            members = [member.name for member in observation.wanted_on(host)]
            subject = members[0] if len(members) == 1 else host
            yield finding("E606", subject, "all", host=host, reason=paths[0].reason, evidence=evidence)
        else:
            yield finding("E609", host, evidence=evidence)


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
        nobody = len(paths) == len(tried[member, purpose]) and len(paths) > 1
        reason = paths[0].reason if outcome is not Outcome.REFUSED else ""
        own = next((one.host.name for one in observation.placed if one.name == member), "")
        closed = outcome in _CLOSED and own in {path.from_host for path in paths}
        yield finding(
            _CODES[outcome],
            member,
            "closed" if closed else "",
            way=_way(member, paths, nobody=nobody),
            said=say("way.reason", reason=reason) if reason else "",
            own_rule=say("way.own-rule", host=own) if closed else "",
            evidence=[_line(path) for path in paths],
        )


def _way(member: str, paths: Sequence[PeerPath], *, nobody: bool) -> Said:
    """Who does not get where."""
    if nobody:
        return say("way.nobody", member=member, url=paths[0].url)
    return say("way.some", hosts=_from(paths), member=member, url=paths[0].url)


def _between_hosts(observation: Observation) -> Iterator[PeerPath]:
    host_of = {member.name: member.host.name for member in observation.placed}
    for path in observation.paths or ():
        if path.from_host and path.purpose == "peer" and host_of.get(path.to_member) != path.from_host:
            yield path


def _from(paths: Sequence[PeerPath]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(path.from_host or say("way.this-machine") for path in paths))


def _line(path: PeerPath) -> Value:
    start = path.from_host or say("way.here")
    said = path.reason or say(f"outcome.{path.outcome.name.lower().replace('_', '-')}")
    return say("way.tried", start=start, member=path.to_member, url=path.url, purpose=path.purpose, said=said)


CHECKS = (isolated_hosts, broken_paths)
