"""What must be mended before a rollout, and what should be: pure, from the inventory and the facts of its hosts."""

from __future__ import annotations

import ipaddress
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from etcdops.facts.host import DataDir
from etcdops.inventory.model import EngineKind, Manager
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.playbooks.rollout.discovery import refused_by_registry, unasked
from etcdops.playbooks.rollout.firewall_rules import dropped_ports
from etcdops.playbooks.rollout.judging import Refusal, Setting
from etcdops.playbooks.rollout.standing import Standing, standing_of

CLOCK_MAX_S = 1.0
"""etcd warns of peers whose clocks differ by more."""
FSYNC_SLOW_S = 0.1
"""p99. From here on a leader is late with its heartbeats (100 ms by default) because of its own disk."""
FSYNC_WARN_S = 0.01
"""p99. What etcd's own documents ask for."""
FREE_MIN = 1 << 30
FREE_WARN = 8 << 30
"""Bytes. Two log files of 64 MB are there from the beginning; a database may grow to its quota, and twice that."""
PYTHON_MIN = (3, 11)
QUOTA_DEFAULT = 2 << 30
"""Bytes. Source: etcd server/storage/quota.go, DefaultQuotaBytes."""
_BY_HOST_LIMITS = (Manager.SUPERVISE, Manager.SUPERVISORD, Manager.PROCESS)
"""Managers that hand on what limits they have; a unit or an engine of containers sets its own."""


def refusals(setting: Setting) -> tuple[Refusal, ...]:
    """Everything that stands in the way, all of it at once."""
    return tuple(found for rule in _REFUSE for found in rule(setting))


def warnings(setting: Setting) -> tuple[Refusal, ...]:
    """What is worth knowing and stops nobody."""
    return tuple(found for rule in _WARN for found in rule(setting))


def _even_members(setting: Setting) -> Iterator[Refusal]:
    count = len(setting.members)
    if count % 2 == 0:
        yield Refusal(
            "even-members", "", f"{setting.cluster.name} has {count} members, an even number",
            f"it survives the loss of {(count - 1) // 2}, as one with {count - 1} members does, and fails more often",
            f"use {count + 1} members, or {count - 1}", overridable=True,
        )  # fmt: skip


def _two_on_one_host(setting: Setting) -> Iterator[Refusal]:
    by_host: defaultdict[str, list[str]] = defaultdict(list)
    for member in setting.members:
        by_host[member.host].append(member.name)
    for host, names in by_host.items():
        if len(names) > 1:
            yield Refusal(
                "two-on-one-host", host, f"it is to have {len(names)} members: {', '.join(names)}",
                "the loss of one host would take several votes", "give each member a host of its own", overridable=True,
            )  # fmt: skip


def _cloned(setting: Setting) -> Iterator[Refusal]:
    for host, others in _shared({name: facts.machine_id for name, facts in setting.facts.items()}):
        yield Refusal(
            "cloned-machine-id", host, f"its machine-id is that of {', '.join(others)} too",
            "the hosts are copies of one image: what names itself after it (DHCP, journal) takes them for one",
            f"on {host}: rm /etc/machine-id && systemd-machine-id-setup, then reboot", overridable=True,
        )  # fmt: skip
    found: dict[str, str] = {}
    for member in setting.members:
        directory = _data_dir(setting, member)
        if directory is not None and directory.member_id is not None:
            found[member.host] = f"{directory.cluster_id or 0:x}/{directory.member_id:x}"
    for host, others in _shared(found):
        yield Refusal(
            "cloned-data-dir", host, f"its data directory is a copy of that on {', '.join(others)}",
            "two members with one identity vote twice and lose writes",
            "keep one of them; on the others remove the member from the cluster and add it anew, without data",
        )  # fmt: skip


def _shared(values: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Every host but the first of those with the same value, with the others."""
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    for host, value in values.items():
        if value:
            hosts[value].append(host)
    for same in hosts.values():
        for host in same[1:]:
            yield host, [other for other in same if other != host]


def _listens_locally(setting: Setting) -> Iterator[Refusal]:
    alone = len(setting.members) == 1
    for member in setting.members:
        placed = member.member
        for what, listening, advertised in (
            ("client", placed.listen_client_urls, placed.advertise_client_urls),
            ("peer", placed.listen_peer_urls, placed.initial_advertise_peer_urls),
        ):
            local = [_host(url) for url in listening if url.startswith("http")]
            meant_local = alone and all(_is_loopback(_host(url)) for url in advertised)
            if local and all(map(_is_loopback, local)) and not meant_local:
                yield Refusal(
                    "listen-localhost", member.host,
                    f"{member.name} listens for {what}s on {', '.join(dict.fromkeys(local))} only",
                    "nobody on another host can reach it",
                    f"correct listen_{what}_urls, or leave it out: then it listens everywhere",
                )  # fmt: skip


def _advertises_nonsense(setting: Setting) -> Iterator[Refusal]:
    alone = len(setting.members) == 1
    for member in setting.members:
        placed = member.member
        for key, urls in (
            ("advertise_client_urls", placed.advertise_client_urls),
            ("initial_advertise_peer_urls", placed.initial_advertise_peer_urls),
        ):
            for host in dict.fromkeys(map(_host, urls)):
                if _is_everywhere(host):
                    what, why = f"{member.name} advertises {host}", "that is an address to listen on, of no host"
                elif _is_loopback(host) and not alone:
                    what, why = f"{member.name} advertises {host}", "on every other host that is the host itself"
                elif problem := _not_its_own(setting, member, host):
                    yield Refusal(
                        "advertise-unreachable", member.host, f"{member.name} advertises {host}: {problem}",
                        "others would dial somebody else, or nobody", f"correct {key}, or the host's address",
                        overridable=True,
                    )  # fmt: skip
                    continue
                else:
                    continue
                yield Refusal(
                    "advertise-unreachable", member.host, what, why, f"advertise the host's own address in {key}"
                )


def _not_by_name(setting: Setting) -> Iterator[Refusal]:
    """SRV records hold names, which become the peer URLs of a cluster that is made from them."""
    for member in setting.members:
        domain = member.config.flags.get("discovery-srv")
        numbers = [url for url in member.member.initial_advertise_peer_urls if _is_address(_host(url))]
        if domain and numbers:
            yield Refusal(
                "srv-names", member.host, f"{member.name} advertises {', '.join(numbers)} to its peers",
                f"the members find each other by the SRV records of {domain}, and are known by the names in them",
                "give initial_advertise_peer_urls as they stand in the records, or the host's name as its address",
            )  # fmt: skip


def _not_its_own(setting: Setting, member: DesiredMember, host: str) -> str:
    """Why an address or name is not the member's host; empty: it is, or nobody can tell."""
    own = set(setting.of(member).addresses)
    if _is_address(host):
        return "" if not own or str(ipaddress.ip_address(host)) in own else "none of its host's addresses"
    for name, facts in setting.facts.items():
        if host in facts.names:
            found = facts.names[host]
            if not found:
                return f"{name} does not know this name"
            if own and name != member.host and not own & set(found):
                return f"on {name} that is {', '.join(found)}, none of its host's addresses"
    return ""


def _clock_off(setting: Setting) -> Iterator[Refusal]:
    known = {host: facts for host, facts in setting.facts.items() if facts.clock_offset_s is not None}
    offsets = [facts.clock_offset_s or 0.0 for facts in known.values()]
    if len(offsets) < 3:
        offsets.append(0.0)  # ours: of two, nobody could say which one is wrong
    middle = statistics.median(offsets)
    for host, facts in known.items():
        off = (facts.clock_offset_s or 0.0) - middle
        if abs(off) - facts.clock_error_s > CLOCK_MAX_S:
            way = "ahead of" if off > 0 else "behind"
            yield Refusal(
                "clock-off", host, f"its clock is {abs(off):.1f} s {way} the others'",
                "certificates look expired or not yet valid, leases and logs mislead",
                f"on {host}: start chrony or systemd-timesyncd, and wait until it has set the clock", overridable=True,
            )  # fmt: skip


def _disk(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        for disk in setting.of(member).disks:
            if disk.path not in _paths(member):
                continue
            if disk.fsync_p99_s is not None and disk.fsync_p99_s > FSYNC_SLOW_S:
                yield Refusal(
                    "disk-slow", member.host,
                    f"syncing a small write below {disk.path} takes {disk.fsync_p99_s * 1000:.0f} ms (p99 of"
                    f" {disk.measured}; p50 {(disk.fsync_p50_s or 0) * 1000:.1f} ms)",
                    "every write to the cluster waits for that, and leaders are voted out while they wait",
                    "use a local SSD, or a disk of its own for wal_dir; try again when nothing else loads it",
                    overridable=True,
                )  # fmt: skip
            if disk.free_bytes is not None and disk.free_bytes < FREE_MIN:
                yield Refusal(
                    "disk-full", member.host, f"only {disk.free_bytes >> 20} MiB are free below {disk.path}",
                    "a member that cannot write ends, and its log alone takes 128 MiB at the start",
                    f"free some space on {member.host}, or choose another data_dir", overridable=True,
                )  # fmt: skip


def _ports_taken(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        facts = setting.of(member)
        if standing_of(member, facts) is Standing.OURS:
            continue
        for port in _ports(member):
            taken = next((one for one in facts.listeners if one.port == port), None)
            if taken is not None:
                who = taken.program or "somebody"
                yield Refusal(
                    "port-taken", member.host, f"port {port} is taken by {who} (listening on {taken.address})",
                    f"{member.name} could not start", f"stop it, or give {member.name} other URLs",
                )  # fmt: skip


def _old_data(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        if standing_of(member, setting.of(member)) is not Standing.OCCUPIED:
            continue
        for path in _paths(member):
            directory = setting.of(member).data_dir(path)
            if directory is None or directory.is_vacant:
                continue
            yield Refusal(
                "old-data", member.host, f"{path} is not empty: {_describe(directory)}",
                "a member would start on it as the one it was, in the cluster it was in",
                f"if nobody needs it, on {member.host}: mv {path} {path}.old", overridable=False,
            )  # fmt: skip


def _describe(directory: DataDir) -> str:
    if directory.member_id is not None:
        return f"data of member {directory.member_id:x} of cluster {directory.cluster_id or 0:x}"
    return "data of a member" if directory.is_member else f"{directory.entries} files that are no member's"


def _lost_data(setting: Setting) -> Iterator[Refusal]:
    standings = {member.name: standing_of(member, setting.of(member)) for member in setting.members}
    if Standing.OURS not in standings.values():
        return
    for member in setting.members:
        if standings[member.name] is Standing.BARE:
            yield Refusal(
                "member-without-data", member.host, f"{member.name} has no data, while other members have",
                "started like this it would vote as somebody who forgot what he promised",
                "if a rollout was cut off: etcdops runs list, and resume it. If its disk was lost: remove the member"
                " from the cluster and add it anew (etcdctl member remove, member add)",
            )  # fmt: skip


def _engine(setting: Setting) -> Iterator[Refusal]:
    engine, manager = setting.cluster.engine, setting.cluster.service.manager
    if manager in (Manager.DOCKER, Manager.PODMAN):
        return
    if engine.kind is EngineKind.NODE:
        yield from _python(setting)
        return
    source = engine.source
    if source.package or source.archive is not None or source.directory is not None:
        return
    versions = {member.host: setting.of(member).engine_version for member in setting.members}
    for host, version in versions.items():
        if not version:
            yield Refusal(
                "engine-missing", host, "there is no etcd on it", "nothing could be started",
                "name where it comes from: engine.source with package, archive or directory",
            )  # fmt: skip
        elif not f"{version}.".startswith(f"{engine.version}."):
            yield Refusal(
                "mixed-versions", host, f"its etcd is {version}, and the inventory asks for {engine.version}",
                "members of different versions in a new cluster hold it at the lowest, or do not join",
                "name engine.source, so that all hosts get the same; or correct engine.version",
            )  # fmt: skip


def _python(setting: Setting) -> Iterator[Refusal]:
    here = setting.here
    for member in setting.members:
        facts = setting.of(member)
        if facts.python is None:
            yield Refusal(
                "python-missing", member.host, "there is no python3 on it", "the bundled node runs in it",
                f"install python{PYTHON_MIN[0]}.{PYTHON_MIN[1]} or newer on {member.host}",
            )  # fmt: skip
            continue
        problems = []
        if facts.python[:2] != here.minor:
            problems.append(
                f"its python3 is {facts.python[0]}.{facts.python[1]}, ours is {here.minor[0]}.{here.minor[1]}"
            )
        if facts.machine and facts.machine != here.machine:
            problems.append(f"it is a {facts.machine}, this machine is a {here.machine}")
        if facts.libc != here.libc:
            problems.append(f"its C library is {facts.libc}, ours is {here.libc}")
        if problems:
            yield Refusal(
                "python-differs", member.host, "; ".join(problems),
                "the node's compiled libraries are packed from this installation of etcdops, and fit only its like",
                "run etcdops from a machine and a python3 like the host's",
            )  # fmt: skip


def _manager(setting: Setting) -> Iterator[Refusal]:
    for host, facts in setting.facts.items():
        if facts.missing:
            yield Refusal(
                "program-missing", host, f"there is no {' and no '.join(facts.missing)} on it",
                f"the service manager {setting.cluster.service.manager} needs it",
                "install it, or choose another service.manager",
            )  # fmt: skip


def _other_keeper(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        facts = setting.of(member)
        for found in facts.found:
            if found.config is None or found.pid is None or found.config.value("data-dir") not in _paths(member):
                continue
            if standing_of(member, facts) is not Standing.OURS:
                keeper = f"{found.keeper} {found.name}" if found.keeper else f"nobody (process {found.pid})"
                path = found.config.value("data-dir")
                yield Refusal(
                    "other-service", member.host, f"a member runs on {path}, kept by {keeper}",
                    "two services would fight for one directory",
                    "describe that service in the inventory (etcdops inventory import), or stop and disable it",
                )  # fmt: skip


def _warn_disk(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        for disk in setting.of(member).disks:
            if disk.path not in _paths(member):
                continue
            if disk.fsync_p99_s is not None and FSYNC_WARN_S < disk.fsync_p99_s <= FSYNC_SLOW_S:
                yield Refusal(
                    "disk-not-fast", member.host,
                    f"syncing a small write below {disk.path} takes {disk.fsync_p99_s * 1000:.0f} ms (p99)",
                    "etcd's documents ask for less than 10 ms", "watch etcd_disk_wal_fsync_duration_seconds",
                )  # fmt: skip
            if disk.free_bytes is not None and FREE_MIN <= disk.free_bytes < FREE_WARN:
                yield Refusal(
                    "disk-small", member.host, f"{disk.free_bytes / 2**30:.1f} GiB are free below {disk.path}",
                    "the database, its snapshots and logs share that", "watch it, or choose another data_dir",
                )  # fmt: skip


def _warn_host(setting: Setting) -> Iterator[Refusal]:
    for host, facts in setting.facts.items():
        if facts.swap_bytes:
            yield Refusal(
                "swap", host, f"it has {facts.swap_bytes >> 20} MiB of swap", "a member that is swapped out is late",
                "switch it off, or set vm.swappiness to 1",
            )  # fmt: skip
        if facts.clock_offset_s is None:
            yield Refusal(
                "clock-unknown", host, "its clock cannot be read", "clocks that differ look like broken certificates",
                "compare them by hand",
            )  # fmt: skip


def _warn_resources(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        facts, quota = setting.of(member), _quota(member)
        if facts.memory_bytes is not None and facts.memory_bytes < quota:
            yield Refusal(
                "memory-small", member.host,
                f"it has {facts.memory_bytes / 2**30:.1f} GiB of memory, and the database may grow to"
                f" {quota / 2**30:.1f} GiB",
                "what does not fit is read from the disk again and again",
                "give it more, or set a smaller quota-backend-bytes",
            )  # fmt: skip
        limit = facts.open_files
        if (
            setting.cluster.service.manager in _BY_HOST_LIMITS
            and limit is not None
            and limit < member.config.open_files
        ):
            yield Refusal(
                "file-limit", member.host, f"a process on it may have {limit} open files at most",
                f"every client is one, and {member.name} is to have {member.config.open_files}",
                f"raise the hard limit (nofile) of what starts the {setting.cluster.service.manager} service",
            )  # fmt: skip


def _quota(member: DesiredMember) -> int:
    """Bytes the database may grow to; 0: without a limit. Source: etcd server/storage/quota.go, NewBackendQuota."""
    given = member.config.flags.get("quota-backend-bytes", "0")
    size = int(given) if given.lstrip("-").isdigit() else 0
    return max(size, 0) if size else QUOTA_DEFAULT


def _warn_firewall(setting: Setting) -> Iterator[Refusal]:
    for member in setting.members:
        if member.firewall:
            continue  # ours will be there
        for port in dropped_ports(setting.of(member).firewall, _ports(member)):
            yield Refusal(
                "firewall", member.host, f"its firewall seems to let nobody reach port {port}",
                f"{member.name} would not find the others",
                "open it, or have etcdops do it: `firewall` in the inventory",
            )  # fmt: skip


_REFUSE: Sequence[Callable[[Setting], Iterator[Refusal]]] = (
    _even_members,
    _two_on_one_host,
    _cloned,
    _listens_locally,
    _advertises_nonsense,
    _not_by_name,
    refused_by_registry,
    _clock_off,
    _disk,
    _manager,
    _engine,
    _other_keeper,
    _ports_taken,
    _old_data,
    _lost_data,
)
_WARN: Sequence[Callable[[Setting], Iterator[Refusal]]] = (
    _warn_disk,
    _warn_host,
    _warn_resources,
    _warn_firewall,
    unasked,
)


def _data_dir(setting: Setting, member: DesiredMember) -> DataDir | None:
    return setting.of(member).data_dir(member.member.data_dir)


def _paths(member: DesiredMember) -> tuple[str, ...]:
    return tuple(path for path in (member.member.data_dir, member.member.wal_dir) if path)


def _ports(member: DesiredMember) -> tuple[int, ...]:
    placed = member.member
    urls = (*placed.listen_client_urls, *placed.listen_peer_urls, *placed.listen_metrics_urls)
    return tuple(dict.fromkeys(port for url in urls if (port := urlsplit(url).port) is not None))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return text == "localhost" or (_is_address(text) and ipaddress.ip_address(text).is_loopback)


def _is_everywhere(text: str) -> bool:
    return _is_address(text) and ipaddress.ip_address(text).is_unspecified
