"""For each code: what must find it, and the near miss that must not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from etcdops.client.metrics import (
    COMMIT,
    FSYNC,
    HEARTBEATS_LATE,
    LEADER_CHANGES,
    LEASES_GRANTED,
    LEASES_REVOKED,
    OPEN_FILES,
    OPEN_FILES_MAX,
    PROPOSALS,
    PROPOSALS_PENDING,
    READ_INDEXES_FAILED,
    SLOW_APPLIES,
    SLOW_READ_INDEXES,
    SLOW_WATCHERS,
    STARTED,
    WATCHERS,
    MemberMetrics,
)
from etcdops.client.view import MemberView, Silence
from etcdops.doctor.finding import CLUSTER
from etcdops.doctor.observation import (
    AuthSeen,
    BackupProof,
    BackupSeen,
    HostObservation,
    MemberOnHost,
    MemberProcess,
    Observation,
    OOMKill,
    Outcome,
    PeerPath,
    ServerVersion,
)
from etcdops.facts.host import Disk, HostFacts, Listener
from etcdops.inventory.model import Engine, EngineKind, Manager
from etcdops.services.port import State
from tests.doctor.observations import (
    CLUSTER as PROD,
)
from tests.doctor.observations import (
    MONTH,
    NEWEST,
    OTHER_CLUSTER,
    STRANGER,
    asked,
    certificate,
    clock,
    config,
    disk,
    host,
    observed,
    on_host,
    reading,
    samples,
    view,
)
from tests.fakes.cluster_feed import GB, MEMBER_IDS, START, cluster, member


@dataclass(frozen=True, slots=True)
class Case:
    """`says`: a part of the summary."""

    code: str
    subject: str
    found: Observation
    missed: Observation
    says: str = ""


def changed(number: int, **changes: object) -> MemberView:
    """A member of the healthy cluster with other fields."""
    whole = member(number, version=NEWEST, size=1.2, in_use=0.9)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]  # a member's fields


def with_members(*changes: MemberView) -> Observation:
    kept = {one.id: one for one in (changed(1), changed(2), changed(3))} | {one.id: one for one in changes}
    return asked(view=cluster(*kept.values()))


def with_reading(*, earlier: MemberMetrics | None = None, now: MemberMetrics, **changes: object) -> Observation:
    before = {"etcd-1": earlier} if earlier is not None else {}
    return asked(metrics={"etcd-1": now}, earlier_metrics=before, **changes)


def listening(*ports: int) -> MemberProcess:
    return MemberProcess(7, 50, 65536, listeners=tuple(Listener("::", port) for port in ports))


def silent(number: int) -> MemberView:
    return member(number, silence=Silence.REFUSED, error="connection refused", version=NEWEST)


def down(number: int, *hosts: HostObservation) -> Observation:
    """Member `number` does not answer."""
    members = (silent(n) if n == number else changed(n) for n in (1, 2, 3))
    return observed(*hosts, view=cluster(*members))


def path(start: str, end: int, outcome: Outcome = Outcome.OK, reason: str = "") -> PeerPath:
    return PeerPath(start, f"etcd-{end}", f"http://10.0.0.{end}:2380", "peer", outcome, reason)


def ways(*spoiled: PeerPath) -> Observation:
    """Every host reaches every member, but for those given."""
    every = {(f"h{a}", f"etcd-{b}"): path(f"h{a}", b) for a in (1, 2, 3) for b in (1, 2, 3)}
    every |= {(one.from_host, one.to_member): one for one in spoiled}
    return observed(paths=tuple(every.values()))


def boxed(number: int, path: str) -> MemberOnHost:
    """In a container of podman, its data at that path of the host."""
    whole = on_host(number)
    assert whole.data is not None
    found = dataclasses.replace(whole.found, keeper=Manager.PODMAN)
    return dataclasses.replace(whole, found=found, data=dataclasses.replace(whole.data, path=path))


def backup(
    age_s: float,
    revision: int | None = None,
    *,
    cluster: str = "",
    proof: BackupProof = BackupProof.WHOLE,
    damage: str = "",
) -> BackupSeen:
    return BackupSeen("/backup/prod.db", START - age_s, 1 << 20, revision, cluster, proof, damage)


OF_NODES = PROD.model_copy(update={"engine": Engine(kind=EngineKind.NODE)})
FINE = observed()
SHAPE = (
    Case(
        "W207",
        CLUSTER,
        asked(view=cluster(*(member(n, version=NEWEST, size=0.1, in_use=0.1) for n in range(1, 10)))),
        asked(view=cluster(*(member(n, version=NEWEST, size=0.1, in_use=0.1) for n in range(1, 8)))),
        "9 voters",
    ),
    Case("E208", "etcd-1", with_members(changed(2, name="etcd-1")), with_members()),
    Case(
        "E209",
        "etcd-2",
        with_members(changed(2, client_urls=("http://127.0.0.1:2379",))),
        with_members(changed(2, client_urls=("http://127.0.0.1:2379", "http://10.0.0.2:2379"))),
        "only its own host",
    ),
    Case(
        "E210",
        "etcd-2",
        with_members(changed(2, peer_urls=("http://0.0.0.0:2380",))),
        with_members(changed(2, peer_urls=("http://10.0.0.20:2380",))),
    ),
    Case(
        "W211",
        "etcd-2",
        with_members(changed(2, peer_urls=("http://10.0.0.2:2379",), client_urls=("http://10.0.0.2:2380",))),
        with_members(changed(2, peer_urls=("http://10.0.0.2:7001",), client_urls=("http://10.0.0.2:4001",))),
        "clients on 2380",
    ),
    Case("W212", CLUSTER, with_members(changed(2, peer_urls=("https://10.0.0.2:2380",))), with_members()),
    Case(
        "I213",
        CLUSTER,
        asked(view=cluster(*(changed(n, peer_urls=(f"http://10.0.0.1:{2380 + n}",)) for n in (1, 2, 3)))),
        with_members(),
        "10.0.0.1",
    ),
)
LOAD = (
    Case(
        "W305",
        "etcd-1",
        with_reading(now=reading(histograms={FSYNC: samples(1000, 0.05)})),
        with_reading(now=reading(histograms={FSYNC: samples(1000, 0.008)})),
    ),
    Case(
        "W305",
        "etcd-1",
        with_reading(now=reading(histograms={FSYNC: samples(1000, 0.05)})),
        with_reading(now=reading(histograms={FSYNC: samples(9, 0.05)})),
    ),
    Case(
        "W306",
        "etcd-1",
        with_reading(now=reading(histograms={COMMIT: samples(1000, 0.05)})),
        with_reading(
            now=reading(histograms={COMMIT: samples(1000, 0.05)}),
            earlier=reading(histograms={COMMIT: samples(1000, 0.05)}, at_s=900.0),
        ),
    ),
    Case(
        "W307",
        "etcd-1",
        with_reading(now=reading({SLOW_APPLIES: 50, PROPOSALS: 1000})),
        with_reading(now=reading({SLOW_APPLIES: 50, PROPOSALS: 1e6})),
    ),
    Case(
        "W308",
        "etcd-1",
        with_reading(now=reading({SLOW_READ_INDEXES: 8, READ_INDEXES_FAILED: 4, STARTED: START - 600})),
        with_reading(now=reading({SLOW_READ_INDEXES: 1})),
    ),
    Case(
        "W309",
        "etcd-1",
        with_reading(now=reading({PROPOSALS_PENDING: 600})),
        with_reading(now=reading({PROPOSALS_PENDING: 60})),
    ),
    Case(
        "W310",
        "etcd-1",
        with_reading(now=reading({HEARTBEATS_LATE: 40}), earlier=reading({HEARTBEATS_LATE: 0}, at_s=900.0)),
        with_reading(now=reading({HEARTBEATS_LATE: 40}), earlier=reading({HEARTBEATS_LATE: 38}, at_s=900.0)),
    ),
    Case(
        "W310",
        "etcd-1",
        with_reading(now=reading({HEARTBEATS_LATE: 40, STARTED: START - 3600})),
        # in ten days
        with_reading(now=reading({HEARTBEATS_LATE: 40})),
    ),
    Case(
        "W109",
        CLUSTER,
        with_reading(now=reading({LEADER_CHANGES: 12, STARTED: START - 7200})),
        with_reading(now=reading({LEADER_CHANGES: 12, STARTED: START - 30 * 86_400})),
        "12 changes of leader",
    ),
    Case(
        "W311",
        "etcd-1",
        with_reading(now=reading({OPEN_FILES: 900, OPEN_FILES_MAX: 1024})),
        with_reading(now=reading({OPEN_FILES: 900, OPEN_FILES_MAX: 65536})),
    ),
    Case(
        "W312",
        CLUSTER,
        with_reading(now=reading({LEASES_GRANTED: 500_000, LEASES_REVOKED: 100_000})),
        with_reading(now=reading({LEASES_GRANTED: 500_000, LEASES_REVOKED: 499_000})),
    ),
    Case("W312", CLUSTER, asked(leases=200_000), asked(leases=20_000)),
    Case(
        "W313",
        "etcd-1",
        with_reading(now=reading({WATCHERS: 20_000, SLOW_WATCHERS: 15_000})),
        with_reading(now=reading({WATCHERS: 20_000, SLOW_WATCHERS: 0})),
    ),
    Case(
        "W314",
        "etcd-1",
        with_reading(now=reading(peers={format(MEMBER_IDS[1], "x"): samples(50, 0.3)})),
        with_reading(now=reading(peers={format(MEMBER_IDS[1], "x"): samples(50, 0.01)})),
        "to etcd-2",
    ),
    Case("E315", "etcd-1", asked(health={"etcd-1": "RAFT NO LEADER"}), asked(health={"etcd-1": ""})),
)
NAMESAKE = on_host(
    2,
    unit="other",
    pid=777,
    data_dir="/var/lib/other",
    member_id=STRANGER,
    cluster_id=OTHER_CLUSTER,
    initial_cluster="etcd-2=http://10.0.0.2:12380",
    initial_advertise_peer_urls="http://10.0.0.2:12380",
    advertise_client_urls="http://10.0.0.2:12379",
    quota_backend_bytes="1000000000",
)
"""A member of another cluster that is called as one of ours, on the same host."""
IDENTITY = (
    Case(
        "E401",
        "h2",
        down(2, host(2, on_host(2, member_id=STRANGER, cluster_id=OTHER_CLUSTER))),
        # a member of another cluster that lives there too
        observed(
            host(
                2,
                on_host(2),
                on_host(
                    2,
                    unit="events",
                    name="events-2",
                    data_dir="/var/lib/events",
                    member_id=STRANGER,
                    cluster_id=OTHER_CLUSTER,
                    initial_cluster="events-2=http://10.0.0.2:2382",
                    initial_advertise_peer_urls="http://10.0.0.2:2382",
                    advertise_client_urls="http://10.0.0.2:2381",
                ),
            )
        ),
        "data of another cluster, cdf818194e3a8c32",
    ),
    # a cluster of its own whose members have the names of ours
    Case(
        "E401",
        "h2",
        down(2, host(2, on_host(2, member_id=STRANGER, cluster_id=OTHER_CLUSTER))),
        observed(host(2, on_host(2), NAMESAKE)),
    ),
    Case(
        "W417",
        CLUSTER,
        observed(host(2, on_host(2, quota_backend_bytes="1000000000"))),
        observed(host(2, on_host(2), NAMESAKE)),
    ),
    Case(
        "E402",
        "h3",
        down(3, host(3, on_host(3, member_id=MEMBER_IDS[1]))),
        FINE,
        "h2 and h3 have data of the same member",
    ),
    Case("E403", "h3", down(3, host(3, on_host(3, member_id=STRANGER))), FINE, "which was removed"),
    Case(
        "E404",
        "h3",
        down(3, host(2, on_host(2, state=State.STOPPED)), host(3, on_host(3, member_id=MEMBER_IDS[1]))),
        FINE,
    ),
    Case("W405", "etcd-2", observed(host(2, on_host(2, name="etcd-9"))), FINE, "--name etcd-9"),
    Case(
        "W406",
        "etcd-2",
        observed(host(2, on_host(2, initial_advertise_peer_urls="http://10.0.0.22:2380"))),
        observed(host(2, on_host(2, initial_advertise_peer_urls="http://10.0.0.2:2380/"))),
    ),
    Case(
        "E407",
        "h2",
        observed(host(2, on_host(2), on_host(2, unit="etcd-old", pid=999))),
        observed(host(2, on_host(2), on_host(2, unit="etcd-old", state=State.STOPPED))),
    ),
    Case(
        "E408",
        "etcd-2",
        down(2, host(2, on_host(2, state=State.FAILED, vacant=True))),
        down(2, host(2, on_host(2, state=State.FAILED))),
        "is empty",
    ),
    Case(
        "E410",
        "etcd-2",
        down(2, host(2, on_host(2, vacant=True, initial_cluster="node2=http://10.0.0.2:2380"))),
        observed(host(2, on_host(2, initial_cluster="node2=http://10.0.0.2:2380"))),
    ),
    Case(
        "E411",
        "etcd-2",
        down(2, host(2, on_host(2, vacant=True, initial_advertise_peer_urls="http://10.0.0.22:2380"))),
        down(2, host(2, on_host(2, vacant=True))),
    ),
    Case(
        "E412",
        "etcd-2",
        down(2, host(2, on_host(2, vacant=True, initial_cluster="etcd-2=http://10.0.0.2:2380"))),
        down(2, host(2, on_host(2, vacant=True))),
        "1 member in",
    ),
    Case(
        "W413",
        "etcd-2",
        down(2, host(2, on_host(2, vacant=True))),
        down(2, host(2, on_host(2, vacant=True, initial_cluster_state="existing"))),
    ),
    Case(
        "E414",
        "etcd-2",
        observed(host(2, on_host(2, force_new_cluster="true"))),
        observed(host(2, on_host(2, force_new_cluster="false"))),
    ),
    Case(
        "E415",
        "etcd-2",
        observed(host(2, on_host(2, listen_peer_urls="http://127.0.0.1:2380"))),
        observed(host(2, on_host(2, listen_peer_urls="http://127.0.0.1:2380,http://10.0.0.2:2380"))),
    ),
    Case(
        "E424",
        "etcd-2",
        down(2, host(2, on_host(2, process=listening(12380, 2379)))),
        down(2, host(2, on_host(2, process=listening(2380, 2379)))),
        "12380",
    ),
    Case(
        "E424",
        "etcd-2",
        observed(
            host(2, on_host(2, process=listening(2390, 2379))),
            paths=(path("h1", 2, Outcome.REFUSED), path("h3", 2, Outcome.REFUSED)),
        ),
        # a container, whose ports are others outside
        observed(host(2, on_host(2, process=listening(2390, 2379))), paths=(path("h1", 2), path("h3", 2))),
        "2390",
    ),
    Case("W415", "etcd-2", observed(host(2, on_host(2, listen_client_urls="http://localhost:2379"))), FINE),
    Case(
        "W416",
        "etcd-2",
        observed(host(2, on_host(2, following=config(2, snapshot_count="5000")))),
        FINE,
        "snapshot-count",
    ),
    Case("W417", CLUSTER, observed(host(2, on_host(2, election_timeout="5000"))), FINE, "election-timeout"),
    Case("E418", "etcd-2", observed(host(2, on_host(2, unsafe_no_fsync="true"))), FINE),
    Case("W419", "etcd-2", observed(host(2, on_host(2, strict_reconfig_check="false"))), FINE),
    Case(
        "W420",
        "etcd-2",
        observed(host(2, on_host(2, quota_backend_bytes=str(16 * GB)))),
        observed(*(host(n, on_host(n, quota_backend_bytes=str(8 * GB))) for n in (1, 2, 3))),
    ),
    Case(
        "W421",
        "etcd-3",
        observed(view=cluster(changed(1), changed(2))),
        # added and not started yet: the list knows its address, and W203 says so
        observed(view=cluster(changed(1), changed(2), changed(3, name="", started=False, status=None))),
    ),
    Case("W422", "etcd-4", observed(view=cluster(*(changed(n) for n in (1, 2, 3, 4)))), FINE),
    Case(
        "W423",
        "etcd-2",
        observed(host(2, on_host(2, enable_v2="true"))),
        observed(host(2, on_host(2, experimental_initial_corrupt_check="true"))),
        "etcd 3.6",
    ),
)
CHDIR = "its WorkingDirectory cannot be entered (status=200/CHDIR)"
PERMISSION = "open /var/lib/etcd/member: permission denied"
HOSTS = (
    Case("E501", "h2", observed(HostObservation("h2", error="no connection within 5 s")), FINE),
    Case(
        "E502",
        "etcd-2",
        down(
            2,
            host(2, on_host(2, state=State.FAILED, reason=CHDIR)),
        ),
        FINE,
        "WorkingDirectory",
    ),
    Case("E503", "etcd-2", down(2, dataclasses.replace(host(2), members=())), FINE),
    Case("E504", "etcd-2", down(2, host(2, on_host(2, state=State.STOPPED))), FINE, "is stopped on h2"),
    Case(
        "E505",
        "etcd-2",
        down(2, host(2, on_host(2, state=State.FAILED, reason=PERMISSION))),
        down(2, host(2, on_host(2, state=State.FAILED, reason="exit status 1"))),
    ),
    Case("W506", "etcd-2", observed(host(2, on_host(2, restarts=7))), observed(host(2, on_host(2, restarts=1)))),
    Case("W507", "etcd-2", observed(host(2, on_host(2, enabled=False))), FINE),
    Case(
        "W508",
        "etcd-2",
        observed(host(2, boxed(2, "/proc/102/root/var/lib/etcd"))),
        observed(host(2, boxed(2, "/srv/etcd"))),
        "/var/lib/etcd",
    ),
    Case("E511", "h2", observed(host(2, file_systems=(disk(free_bytes=1 << 20),))), FINE),
    Case("W512", "h2", observed(host(2, file_systems=(disk(free_bytes=5 * GB),))), FINE),
    Case(
        "W512",
        "h2",
        observed(host(2, file_systems=(disk(size_bytes=2 * GB, free_bytes=GB // 2),))),
        observed(host(2, file_systems=(disk(size_bytes=2 * GB, free_bytes=GB),))),
        "a defragmentation needs",
    ),
    Case(
        "E513",
        "h2",
        observed(host(2, file_systems=(disk(inodes=1000, free_inodes=3),))),
        # btrfs counts none
        observed(host(2, file_systems=(disk(inodes=0, free_inodes=0),))),
    ),
    Case("E514", "h2", observed(host(2, file_systems=(disk(read_only=True),))), FINE),
    Case(
        "W515",
        "h2",
        observed(host(2, facts=HostFacts("h2", disks=(Disk("/var/lib/etcd", "ext4", GB, 0.01, 0.08, 200),)))),
        observed(host(2, facts=HostFacts("h2", disks=(Disk("/var/lib/etcd", "ext4", GB, 0.001, 0.004, 200),)))),
    ),
    Case("W516", "h2", observed(host(2, file_systems=(disk(kind="nfs4"),))), FINE),
    Case("W516", "h2", observed(host(2, file_systems=(disk(kind="tmpfs"),))), FINE, "in memory"),
    Case("E517", "h2", observed(host(2, kernel_errors=("EXT4-fs error (device sda1)",))), FINE),
    Case(
        "W518",
        "etcd-2",
        observed(host(2, on_host(2, process=MemberProcess(7, 50, 1024)))),
        observed(host(2, on_host(2, process=MemberProcess(7, 50, 65536)))),
        "1 024",
    ),
    Case("W518", "etcd-2", observed(host(2, on_host(2, process=MemberProcess(7, 60_000, 65536)))), FINE, "60 000 of"),
    Case(
        "E519",
        "h2",
        observed(host(2, oom_kills=(OOMKill("etcd", 7, START - 600),))),
        observed(host(2, oom_kills=(OOMKill("etcd", 7, START - 9 * 86_400),))),
    ),
    Case(
        "E519",
        "h2",
        observed(host(2, oom_kills=(OOMKill("etcd", 7, START - 600),))),
        observed(host(2, oom_kills=(OOMKill("java", 7, START - 600),))),
    ),
    Case(
        "W520",
        "etcd-2",
        observed(host(2, on_host(2, process=MemberProcess(7, 50, 65536, 950 << 20, 1 << 30)))),
        observed(host(2, on_host(2, process=MemberProcess(7, 50, 65536, 950 << 20, 8 << 30)))),
    ),
    Case("W521", "h2", observed(clock(2, 4.0)), observed(clock(2, 4.0, error_s=3.5)), "ahead"),
    # our own clock is the wrong one
    Case("W521", "h2", observed(clock(2, -4.0)), observed(*(clock(n, -4.0) for n in (1, 2, 3))), "behind"),
)
NETWORK = (
    *(
        Case(code, "etcd-2", ways(path("h1", 2, outcome), path("h3", 2, outcome)), ways())
        for code, outcome in (
            ("E601", Outcome.REFUSED),
            ("E602", Outcome.TIMEOUT),
            ("E603", Outcome.RESET),
            ("E604", Outcome.UNREACHABLE),
            ("E605", Outcome.NAME),
            ("E606", Outcome.TLS),
            ("E607", Outcome.NOT_ETCD),
            ("E608", Outcome.WRONG_MEMBER),
        )
    ),
    Case(
        "E609",
        "h2",
        ways(path("h2", 1, Outcome.TIMEOUT), path("h2", 3, Outcome.TIMEOUT)),
        ways(path("h2", 1, Outcome.TIMEOUT)),
    ),
)
CERTIFICATES = (
    Case("E611", "etcd-1", observed(certificates=(certificate(ends=-MONTH),)), FINE, "expired"),
    Case(
        "E611",
        "etcd-1",
        observed(certificates=(certificate(starts=MONTH),)),
        observed(certificates=(certificate(),)),
        "valid only from",
    ),
    Case(
        "W612",
        "etcd-1",
        observed(certificates=(certificate(ends=MONTH / 2),)),
        observed(certificates=(certificate(ends=2 * MONTH),)),
        "in 15 days",
    ),
    Case(
        "E613",
        "etcd-1",
        observed(certificates=(certificate(addresses=("10.0.0.9",)),)),
        observed(certificates=(certificate(use="client", addresses=()),)),
        "not valid for 10.0.0.1",
    ),
    Case(
        "E614",
        "etcd-1",
        observed(certificates=(certificate(trusted=False),)),
        observed(certificates=(certificate(trusted=None),)),
    ),
    Case(
        "E615",
        "etcd-1",
        observed(certificates=(certificate(use="peer", purposes=("server",)),)),
        observed(certificates=(certificate(use="peer", purposes=None),)),
        "not for client use",
    ),
    Case("E616", "etcd-1", observed(certificates=(certificate(error="no such file"),)), FINE),
)
VERSIONS = (
    Case("W701", CLUSTER, asked(view=view(version="3.4.45")), asked(view=view())),
    Case("E702", CLUSTER, asked(view=view(version="3.5.2")), asked(view=view(version="3.5.3")), "different data"),
    # the node's number tells its API, not whose faults it has
    Case(
        "E702",
        CLUSTER,
        asked(view=view(version="3.5.2")),
        observed(
            view=view(version="3.5.2"),
            cluster=OF_NODES,
        ),
    ),
    Case(
        "W703",
        CLUSTER,
        asked(view=view(version="3.5.16"), auth=AuthSeen(True)),
        asked(view=view(version="3.5.16"), auth=AuthSeen(False)),
        "CVE-2026-33413",
    ),
    Case(
        "W704",
        CLUSTER,
        asked(view=view(version="3.5.16"), operation="defragment"),
        asked(view=view(version="3.5.23"), operation="defragment"),
        "defragment",
    ),
    Case("I707", CLUSTER, asked(view=view(version="3.5.16")), asked(view=view())),
    Case(
        "E705",
        CLUSTER,
        asked(view=cluster(changed(1), changed(2), member(3, version="3.7.1", size=1.2, in_use=0.9))),
        asked(view=cluster(changed(1), changed(2), member(3, version="3.6.14", size=1.2, in_use=0.9))),
    ),
    Case(
        "I706",
        CLUSTER,
        asked(versions={"etcd-1": ServerVersion(NEWEST, "3.4.0")}),
        asked(versions={"etcd-1": ServerVersion(NEWEST, "3.5.0")}),
    ),
)
CARE = (
    Case("I801", CLUSTER, asked(auth=AuthSeen(False)), asked(auth=AuthSeen(True))),
    Case(
        "I801",
        CLUSTER,
        asked(auth=AuthSeen(False)),
        asked(
            auth=AuthSeen(False),
            view=cluster(*(changed(n, client_urls=(f"http://127.0.0.1:{2379 + n}",)) for n in (1, 2, 3))),
        ),
    ),
    Case("W802", CLUSTER, asked(backups=()), asked(backups=None)),
    Case("W803", CLUSTER, asked(backups=(backup(3 * 86_400),)), asked(backups=(backup(3 * 86_400), backup(3600)))),
    Case("W804", CLUSTER, asked(backups=(backup(60, 99_999_999),)), asked(backups=(backup(60, 18_204_000),))),
    Case(
        "E805",
        CLUSTER,
        asked(backups=(backup(60, proof=BackupProof.DAMAGED, damage="it was cut short"), backup(90))),
        asked(backups=(backup(60), backup(90, proof=BackupProof.DAMAGED, damage="it was cut short"))),
        "/backup/prod.db, cannot be used: it was cut short",
    ),
    Case(
        "W803",
        CLUSTER,
        asked(backups=(backup(60, proof=BackupProof.DAMAGED, damage="it was cut short"), backup(3 * 86_400))),
        asked(backups=(backup(60), backup(3 * 86_400))),
    ),
    Case(
        "W806",
        CLUSTER,
        asked(backups=(backup(60, cluster="00000000000000ff"),)),
        asked(backups=(backup(60, cluster="00000000000000ff"), backup(90))),
        "00000000000000ff",
    ),
)
CASES = (*SHAPE, *LOAD, *IDENTITY, *HOSTS, *NETWORK, *CERTIFICATES, *VERSIONS, *CARE)
