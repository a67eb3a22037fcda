"""What members are told to do: flags, variables and files, and what does not fit the cluster they belong to."""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.client.view import ClusterView
from etcdops.doctor.advisories import parse_release
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import CLUSTER, Finding, finding
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation, Outcome
from etcdops.doctor.urls import host_of, initial_cluster, is_loopback, port_of, same_urls, split_urls
from etcdops.doctor.words import Said, Value, say
from etcdops.services.port import ProcessConfig

QUOTA_ADVISED_BYTES = 8 << 30
"""Source: server/storage/quota.go, MaxQuotaBytes: etcd itself warns above it."""
SHARED_FLAGS = ("heartbeat-interval", "election-timeout", "quota-backend-bytes", "auto-compaction-retention")
"""Members that differ in these elect unfairly, or raise alarms for all."""

V2_FLAGS = ("enable-v2", "experimental-enable-v2v3")
"""Gone with etcd 3.6."""


def _wanted(observation: Observation) -> Iterator[tuple[HostObservation, MemberOnHost]]:
    """Members of this cluster on their hosts; what else lives there is not ours to judge."""
    for host, on_host, _ in observation.ours if observation.placed else ():
        yield host, on_host


def _where(settings: ProcessConfig | None, flag: str) -> Said | str:
    found = settings.flags.get(flag) if settings is not None else None
    return say("flag.where", where=found.where) if found is not None and found.where else ""


def joining(observation: Observation) -> Iterator[Finding]:
    """`--initial-cluster` and its kin count while a member has no data: there they must fit letter by letter."""
    view = observation.view
    for host, on_host in _wanted(observation):
        listed = initial_cluster(on_host.flag("initial-cluster"))
        if on_host.data is None or not on_host.data.is_vacant or not listed:
            continue
        place = f"{host.host}: --initial-cluster {on_host.flag('initial-cluster')}"
        own = listed.get(on_host.name)
        advertised = split_urls(on_host.flag("initial-advertise-peer-urls"))
        if own is None:
            where = _where(on_host.settings, "initial-cluster")
            yield finding("E410", on_host.name, listed=tuple(listed), where=where, evidence=(place,))
        elif advertised and not same_urls(own, advertised):
            yield finding("E411", on_host.name, advertised=advertised, listed=own, evidence=(place,))
        elif view is not None and view.members_known and view.answering:
            yield from _joins(view, on_host, listed, place)


def _joins(
    view: ClusterView, on_host: MemberOnHost, listed: dict[str, tuple[str, ...]], place: str
) -> Iterator[Finding]:
    state = on_host.flag("initial-cluster-state") or "new"
    if len(listed) != len(view.members):
        names = tuple(member.label for member in view.members)
        yield finding(
            "E412",
            on_host.name,
            listed=len(listed),
            members=len(view.members),
            evidence=(place, say("seen.listed", members=names)),
        )
    elif state == "new":
        yield finding("W413", on_host.name, evidence=(place,))


def forced(observation: Observation) -> Iterator[Finding]:
    for host, on_host in _wanted(observation):
        if on_host.flag("force-new-cluster") == "true":
            yield finding(
                "E414",
                on_host.name,
                host=host.host,
                where=_where(on_host.settings, "force-new-cluster"),
                evidence=(f"{host.host}: force-new-cluster=true",),
            )


def listens_on_loopback(observation: Observation) -> Iterator[Finding]:
    """By the ports it really has open, else by its flags."""
    if len({member.host.name for member in observation.placed}) < 2:
        return
    for host, on_host in _wanted(observation):
        for purpose, listen, advertise in (
            ("peers", "listen-peer-urls", "initial-advertise-peer-urls"),
            ("clients", "listen-client-urls", "advertise-client-urls"),
        ):
            urls, told = split_urls(on_host.flag(listen)), split_urls(on_host.flag(advertise))
            if not urls or not all(map(is_loopback, urls)) or not any(not is_loopback(url) for url in told):
                continue
            yield finding(
                "E415" if purpose == "peers" else "W415",
                on_host.name,
                listens=urls,
                advertised=told,
                address=host_of(told[0]),
                where=_where(on_host.settings, listen),
                evidence=(f"{host.host}: --{listen} {','.join(urls)}, --{advertise} {','.join(told)}",),
            )


def real_ports(observation: Observation) -> Iterator[Finding]:
    """A running member that has no port open where the cluster dials it: whatever its flags say."""
    view = observation.view
    members = {member.name: member for member in view.members} if view is not None and view.members_known else {}
    for host, on_host, name in observation.ours if members else ():
        process, member = on_host.process, members.get(name)
        if member is None or process is None or not process.listeners:
            continue
        if member.answered and not _refuses(observation, name):
            continue  # a container's ports may be others outside
        open_ports = sorted({one.port for one in process.listeners})
        dialled = {port_of(url) for url in member.peer_urls} - {None}
        if dialled and not dialled & set(open_ports):
            yield finding(
                "E424",
                name,
                peer_urls=member.peer_urls,
                open_ports=tuple(open_ports),
                where=_where(on_host.settings, "listen-peer-urls"),
                evidence=[
                    say("seen.listens", host=host.host, pid=process.pid, ports=tuple(open_ports)),
                    f"{host.host}: --listen-peer-urls {on_host.flag('listen-peer-urls') or '(default)'}",
                ],
            )


def _refuses(observation: Observation, name: str) -> bool:
    """Whether everybody who dials its peer URL is refused."""
    tried = [path.outcome for path in observation.paths or () if (path.to_member, path.purpose) == (name, "peer")]
    return bool(tried) and all(outcome is Outcome.REFUSED for outcome in tried)


def pending(observation: Observation) -> Iterator[Finding]:
    """Written down, not in force."""
    for host, on_host in _wanted(observation):
        names = on_host.config.pending if on_host.config is not None else ()
        if names:
            yield finding(
                "W416",
                on_host.name,
                settings=names,
                evidence=[_change(host, on_host, name) for name in names],
                blocked=unsafe_reason(observation.view) if observation.view is not None else None,
            )


def _change(host: HostObservation, on_host: MemberOnHost, name: str) -> Said:
    config = on_host.config
    now = config.running.value(name) if config is not None and config.running is not None else None
    then = config.next_start.value(name) if config is not None and config.next_start is not None else None
    return say("flag.changes", host=host.host, flag=name, now=_or_unset(now), then=_or_unset(then))


def _or_unset(value: str | None) -> Value:
    return say("flag.unset") if value is None else value


def differing(observation: Observation) -> Iterator[Finding]:
    members = [(host, one) for host, one in _wanted(observation) if one.settings is not None]
    for flag in SHARED_FLAGS:
        values: dict[str, list[str]] = {}
        for _, on_host in members:
            values.setdefault(on_host.flag(flag) or "", []).append(on_host.name)
        if len(values) > 1:
            yield finding(
                "W417",
                CLUSTER,
                flag=flag,
                values=tuple(
                    say("member.listed", what=value or say("flag.default"), members=tuple(names))
                    for value, names in sorted(values.items())
                ),
                evidence=[
                    say(
                        "flag.set",
                        host=host.host,
                        member=one.name,
                        flag=flag,
                        value=one.flag(flag) or say("flag.default"),
                    )
                    for host, one in members
                ],
            )


def dangerous(observation: Observation) -> Iterator[Finding]:
    """Flags that trade safety away."""
    for host, on_host in _wanted(observation):
        place = f"{host.host}: {on_host.name}"
        if on_host.flag("unsafe-no-fsync") == "true":
            yield finding("E418", on_host.name, evidence=(place,))
        if on_host.flag("strict-reconfig-check") == "false":
            yield finding("W419", on_host.name, evidence=(place,))
        quota = on_host.flag("quota-backend-bytes") or ""
        if quota.isdigit() and int(quota) > QUOTA_ADVISED_BYTES:
            most = QUOTA_ADVISED_BYTES
            yield finding("W420", on_host.name, quota_bytes=int(quota), limit_bytes=most, evidence=(place,))


def refused_by_next(observation: Observation) -> Iterator[Finding]:
    """What the next minor version does not take any more: it would not start."""
    releases = {m.name: parse_release(m.status.version) for m in observation.answering if m.status is not None}
    for host, on_host in _wanted(observation):
        release, settings = releases.get(on_host.name), on_host.settings
        if release is None or settings is None:
            continue
        line = release[:2]
        refused = [flag for flag in sorted(settings.flags) if _refused(flag, line)]
        if refused:
            yield finding(
                "W423",
                on_host.name,
                release=f"{line[0]}.{line[1] + 1}",
                flags=tuple(f"--{flag}" for flag in refused),
                evidence=[
                    say("flag.written", host=host.host, flag=flag, where=_where(settings, flag)) for flag in refused
                ],
            )


def _refused(flag: str, line: tuple[int, int]) -> bool:
    """Source: CHANGELOG-3.6, breaking changes; upgrade_3_7.md."""
    if line == (3, 5):
        return flag in V2_FLAGS or flag.startswith("proxy")
    return line == (3, 6) and flag.startswith("experimental-")


def inventory_differs(observation: Observation) -> Iterator[Finding]:
    """Members that are wanted and are not there, and the other way round."""
    view = observation.view
    if view is None or not observation.placed or not view.members_known or not view.answering:
        return
    listed = {member.name for member in view.members if member.name}
    urls = {url for member in view.members for url in member.peer_urls}
    wanted = {member.name: member for member in observation.placed}
    for name in sorted(wanted.keys() - listed):
        if urls & set(wanted[name].initial_advertise_peer_urls):
            continue  # added, not started: W203 says it
        yield finding("W421", name, peer_urls=",".join(wanted[name].initial_advertise_peer_urls))
    for name in sorted(listed - wanted.keys()):
        yield finding("W422", name)


CHECKS = (
    joining,
    forced,
    listens_on_loopback,
    real_ports,
    pending,
    differing,
    dangerous,
    refused_by_next,
    inventory_differs,
)
