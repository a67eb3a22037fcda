"""The programs that read the files say what they think of them, on a real host; and a whole cluster runs from them."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcdops.inventory.model import Cluster, Host, Inventory, Manager
from etcdops.rendering import places
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.member import MemberConfig, member_config
from etcdops.rendering.network_files import firewall, load_balancer
from etcdops.rendering.outputs import SettingsIn, member_directories, member_files
from etcdops.rendering.upkeep_files import Backups, backup_by_cron, backup_by_timer
from etcdops.services.container_arguments import Arguments
from tests.hosts import host as test_host
from tests.hosts.hosts import Hosts
from tests.hosts.packages import load_etcd_image
from tests.rendering.golden import GOLDEN
from tests.support.certificates import Authority
from tests.support.real_etcd import CACHE, find_etcd, poll_until

_SUPERVISORD = """
import glob, json, sys
from supervisor.options import ServerOptions
options = ServerOptions()
options.realize(["-c", sys.argv[1], "-n"])
print(json.dumps([group.process_configs[0].command for group in options.process_group_configs]))
"""


def put(host: test_host.Host, path: str, content: bytes, mode: int = 0o644) -> None:
    target = host.path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(mode)


def install_programs(host: test_host.Host, minor: str = "3.5") -> None:
    found = find_etcd(minor)
    if found is None:
        pytest.skip(f"no etcd {minor} in .cache/etcd: `make etcd` fetches it")
    for program in (found.etcd, found.etcdctl, found.etcdutl):
        if program is not None and not host.path(f"/usr/local/bin/{program.name}").exists():
            shutil.copy(program, host.path("/usr/local/bin"))
    host.run(["sh", "-c", "id etcd >/dev/null 2>&1 || useradd --system --user-group --no-create-home etcd"])


@pytest.fixture
def clean_host(hosts: Hosts) -> test_host.Host:
    """A host where nothing has its ports yet."""
    install_programs(hosts["h1"])
    return hosts["h1"]


@pytest.fixture
def host(dirty_hosts: Hosts) -> Iterator[test_host.Host]:
    """A host with etcd, and a folder for files that a program looks at."""
    found = dirty_hosts["h1"]
    install_programs(found)
    yield found
    found.run(["rm", "-rf", "/root/looked-at"])


def look(host: test_host.Host, case: str, argv: list[str], *, ok: Callable[[str], bool] = lambda _: True) -> str:
    """Put the golden files of `case` below one folder of the host, and run `argv` there: what it says."""
    folder = GOLDEN / case
    for path in folder.rglob("*"):
        if path.is_file():
            mode = 0o755 if path.read_bytes().startswith(b"#!") else 0o644
            put(host, f"/root/looked-at/{case}/{path.relative_to(folder)}", path.read_bytes(), mode)
    line = f"cd /root/looked-at/{case} && {shlex.join(argv)}"
    done = host.run(["sh", "-c", line], check=False, timeout_s=60)
    said = done.stdout + done.stderr
    assert done.status == 0, f"{case}: {argv}: {said}"
    assert ok(said), f"{case}: {argv}: {said}"
    return said


def test_systemd_verifies_the_units(host: test_host.Host) -> None:
    """No unknown setting, no line it cannot read."""
    for case in ("systemd_3.4", "systemd_3.6_tls_yml", "systemd_3.5_waldir", "timer_tls_3.4", "nft_tls"):
        units = [f"etc/systemd/system/{path.name}" for path in (GOLDEN / case / "etc/systemd/system").iterdir()]
        # what is started must be there
        for path in (GOLDEN / case).rglob("etc/etcdops/*"):
            put(host, f"/etc/etcdops/{path.name}", path.read_bytes(), 0o755)
        look(host, case, ["systemd-analyze", "verify", "--man=no", *units], ok=lambda said: not said.strip())
    host.run(["rm", "-rf", "/etc/etcdops"])


def test_firewalls_take_the_rules(host: test_host.Host) -> None:
    """Twice, so that rules that are there already are replaced; and they are gone when the unit stops."""
    for case in ("nft_tls", "nft_metrics"):
        rules = "etc/etcdops/etcd.nft"
        look(host, case, ["nft", "-c", "-f", rules])
        look(host, case, ["nft", "-f", rules])
        look(host, case, ["nft", "-f", rules])
        look(host, case, ["nft", "list", "table", "inet", "etcdops-etcd"], ok=lambda said: said.count("drop") == 1)
        look(host, case, ["nft", "delete", "table", "inet", "etcdops-etcd"])
    script = "etc/etcdops/etcd.iptables"
    for action in ("test", "start", "start"):
        look(host, "iptables_tls", [script, action])
    look(host, "iptables_tls", ["iptables", "-S"], ok=lambda said: said.count("-A INPUT -j ETCDOPS-etcd") == 1)
    look(host, "iptables_tls", ["ip6tables", "-S"], ok=lambda said: "-s fd00::/8" in said)
    for _ in range(2):
        look(host, "iptables_tls", [script, "stop"])
    look(host, "iptables_tls", ["iptables", "-S"], ok=lambda said: "ETCDOPS" not in said)


def test_haproxy_dnsmasq_and_logrotate_check_their_files(host: test_host.Host, tmp_path: Path) -> None:
    """By their own checks."""
    authority = Authority(tmp_path)
    pair = authority.issue("balancer")
    put(host, "/etc/haproxy/ca.crt", authority.ca.read_bytes())
    put(host, "/etc/haproxy/us.pem", pair.cert.read_bytes() + pair.key.read_bytes(), 0o600)
    for case in ("haproxy_tls", "haproxy_3.4", "haproxy_tls_metrics"):
        look(host, case, ["haproxy", "-c", "-f", "etc/haproxy/haproxy.cfg"], ok=lambda said: "WARNING" not in said)
    for case in ("dnsmasq_tls", "dnsmasq_srv"):
        look(host, case, ["dnsmasq", "--test", "-C", "etc/dnsmasq.d/etcd-prod.conf"])
    look(
        host,
        "process_3.5_tls",
        ["logrotate", "-d", "etc/logrotate.d/etcd"],
        ok=lambda said: "considering log /var/log/etcdops/etcd.log" in said and "error:" not in said,
    )


def test_supervisord_reads_the_command_as_it_was_meant(host: test_host.Host) -> None:
    """By its own parser."""
    case = "supervisord_3.4_tls"
    main = f"[supervisord]\n[include]\nfiles=/root/looked-at/{case}/etc/supervisor/conf.d/*.conf\n"
    put(host, "/root/looked-at/supervisord.conf", main.encode())
    put(host, "/root/looked-at/parse.py", _SUPERVISORD.encode())
    host.run(["mkdir", "-p", "/var/log/etcdops", "/var/lib/etcd"])
    said = look(host, case, ["python3", "/root/looked-at/parse.py", "/root/looked-at/supervisord.conf"])
    (command,) = json.loads(said.splitlines()[-1])
    assert shlex.split(command)[:3] == ["/usr/local/bin/etcd", "--name=h1", "--data-dir=/var/lib/etcd"]


def test_scripts_are_scripts_of_a_plain_shell(host: test_host.Host) -> None:
    """dash and bash, without running them."""
    for case in ("supervise_3.5_tls", "process_3.5_tls", "iptables_tls", "timer_tls_3.6_odd", "cron_node_tls"):
        for path in (GOLDEN / case).rglob("*"):
            if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh"):
                for shell in ("dash", "bash"):
                    look(host, case, [shell, "-n", str(path.relative_to(GOLDEN / case))])


def test_prometheus_checks_its_files() -> None:
    """By promtool, where there is one."""
    promtool = shutil.which("promtool") or shutil.which("promtool", path=str(CACHE.parent / "prometheus"))
    if promtool is None:
        pytest.skip("needs promtool: .ci/fetch-promtool")
    for case in ("prometheus_tls", "prometheus_metrics"):
        for what, folder in ((["rules"], "rules.d"), (["config", "--syntax-only"], "scrape.d")):
            path = GOLDEN / case / "etc/prometheus" / folder / "etcd-prod.yml"
            done = subprocess.run([promtool, "check", *what, path], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout + done.stderr


def described(hosts: Hosts, **changes: object) -> tuple[Inventory, Cluster]:
    """A TLS cluster on the three hosts."""
    names = ("h1", "h2", "h3")
    made = Cluster.model_validate(
        {
            "name": "prod",
            "engine": {"version": "3.5"},
            "tls": {},
            "members": [{"host": name} for name in names],
            "settings": {"quota-backend-bytes": 100_000_000, "auto-compaction-retention": "1h"},
            **changes,
        }
    )
    known = {name: Host(name=name, address=hosts[name].address) for name in names}
    return Inventory(hosts=known, clusters={"prod": made}), made


def install(host: test_host.Host, config: MemberConfig, files: list[RenderedFile], pki: Path) -> None:
    """Everything that a rollout puts there."""
    install_programs(host)
    folders = [one.path for one in member_directories(config, Manager.SYSTEMD)]
    host.run(["install", "-d", "-m", "0700", "-o", "etcd", "-g", "etcd", *folders, "/var/backups/etcd"])
    for file in files:
        put(host, file.path, file.content, file.ownership.mode)
    for path in pki.iterdir():
        put(host, f"/etc/etcd/pki/{path.name}", path.read_bytes())
    host.run(["chown", "-R", "etcd:etcd", "/etc/etcd/pki"])
    host.run(["systemctl", "daemon-reload"])


def make_certificates(folder: Path, addresses: list[str]) -> None:
    for name, issued in (("ca", ("server", "client")), ("peer-ca", ("peer",))):
        authority = Authority(folder / "work" / name, name)
        shutil.copy(authority.ca, folder / f"{name}.crt")
        for kind in issued:
            pair = authority.issue(kind, hosts=[*addresses, "127.0.0.1"])
            shutil.copy(pair.cert, folder / f"{kind}.crt")
            shutil.copy(pair.key, folder / f"{kind}.key")
    shutil.rmtree(folder / "work")


def etcdctl(host: test_host.Host, endpoint: str, *arguments: str) -> str:
    """From inside of the host, as a client with a certificate. Empty when it fails."""
    pki = "/etc/etcd/pki"
    tool = ["etcdctl", f"--endpoints={endpoint}", f"--cacert={pki}/ca.crt", "--command-timeout=3s"]
    line = [*tool, f"--cert={pki}/client.crt", f"--key={pki}/client.key", *arguments]
    done = host.run(line, check=False, env={"ETCDCTL_API": "3"})
    return done.stdout if done.status == 0 else ""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("settings_in", [SettingsIn.ENVIRONMENT_FILE, SettingsIn.CONFIG_FILE])
def test_a_cluster_runs_from_what_is_rendered(hosts: Hosts, tmp_path: Path, settings_in: SettingsIn) -> None:
    """Three hosts: hardened units over TLS, closed ports, backups, and a balancer that finds the members healthy."""
    inventory, cluster = described(hosts)
    names = list(inventory.hosts)
    pki = tmp_path / "pki"
    pki.mkdir()
    make_certificates(pki, [hosts[name].address for name in names])
    for name, member in zip(names, cluster.members, strict=True):
        config = member_config(inventory, cluster, member)
        clients = [hosts["h1"].address]
        files = [
            *member_files(config, Manager.SYSTEMD, settings_in=settings_in),
            *firewall(inventory, cluster, config, clients=clients),
            *backup_by_timer(config, Backups(keep=2)),
        ]
        install(hosts[name], config, files, pki)
        hosts[name].run(["systemctl", "enable", "--now", "--no-block", "etcd-firewall", "etcd", "etcd-backup.timer"])
    h1 = hosts["h1"]
    everywhere = ",".join(f"https://{hosts[name].address}:2379" for name in names)
    poll_until(lambda: "is healthy" in etcdctl(h1, everywhere, "endpoint", "health"), 90, lambda: journal(hosts))
    for name in names:
        poll_until(lambda name=name: is_active(hosts[name], "etcd"), 30, lambda: journal(hosts))  # type: ignore[misc]
    assert etcdctl(h1, everywhere, "put", "a", "1") == "OK\n"
    # a host in a container may be given less, so it is asked what it was to have
    assert h1.run(["systemctl", "show", "--value", "-p", "LimitNOFILE", "etcd"]).stdout == "65536\n"
    check_ports(hosts)
    check_backups(h1)
    check_balancer(hosts, inventory, cluster, pki)


def is_active(host: test_host.Host, unit: str) -> bool:
    return host.run(["systemctl", "is-active", unit], check=False).stdout == "active\n"


def journal(hosts: Hosts) -> str:
    return "\n".join(
        hosts[name].run(["journalctl", "-u", "etcd*", "-n", "15", "--no-pager"], check=False).stdout
        for name in ("h1", "h2")
    )


def check_ports(hosts: Hosts) -> None:
    """The machine of the operator is no client: it reaches ssh, and neither port of etcd."""

    async def opens(port: int) -> bool:
        try:
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_connection(hosts["h2"].address, port)
        except (TimeoutError, OSError):
            return False
        writer.close()
        return True

    assert [asyncio.run(opens(port)) for port in (hosts["h2"].ssh_port, 2379, 2380)] == [True, False, False]


def check_backups(host: test_host.Host) -> None:
    """The unit of the timer takes one that its own tool finds whole, and keeps two."""
    put(host, "/var/backups/etcd/prod-20200101T000000Z-h1.db", b"")
    put(host, "/var/backups/etcd/prod-20200102T000000Z-h1.db", b"")
    host.run(["systemctl", "start", "etcd-backup.service"], timeout_s=60)
    kept = sorted(path.name for path in host.path("/var/backups/etcd").glob("*.db*"))
    assert len(kept) == 2, kept
    assert kept[0] == "prod-20200102T000000Z-h1.db"
    assert kept[1].endswith("-h1.db")
    assert host.run(["systemctl", "is-active", "etcd-backup.timer"]).stdout == "active\n"


def check_balancer(hosts: Hosts, inventory: Inventory, cluster: Cluster, pki: Path) -> None:
    """It serves while there are healthy members, and passes one by that is stopped."""
    h1 = hosts["h1"]
    put(h1, "/etc/haproxy/us.pem", (pki / "client.crt").read_bytes() + (pki / "client.key").read_bytes(), 0o600)
    file = load_balancer(
        inventory, cluster, bind="127.0.0.1:2378", ca_file="/etc/etcd/pki/ca.crt", client_pem="/etc/haproxy/us.pem"
    )
    put(h1, file.path, file.content)
    started = h1.run(["systemctl", "start", "haproxy"], check=False)
    assert started.status == 0, h1.run(["journalctl", "-u", "haproxy", "--no-pager", "-o", "cat"]).stdout
    through = "https://127.0.0.1:2378"
    poll_until(lambda: etcdctl(h1, through, "get", "a") == "a\n1\n", 30, "the balancer does not serve")
    hosts["h2"].run(["systemctl", "stop", "etcd"], timeout_s=100)

    def passed_by() -> bool:
        said = h1.run(["journalctl", "-u", "haproxy", "--no-pager", "-o", "cat"]).stdout
        return "etcd_prod/h2 is DOWN" in said

    poll_until(passed_by, 30, "the balancer does not see that a member is gone")
    assert etcdctl(h1, through, "get", "a") == "a\n1\n"


CONTAINER = "etcd-contained"


@pytest.mark.timeout(240)
def test_podman_runs_what_is_rendered_for_it(clean_host: test_host.Host) -> None:
    """Without root's powers, on directories of the host."""
    host, found = clean_host, find_etcd("3.5")
    assert found is not None
    image = load_etcd_image(host, found)
    inventory, cluster = one_member(host, Manager.PODMAN, image)
    config = member_config(inventory, cluster, cluster.members[0])
    (file,) = member_files(config, Manager.PODMAN)
    host.run(["install", "-d", "-m", "0700", "-o", "etcd", "-g", "etcd", config.data_dir])
    words = [word.text for word in Arguments.parse(file.content.decode(), file.path).words]
    host.run(["podman", "create", "--name", CONTAINER, *words], timeout_s=60)
    try:
        host.run(["podman", "start", CONTAINER], timeout_s=60)
        poll_until(lambda: serves(host), 60, lambda: host.run(["podman", "logs", CONTAINER]).stderr)
    finally:
        host.run(["podman", "rm", "--force", "--time=5", CONTAINER], timeout_s=60)
        host.run(["rm", "-rf", config.data_dir])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("manager", [Manager.PROCESS, Manager.SUPERVISE, Manager.SUPERVISORD])
def test_other_managers_run_what_is_rendered_for_them(clean_host: test_host.Host, manager: Manager) -> None:
    """The runner's script, daemontools and supervisord, each with the program itself."""
    host = clean_host
    inventory, cluster = one_member(host, manager)
    config = member_config(inventory, cluster, cluster.members[0])
    host.run(["install", "-d", "-m", "0700", "-o", "etcd", "-g", "etcd", config.data_dir])
    host.run(["install", "-d", "/var/log/etcdops"])
    for file in member_files(config, manager):
        put(host, file.path, file.content, file.ownership.mode)
    starts = {
        Manager.PROCESS: [places.run_script(CONTAINER)],
        Manager.SUPERVISE: ["svscan", places.DEFINITIONS],
        Manager.SUPERVISORD: ["supervisord", "-n", "-c", "/etc/supervisor/supervisord.conf"],
    }
    unit = f"run-{manager.value}"
    host.run(["systemd-run", f"--unit={unit}", "--collect", *starts[manager]])
    try:
        poll_until(lambda: serves(host), 60, lambda: host.run(["journalctl", "-u", unit, "-n", "20"]).stdout)
        user = host.run(["sh", "-c", "ps -o user= -p $(pgrep -x etcd)"]).stdout.strip()
        assert user == "etcd"
        logged = {Manager.SUPERVISE: "/var/log/etcdops/etcd-contained/current"}
        if manager is not Manager.PROCESS:
            path = logged.get(manager, places.log_file(CONTAINER))
            assert "serving client traffic" in host.path(path).read_text()
    finally:
        host.run(["systemctl", "stop", unit], timeout_s=100)
        host.run(["rm", "-rf", config.data_dir, "/var/log/etcdops", f"{places.DEFINITIONS}/{CONTAINER}"])
        host.run(["rm", "-f", places.supervisord_program(CONTAINER), places.run_script(CONTAINER)])


@pytest.mark.exhaustive
@pytest.mark.timeout(420)
def test_cron_takes_the_backup_at_its_time_as_its_user(clean_host: test_host.Host) -> None:
    """cron itself reads the file. It says nothing of one that it does not like, so the backup has to be there."""
    host = clean_host
    inventory, cluster = one_member(host, Manager.SYSTEMD)
    config = member_config(inventory, cluster, cluster.members[0])
    folder = "/var/backups/50% of 'etcd'"
    host.run(["install", "-d", "-m", "0700", "-o", "etcd", "-g", "etcd", config.data_dir, folder])
    # far enough that cron has read the file before: it looks once a minute
    minute, hour = host.run(["date", "-d", "+2 minutes", "+%M %H"]).stdout.split()
    backup = backup_by_cron(config, Backups(directory=folder, cron_time=f"{minute} {hour} * * *"))
    files = [*member_files(config, Manager.SYSTEMD), *backup]
    for file in files:
        put(host, file.path, file.content, file.ownership.mode)
    host.run(["sh", "-c", "systemctl daemon-reload && systemctl start cron"])
    host.run(["systemctl", "start", CONTAINER], timeout_s=90)

    def said() -> str:
        return host.run(["journalctl", "-t", "CRON", "--no-pager", "-o", "cat"]).stdout

    try:
        poll_until(lambda: serves(host), 60, lambda: host.run(["journalctl", "-u", CONTAINER, "-n", "20"]).stdout)
        poll_until(lambda: list(host.path(folder).glob("*.db")) != [], 240, said)
        (taken,) = host.path(folder).glob("*.db")
        inside = f"{folder}/{taken.name}"
        assert host.run(["stat", "-c", "%U:%G %a", inside]).stdout == "etcd:etcd 600\n"
        assert "hash" in host.run(["etcdutl", "snapshot", "status", inside, "-w", "json"]).stdout
        assert f"(etcd) CMD ({backup[0].path})" in said()
    finally:
        host.run(["systemctl", "stop", CONTAINER], timeout_s=100)
        host.run(["rm", "-rf", config.data_dir, folder, *(file.path for file in files)])


def serves(host: test_host.Host) -> bool:
    return "true" in host.run(["curl", "-s", "http://127.0.0.1:2379/health"], check=False).stdout


def one_member(host: test_host.Host, manager: Manager, image: str = "") -> tuple[Inventory, Cluster]:
    """Without TLS, in a directory with a blank."""
    made = Cluster.model_validate(
        {
            "name": "one",
            "members": [{"host": "h1"}],
            "data_dir": "/var/lib/a member",
            "service": {"manager": manager, "image": image, "name": CONTAINER},
        }
    )
    return Inventory(hosts={"h1": Host(name="h1", address=host.address)}, clusters={"one": made}), made
