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
from etcdops.doctor.finding import CLUSTER, Finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.urls import scheme_of
from etcdops.inventory.model import EngineKind


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
            line = ".".join(map(str, release[:2]))
            yield Finding(
                "W701",
                CLUSTER,
                f"etcd {line} gets no corrections any more ({_names(names)}: {show_release(release)})",
                _upgrade(release),
            )


def known_faults(observation: Observation) -> Iterator[Finding]:
    """One finding for each release and kind of fault."""
    for release, names in releases(observation).items():
        faults = concerning(release, unused=_unused(observation))
        at_hand = observation.operation
        operations = [one for one in faults if one.operation != ALWAYS]
        said = f"etcd {show_release(release)}"
        groups: tuple[tuple[str, Sequence[Advisory], str], ...] = (
            ("E702", [one for one in faults if one.operation == ALWAYS and one.kind == "corruption"], "{first}"),
            ("W703", [one for one in faults if one.kind == "security"], "has known holes: {first}{more}"),
            (
                "W704",
                [one for one in operations if one.operation == at_hand],
                f"is not safe for what you are about to do ({at_hand}): {{first}}{{more}}",
            ),
            (
                "I707",
                [one for one in operations if one.operation != at_hand],
                f"has known faults that strike during {_during(operations)}",
            ),
        )
        for code, group, words in groups:
            if group:
                more = f"; and {len(group) - 1} more" if len(group) > 1 else ""
                yield Finding(
                    code,
                    CLUSTER,
                    f"{said} {words.format(first=group[0].title['en'], more=more)}",
                    _upgrade(release)
                    + ("; before such work: etcdops doctor --before OPERATION" if code == "I707" else ""),
                    detail=f"Run by {_names(names)}.",
                    evidence=tuple(_line_of(one) for one in group),
                )


def _unused(observation: Observation) -> list[str]:
    """What is known to be off, so that faults of it do not matter."""
    view = observation.view
    urls = [url for member in view.members for url in (*member.client_urls, *member.peer_urls)] if view else []
    off = ["auth"] if observation.auth is not None and observation.auth.enabled is False else []
    return [*off, "tls"] if urls and all(scheme_of(url) == "http" for url in urls) else off


def _during(faults: Sequence[Advisory]) -> str:
    return ", ".join(dict.fromkeys(one.operation for one in faults))


def _line_of(fault: Advisory) -> str:
    when = "" if fault.operation == ALWAYS else f"{fault.operation}: "
    source = "" if fault.source in fault.title["en"] else f" ({fault.source})"
    return f"{when}{fault.title['en']}{source}"


def _upgrade(release: Release) -> str:
    target = SAFE_RELEASES.get(release[:2])
    if target is not None:
        return f"upgrade to {show_release(target)} or later, member by member, the leader last"
    last = show_release(SAFE_RELEASES[min(SUPPORTED_LINES)])
    return f"upgrade to {last} or later, one minor version at a time, member by member, the leader last"


def skew(observation: Observation) -> Iterator[Finding]:
    """Members may differ by one minor version, while an upgrade is under way."""
    lines = sorted({release[:2] for release in _all_releases(observation)})
    if len(lines) > 1 and (lines[0][0] != lines[-1][0] or lines[-1][1] - lines[0][1] > 1):
        low, high = (".".join(map(str, line)) for line in (lines[0], lines[-1]))
        yield Finding(
            "E705",
            CLUSTER,
            f"members run etcd {low} and {high} side by side: more than one minor version apart",
            "bring the older ones up one minor version at a time",
            evidence=tuple(f"{m.label}: {m.status.version}" for m in observation.answering if m.status is not None),
        )


def cluster_version(observation: Observation) -> Iterator[Finding]:
    """All members upgraded, and the cluster as a whole still speaks the old version."""
    said = {seen.cluster for seen in observation.versions.values()} - {"", "not_decided"}
    servers = [release[:2] for release in _all_releases(observation)]
    view = observation.view
    if len(said) != 1 or not servers or view is None or view.silent:
        return
    cluster = parse_release(said.pop())
    if cluster is not None and cluster[:2] < min(servers):
        yield Finding(
            "I706",
            CLUSTER,
            f"all members run {_line(min(servers))}, but the cluster still works as {_line(cluster[:2])}",
            "the leader raises it within seconds of the last upgrade; a downgrade that was begun holds it back:"
            " etcdctl downgrade cancel",
        )


def _all_releases(observation: Observation) -> list[Release]:
    found = (parse_release(member.status.version) for member in observation.answering if member.status is not None)
    return [release for release in found if release is not None]


def _line(line: tuple[int, int]) -> str:
    return f"{line[0]}.{line[1]}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


CHECKS = (support, known_faults, skew, cluster_version)
