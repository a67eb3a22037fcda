"""Hosts as they are: facts, the members on them whoever keeps them, their processes, disks, the kernel's complaints.

Nothing is changed on a host, but that `probe` writes a file for a moment, to see how long the disk takes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from etcdops.doctor.gather.host_script import CONDITION
from etcdops.doctor.gather.named import spec_of
from etcdops.doctor.observation import FileSystem, HostObservation, MemberOnHost, MemberProcess, OOMKill
from etcdops.errors import EtcdopsError
from etcdops.facts.host import HostFacts, gather_facts, kernel_listeners, sections
from etcdops.inventory.model import Manager, PlacedMember
from etcdops.remote.command import ROOT, script
from etcdops.remote.pool import Open, on_all
from etcdops.remote.session import Session
from etcdops.services.container import ContainerService
from etcdops.services.discover import Found, discover
from etcdops.services.managers import service_for
from etcdops.services.member_process import TICKS_PER_S, member_below
from etcdops.services.port import EffectiveConfig, Service, ServiceStatus
from etcdops.services.systemd import SystemdService

_TIMEOUT_S = 60.0
KERNEL_S = 7 * 86_400.0
"""How far back the kernel's words count."""
_MOUNTS = '[ "$(readlink "/proc/$1/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || echo other'
_NO_LIMIT = 1 << 60
"""What version 1 of control groups says where nothing is limited is a little above."""
_KILLED = re.compile(r"Killed process (\d+) \(([^)]*)\)")
_KERNEL_TIME = re.compile(r"^(\d{9,}\.\d+) ")
_UPTIME = re.compile(r"^\[ *(\d+\.\d+)\]")


async def observe_hosts(
    connect: Open,
    hosts: Sequence[str],
    placed: Sequence[PlacedMember] = (),
    *,
    probe: bool = False,
    now: float | None = None,
) -> dict[str, HostObservation]:
    """All hosts at once, in their order; one that cannot be looked at is there with its reason and hides no other.

    Args: placed - the members that are wanted, on whichever host; probe - measure how long disks take to sync.
        `connect` shares its sessions.
    """
    names = names_of(placed)
    began = time.time() if now is None else now

    async def one(host: str) -> HostObservation:
        wanted = [member for member in placed if member.host.name == host]
        return await observe_host(await connect(host), wanted, names=names, probe=probe, now=began)

    outcomes = await on_all(hosts, one)
    return {
        outcome.subject: outcome.value
        or HostObservation(outcome.subject, error=outcome.error.in_one_line if outcome.error else "")
        for outcome in outcomes
    }


def names_of(placed: Iterable[PlacedMember]) -> tuple[str, ...]:
    """Names, not addresses, that members dial each other by."""
    hosts = (
        urlsplit(url).hostname or ""
        for member in placed
        for url in (*member.initial_advertise_peer_urls, *member.advertise_client_urls)
    )
    return tuple(dict.fromkeys(host for host in hosts if host and not _is_address(host)))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def observe_host(
    session: Session,
    wanted: Sequence[PlacedMember] = (),
    *,
    names: Sequence[str] = (),
    probe: bool = False,
    now: float | None = None,
) -> HostObservation:
    """One host. Raises: what the session raises; AccessDenied - we may not become root there."""
    found = await discover(session)
    seen = await asyncio.gather(*(_service(session, one) for one in found))
    folders = _folders(wanted, seen)
    pids = [one.pid for one in seen if one.pid is not None]
    since = (time.time() if now is None else now) - KERNEL_S
    asked = script(CONDITION, str(int(since)), str(len(folders)), *folders, *map(str, pids), user=ROOT)
    facts, condition = await asyncio.gather(
        gather_facts(session, folders, names=names, probe=probe, found=found),
        session.run(asked, timeout_s=_TIMEOUT_S),
    )
    said = sections(condition.text)
    kernel = _kernel(said)
    return HostObservation(
        host=session.host,
        facts=facts,
        members=tuple(_member(one, facts, said) for one in seen),
        file_systems=_file_systems(facts, said.get("files", ())),
        oom_kills=tuple(kill for line in kernel if (kill := _oom_kill(*line)) is not None),
        kernel_errors=tuple(text for _, text in kernel if not _KILLED.search(text)),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Something found, asked once more by its own manager."""

    found: Found
    pid: int | None
    """Of the member itself; a manager may only know what is above it."""
    status: ServiceStatus | None = None
    config: EffectiveConfig | None = None
    is_contained: bool = False
    """It sees other files than its host does."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Its directories that lie on the host -> where."""

    def folder(self, flag: str) -> str:
        """A directory of its settings, as the host sees it; empty: none, or nobody can tell."""
        shown = (self.config.running or self.config.next_start) if self.config is not None else self.found.config
        path = (shown.value(flag) or "") if shown is not None else ""
        if shown is not None and not path and flag == "data-dir":
            path = (
                f"{shown.value('name') or 'default'}.etcd"  # Source: etcd server/etcdmain/config.go, configFromCmdLine
            )
        if path and not path.startswith("/"):
            return f"/proc/{self.pid}/cwd/{path}" if self.pid is not None else ""
        if not path or not self.is_contained:
            return path
        if path in self.volumes:
            return self.volumes[path]
        return f"/proc/{self.pid}/root{path}" if self.pid is not None else ""


def folder_prefix(member: MemberOnHost) -> str:
    """What makes a path of a member one of its host: the root of its container, or nothing."""
    pid = member.process.pid if member.process is not None else None
    root = f"/proc/{pid}/root"
    contained = _keeps_apart(member.found) or (member.data is not None and member.data.path.startswith(f"{root}/"))
    return root if pid is not None and contained else ""


def _keeps_apart(found: Found) -> bool:
    return found.keeper in (Manager.DOCKER, Manager.PODMAN, Manager.KUBELET)


async def _service(session: Session, found: Found) -> _Seen:
    pid = await member_below(session, found.pid) if found.pid is not None else None
    spec = spec_of(found)
    if spec is None:
        return _Seen(found, pid, is_contained=pid is not None and await _sees_other_files(session, pid))
    contained = _keeps_apart(found)
    if spec.manager is Manager.KUBELET:
        return _Seen(found, pid, is_contained=contained)
    service, made = service_for(session, spec), found.of_unit
    starter = SystemdService(session, made.unit) if made is not None else service
    try:
        status, config = await asyncio.gather(starter.status(), service.effective_config())
        if made is not None and made.config is not None:
            config = replace(config, next_start=made.config)
        volumes = await _volumes(service, config)
    except EtcdopsError:
        return _Seen(found, pid, is_contained=contained)  # what discovery saw of it stands
    return _Seen(found, pid, status, config, contained, volumes)


async def _volumes(service: Service, config: EffectiveConfig) -> Mapping[str, str]:
    """The data and log directories of a container that lie on its host; a stopped one has no others."""
    settings = config.running or config.next_start
    if not isinstance(service, ContainerService) or settings is None:
        return {}
    return await service.on_host([path for flag in ("data-dir", "wal-dir") if (path := settings.value(flag))])


async def _sees_other_files(session: Session, pid: int) -> bool:
    """Whether a process that nobody keeps has mounts of its own, as in a container of an engine we do not know."""
    asked = script(_MOUNTS, str(pid), user=ROOT)
    return (await session.run(asked, check=False)).text == "other"


def _folders(wanted: Sequence[PlacedMember], seen: Sequence[_Seen]) -> list[str]:
    """Of all members that are to be there or are, and of their logs."""
    contained = any(one.is_contained for one in seen)
    paths = [path for member in wanted for path in (member.data_dir, member.wal_dir) if not contained]
    paths += [path for one in seen for path in (one.folder("data-dir"), one.folder("wal-dir"))]
    return list(dict.fromkeys(filter(None, paths)))


def _member(seen: _Seen, facts: HostFacts, said: Mapping[str, list[str]]) -> MemberOnHost:
    return MemberOnHost(
        found=seen.found,
        status=seen.status,
        config=seen.config,
        data=facts.data_dir(seen.folder("data-dir")),
        process=_process(seen.pid, said) if seen.pid is not None else None,
    )


def _process(pid: int, said: Mapping[str, list[str]]) -> MemberProcess | None:
    if f"limits {pid}" not in said:
        return None  # it ended meanwhile
    limits = [int(number) for number in said.get(f"memory-max {pid}", ()) if number.isdigit()]
    known = bool(said.get(f"listeners-known {pid}"))
    return MemberProcess(
        pid=pid,
        open_files=_number(said, f"files {pid}", 0),
        open_files_max=_number(said, f"limits {pid}", 3),
        resident_bytes=_kib(_number(said, f"memory {pid}", 1)),
        memory_max_bytes=min((limit for limit in limits if limit < _NO_LIMIT), default=None),
        started_at=_started(said, pid),
        listeners=kernel_listeners(said.get(f"listeners {pid}", ())) if known else None,
    )


def _started(said: Mapping[str, list[str]], pid: int) -> float | None:
    boot, ticks = _number(said, "boot", 1), _number(said, f"started {pid}", 0)
    return boot + ticks / TICKS_PER_S if boot is not None and ticks is not None else None


def _number(said: Mapping[str, list[str]], name: str, at: int) -> int | None:
    """The word at a place of the first line of a part."""
    words = (said.get(name) or [""])[0].split()
    return int(words[at]) if len(words) > at and words[at].isdigit() else None


def _kib(number: int | None) -> int | None:
    return None if number is None else number << 10


def _file_systems(facts: HostFacts, lines: Iterable[str]) -> tuple[FileSystem, ...]:
    """`path<TAB>KiB free<TAB>inodes free<TAB>mounted at<TAB>type options`."""
    kinds = {disk.path: disk.kind for disk in facts.disks}
    found = []
    for line in lines:
        path, blocks, inodes, at, how = (*line.split("\t"), "", "", "", "")[:5]
        size, free = _two(blocks)
        count, left = _two(inodes)
        kind, _, options = how.partition(" ")
        words = options.split(",")
        found.append(
            FileSystem(
                path=path,
                mounted_at=at,
                kind=kind or kinds.get(path, ""),
                size_bytes=_kib(size),
                free_bytes=_kib(free),
                inodes=count,
                free_inodes=left,
                read_only=("ro" in words) if options else None,
            )
        )
    return tuple(found)


def _two(text: str) -> tuple[int | None, int | None]:
    words = [int(word) if word.isdigit() else None for word in text.split()]
    return (words[0], words[1]) if len(words) == 2 else (None, None)


def _kernel(said: Mapping[str, list[str]]) -> list[tuple[float | None, str]]:
    """The kernel's words and when it said them: by the journal, else by its own ring, which counts from the boot."""
    if lines := said.get("kernel"):
        found = [(_KERNEL_TIME.match(line), line) for line in lines]
        return [(float(match[1]) if match else None, line) for match, line in found]
    clock = said.get("uptime", [])
    booted = float(clock[1]) - float(clock[0]) if len(clock) == 2 else None
    ring = []
    for line in said.get("dmesg", ()):
        match = _UPTIME.match(line)
        at = booted + float(match[1]) if booted is not None and match else None
        ring.append((at, line))
    return ring


def _oom_kill(at: float | None, line: str) -> OOMKill | None:
    killed = _KILLED.search(line)
    return OOMKill(killed[2], int(killed[1]), at, line.strip()) if killed is not None else None
