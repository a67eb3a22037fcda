"""From three bare hosts to a healthy cluster over TLS, on real systemd hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.errors import AccessDenied, ClusterUnsafe, EtcdopsError, PartlyApplied, Unreachable
from etcdops.playbooks.procedures import RunOutcome, carry_out
from etcdops.playbooks.rollout.procedure import Prepared, apply, prepare
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.runs import KnownRun
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.hosts.network import OPERATOR
from tests.hosts.packages import etcd_packages, load_etcd_image, offer_packages
from tests.playbooks.rollout.on_hosts import Bench, HostsAccess
from tests.support.real_etcd import EtcdBinaries, find_etcd

HEALTHY_MAX_S = 60.0
"""What a rollout may take, from the first look at the hosts on, where not much else runs."""
BUSY_LOAD = 2.0 * (os.cpu_count() or 1)
"""Load average. From here on the time says more of the machine than of the rollout, and is only printed."""
VARIABLES = "/etc/default/etcd"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, and a place for the inventory."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    return tmp_path


def etcd(minor: str) -> EtcdBinaries:
    """Skips by name where it was not fetched."""
    found = find_etcd(minor)
    if found is None:
        pytest.skip(f"no etcd {minor} in .cache/etcd: `make etcd` fetches it")
    return found


def from_package(hosts: Hosts) -> dict[str, object]:
    """A cluster with TLS everywhere, of Debian's etcd 3.4, which every host can install."""
    binaries = etcd("3.4")
    for host in hosts:
        offer_packages(host, etcd_packages(binaries))
    return {"engine": {"version": binaries.version, "source": {"package": "etcd-server"}}, "tls": {}}


def from_directory(minor: str = "3.5") -> dict[str, object]:
    """A cluster with TLS everywhere, of programs that lie on this machine."""
    binaries = etcd(minor)
    return {
        "engine": {"version": binaries.version, "source": {"directory": str(binaries.etcd.parent)}},
        "tls": {},
    }


async def applied(bench: Bench) -> tuple[Prepared, KnownRun, RunOutcome]:
    """The first apply, in time."""
    began = time.monotonic()
    done = await bench.apply()
    took_s, load = time.monotonic() - began, os.getloadavg()[0]
    print(f"healthy after {took_s:.1f} s, load average {load:.1f}")
    assert took_s < HEALTHY_MAX_S or load > BUSY_LOAD
    return done


def edit(host: Host, path: str, change: Callable[[str], str]) -> None:
    """As somebody with an editor does it."""
    there = host.run(["cat", path]).stdout
    host.run(["sh", "-c", 'cat > "$1"', "sh", path], stdin=change(there))


async def test_bare_hosts_become_a_cluster_a_second_apply_does_nothing_and_edits_are_shown_and_put_right(
    hosts: Hosts, home: Path
) -> None:
    """Programs of 3.5, TLS everywhere, systemd. A restart is never made on the way."""
    bench = Bench(hosts, home, from_directory())
    prepared, known, outcome = await applied(bench)
    assert prepared.plan is not None
    assert known.state.ended == "finished"
    assert outcome.results["healthy"] == {"healthy": 3}
    for host in hosts:
        modes = host.run(["stat", "-c", "%a %U:%G", "/var/lib/etcd", "/etc/etcd/pki", "/etc/etcd/pki/server.key"])
        assert modes.stdout.split("\n")[:3] == ["700 etcd:etcd", "700 etcd:etcd", "600 etcd:etcd"]
        assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in host.run(["cat", VARIABLES]).stdout

    again = await bench.prepare()
    assert (again.plan, again.restarts, again.refused) == (None, {}, ())

    pids = [host.run(["pidof", "etcd"]).stdout for host in hosts]
    edit(hosts["h1"], "/etc/systemd/system/etcd.service", lambda text: text.replace("Restart=on-failure", "Restart=no"))
    edit(hosts["h2"], VARIABLES, lambda text: text.replace('ETCD_NAME="h2"', 'ETCD_NAME="oops"'))
    hosts["h3"].run(["chmod", "755", "/var/lib/etcd"])
    hosts["h3"].run(["rm", "/etc/etcd/pki/client.key"])
    drifted = await bench.prepare()
    assert drifted.plan is not None
    assert '-ETCD_NAME="oops"\n+ETCD_NAME="h2"\n' in drifted.surveys["h2"].files[VARIABLES]
    assert [step.id for step in drifted.plan.steps] == [
        "account:h3", "certificates:h3", "service:h1", "service:h2", "healthy", "verify:members", "verify:hash",
    ]  # fmt: skip
    assert drifted.restarts == {}
    await bench.apply()
    assert [host.run(["pidof", "etcd"]).stdout for host in hosts] == pids, "nobody was restarted"
    calm = await bench.prepare()
    assert (calm.plan, calm.restarts) == (None, {}), "they were started with what was put back"

    for host in hosts:  # as a recovery does
        edit(host, VARIABLES, lambda text: text.replace('TOKEN="prod"', 'TOKEN="prod-1"'))
    assert "token-differs" in {one.id for one in (await bench.prepare()).warned}
    bench.cluster = {**bench.cluster, "token": "prod-1"}
    renewed = await bench.prepare()
    assert (renewed.plan, renewed.restarts, "token-differs" in {one.id for one in renewed.warned}) == (None, {}, False)

    edit(hosts["h1"], VARIABLES, lambda text: f"{text}ETCD_SNAPSHOT_COUNT=777\n")
    hosts["h1"].run(["systemctl", "restart", "etcd"])
    running = await bench.prepare()
    assert running.plan is None
    assert "it runs with snapshot-count, which is not wanted" in running.restarts["h1"]


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_debians_package_over_sudo_with_a_password_behind_a_firewall(hosts: Hosts, home: Path) -> None:
    """3.4; the package's own service never starts; nobody but the members and the operator reaches the ports."""
    bench = Bench(hosts, home, {**from_package(hosts), "firewall": {"clients": ["198.51.100.7"]}})
    password = home / "sudo-password"
    password.write_text(hosts.ops_password)
    password.chmod(0o600)
    bench.ssh = {"user": "ops", "become": {"password": {"file": str(password)}}}
    _, known, _ = await applied(bench)
    assert known.state.ended == "finished", "the operator is no client: it went through the hosts"
    assert not hosts["h1"].path("var/lib/etcd/default").exists()
    assert (await bench.prepare()).plan is None
    (home / "unused").write_text(hosts.ops_password)
    assert hosts.ops_password not in known.journal.path.read_text()


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_the_bundled_node_needs_nothing_on_its_hosts_but_python(hosts: Hosts, home: Path) -> None:
    """Its libraries come with it."""
    bench = Bench(hosts, home, {"engine": {"kind": "node"}})
    _, known, _ = await applied(bench)
    assert known.state.ended == "finished"
    assert (await bench.prepare()).plan is None


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_members_in_containers(hosts: Hosts, home: Path) -> None:
    """podman, an image with etcd 3.5, TLS."""
    binaries = etcd("3.5")
    images = {load_etcd_image(host, binaries) for host in hosts}
    bench = Bench(hosts, home, {
        "engine": {"version": binaries.version},
        "tls": {},
        "service": {"manager": "podman", "image": images.pop()},
    })  # fmt: skip
    _, known, _ = await applied(bench)
    assert known.state.ended == "finished"
    assert (await bench.prepare()).plan is None


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_what_is_wrong_before_anything_is_done_is_named_with_its_host(hosts: Hosts, home: Path) -> None:
    """One host unreachable, a wrong sudo password, a changed host key, a port in use, a clone, old data."""
    bench = Bench(hosts, home, from_directory())
    hosts["h1"].run(["sh", "-c", "mkdir -p /var/lib/etcd/member && touch /var/lib/etcd/member/x"])
    listen = "import socket,time; s=socket.create_server(('0.0.0.0', 2380)); time.sleep(600)"
    hosts["h2"].run(["systemd-run", "--quiet", "--unit=squatter", "python3", "-c", listen])
    hosts["h3"].run(
        [
            "sh",
            "-c",
            'printf "%s\n" "$1" > /etc/machine-id',
            "sh",
            hosts["h2"].run(["cat", "/etc/machine-id"]).stdout.strip(),
        ]
    )
    found = {(one.id, one.host) for one in (await bench.prepare()).refused}
    assert {("old-data", "h1"), ("port-taken", "h2"), ("cloned-machine-id", "h3")} <= found
    with pytest.raises(ClusterUnsafe, match="things to be mended first") as refused:
        (await bench.prepare()).require_allowed()
    assert "port 2380 is taken by python3" in refused.value.cause

    bench.ssh = {"user": "ops", "become": {"password": {"env": "WRONG_PASSWORD"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRONG_PASSWORD", "not the password")
        with pytest.raises(AccessDenied, match="h1: cannot become root: the password for sudo is wrong") as denied:
            await bench.prepare()
    assert "also h3" in denied.value.cause
    assert "not the password" not in str(denied.value.lines())

    bench.ssh = {}
    hosts.isolate("h3", from_operator=True)
    with pytest.raises(Unreachable, match="h3"):
        await bench.prepare()
    hosts.heal()
    hosts["h2"].change_host_key()
    with pytest.raises(AccessDenied, match="h2: its host key changed") as changed:
        await bench.prepare()
    assert "SHA256:" in changed.value.cause


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
async def test_what_goes_wrong_half_way_is_named_with_what_is_safe_and_the_run_goes_on_when_it_is_mended(
    hosts: Hosts, home: Path
) -> None:
    """A full disk while the engine is copied; a host cut off while certificates are written."""
    bench = Bench(hosts, home, from_directory())
    request, access = bench.request(), HostsAccess(hosts)
    prepared = await prepare(request, access)
    prepared.require_allowed()
    hosts["h2"].small_disk("/opt", 256)
    hosts["h2"].fill_disk("/opt")
    failed: list[RunEvent] = []

    def note(event: RunEvent) -> None:
        if event.kind == "failed":
            failed.append(event)

    with pytest.raises(PartlyApplied) as full:
        await apply(prepared, request, access, note)
    assert "h2" in full.value.message
    assert "No space left" in full.value.cause
    assert "safe now: " in full.value.hint
    hosts["h2"].free_disk("/opt")

    again = await prepare(request, access)
    known = again.unfinished
    assert known is not None

    def cut(event: RunEvent) -> None:
        note(event)
        if event.kind == "started" and event.step_id == "certificates:h3":
            hosts.cut(OPERATOR, "h3")

    with pytest.raises(EtcdopsError) as lost:
        await carry_out(known, access, cut, resumed=True)
    assert "h3" in lost.value.message
    hosts.heal()
    last = failed[-1]
    assert (last.step is not None and last.step.host, bool(last.safe_now)) == ("h3", True)

    _, ended, outcome = await bench.apply()
    assert (ended.state.ended, outcome.results["healthy"]) == ("finished", {"healthy": 3})
    assert (await bench.prepare()).plan is None


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("programs", ["directory", "package", "node"])
async def test_killed_at_every_step_it_goes_on_to_the_same_end(hosts: Hosts, home: Path, programs: str) -> None:
    """SIGKILL to the tool while each step is at work, one after the other; the host's commands may go on or not."""
    if programs == "package":
        cluster = from_package(hosts)
    else:
        cluster = from_directory() if programs == "directory" else {"engine": {"kind": "node"}, "tls": {}}
    bench = Bench(hosts, home, cluster)
    bench.write()
    line = [sys.executable, "-m", "etcdops", "rollout", "apply", "-i", str(bench.path), "--yes", "--events", "json"]
    reached: list[str] = []
    for _ in range(60):
        step = kill_at_next_step([*line, *bench.force()], bench.environment(), reached)
        if step is None:
            break
        reached.append(step)
    assert len(reached) > 20, reached
    assert {"look", "engine", "certificates", "service", "start", "healthy", "settle"} <= {
        one.partition(":")[0] for one in reached
    }
    assert (await bench.prepare()).plan is None
    for host in hosts:
        left = host.run(
            ["find", "/opt", "/etc", "/usr/local/bin", "(", "-name", "*.part*", "-o", "-name", "*.new", ")"]
        )
        assert left.stdout == "", "nothing half-done is left"


def kill_at_next_step(line: list[str], environment: dict[str, str], reached: list[str]) -> str | None:
    """Run it until it begins a step it was not killed at yet; None: it came to its end."""
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for text in process.stdout:
            event = json.loads(text)
            if event["event"] == "started" and event["step"] not in reached:
                process.send_signal(signal.SIGKILL)
                process.stdout.read()
                return str(event["step"])
        said = process.stderr.read()
    assert process.returncode == 0, said
    return None
