"""Hosts are hosts: systemd, sshd, cron, journald, disks and networks behave, and so do the controls."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.hosts.host import Host, HostError, wait_port
from tests.hosts.hosts import Hosts
from tests.hosts.network import OPERATOR
from tests.hosts.packages import etcd_packages, load_etcd_image, offer_packages
from tests.support.real_etcd import EtcdBinaries

_REACHES = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
except OSError as error:
    print(type(error).__name__)
else:
    print("open")
"""
_RECEIVE = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("0.0.0.0", 9999))
print("listening", flush=True)
receiver.settimeout(2)
try:
    print(receiver.recv(100).decode())
except TimeoutError:
    print("nothing")
"""
_SEND = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"arrived", (sys.argv[1], 9999))
"""


def ssh(host: Host, script: str, *, user: str = "root") -> str:
    """Standard output of a shell script on the host, by OpenSSH."""
    done = subprocess.run(host.ssh(script, user=user), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def reaches(source: Host, target: Host, port: int = 22) -> bool:
    """Whether a TCP connection from one host to the other comes about."""
    return source.run(["python3", "-c", _REACHES, target.address, str(port)]).stdout.strip() == "open"


def delivers(source: Host, target: Host) -> bool:
    """Whether a datagram from one host gets to the other; needs no answer, unlike TCP."""
    receiver = subprocess.Popen([*target.inside(), "python3", "-c", _RECEIVE], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    with receiver:
        assert receiver.stdout.readline() == "listening\n"
        source.run(["python3", "-c", _SEND, target.address])
        return receiver.stdout.readline() == "arrived\n"


def wait(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not seen within {timeout_s} s: {what}"
        time.sleep(0.1)


def test_three_hosts_answer_over_ssh_and_run_nothing_that_failed(hosts: Hosts) -> None:
    """Issue 4: Debian hosts with systemd as PID 1, sshd with a key made for the run, an IP each."""
    for host in hosts:
        assert ssh(host, "hostname; cat /proc/1/comm; systemctl is-system-running").split() == [
            host.name,
            "systemd",
            "running",
        ]
    identities = {ssh(host, "cat /etc/machine-id") for host in hosts}
    assert len(identities) == len(hosts) == 3


def test_users_become_root_with_and_without_a_password(hosts: Hosts) -> None:
    """`ops` needs its password for sudo, `deploy` does not."""
    assert ssh(hosts[0], "sudo -n id -u", user="deploy") == "0"
    password = shlex.quote(hosts.ops_password)
    assert ssh(hosts[0], f"printf '%s\\n' {password} | sudo -S -p '' id -u", user="ops") == "0"
    assert ssh(hosts[0], "sudo -n id -u 2>&1 || true", user="ops") != "0"


def test_the_journal_keeps_what_units_say_over_a_power_cycle(hosts: Hosts) -> None:
    """journalctl works, and each boot has an id of its own."""
    host = hosts[0]
    before = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    ssh(host, "systemd-run --quiet --wait --unit=speaker echo spoken-by-a-unit; journalctl --sync")
    assert "spoken-by-a-unit" in ssh(host, "journalctl --unit=speaker")
    host.power_off()
    host.power_on()
    assert "spoken-by-a-unit" in ssh(host, "journalctl --unit=speaker")
    assert host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != before


def test_cron_runs_a_job(hosts: Hosts) -> None:
    """Real cron: at boot, because a job of every minute would make the test wait for one."""
    host = hosts[0]
    host.path("etc/cron.d/proof").write_text("@reboot root date >/var/tmp/cron-was-here\n")
    host.power_off()
    host.power_on()
    wait(host.path("var/tmp/cron-was-here").exists, "the job's file")


def test_a_power_cut_keeps_the_disk_and_nothing_else(hosts: Hosts) -> None:
    """SIGKILL to PID 1: files stay, processes, /run and firewall rules go; the others see the port vanish."""
    host, other = hosts[0], hosts[1]
    host.run(["sh", "-c", "echo kept >/srv/kept; echo lost >/run/lost; nft add table inet mine; sync"])
    host.power_off()
    assert not host.is_on
    assert not reaches(other, host)
    assert host.path("srv/kept").read_text() == "kept\n"
    with pytest.raises(HostError, match="h1 is off"):
        host.run(["true"])
    host.power_on()
    assert (
        host.run(["sh", "-c", "cat /srv/kept; ls /run/lost 2>/dev/null; nft list tables"], check=False).stdout
        == "kept\n"
    )


def test_a_host_reboots_and_switches_itself_off(hosts: Hosts) -> None:
    """`reboot` brings it back, `poweroff` does not, as on hardware."""
    host = hosts[0]
    first = host.pid
    host.run(["systemctl", "reboot"], check=False)
    wait(lambda: host.is_on and host.pid != first, "the second boot")
    host.wait_ready()
    host.run(["systemctl", "poweroff"], check=False)
    wait(lambda: not host.is_on, "the host being off")


def test_a_cut_separates_two_hosts_and_heals(hosts: Hosts) -> None:
    """Both directions, connections that are open included, and nobody else."""
    first, second, third = hosts
    assert reaches(first, second)
    hosts.cut(first, second)
    assert not reaches(first, second)
    assert not reaches(second, first)
    assert reaches(first, third)
    assert reaches(third, second)
    hosts.heal()
    assert reaches(first, second)


def test_half_a_cut_lets_one_direction_pass(hosts: Hosts) -> None:
    """Packets of one host are lost, those of the other arrive: TCP fails both ways, datagrams one way."""
    first, second, _ = hosts
    hosts.cut(first, second, one_way=True)
    assert not delivers(first, second)
    assert delivers(second, first)
    assert not reaches(second, first)


def test_a_cut_of_a_port_leaves_the_other_ports(hosts: Hosts) -> None:
    """Peer traffic can be cut while client traffic passes."""
    first, second, _ = hosts
    hosts.cut(first, second, port=9, one_way=True)
    assert reaches(first, second)
    hosts.cut(first, second, port=22, one_way=True)
    assert not reaches(first, second)
    assert reaches(second, first)


def test_a_cut_stays_over_a_power_cycle_and_a_firewall_flush(hosts: Hosts) -> None:
    """It is made on the bridge: a host that flushes its rules, as a rollout may, does not heal the network."""
    first, second, _ = hosts
    hosts.cut(first, second)
    first.run(["nft", "flush", "ruleset"])
    first.power_off()
    first.power_on()
    assert not reaches(first, second)
    hosts.heal(first, second)
    assert reaches(first, second)


def test_a_host_isolated_from_all_is_still_reached_by_its_namespaces(hosts: Hosts) -> None:
    """Tests keep control of a host that ssh cannot reach."""
    hosts.isolate("h2", from_operator=True)
    with pytest.raises(HostError, match="does not answer"):
        wait_port(hosts["h2"].address, 22, 1.5)
    assert hosts["h2"].run(["hostname"]).stdout == "h2\n"
    hosts.heal("h2", OPERATOR)
    wait_port(hosts["h2"].address, 22, 10)


def test_no_host_reaches_the_outside(hosts: Hosts) -> None:
    """The bridge leads to the machine and nowhere else."""
    assert hosts[0].run(["ip", "route", "show", "default"]).stdout == ""


def test_a_full_disk_refuses_writes_until_it_is_freed(hosts: Hosts) -> None:
    """ENOSPC for what writes there, kept over a power cycle; the rest of the host has room."""
    host = hosts[0]
    host.run(["sh", "-c", "mkdir -p /var/lib/etcd && echo here-before >/var/lib/etcd/file && chmod 0700 /var/lib/etcd"])
    host.small_disk("/var/lib/etcd", 16)
    host.fill_disk("/var/lib/etcd")
    write = ["dd", "if=/dev/zero", "of=/var/lib/etcd/more", "count=8"]
    assert "No space left" in host.run(write, check=False).stderr
    host.power_off()
    host.power_on()
    assert "No space left" in host.run(write, check=False).stderr
    assert host.run(["sh", "-c", "cat /var/lib/etcd/file; stat -c %a /var/lib/etcd"]).stdout == "here-before\n700\n"
    host.run(["sh", "-c", "echo elsewhere >/srv/file"])
    host.free_disk("/var/lib/etcd")
    host.run(write)


def test_a_skewed_clock_is_seen_over_ssh_by_sudo_and_by_services(hosts: Hosts) -> None:
    """For what runs over ssh and for the node's Python; sleeping works, and the machine keeps its own time."""
    host = hosts[0]
    host.skew_clock(3600)
    python = "import time; time.sleep(0.01); print(int(time.time()))"
    seen = [
        ssh(host, "date +%s", user="ops"),
        ssh(host, "sudo -n date +%s", user="deploy"),
        ssh(host, f"python3 -c '{python}'"),
        ssh(host, f"systemd-run --quiet --wait --pipe python3 -c '{python}'"),
    ]
    assert [round((int(clock) - time.time()) / 60) for clock in seen] == [60, 60, 60, 60]
    assert abs(int(ssh(hosts[1], "date +%s")) - time.time()) < 30
    host.skew_clock(-1.5)
    assert -10 < float(ssh(host, "date +%s.%N")) - time.time() < 0
    host.skew_clock(0)
    assert abs(float(ssh(host, "date +%s.%N")) - time.time()) < 10


def test_a_running_program_sees_its_clock_jump(hosts: Hosts) -> None:
    """Under a skewed clock already, it follows a new value within about a second."""
    host = hosts[0]
    host.skew_clock(1)
    follow = (
        "import time, pathlib\nwhile True:\n    pathlib.Path('/run/seen').write_text(str(time.time())); time.sleep(0.1)"
    )
    host.run(["systemd-run", "--quiet", "--unit=follower", "python3", "-c", follow])
    host.skew_clock(86400)

    def followed() -> bool:
        with suppress(HostError, ValueError):
            return float(host.run(["cat", "/run/seen"]).stdout) - time.time() > 80000
        return False

    wait(followed, "the clock's jump")


def test_hosts_cannot_set_the_clock_of_the_machine(hosts: Hosts) -> None:
    """Root on a host is not root of what all share."""
    assert "Operation not permitted" in hosts[0].run(["date", "--set=2001-01-01"], check=False).stderr
    assert (
        "Operation not permitted"
        in subprocess.run(
            hosts[0].ssh("date --set=2001-01-01"), capture_output=True, text=True, check=False, timeout=30
        ).stderr
    )


def test_a_changed_host_key_is_refused_by_the_runs_known_hosts(hosts: Hosts) -> None:
    """As after a reinstallation, or with somebody in between."""
    known = hosts.known_hosts.read_text()
    assert ssh(hosts[0], "true") == ""
    new = hosts[0].change_host_key()
    assert new.split()[1] not in known
    refused = subprocess.run(hosts[0].ssh("true"), capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 255
    assert "verification failed" in refused.stderr


def test_sshd_can_be_stopped_and_started(hosts: Hosts) -> None:
    """A port that refuses, while the host is up."""
    hosts[0].stop_sshd()
    refused = subprocess.run(hosts[0].ssh("true"), capture_output=True, text=True, check=False, timeout=30)
    assert "refused" in refused.stderr
    hosts[0].start_sshd()
    wait_port(hosts[0].address, 22, 10)


def test_what_a_test_changes_is_found_and_undone(hosts: Hosts) -> None:
    """A file, a firewall rule, a process, power, cuts: each is named, and after the reset none is left."""
    first, second, third = hosts
    first.run(["sh", "-c", "echo x >/etc/left-behind; nft add table inet left"])
    second.run(["systemd-run", "--quiet", "--unit=left", "sleep", "1000"])
    third.power_off()
    hosts.cut(first, second)
    found = "\n".join(hosts.reset())
    for trace in ("h1: file etc/left-behind was written", "h1: its firewall", "left.service runs", "h3 is off"):
        assert trace in found
    assert not first.path("etc/left-behind").exists()
    assert hosts.reset() == []
    assert reaches(first, second)
    assert ssh(first, "hostname") == "h1"


@pytest.mark.parametrize("etcd_binaries", ["3.4", "3.5"], indirect=True)
def test_debians_etcd_is_installed_without_a_network(hosts: Hosts, etcd_binaries: EtcdBinaries) -> None:
    """By the package manager, from a local repository: the service starts and answers."""
    host = hosts[0]
    offer_packages(host, etcd_packages(etcd_binaries))
    host.run(["apt-get", "-qq", "-y", "install", "etcd-server", "etcd-client"], timeout_s=120)
    host.run(["systemctl", "start", "etcd"])
    version = host.run(["etcdctl", "version"], env={"ETCDCTL_API": "3"}).stdout
    assert f"etcdctl version: {etcd_binaries.version}" in version
    health = host.run(["etcdctl", "endpoint", "health"], env={"ETCDCTL_API": "3"})
    assert "is healthy" in health.stdout + health.stderr


@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_a_member_runs_in_a_container_inside_a_host(hosts: Hosts, etcd_binaries: EtcdBinaries) -> None:
    """podman and runc in the host's own namespaces; the other hosts reach the container by the host's address."""
    host, other = hosts[0], hosts[1]
    image = load_etcd_image(host, etcd_binaries)
    flags = [f"--listen-client-urls=http://{host.address}:2379", f"--advertise-client-urls=http://{host.address}:2379"]
    host.run(["mkdir", "/var/lib/etcd"])
    host.run(["podman", "run", "--detach", "--name=etcd", "--volume=/var/lib/etcd:/default.etcd", image, *flags])
    wait(lambda: reaches(other, host, 2379), "the container's port")
    health = other.run(["curl", "-sS", f"http://{host.address}:2379/health"]).stdout
    assert '"health":"true"' in health
    assert "ready to serve" in host.run(["podman", "logs", "etcd"]).stderr
    host.run(["podman", "rm", "--force", "--time=5", "etcd"])
    assert not reaches(other, host, 2379)
