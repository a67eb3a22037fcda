"""Why a member does not get up: ports, flags, units, limits, versions, discovery."""

from __future__ import annotations

from tests.diagnosis.faults.cluster import CLIENT, DATA, FaultCluster, wait_until
from tests.diagnosis.faults.fault import ETCD, Fault
from tests.support.real_etcd import find_etcd

DISCOVERY = 12379


def port_in_use(cluster: FaultCluster) -> None:
    """Something else listens on h3's client port."""
    odd = cluster["h3"]
    odd.stop()
    odd.run(f"systemd-run --unit=other python3 -m http.server {CLIENT}")
    cluster.later(lambda: odd.run("systemctl stop other; systemctl reset-failed other", check=False))
    wait_until(
        lambda: (
            not odd.run(
                f"python3 -c 'import socket; socket.create_connection((\"{odd.address}\", {CLIENT}))'", check=False
            ).status
        ),
        "the other server",
    )
    odd.start()


def address_of_another(cluster: FaultCluster) -> None:
    """h3 shall listen on an address that is not its own."""
    _restarted(cluster, listen_peer_urls="http://203.0.113.9:2380")


def name_to_listen_on(cluster: FaultCluster) -> None:
    """h3 shall listen on a name."""
    _restarted(cluster, listen_client_urls="http://h3.example.test:2379")


def unknown_flag(cluster: FaultCluster) -> None:
    """A flag with a letter too many."""
    odd = cluster["h3"]
    odd.stop()
    odd.runs("--snapshot-counts=1000")
    odd.start()


def flag_and_variable(cluster: FaultCluster) -> None:
    """One setting, twice."""
    odd = cluster["h3"]
    odd.stop()
    odd.runs("--name=h3")
    odd.start()


def election_too_short(cluster: FaultCluster) -> None:
    """Less than five heartbeats."""
    _restarted(cluster, election_timeout="100")


def broken_config_file(cluster: FaultCluster) -> None:
    """A configuration file that is no YAML."""
    odd = cluster["h3"]
    odd.stop()
    odd.host.path("etc/etcd.yaml").write_text(f"name: h3\n  data-dir: {DATA}\n")
    odd.configure(config_file="/etc/etcd.yaml")
    odd.start()


def no_working_directory(cluster: FaultCluster) -> None:
    """The unit's working directory is missing."""
    odd = cluster["h3"]
    odd.stop()
    odd.drop_in("WorkingDirectory=/srv/etcd")
    odd.start()


def no_program(cluster: FaultCluster) -> None:
    """The unit's program is missing."""
    odd = cluster["h3"]
    odd.stop()
    odd.drop_in("ExecStart=\nExecStart=/opt/etcd/bin/etcd")
    odd.start()


def no_user(cluster: FaultCluster) -> None:
    """The unit's user does not exist."""
    odd = cluster["h3"]
    odd.stop()
    odd.drop_in("User=nobody-has-this-name")
    odd.start()


def no_environment_file(cluster: FaultCluster) -> None:
    """The unit's environment file is missing."""
    odd = cluster["h3"]
    odd.stop()
    odd.host.path("etc/default/etcd").unlink()
    odd.start()


def stopped_by_somebody(cluster: FaultCluster) -> None:
    """A script sends SIGTERM, again and again, and systemd starts it each time."""
    odd = cluster["h3"]
    odd.stop()
    odd.drop_in("Restart=always")
    odd.start(wait=True)
    for _ in range(3):
        pid = odd.run("systemctl show -p MainPID --value etcd").stdout.strip()
        odd.signal("SIGTERM")

        def again(pid: str = pid) -> bool:
            state = odd.run("systemctl show -p MainPID,ActiveState --value etcd").stdout.split()
            return "active" in state and pid not in state

        wait_until(again, "the next start")


def start_takes_too_long(cluster: FaultCluster) -> None:
    """systemd gives it three seconds, without the others it waits longer."""
    odd = cluster["h3"]
    for member in cluster:
        member.stop()
    odd.drop_in("TimeoutStartSec=3")
    odd.start()


def too_few_files(cluster: FaultCluster) -> None:
    """Ten more files than it has open are all that h3 may open, and a client keeps its connections."""
    odd = cluster["h3"]
    odd.stop()
    odd.start(wait=True)
    pid = odd.run("systemctl show -p MainPID --value etcd").stdout.strip()
    odd.run(f"n=$(($(ls /proc/{pid}/fd | wc -l) + 10)); runuser -u etcd -- prlimit --pid={pid} --nofile=$n:$n")
    script = (
        "import socket, time\n"
        "held = []\n"
        f"for _ in range(80): held.append(socket.create_connection(('{odd.address}', {CLIENT})))\n"
        "time.sleep(600)\n"
    )
    odd.host.path("usr/local/lib/hoard.py").write_text(script)
    odd.run("systemd-run --unit=hoard python3 /usr/local/lib/hoard.py")
    cluster.later(lambda: odd.run("systemctl stop hoard", check=False))


def too_little_memory(cluster: FaultCluster) -> None:
    """A limit that large requests break."""
    odd = cluster["h3"]
    odd.stop()
    odd.drop_in("LimitDATA=64M")
    odd.start()
    cluster.put(100, size=10_000)
    for number in range(40):
        if odd.ctl("put", f"m{number}", stdin="x" * 1_000_000, check=False, timeout_s=15).status:
            return


def older_program(cluster: FaultCluster) -> None:
    """h3 runs etcd 3.4 on the data of 3.5."""
    odd = cluster["h3"]
    odd.stop()
    _old_program(cluster)
    odd.drop_in("ExecStart=\nExecStart=/opt/old/etcd")
    odd.start()


def older_joins(cluster: FaultCluster) -> None:
    """A new member of 3.4 shall join a cluster of 3.5."""
    odd = cluster["h3"]
    odd.kill()
    odd.wipe()
    cluster.replace(odd, odd.peer_url)
    _old_program(cluster)
    odd.configure(initial_cluster_state="existing")
    odd.drop_in("ExecStart=\nExecStart=/opt/old/etcd")
    odd.start()


def discovery_full(cluster: FaultCluster) -> None:
    """Two have registered for a cluster of two; h3 comes third."""
    url = _discovery(cluster, size=2)
    for name in ("h1", "h2"):
        cluster[name].run(
            f"curl -sf -XPUT '{url}/{name}000' -d value='{name}=http://{cluster[name].address}:2380' "
            f"|| python3 -c \"{_PUT}\" '{url}/{name}000' 'value={name}=http://{cluster[name].address}:2380'"
        )
    _bootstrap(cluster, url)


def discovery_used_before(cluster: FaultCluster) -> None:
    """h3 has registered, lost its data, and comes again."""
    url = _discovery(cluster, size=2)
    _bootstrap(cluster, url)
    wait_until(lambda: "h3=" in cluster["h3"].run(f"python3 -c \"{_GET}\" '{url}'").stdout, "the registration")
    odd = cluster["h3"]
    odd.kill()
    odd.wipe()
    odd.start()


def discovery_down(cluster: FaultCluster) -> None:
    """Nobody is at the discovery URL."""
    _bootstrap(cluster, f"http://{cluster['h1'].address}:{DISCOVERY}/v2/keys/discovery/token")


def discovery_not_made(cluster: FaultCluster) -> None:
    """The token does not exist."""
    _discovery(cluster, size=2)
    _bootstrap(cluster, f"http://{cluster['h1'].address}:{DISCOVERY}/v2/keys/discovery/another")


_PUT = (
    "import sys,urllib.request as u; u.urlopen(u.Request(sys.argv[1],sys.argv[2].encode(),"
    "{'Content-Type':'application/x-www-form-urlencoded'},method='PUT'))"
)
_GET = "import sys,urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"


def _discovery(cluster: FaultCluster, *, size: int) -> str:
    """A discovery service as people run one: a small etcd with the v2 API, on h1."""
    server = cluster["h1"]
    address = f"http://{server.address}:{DISCOVERY}"
    peers = f"http://{server.address}:12380"
    program = cluster.program if cluster.engine != "node" else "/usr/local/bin/etcd"
    server.run(
        "systemctl stop discovery 2>/dev/null; rm -rf /var/lib/discovery; "
        f"systemd-run --unit=discovery {program} --name=d --enable-v2=true"
        f" --data-dir=/var/lib/discovery --listen-client-urls={address}"
        f" --advertise-client-urls={address} --listen-peer-urls={peers} --initial-advertise-peer-urls={peers}"
        f" --initial-cluster=d={peers}"
    )
    cluster.later(lambda: server.run("systemctl stop discovery; rm -rf /var/lib/discovery", check=False))
    url = f"{address}/v2/keys/discovery/token"
    wait_until(
        lambda: not server.run(f"python3 -c \"{_PUT}\" '{url}/_config/size' value={size}", check=False).status,
        "the discovery service",
    )
    return url


def _bootstrap(cluster: FaultCluster, url: str) -> None:
    odd = cluster["h3"]
    odd.kill()
    odd.wipe()
    odd.configure(initial_cluster=None, initial_cluster_state=None, initial_cluster_token=None, discovery=url)
    odd.start()


def _old_program(cluster: FaultCluster) -> None:
    old = find_etcd("3.4")
    assert old is not None
    target = cluster["h3"].host.path("opt/old/etcd")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.write_bytes(old.etcd.read_bytes())
        target.chmod(0o755)


def _restarted(cluster: FaultCluster, **settings: str) -> None:
    odd = cluster["h3"]
    odd.stop()
    odd.configure(**settings)
    odd.start()


FAULTS = (
    Fault("port-in-use", port_in_use, quick=("etcd-3.5",)),
    Fault("cannot-assign-address", address_of_another),
    Fault("host-in-listen-url", name_to_listen_on),
    Fault("config-invalid", unknown_flag),
    Fault("config-invalid", flag_and_variable, "twice", engines=ETCD),
    Fault("config-invalid", election_too_short, "election"),
    Fault("config-invalid", broken_config_file, "yaml"),
    Fault("systemd-unit-failure", no_working_directory, quick=("etcd-3.5",), live="E502 h3"),
    Fault("systemd-unit-failure", no_program, "program"),
    Fault("systemd-unit-failure", no_user, "user"),
    Fault("systemd-unit-failure", no_environment_file, "environment"),
    Fault("terminated-by-signal", stopped_by_somebody, spares_data=False),
    Fault("too-many-open-files", too_few_files),
    Fault("oom-killed", too_little_memory, engines=("etcd-3.5",), live="E502 h3"),
    Fault("version-downgrade", older_program, engines=("etcd-3.5",)),
    Fault("version-incompatible", older_joins, engines=("etcd-3.5",), spares_data=False),
    Fault("discovery-full", discovery_full, spares_data=False, engines=ETCD),
    Fault("discovery-token-reused", discovery_used_before, spares_data=False, engines=ETCD),
    Fault("discovery-unreachable", discovery_down, spares_data=False, engines=("etcd-3.5",)),
    # etcd takes the missing token for one that was used up; the remedy is a new one for both
    Fault(
        "discovery-token-reused",
        discovery_not_made,
        "no-token",
        acceptable=("discovery-unreachable",),
        spares_data=False,
        engines=ETCD,
    ),
)
