"""What the members' releases mean: support, faults that are known, upgrades half done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from etcdops.client.metrics import GO_VERSION, MemberMetrics
from etcdops.doctor.advisories import (
    ALWAYS,
    SAFE_RELEASES,
    SUPPORTED_LINES,
    Advisory,
    Release,
    concerning,
    parse_release,
    show_release,
)
from etcdops.doctor.finding import CLUSTER, Finding, finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.urls import scheme_of
from etcdops.doctor.words import Said, Value, say
from etcdops.inventory.model import EngineKind
from etcdops.wording import Texts


def releases(observation: Observation) -> dict[Release, list[str]]:
    """Which members run which release of etcd's own program; other engines' numbers mean their API only."""
    found: defaultdict[Release, list[str]] = defaultdict(list)
    for member in observation.answering:
        release = parse_release(member.status.version) if member.status is not None else None
        if release is not None and _is_etcds(observation, member.label):
            found[release].append(member.label)
    return dict(sorted(found.items()))


def _is_etcds(observation: Observation, label: str) -> bool:
    if observation.cluster is not None:
        return observation.cluster.engine.kind is EngineKind.ETCD
    reading = observation.metrics.get(label)
    return not isinstance(reading, MemberMetrics) or GO_VERSION in reading.numbers


def support(observation: Observation) -> Iterator[Finding]:
    for release, names in releases(observation).items():
        if release[:2] < min(SUPPORTED_LINES):
            yield finding(
                "W701",
                CLUSTER,
                line=_line(release[:2]),
                members=tuple(names),
                release=show_release(release),
                upgrade=_upgrade(release),
            )


def known_faults(observation: Observation) -> Iterator[Finding]:
    """One finding for each release and kind of fault."""
    for release, names in releases(observation).items():
        faults = concerning(release, unused=_unused(observation))
        at_hand = observation.operation
        operations = [one for one in faults if one.operation != ALWAYS]
        groups: tuple[tuple[str, Sequence[Advisory]], ...] = (
            ("E702", [one for one in faults if one.operation == ALWAYS and one.kind == "corruption"]),
            ("W703", [one for one in faults if one.kind == "security"]),
            ("W704", [one for one in operations if one.operation == at_hand]),
            ("I707", [one for one in operations if one.operation != at_hand]),
        )
        for code, group in groups:
            if group:
                yield finding(
                    code,
                    CLUSTER,
                    release=show_release(release),
                    members=tuple(names),
                    faults=tuple(one.name for one in group),
                    first=_title(group[0]),
                    more=say("more.faults", count=len(group) - 1) if len(group) > 1 else "",
                    operation=at_hand,
                    operations=tuple(dict.fromkeys(one.operation for one in operations)),
                    upgrade=_upgrade(release),
                    evidence=[_line_of(one) for one in group],
                )


def _unused(observation: Observation) -> list[str]:
    """What is known to be off, so that faults of it do not matter."""
    view = observation.view
    urls = [url for member in view.members for url in (*member.client_urls, *member.peer_urls)] if view else []
    off = ["auth"] if observation.auth is not None and observation.auth.enabled is False else []
    return [*off, "tls"] if urls and all(scheme_of(url) == "http" for url in urls) else off


def _title(fault: Advisory) -> Texts:
    return Texts(**fault.title)


def _line_of(fault: Advisory) -> Value:
    told = (
        _title(fault)
        if fault.source in fault.title["en"]
        else say("more.source", what=_title(fault), source=fault.source)
    )
    return told if fault.operation == ALWAYS else say("more.during", operation=fault.operation, what=told)


def _upgrade(release: Release) -> Said:
    target = SAFE_RELEASES.get(release[:2])
    if target is not None:
        return say("upgrade.patch", release=show_release(target))
    return say("upgrade.minor", release=show_release(SAFE_RELEASES[min(SUPPORTED_LINES)]))


def skew(observation: Observation) -> Iterator[Finding]:
    """Members may differ by one minor version, while an upgrade is under way."""
    lines = sorted({release[:2] for release in _all_releases(observation)})
    if len(lines) > 1 and (lines[0][0] != lines[-1][0] or lines[-1][1] - lines[0][1] > 1):
        evidence = [f"{m.label}: {m.status.version}" for m in observation.answering if m.status is not None]
        yield finding("E705", CLUSTER, oldest=_line(lines[0]), newest=_line(lines[-1]), evidence=evidence)


def cluster_version(observation: Observation) -> Iterator[Finding]:
    """All members upgraded, and the cluster as a whole still speaks the old version."""
    said = {seen.cluster for seen in observation.versions.values()} - {"", "not_decided"}
    servers = [release[:2] for release in _all_releases(observation)]
    view = observation.view
    if len(said) != 1 or not servers or view is None or view.silent:
        return
    cluster = parse_release(said.pop())
    if cluster is not None and cluster[:2] < min(servers):
        yield finding("I706", CLUSTER, servers=_line(min(servers)), cluster=_line(cluster[:2]))


def _all_releases(observation: Observation) -> list[Release]:
    found = (parse_release(member.status.version) for member in observation.answering if member.status is not None)
    return [release for release in found if release is not None]


def _line(line: tuple[int, int]) -> str:
    return f"{line[0]}.{line[1]}"


CHECKS = (support, known_faults, skew, cluster_version)
