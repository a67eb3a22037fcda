"""Disks that are full, slow or broken, and data that is damaged, lost or old."""

from __future__ import annotations

from tests.diagnosis.faults.cluster import DATA, FaultCluster, Member, wait_until
from tests.diagnosis.faults.fault import ETCD, Fault
from tests.diagnosis.faults.syscalls import SWITCH
from tests.hosts.host import HostError

_OFFLINE = "import sys; p=sys.argv[1]; b=bytearray(open(p,'rb').read()); {}; open(p,'r+b').write(b)"


def disk_full(cluster: FaultCluster) -> None:
    """The file system of h3's data has no room left."""
    odd = _on_small_disk(cluster)
    odd.host.fill_disk(DATA)
    _write(cluster, odd)


def disk_full_at_start(cluster: FaultCluster) -> None:
    """h3 comes up on a disk that is full."""
    odd = _on_small_disk(cluster)
    odd.stop()
    odd.wipe()
    odd.host.fill_disk(DATA)
    odd.configure(initial_cluster_state="existing")
    odd.start()


def disk_read_only(cluster: FaultCluster) -> None:
    """As a kernel leaves it after an error, and after a reboot."""
    odd = _on_small_disk(cluster)
    odd.stop()
    odd.run(f"mount -o remount,bind,ro {DATA}")
    cluster.later(lambda: odd.run(f"mount -o remount,bind,rw {DATA}"))
    odd.start()


def disk_slow(cluster: FaultCluster) -> None:
    """Every fsync of h3 takes 1.2 s."""
    _patched(cluster, delay_s=1.2)
    _write_some(cluster)


def disk_slow_on_the_leader(cluster: FaultCluster) -> None:
    """And h3 leads."""
    odd = _patched(cluster, delay_s=1.2)
    leader = cluster.leader()
    if leader is not odd:
        leader.ctl("move-leader", cluster.ids()[odd.name], check=False)
    _write_some(cluster)


def disk_broken(cluster: FaultCluster) -> None:
    """The device answers fsync with an input/output error."""
    _patched(cluster, errno=5)
    _write_some(cluster)


def quota_reached(cluster: FaultCluster) -> None:
    """The backend is at its quota, and clients go on."""
    for member in cluster:
        member.stop()
        member.configure(quota_backend_bytes="1000000")
    for member in cluster:
        member.start()
    cluster["h1"].start(wait=True)
    for number in range(30):
        if cluster["h1"].ctl("put", f"k{number}", stdin="x" * 100_000, check=False).status:
            return
    raise HostError("the quota was never reached")


def defragmented_under_load(cluster: FaultCluster) -> None:
    """A defragmentation on a slow disk, of a cluster that has nothing else to do."""
    odd = _patched(cluster, delay_s=1.5)
    cluster.mark()
    odd.ctl("defrag", "--command-timeout=60s", timeout_s=60)


def wal_damaged(cluster: FaultCluster) -> None:
    """One byte in the middle of h3's log."""
    odd = cluster["h3"]
    cluster.put(300)
    odd.kill()
    where = "n=b.rstrip(b'\\0').__len__()//2; b[n]^=255"
    odd.run(f'python3 -c "{_OFFLINE.format(where)}" $(ls {DATA}/member/wal/0*.wal | tail -1)')
    odd.start()


def wal_lost(cluster: FaultCluster) -> None:
    """Somebody removed the files of h3's log."""
    odd = cluster["h3"]
    cluster.put(300)
    odd.kill()
    odd.run(f"rm {DATA}/member/wal/*.wal")
    odd.start()


def db_damaged(cluster: FaultCluster) -> None:
    """h3's db is full of zeros behind its first pages."""
    odd = cluster["h3"]
    cluster.put(300, size=200)
    odd.kill()
    odd.run(f'python3 -c "{_OFFLINE.format("b[8192:]=bytes(len(b)-8192)")}" {DATA}/member/snap/db')
    odd.start()


def db_header_damaged(cluster: FaultCluster) -> None:
    """Both meta pages of h3's db are gone."""
    odd = cluster["h3"]
    odd.kill()
    odd.run(f'python3 -c "{_OFFLINE.format("b[:8192]=bytes(8192)")}" {DATA}/member/snap/db')
    odd.start()


def older_db_put_back(cluster: FaultCluster) -> None:
    """h3's db is one from before its last raft snapshot."""
    odd = cluster["h3"]
    for member in cluster:
        member.stop()
        member.configure(snapshot_count="10")
    for member in cluster:
        member.start()
    odd.start(wait=True)
    odd.kill()
    odd.run(f"cp -a {DATA}/member/snap/db /var/lib/older")
    odd.start(wait=True)
    for _ in range(60):
        cluster["h1"].ctl("put", "k", "v")
    wait_until(lambda: "snap" in odd.run(f"ls {DATA}/member/snap").stdout.replace(".snap.db", ""), "a snapshot")
    odd.kill()
    odd.run(f"cp -a /var/lib/older {DATA}/member/snap/db; rm /var/lib/older")
    odd.start()


def older_data_put_back(cluster: FaultCluster) -> None:
    """h3's disk is rolled back to an image of yesterday, while the others went on."""
    odd = cluster["h3"]
    leader = cluster.leader()
    if leader is odd:
        leader.ctl("move-leader", cluster.ids()["h1"])
    odd.stop()
    odd.run(f"rm -rf /var/lib/image; cp -a {DATA} /var/lib/image")
    odd.start(wait=True)
    cluster.put(300)
    odd.kill()
    odd.run(f"rm -rf {DATA}/member; mv /var/lib/image/member {DATA}/; rm -rf /var/lib/image")
    odd.start()


def values_differ(cluster: FaultCluster) -> None:
    """A bit rotted in h3's db where no checksum sees it."""
    cluster["h1"].ctl("put", "canary", "A" * 400)
    for member in cluster:
        member.stop()
        member.configure(experimental_initial_corrupt_check="true", experimental_corrupt_check_time="2s")
    odd = cluster["h3"]
    odd.run(f'python3 -c "{_OFFLINE.format("b=b.replace(bytes([65])*400,bytes([66])*400)")}" {DATA}/member/snap/db')
    for member in cluster:
        member.start()


def folder_of_root(cluster: FaultCluster) -> None:
    """Somebody ran etcd as root once."""
    odd = cluster["h3"]
    odd.stop()
    odd.run(f"chown -R root:root {DATA}; chmod 700 {DATA}")
    odd.drop_in("WorkingDirectory=/")
    odd.start()


def second_process(cluster: FaultCluster) -> None:
    """Another etcd runs on the same data directory, on other ports."""
    odd = cluster["h3"]
    odd.stop()
    settings = f"--name=h3 --data-dir={DATA} --listen-peer-urls=http://127.0.0.1:12380"
    settings += " --listen-client-urls=http://127.0.0.1:12379 --advertise-client-urls=http://127.0.0.1:12379"
    settings += f" --initial-cluster={odd.settings['initial_cluster']}"
    settings += (
        f" --initial-advertise-peer-urls={odd.peer_url} --initial-cluster-token={odd.settings['initial_cluster_token']}"
    )
    odd.run(f"systemd-run --unit=other --uid=etcd {cluster.program} {settings}")
    cluster.later(
        lambda: odd.run(
            "systemctl kill --signal=SIGKILL other; systemctl stop other; systemctl reset-failed other", check=False
        )
    )
    wait_until(lambda: bool(odd.run("ss -ltn 2>/dev/null | grep 12380", check=False).stdout), "the other etcd")
    odd.start()


def restored_from_half_a_file(cluster: FaultCluster) -> None:
    """A backup that was cut off is restored before h3 starts."""
    odd = cluster["h3"]
    odd.ctl("snapshot", "save", str(odd.host.path("var/lib/backup.db")))
    odd.stop()
    odd.wipe()
    odd.run("truncate --size=-4096 /var/lib/backup.db; chmod 644 /var/lib/backup.db")
    tool = "etcdctl" if cluster.engine == "etcd-3.4" else "etcdutl"
    odd.drop_in(
        "Environment=ETCDCTL_API=3\n"
        f"ExecStartPre=/usr/local/bin/{tool} snapshot restore /var/lib/backup.db --data-dir={DATA}/restored"
    )
    odd.start()


def _on_small_disk(cluster: FaultCluster) -> Member:
    odd = cluster["h3"]
    odd.stop()
    if DATA not in odd.host._volumes:
        odd.host.small_disk(DATA, 300)
    odd.run(f"chown etcd:etcd {DATA}; chmod 700 {DATA}")
    cluster.later(lambda: odd.host.free_disk(DATA))
    odd.start(wait=True)
    return odd


def _patched(cluster: FaultCluster, *, delay_s: float = 0.0, errno: int = 0) -> Member:
    odd = cluster["h3"]
    odd.stop()
    odd.patched(delay_s=delay_s, errno=errno)
    odd.start(wait=True)
    odd.run(f"touch {SWITCH}")
    cluster.later(lambda: odd.run(f"rm -f {SWITCH}"))
    return odd


def _write(cluster: FaultCluster, odd: Member) -> None:
    """Until the member falls over: a full disk is met by the next segment of the log at the latest, after 64 MB."""
    for number in range(70):
        cluster["h1"].ctl("put", f"w{number}", stdin="x" * 1_000_000, check=False, timeout_s=8)
        if set(odd.run("systemctl show -p NRestarts -p ActiveState --value etcd").stdout.split()) != {"0", "active"}:
            return


def _write_some(cluster: FaultCluster) -> None:
    """A few writes, each of which the member must put onto its disk."""
    for number in range(5):
        cluster["h1"].ctl("put", f"w{number}", "v", check=False, timeout_s=8)


FAULTS = (
    Fault("disk-full", disk_full, live="E511 h3"),
    Fault("disk-full", disk_full_at_start, "start", spares_data=False),
    Fault("read-only-filesystem", disk_read_only),
    Fault("disk-slow", disk_slow),
    Fault("disk-slow", disk_slow_on_the_leader, "leader"),
    Fault("filesystem-error", disk_broken, spares_data=False),
    Fault("quota-exceeded", quota_reached, spares_data=False),
    Fault("defrag-stall", defragmented_under_load, above=("disk-slow",), engines=("etcd-3.5",)),
    Fault("wal-corrupt", wal_damaged, spares_data=False, quick=("etcd-3.5",), engines=ETCD),
    Fault("already-bootstrapped", wal_lost, "wal", spares_data=False, engines=ETCD),
    Fault("db-corrupt", db_damaged, spares_data=False, engines=ETCD, live="E502 h3"),
    Fault("db-corrupt", db_header_damaged, "header", spares_data=False, engines=ETCD),
    Fault("snapshot-db-missing", older_db_put_back, spares_data=False, engines=ETCD),
    Fault("raft-log-lost", older_data_put_back, spares_data=False),
    Fault("corrupt-alarm", values_differ, spares_data=False, engines=ETCD),
    Fault("datadir-permission", folder_of_root, spares_data=False),
    Fault("datadir-locked", second_process),
    Fault("restore-failed", restored_from_half_a_file, spares_data=False, engines=ETCD),
)
