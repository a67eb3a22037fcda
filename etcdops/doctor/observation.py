"""Everything a doctor looks at, as it was at one moment. Values only: `gather` makes it, `checks` read it.

Unknown is a value everywhere: a field is None or empty where nobody could look, and `unseen` says what and why. A check
whose input is missing says nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etcdops.client.metrics import MemberMetrics, NoMetrics
from etcdops.client.view import ClusterView, MemberView
from etcdops.doctor.urls import split_urls
from etcdops.services.port import State

if TYPE_CHECKING:
    from etcdops.certs.facts import CertificateFacts
    from etcdops.diagnosis.finding import Diagnosis
    from etcdops.doctor.words import Value
    from etcdops.facts.host import DataDir, HostFacts, Listener
    from etcdops.inventory.model import Cluster, PlacedMember
    from etcdops.services.discover import Found
    from etcdops.services.port import EffectiveConfig, ProcessConfig, ServiceStatus


_ENGINES = ("docker", "podman")


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something that could not be looked at."""

    what: Value
    """`the host h3`, `/metrics of m1`."""
    why: Value
    next_step: Value = ""
    """What would make it visible; empty: nothing that we know."""
    host: str = ""
    """The host that has to be reached first; empty: none, or another thing is in the way."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that holds a member's data or log directory."""

    path: str
    """The directory that was asked about."""
    mounted_at: str = ""
    kind: str = ""
    size_bytes: int | None = None
    free_bytes: int | None = None
    inodes: int | None = None
    """0 or None: it does not count them."""
    free_inodes: int | None = None
    read_only: bool | None = None


@dataclass(frozen=True, slots=True)
class MemberProcess:
    """The running process of a member, as its host's kernel sees it."""

    pid: int
    open_files: int | None = None
    open_files_max: int | None = None
    """The soft limit it runs with."""
    resident_bytes: int | None = None
    memory_max_bytes: int | None = None
    """Of its control group; None: no limit, or not known."""
    started_at: float | None = None
    """Unix time by the host's clock."""
    listeners: tuple[Listener, ...] | None = None
    """Where it really listens; None: not known."""


@dataclass(frozen=True, slots=True)
class MemberOnHost:
    """One etcd found on a host, whoever keeps it, wanted there or not."""

    found: Found
    status: ServiceStatus | None = None
    config: EffectiveConfig | None = None
    data: DataDir | None = None
    """Its data directory and whose data that is."""
    process: MemberProcess | None = None

    @property
    def settings(self) -> ProcessConfig | None:
        """What it runs with, else what it would be started with."""
        if self.config is not None:
            return self.config.running or self.config.next_start
        return self.found.config

    def flag(self, name: str) -> str | None:
        """The value of an etcd flag; None: not set, or no settings known."""
        settings = self.settings
        return settings.value(name) if settings is not None else None

    @property
    def is_contained(self) -> bool:
        """Whether docker or podman keeps it: then its directories are others than the host's."""
        return self.found.keeper in _ENGINES

    @property
    def has_volume(self) -> bool:
        """Whether it is a container whose data lies on the host."""
        return self.is_contained and self.data is not None and not self.data.path.startswith("/proc/")

    @property
    def name(self) -> str:
        """etcd's `--name`, or what its service is called."""
        return self.flag("name") or self.found.name


@dataclass(frozen=True, slots=True)
class OOMKill:
    """The kernel killed a process for memory."""

    process: str
    pid: int | None = None
    at: float | None = None
    """Unix time by the host's clock."""
    line: str = ""
    """As the kernel wrote it."""


@dataclass(frozen=True, slots=True)
class HostObservation:
    """One host of a cluster."""

    host: str
    facts: HostFacts | None = None
    error: str = ""
    """Why it could not be looked at; "" = it was."""
    members: tuple[MemberOnHost, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()
    oom_kills: tuple[OOMKill, ...] = ()
    kernel_errors: tuple[str, ...] = ()
    """Errors of disks and file systems in the kernel's log, newest last."""


class Outcome(enum.StrEnum):
    """What came of an attempt to connect."""

    OK = "ok"
    REFUSED = "refused"
    """The host says that nobody listens, or a rule rejects."""
    TIMEOUT = "timeout"
    """No answer at all: packets are dropped, or the host is off."""
    RESET = "reset"
    """The connection was opened and cut."""
    UNREACHABLE = "unreachable"
    """No way there: routing, or the host's own network."""
    NAME = "name"
    """The name cannot be resolved there."""
    TLS = "tls"
    """The port answers, the handshake fails."""
    NOT_ETCD = "not etcd"
    """Somebody else answers there."""
    WRONG_MEMBER = "wrong member"
    """Another member, or one of another cluster, answers there."""


@dataclass(frozen=True, slots=True)
class PeerPath:
    """An attempt to connect from one host to a member's URL."""

    from_host: str
    """A host of the inventory; "" = this machine."""
    to_member: str
    url: str
    purpose: str
    """`peer` or `client`."""
    outcome: Outcome
    reason: str = ""
    """In the words of whoever refused: `certificate has expired`, `connection refused`."""
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class SeenCertificate:
    """One certificate in one place, and what is wrong with it."""

    where: Value
    """`m1 on port 2379`, `h1:/etc/etcd/pki/server.crt`."""
    member: str
    use: str
    """`server`, `peer`, `client`, `authority`."""
    facts: CertificateFacts | None = None
    hosts: tuple[str, ...] = ()
    """Names and addresses it is dialled by."""
    trusted: bool | None = None
    """Whether an authority that the others trust signed it; None: not known."""
    error: str = ""
    """Why it could not be looked at, or what a file lacks."""


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """What a member says at `/version`."""

    server: str
    cluster: str
    """`not_decided` before the first leader."""


@dataclass(frozen=True, slots=True)
class AuthSeen:
    """Whether a cluster asks who one is. None: not known."""

    enabled: bool | None = None
    revision: int | None = None
    users: tuple[str, ...] | None = None


class BackupProof(enum.StrEnum):
    """How far a backup was looked at."""

    WHOLE = "whole"
    """Everything a snapshot can be checked for."""
    STRUCTURE = "structure"
    """The same, but it carries no checksum: a changed value would not be noticed."""
    CHECKSUM = "checksum"
    """Its content is what was saved; too large to read record by record here."""
    DAMAGED = "damaged"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class BackupSeen:
    """A snapshot file in one of the places where backups are kept."""

    where: str
    taken_at: float
    """Unix time: as noted beside the file when it was saved, else when it was written last."""
    size_bytes: int = 0
    revision: int | None = None
    cluster: str = ""
    """The ID of its cluster in 16 hexadecimal digits; "" = not noted."""
    proof: BackupProof = BackupProof.UNREAD
    damage: str = ""
    """Why it cannot be used; "" = nothing is known against it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a cluster and, where an inventory names them, at its hosts."""

    taken_at: float = 0.0
    """Unix time by our clock."""
    view: ClusterView | None = None
    cluster: Cluster | None = None
    """What the inventory wants; None: only endpoints were given."""
    placed: tuple[PlacedMember, ...] = ()
    """The inventory's members with nothing left out."""
    metrics: Mapping[str, MemberMetrics | NoMetrics] = field(default_factory=dict)
    """By `MemberView.label`."""
    earlier_metrics: Mapping[str, MemberMetrics] = field(default_factory=dict)
    """A reading before those, for what changed in between; empty: since the start of each member."""
    versions: Mapping[str, ServerVersion] = field(default_factory=dict)
    """By `MemberView.label`."""
    health: Mapping[str, str] = field(default_factory=dict)
    """By `MemberView.label`: "" when `/health` says true, else the reason."""
    hosts: Mapping[str, HostObservation] = field(default_factory=dict)
    """By the inventory's names."""
    paths: tuple[PeerPath, ...] | None = None
    certificates: tuple[SeenCertificate, ...] | None = None
    auth: AuthSeen | None = None
    leases: int | None = None
    """How many there are; None: not known."""
    backups: tuple[BackupSeen, ...] | None = None
    """None: nobody said where backups are kept."""
    operation: str = ""
    """What the operator is about to do, by the names of `advisories`; "" = nothing in particular."""
    logs: Diagnosis | None = None
    unseen: tuple[Unseen, ...] = ()

    @property
    def answering(self) -> tuple[MemberView, ...]:
        return self.view.answering if self.view is not None else ()

    @property
    def readings(self) -> Iterator[tuple[MemberView, MemberMetrics]]:
        """Members whose `/metrics` could be read."""
        for member in self.answering:
            reading = self.metrics.get(member.label)
            if isinstance(reading, MemberMetrics):
                yield member, reading

    @property
    def on_hosts(self) -> Iterator[tuple[HostObservation, MemberOnHost]]:
        """Every etcd that was found on any host."""
        for host in self.hosts.values():
            for member in host.members:
                yield host, member

    def wanted_on(self, host: str) -> tuple[PlacedMember, ...]:
        """The inventory's members on a host."""
        return tuple(member for member in self.placed if member.host.name == host)

    def wanted_as(self, host: str, on_host: MemberOnHost) -> PlacedMember | None:
        """Which member of the inventory something on a host is, or stands in the place of; None: none of this cluster.

        The name alone is not enough: hosts may keep members of several clusters, and many clusters call theirs m1.
        """
        here = self.wanted_on(host)
        if self._is_left_over(host, on_host):
            return None
        if on_host.flag("name") is None:
            service = self.cluster.service.name if self.cluster is not None else ""
            return here[0] if len(here) == 1 and on_host.found.name == service else None
        peers = split_urls(on_host.flag("initial-advertise-peer-urls"))
        for member in here:
            folders = (on_host.flag("data-dir"), on_host.data.path if on_host.data is not None else None)
            same_place = folders[0] is None or member.data_dir in folders
            same_url = bool(set(peers) & set(member.initial_advertise_peer_urls))
            if same_url or (same_place and on_host.name == member.name) or (same_place and len(here) == 1):
                return member
        return None

    def _is_left_over(self, host: str, on_host: MemberOnHost) -> bool:
        """Whether it does not run, and what the inventory names stands beside it: as a unit does after a migration."""
        seen = self.hosts.get(host)
        if self.cluster is None or seen is None or on_host.found.state in (State.RUNNING, State.STARTING):
            return False
        service = self.cluster.service
        kept = [
            one
            for one in seen.members
            if (one.found.keeper, one.found.name.removesuffix(".service"))
            == (service.manager, service.name.removesuffix(".service"))
        ]
        return bool(kept) and on_host not in kept

    @property
    def ours(self) -> Iterator[tuple[HostObservation, MemberOnHost, str]]:
        """What on the hosts belongs to this cluster, with its name; all of it where no cluster was named."""
        for host, on_host in self.on_hosts:
            wanted = self.wanted_as(host.host, on_host)
            if wanted is not None or not self.placed:
                yield host, on_host, wanted.name if wanted is not None else on_host.name
