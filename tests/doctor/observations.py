"""A cluster of three members on three hosts, all well, as a doctor sees it; tests spoil one thing at a time."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

from etcdops.certs.facts import CertificateFacts
from etcdops.client.metrics import GO_VERSION, STARTED, Histogram, MemberMetrics
from etcdops.client.view import ClusterView
from etcdops.doctor.checks.table import CHECKS
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import (
    FileSystem,
    HostObservation,
    MemberOnHost,
    MemberProcess,
    Observation,
    SeenCertificate,
)
from etcdops.doctor.words import say
from etcdops.facts.host import DataDir, HostFacts
from etcdops.ids import ClusterID, MemberID
from etcdops.inventory.model import Cluster, Host, Inventory, Manager, Member, place
from etcdops.services.discover import Found
from etcdops.services.port import EffectiveConfig, Origin, ProcessConfig, ServiceStatus, Setting, State
from tests.fakes.cluster_feed import GB, MEMBER_IDS, START, cluster, member

CLUSTER_ID = ClusterID(0x6F2A9C1E04D7B3A1)
OTHER_CLUSTER = ClusterID(0xCDF818194E3A8C32)
STRANGER = MemberID(0x91BC3C398FB3C146)
INVENTORY = Inventory(
    hosts={f"h{n}": Host(name=f"h{n}", address=f"10.0.0.{n}") for n in (1, 2, 3)},
    clusters={"prod": Cluster(name="prod", members=tuple(Member(name=f"etcd-{n}", host=f"h{n}") for n in (1, 2, 3)))},
)
CLUSTER = INVENTORY.clusters["prod"]
PLACED = tuple(place(INVENTORY, CLUSTER, one) for one in CLUSTER.members)
NEWEST = "3.5.33"
"""A release without known faults."""
MONTH = datetime.timedelta(days=30)
NOW = datetime.datetime.fromtimestamp(START, datetime.UTC)


def view(*, version: str = NEWEST, **more: object) -> ClusterView:
    """Three members that are well."""
    members = (member(n, version=version, size=1.2, in_use=0.9) for n in (1, 2, 3))
    return cluster(*members, **more)  # type: ignore[arg-type]  # a view's fields


def config(number: int, **flags: str) -> ProcessConfig:
    """What member `number` is started with; underscores stand for dashes. None of a flag: `flag=""`."""
    ours = {
        "name": f"etcd-{number}",
        "data-dir": "/var/lib/etcd",
        "listen-peer-urls": "http://0.0.0.0:2380",
        "listen-client-urls": "http://0.0.0.0:2379",
        "initial-advertise-peer-urls": f"http://10.0.0.{number}:2380",
        "advertise-client-urls": f"http://10.0.0.{number}:2379",
        "initial-cluster": ",".join(f"etcd-{n}=http://10.0.0.{n}:2380" for n in (1, 2, 3)),
        "initial-cluster-state": "new",
    }
    ours.update({name.replace("_", "-"): value for name, value in flags.items()})
    settings = {name: Setting(value, Origin.VARIABLE, "/etc/default/etcd:1") for name, value in ours.items() if value}
    return ProcessConfig("/usr/bin/etcd", settings)


def on_host(
    number: int,
    *,
    state: State = State.RUNNING,
    reason: str = "",
    restarts: int = 0,
    enabled: bool = True,
    member_id: MemberID | None = None,
    cluster_id: ClusterID = CLUSTER_ID,
    vacant: bool = False,
    process: MemberProcess | None = None,
    following: ProcessConfig | None = None,
    pid: int | None = None,
    unit: str = "etcd",
    **flags: str,
) -> MemberOnHost:
    """Member `number` as systemd keeps it; `following`: what its next start would use."""
    runs = config(number, **flags)
    number_of_process = pid or 100 + number
    own = member_id if member_id is not None else MEMBER_IDS[number - 1]
    folder = runs.value("data-dir") or ""
    data = DataDir(folder, 0) if vacant else DataDir(folder, 1, True, own, cluster_id)
    up = state is State.RUNNING
    running = number_of_process if up else None
    return MemberOnHost(
        found=Found(Manager.SYSTEMD, unit, state, running, runs),
        status=ServiceStatus(state, running, restarts=restarts, enabled=enabled, reason=reason),
        config=EffectiveConfig(runs if up else None, following or runs),
        data=data,
        process=process or (MemberProcess(number_of_process, 50, 65536, 300 << 20, None) if up else None),
    )


def disk(**more: object) -> FileSystem:
    given = {"mounted_at": "/var", "kind": "ext4", "size_bytes": 100 * GB, "free_bytes": 60 * GB} | more
    return FileSystem("/var/lib/etcd", **given)  # type: ignore[arg-type]  # a file system's fields


def host(number: int, *members: MemberOnHost, **more: object) -> HostObservation:
    """Host `number` with its member, unless others are given."""
    facts = HostFacts(f"h{number}", memory_bytes=8 * GB, clock_offset_s=0.01, clock_error_s=0.005)
    known: dict[str, object] = {
        "facts": facts,
        "members": members or (on_host(number),),
        "file_systems": (disk(),),
    }
    return HostObservation(f"h{number}", **{**known, **more})  # type: ignore[arg-type]  # a host's fields


def clock(number: int, offset_s: float, error_s: float = 0.005) -> HostObservation:
    return host(number, facts=HostFacts(f"h{number}", clock_offset_s=offset_s, clock_error_s=error_s))


def reading(
    numbers: Mapping[str, float] | None = None,
    histograms: Mapping[str, Histogram] | None = None,
    peers: Mapping[str, Histogram] | None = None,
    *,
    at_s: float = 1000.0,
) -> MemberMetrics:
    """`/metrics` of an etcd that has run for ten days."""
    ours = {STARTED: START - 10 * 86_400.0, GO_VERSION: 1.0}
    return MemberMetrics(at_s, {**ours, **(numbers or {})}, histograms or {}, peers or {})


def samples(count: int, seconds: float) -> Histogram:
    """`count` samples that all took about `seconds`."""
    return Histogram((seconds / 2, seconds, float("inf")), (0.0, float(count), float(count)))


def certificate(
    *,
    starts: datetime.timedelta = -MONTH,
    ends: datetime.timedelta = 12 * MONTH,
    addresses: tuple[str, ...] = ("10.0.0.1",),
    purposes: tuple[str, ...] | None = ("server", "client"),
    use: str = "server",
    trusted: bool | None = True,
    error: str = "",
) -> SeenCertificate:
    """Of etcd-1, on its port."""
    facts = CertificateFacts(
        "etcd-1", "prod authority", 7, NOW + starts, NOW + ends, (), addresses, purposes, False, "00" * 32
    )
    return SeenCertificate(
        say("place.port", member="etcd-1", port=2379),
        "etcd-1",
        use,
        None if error else facts,
        ("10.0.0.1",),
        trusted,
        error,
    )


def observed(*hosts: HostObservation, **changes: object) -> Observation:
    """All well, but for what is given: hosts take the place of those of their name."""
    every = {f"h{n}": host(n) for n in (1, 2, 3)} | {one.host: one for one in hosts}
    seen = Observation(
        taken_at=START,
        view=view(),
        cluster=CLUSTER,
        placed=PLACED,
        metrics={f"etcd-{n}": reading() for n in (1, 2, 3)},
        hosts=every,
    )
    return dataclasses.replace(seen, **changes)  # type: ignore[arg-type]  # an observation's fields


def asked(**changes: object) -> Observation:
    """Endpoints alone: no inventory, no hosts."""
    alone: dict[str, object] = {"cluster": None, "placed": (), "hosts": {}}
    return observed(**{**alone, **changes})


def everything_found(observation: Observation) -> list[Finding]:
    """What each check says by itself, symptoms as well."""
    return [finding for check in CHECKS for finding in check(observation)]
