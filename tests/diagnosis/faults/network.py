"""Peers that cannot be reached, leaders that come and go, clocks."""

from __future__ import annotations

import json
import subprocess
from functools import partial

from tests.diagnosis.faults.cluster import FaultCluster, Member, initial_cluster, wait_until
from tests.diagnosis.faults.fault import ETCD, Fault


def firewall_drops(cluster: FaultCluster) -> None:
    """Nothing between h3 and the others arrives, and nobody says so."""
    cluster.hosts.isolate("h3")


def firewall_drops_one_port(cluster: FaultCluster) -> None:
    """Only the peer port of h3, from both others; h3 itself can dial."""
    for name in ("h1", "h2"):
        cluster.hosts.cut(name, "h3", port=2380, one_way=True)
    cluster["h3"].restart()


def firewall_rejects(cluster: FaultCluster) -> None:
    """h3's own firewall says: host prohibited."""
    odd = cluster["h3"]
    _answers_refused(odd, 0)
    cluster.later(lambda: _answers_refused(odd, 1000))
    rules = "tcp dport 2380 ip saddr != 127.0.0.1 counter reject with icmp type host-prohibited"
    odd.run(
        "nft add table inet fault && nft 'add chain inet fault in { type filter hook input priority 0; }' && "
        f"nft 'add rule inet fault in {rules}'"
    )
    cluster.later(lambda: odd.run("nft delete table inet fault"))
    odd.signal("SIGKILL")


def _answers_refused(member: Member, every_ms: int) -> None:
    """How often it may say so to one host; by default once a second, after which most who dial hear nothing.

    It is set from outside: on the host itself /proc/sys is read-only.
    """
    change = f"echo {every_ms} >/proc/sys/net/ipv4/icmp_ratelimit"
    subprocess.run(["nsenter", f"--target={member.host.pid}", "--net", "--", "sh", "-c", change], check=True)


def process_is_down(cluster: FaultCluster) -> None:
    """h3 was killed and nobody starts it; the others are asked."""
    cluster["h3"].kill()


def host_is_off(cluster: FaultCluster) -> None:
    """The power of h3."""
    odd = cluster["h3"]
    odd.host.power_off()
    cluster.later(odd.host.power_on)


def wrong_peer_port(cluster: FaultCluster) -> None:
    """h3 listens elsewhere than it says."""
    odd = cluster["h3"]
    odd.configure(listen_peer_urls=f"http://{odd.address}:2390")
    odd.restart()


def ports_swapped(cluster: FaultCluster) -> None:
    """h3 has the client port where the peer port should be."""
    odd = cluster["h3"]
    odd.configure(
        listen_peer_urls=f"http://{odd.address}:2379",
        listen_client_urls=f"http://{odd.address}:2380",
    )
    odd.restart()


def route_is_gone(cluster: FaultCluster) -> None:
    """h3 has its address and no way to anybody."""
    odd = cluster["h3"]
    route = odd.run("ip route show").stdout.strip()
    odd.run(f"ip route delete {route}")
    cluster.later(lambda: odd.run(f"ip route add {route}", check=False))
    odd.restart()


def name_that_nobody_knows(cluster: FaultCluster) -> None:
    """The cluster is to be found by names, and that of h2 is in no zone."""
    known = initial_cluster(cluster.members).replace(cluster["h2"].address, "h2.example.invalid")
    for member in cluster:
        member.kill()
        member.wipe()
        member.configure(initial_cluster=known)
    cluster.mark()
    for name in ("h1", "h3"):
        cluster[name].start()


def srv_records_of_others(cluster: FaultCluster) -> None:
    """DNS lists h1 and h2, and h3 shall bootstrap by it."""
    odd = cluster["h3"]
    odd.kill()
    odd.wipe()
    records = " ".join(
        f"--srv-host=_etcd-server._tcp.example.test,{name}.example.test,2380"
        f" --host-record={name}.example.test,{cluster[name].address}"
        for name in ("h1", "h2")
    )
    listen = "--port=53 --listen-address=127.0.0.1 --bind-interfaces"
    odd.run(f"systemd-run --unit=dns dnsmasq -k -C /dev/null {listen} {records}")
    odd.run("cp /etc/resolv.conf /run/resolv.saved 2>/dev/null || true; echo nameserver 127.0.0.1 >/etc/resolv.conf")
    cluster.later(lambda: odd.run("systemctl stop dns; cp /run/resolv.saved /etc/resolv.conf", check=False))
    odd.configure(initial_cluster=None, discovery_srv="example.test")
    odd.start()


def no_srv_records(cluster: FaultCluster) -> None:
    """There is no such domain."""
    odd = cluster["h3"]
    odd.kill()
    odd.wipe()
    odd.configure(initial_cluster=None, discovery_srv="example.invalid")
    odd.start()


def majority_is_down(cluster: FaultCluster) -> None:
    """Two of three are killed, one is left."""
    for name in ("h1", "h2"):
        cluster[name].kill()


def majority_hangs(cluster: FaultCluster) -> None:
    """Two of three are there and do nothing."""
    for member in cluster.members[:2]:
        member.signal("SIGSTOP")
        cluster.later(partial(member.signal, "SIGCONT"))


def leader_loses_its_links(cluster: FaultCluster) -> None:
    """The network of whoever leads goes for a moment, again and again."""
    for _ in range(5):
        leader = cluster.leader()
        cluster.hosts.isolate(leader.host)

        def another(leader: Member = leader) -> bool:
            others = [member for member in cluster if member is not leader]
            answers = cluster.ctl("endpoint", "status", "-w", "json", members=others, check=False).stdout
            found = {answer["Status"].get("leader", 0) for answer in json.loads(answers or "[]")}
            return len(found) == 1 and not found & {0, int(cluster.ids_of(others)[leader.name], 16)}

        wait_until(another, "another leader")
        cluster.hosts.heal()
        cluster.ctl("endpoint", "health")


def process_pauses(cluster: FaultCluster) -> None:
    """A leader that gets no CPU for moments shorter than an election."""
    leader = cluster.leader()
    for _ in range(4):
        leader.run(
            "systemctl kill --kill-whom=main --signal=SIGSTOP etcd; sleep 0.35; "
            "systemctl kill --kill-whom=main --signal=SIGCONT etcd; sleep 0.2"
        )


def clock_is_ahead(cluster: FaultCluster) -> None:
    """h3's clock is 95 s ahead."""
    odd = cluster["h3"]
    odd.host.skew_clock(95)
    cluster.later(lambda: odd.host.skew_clock(0))
    odd.restart()


def leadership_is_moved(cluster: FaultCluster) -> None:
    """By an operator, once."""
    to = cluster.follower()
    cluster.leader().ctl("move-leader", cluster.ids()[to.name])


FAULTS = (
    Fault("peer-io-timeout", firewall_drops, live="E609 h3"),
    Fault("peer-io-timeout", firewall_drops_one_port, "one-port", live="E602 h3"),
    Fault("peer-no-route", firewall_rejects, live="E604 h3"),
    Fault("peer-no-route", host_is_off, "power", logs=("h1", "h2"), acceptable=("peer-io-timeout",)),
    # who reads h3's journal too, as for a whole cluster, may see the kill itself
    Fault(
        "peer-connection-refused",
        process_is_down,
        logs=("h1", "h2"),
        acceptable=("terminated-by-signal",),
        live="E504 h3",
    ),
    Fault("peer-connection-refused", wrong_peer_port, "wrong-port", quick=("etcd-3.5",), live="E424 h3"),
    Fault("peer-unreachable", ports_swapped),
    Fault("peer-connection-refused", majority_is_down, "majority", logs=("h3",), explains="quorum-lost"),
    # Elections without a majority tell it at once; that peers do not answer is told by the next probe, which may be
    # half a minute away.
    Fault("quorum-lost", majority_hangs, logs=("h3",), above=("peer-io-timeout", "peer-unreachable")),
    Fault("network-unreachable", route_is_gone),
    Fault("dns-lookup-failed", name_that_nobody_knows, spares_data=False),
    Fault("dns-srv-failure", srv_records_of_others, spares_data=False, engines=ETCD),
    Fault("dns-srv-failure", no_srv_records, "no-domain", spares_data=False, engines=ETCD),
    Fault("leader-flapping", leader_loses_its_links, acceptable=("peer-io-timeout", "peer-unreachable")),
    Fault("heartbeat-slow", process_pauses, acceptable=("server-overloaded",)),
    Fault("clock-drift", clock_is_ahead, engines=("node",), live="W521 h3"),
    Fault("leader-election", leadership_is_moved),
)
