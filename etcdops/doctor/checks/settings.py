"""What members are told to do: flags, variables and files, and what does not fit the cluster they belong to."""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.client.view import ClusterView
from etcdops.doctor.advisories import parse_release
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import CLUSTER, Finding
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation, Outcome
from etcdops.doctor.urls import host_of, initial_cluster, is_loopback, port_of, same_urls, split_urls
from etcdops.numbers import show_bytes
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


def _where(settings: ProcessConfig | None, flag: str) -> str:
    found = settings.flags.get(flag) if settings is not None else None
    return f" ({found.where})" if found is not None and found.where else ""


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
            yield Finding(
                "E410",
                on_host.name,
                f"{on_host.name} is not in its own --initial-cluster: {', '.join(listed)}",
                f"make --name and an entry of --initial-cluster equal{_where(on_host.settings, 'initial-cluster')}",
                evidence=(place,),
            )
        elif advertised and not same_urls(own, advertised):
            yield Finding(
                "E411",
                on_host.name,
                f"{on_host.name} advertises {', '.join(advertised)}, but its --initial-cluster says {', '.join(own)}",
                "make both the same, letter by letter",
                evidence=(place,),
            )
        elif view is not None and view.members_known and view.answering:
            yield from _joins(view, on_host, listed, place)


def _joins(
    view: ClusterView, on_host: MemberOnHost, listed: dict[str, tuple[str, ...]], place: str
) -> Iterator[Finding]:
    state = on_host.flag("initial-cluster-state") or "new"
    if len(listed) != len(view.members):
        yield Finding(
            "E412",
            on_host.name,
            f"{on_host.name} would join with {len(listed)} members in --initial-cluster; the cluster has"
            f" {len(view.members)}",
            "etcdctl member add first, and copy the ETCD_INITIAL_CLUSTER that it prints",
            evidence=(place, f"the member list: {', '.join(member.label for member in view.members)}"),
        )
    elif state == "new":
        yield Finding(
            "W413",
            on_host.name,
            f"{on_host.name} has no data and would start with --initial-cluster-state new beside a cluster that runs",
            "set --initial-cluster-state existing before it starts",
            detail="With new it makes a cluster of its own, or is refused because its name is taken.",
            evidence=(place,),
        )


def forced(observation: Observation) -> Iterator[Finding]:
    for host, on_host in _wanted(observation):
        if on_host.flag("force-new-cluster") == "true":
            yield Finding(
                "E414",
                on_host.name,
                f"{on_host.name} is started with --force-new-cluster: every restart throws the other members out",
                f"take it out of the settings on {host.host}{_where(on_host.settings, 'force-new-cluster')} before"
                " anything restarts it",
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
            yield Finding(
                "E415" if purpose == "peers" else "W415",
                on_host.name,
                f"{on_host.name} listens for {purpose} on {', '.join(urls)} only, but tells them to dial"
                f" {', '.join(told)}",
                f"add {host_of(told[0])} (or 0.0.0.0) to --{listen}{_where(on_host.settings, listen)} and restart it",
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
            yield Finding(
                "E424",
                name,
                f"peers dial {name} at {', '.join(member.peer_urls)}, but its process has only"
                f" {', '.join(map(str, open_ports))} open",
                "make --listen-peer-urls and the member list agree: correct the flag"
                f"{_where(on_host.settings, 'listen-peer-urls')} and restart it, or etcdctl member update",
                evidence=(
                    f"{host.host}: process {process.pid} listens on {', '.join(map(str, open_ports))}",
                    f"{host.host}: --listen-peer-urls {on_host.flag('listen-peer-urls') or '(default)'}",
                ),
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
            yield Finding(
                "W416",
                on_host.name,
                f"{on_host.name} runs with other settings than it will after a restart: {', '.join(names)}",
                "restart it when the cluster can do without it, or put the file right: etcdops rollout plan",
                evidence=tuple(_change(host, on_host, name) for name in names),
                blocked=unsafe_reason(observation.view) if observation.view is not None else "",
            )


def _change(host: HostObservation, on_host: MemberOnHost, name: str) -> str:
    config = on_host.config
    now = config.running.value(name) if config is not None and config.running is not None else None
    then = config.next_start.value(name) if config is not None and config.next_start is not None else None
    return f"{host.host}: --{name} {'unset' if now is None else now} now, {'unset' if then is None else then} then"


def differing(observation: Observation) -> Iterator[Finding]:
    members = [(host, one) for host, one in _wanted(observation) if one.settings is not None]
    for flag in SHARED_FLAGS:
        values: dict[str, list[str]] = {}
        for _, on_host in members:
            values.setdefault(on_host.flag(flag) or "default", []).append(on_host.name)
        if len(values) > 1:
            said = "; ".join(f"{value}: {', '.join(names)}" for value, names in sorted(values.items()))
            yield Finding(
                "W417",
                CLUSTER,
                f"members differ in --{flag}: {said}",
                "set it once for all, in the inventory's settings, and apply it: etcdops rollout plan",
                evidence=tuple(
                    f"{host.host}: {one.name} --{flag} {one.flag(flag) or '(default)'}" for host, one in members
                ),
            )


def dangerous(observation: Observation) -> Iterator[Finding]:
    """Flags that trade safety away."""
    for host, on_host in _wanted(observation):
        place = f"{host.host}: {on_host.name}"
        if on_host.flag("unsafe-no-fsync") == "true":
            yield Finding(
                "E418",
                on_host.name,
                f"{on_host.name} runs with --unsafe-no-fsync: a loss of power loses what it acknowledged",
                "take the flag away and restart it",
                evidence=(place,),
            )
        if on_host.flag("strict-reconfig-check") == "false":
            yield Finding(
                "W419",
                on_host.name,
                f"{on_host.name} runs with --strict-reconfig-check=false: it lets changes of members lose the quorum",
                "take the flag away and restart it",
                evidence=(place,),
            )
        quota = on_host.flag("quota-backend-bytes") or ""
        if quota.isdigit() and int(quota) > QUOTA_ADVISED_BYTES:
            yield Finding(
                "W420",
                on_host.name,
                f"{on_host.name} may grow to {show_bytes(int(quota))}; {show_bytes(QUOTA_ADVISED_BYTES)} is the most",
                "find what fills it instead (etcdops tui, Keys); starts, snapshots and defragmentation take as long as"
                " the database is large",
                evidence=(place,),
            )


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
            yield Finding(
                "W423",
                on_host.name,
                f"etcd {line[0]}.{line[1] + 1} does not start with what {on_host.name} has: --{', --'.join(refused)}",
                "replace each flag by its successor before the upgrade",
                evidence=tuple(f"{host.host}: --{flag}{_where(settings, flag)}" for flag in refused),
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
        yield Finding(
            "W421",
            name,
            f"{name} is in the inventory, but not in the member list",
            f"etcdctl member add {name} --learner --peer-urls={','.join(wanted[name].initial_advertise_peer_urls)},"
            " then start it with state existing; or take it out of the inventory",
        )
    for name in sorted(listed - wanted.keys()):
        yield Finding(
            "W422",
            name,
            f"{name} is a member, but not in the inventory: nothing looks after it",
            "add it to the inventory, or remove it from the cluster",
        )


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
